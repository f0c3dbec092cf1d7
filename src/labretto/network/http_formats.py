"""In which format an answer goes over HTTP: what the request accepts, and what can carry the value.

JSON for everybody; msgpack for whoever wants arrays exactly; three formats for an array alone (bytes as they lie in
memory, NPY, Arrow), whose headers say what the bytes mean; and msgpack with its large arrays behind it, which our own
client asks for. An array is a JSON list only for those who accept nothing else.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from labretto.errors import InvalidError
from labretto.instrument import codec
from labretto.network import messages
from labretto.network.http_wire import MSGPACK, UnderStatusError

JSON = "application/json"
FRAMES = "application/vnd.labretto.frames"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
ARROW = "application/vnd.apache.arrow.stream"

RAW = (OCTETS, NPY, ARROW)
"""Formats of an array alone."""

_ALL = (JSON, MSGPACK, FRAMES, *RAW)

_PIECE = 256 * 1024
"""Bytes that are handed to the server at once; what the client does not take yet is not copied meanwhile."""

_ALIGNED = 64


@functools.lru_cache(256)
def accepted(accept: str) -> tuple[str, ...]:
    """The formats of ours in an Accept header, the one that is liked best first; JSON if there is none."""
    liked: dict[str, float] = {}
    for each in accept.split(","):
        media, *words = (word.strip() for word in each.lower().split(";"))
        media = JSON if media in ("*/*", "application/*", "") else media
        weight = next((word[2:] for word in words if word.startswith("q=")), "1")
        if media in _ALL and (q := _weight(weight)) > 0:
            liked[media] = max(q, liked.get(media, 0.0))
    return tuple(sorted(liked, key=lambda media: -liked[media])) or (JSON,)


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def in_format(
    request: Request,
    value: Any,
    *,
    array: Any = None,
    about: dict[str, str] | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """`value` in the format that the request likes best among those that can carry it.

    Args:
        request: that is answered.
        value: the whole answer.
        array: what of it an array's own formats carry.
        about: what else these say in their headers.
        status: of the answer.
        headers: of the answer, in every format.

    Raises:
        UnderStatusError: none of those it accepts can carry it (406).
    """
    why = ""
    for media in accepted(request.headers.get("accept", "")):
        if media == JSON:
            return Response(messages.encode_value(value, codec.encode_json), status, headers, JSON)
        if media == MSGPACK:
            return Response(messages.encode_value(value), status, headers, MSGPACK)
        if media == FRAMES:
            return _framed(messages.encode_value(value, codec.encode_framed), status, headers)
        try:
            return _alone(media, codec.raw(array), status, {**(headers or {}), **(about or {})})
        except (codec.CannotEncodeError, LookupError) as error:
            why = str(error).strip("\"'")
    raise UnderStatusError(InvalidError(why, way_out="Accept application/json or application/msgpack as well."), 406)


# An array alone -----------------------------------------------------------------------------------------------------


def _alone(media: str, raw: codec.Raw, status: int, headers: dict[str, str]) -> Response:
    headers = headers | {
        "labretto-dtype": raw.dtype,
        "labretto-shape": ",".join(map(str, raw.shape)),
        **({"labretto-dims": ",".join(quote(name, safe="") for name in raw.dims)} if raw.dims else {}),
        **({"labretto-unit": quote(raw.unit, safe="/ ")} if raw.unit else {}),
    }
    if media == OCTETS:
        return Pieces([raw.memory], status, headers, media)
    if media == NPY:
        return Pieces([npy_head(raw), raw.memory], status, headers, media)
    try:
        from labretto.network.http_arrow import stream
    except ImportError as error:
        raise LookupError("Arrow is not spoken here: pyarrow is not installed at this instrument.") from error
    return Pieces([stream(raw)], status, headers, media)


def npy_head(raw: codec.Raw) -> bytes:
    """What an NPY file has before its numbers (format 1.0)."""
    text = f"{{'descr': {raw.dtype!r}, 'fortran_order': False, 'shape': {raw.shape!r}, }}"
    padding = -(len(text) + 11) % _ALIGNED
    line = (text + " " * padding + "\n").encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line


# Arrays behind a message --------------------------------------------------------------------------------------------


def _framed(frames: Sequence[codec.Buffer], status: int, headers: dict[str, str] | None) -> Response:
    if len(frames) == 1:
        return Response(bytes(frames[0]), status, headers, MSGPACK)
    head = struct.pack(f"<I{len(frames)}Q", len(frames), *map(len, frames))
    pieces: list[codec.Buffer] = [head + bytes(-len(head) % _ALIGNED)]
    for frame in frames:
        pieces += [frame, bytes(-len(frame) % _ALIGNED)]
    return Pieces(pieces, status, headers, FRAMES)


def unframed(body: bytes) -> list[memoryview]:
    """The frames in a body of the type `FRAMES`: their number (4 bytes), the length of each (8), then they themselves.

    Little-endian; each begins at a multiple of 64 bytes.

    Raises:
        InvalidError: the body is no such thing.
    """
    try:
        (number,) = struct.unpack_from("<I", body)
        lengths = struct.unpack_from(f"<{number}Q", body, 4)
    except struct.error as error:
        raise InvalidError(f"The frames cannot be read: {error}.") from error
    view, place, frames = memoryview(body), _next(4 + 8 * number), []
    for length in lengths:
        frames.append(view[place : place + length])
        place = _next(place + length)
    if place > len(body) or not frames:
        raise InvalidError(f"The frames have {place} bytes; {len(body)} came.")
    return frames


def _next(place: int) -> int:
    return place + -place % _ALIGNED


class Pieces(Response):
    """A body in pieces that are sent from where they lie."""

    def __init__(
        self, pieces: Sequence[codec.Buffer], status: int, headers: dict[str, str] | None, media_type: str
    ) -> None:
        length = str(sum(map(len, pieces)))
        super().__init__(None, status, {**(headers or {}), "content-length": length}, media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of ASGI."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._cut():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _cut(self) -> Iterator[codec.Buffer]:
        for piece in self._pieces:
            view = memoryview(piece)
            yield from (view[start : start + _PIECE] for start in range(0, len(view), _PIECE))
