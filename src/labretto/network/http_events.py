"""What a host tells, as a stream of HTTP: server-sent events for browsers and curl, framed msgpack for our client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from labretto.instrument import codec
from labretto.instrument.host import Host

KEEP_ALIVE = 15.0
"""Seconds of silence after which a sign of life is sent, so that a vanished listener is noticed."""

_KEPT = 1000
"""Events that wait for a slow listener; then the oldest are dropped."""

Encode = Callable[[str, dict[str, Any]], bytes]


class Events:
    """The open streams of one app."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._open: set[asyncio.Queue[tuple[str, dict[str, Any]] | None]] = set()

    async def stream(self, encode: Encode) -> AsyncIterator[bytes]:
        """Events as they come, first of all a welcome with the empty topic."""
        queue: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue(_KEPT)

        def tell(topic: str, body: dict[str, Any]) -> None:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait((topic, body))

        end = self._host.listen(tell)
        self._open.add(queue)
        try:
            yield encode("", {})
            while (event := await _next(queue)) is not None:
                with contextlib.suppress(codec.CannotEncodeError):
                    yield encode(*event)
        finally:
            end()
            self._open.discard(queue)

    def close(self) -> None:
        """End every stream."""
        for queue in self._open:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)


async def _next(queue: asyncio.Queue[tuple[str, dict[str, Any]] | None]) -> tuple[str, dict[str, Any]] | None:
    try:
        async with asyncio.timeout(KEEP_ALIVE):
            return await queue.get()
    except TimeoutError:
        return "", {}


def server_sent(topic: str, body: dict[str, Any]) -> bytes:
    """One event for a browser's EventSource; a comment where there is no topic."""
    return b"event: %s\ndata: %s\n\n" % (topic.encode(), codec.encode_json(body)) if topic else b":\n\n"


def framed(topic: str, body: dict[str, Any]) -> bytes:
    """One event as four bytes of length (big-endian) and msgpack [topic, body]."""
    data = codec.encode([topic, body])
    return len(data).to_bytes(4, "big") + data


def unframed(buffer: bytearray) -> list[tuple[str, dict[str, Any]]]:
    """The events that are complete in `buffer`, taken out of it."""
    events = []
    while len(buffer) >= 4 and len(buffer) >= (end := 4 + int.from_bytes(buffer[:4], "big")):
        topic, body = codec.decode(bytes(buffer[4:end]))
        events.append((topic, body))
        del buffer[:end]
    return events
