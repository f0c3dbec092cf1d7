"""The page's one WebSocket: what changes, twenty times a second at most, encoded once for everybody who looks.

Here is how changes travel; which there are is the business of whoever publishes into `labretto.catalog.live.Changes`.
One idea: a single *pump* cuts the stream into turns and keeps the newest of them encoded, a viewer is a place among
these turns. A viewer that falls behind them costs nothing, is told that it missed something, and asks the hub again.

    text     {"sequence": n, "changes": [{"sequence", "topic", "body"}, ...]}   the first frame of all may be empty
             {"sequence": n, "changes": [], "missed": true}                     fetch everything anew, then go on from n
    binary   uint32 length of the head (little endian), the head as JSON
             {"run", "path", "row": index of the first point, "points", "columns": [{"name"}, ...]}, padded with spaces
             to a multiple of 8 together with its length, then `points` float64 (little endian) for each column
"""

from __future__ import annotations

import asyncio
import logging
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from labretto.catalog.live import Batch, Changes, Curve
from labretto.errors import LabError
from labretto.instrument import codec

logger = logging.getLogger(__name__)

TURN = 0.05
"""Seconds between two frames: what an eye follows."""
KEPT_TURNS = 100
"""So far may a viewer fall behind: 5 s at full rate."""
KEPT_BYTES = 16 * 1024 * 1024
"""... or as soon as the turns together are larger than this."""
BEAT = 2.0
"""Seconds after which a viewer is told that nothing has changed: only so does it know that we are still here."""
LOOK = 1.0
"""Seconds between two looks at the instruments' attributes, while somebody looks at the page."""

Frame = str | bytes


@dataclass(frozen=True)
class Turn:
    """What changed between two sequence numbers, encoded."""

    first: int
    """The number after which it begins."""
    last: int
    frames: tuple[Frame, ...]

    @property
    def size(self) -> int:
        """Bytes of all frames."""
        return sum(map(len, self.frames))


class Live:
    """Everybody who looks at the page now.

    Args:
        changes: the stream that is shown.
        look: reads the attributes of all instruments and publishes them; called once a second while somebody looks.
    """

    def __init__(self, changes: Changes, look: Callable[[], Awaitable[object]] | None = None) -> None:
        self._changes = changes
        self._look = look
        self._turns: deque[Turn] = deque()
        self._turned = asyncio.Event()
        self._viewers = 0
        self._work: list[asyncio.Task[None]] = []

    @property
    def viewers(self) -> int:
        """How many look now."""
        return self._viewers

    @property
    def kept_bytes(self) -> int:
        """Of the turns that slow viewers may still read."""
        return sum(turn.size for turn in self._turns)

    async def show(self, socket: WebSocket, after: int | None = None) -> None:
        """Send what follows the sequence number `after` (None: from now on) until the viewer or the hub leaves."""
        await socket.accept()
        async with self._viewing():
            sending = asyncio.create_task(self._send_all(socket, after))
            try:
                await _until_closed(socket)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def frames(self, after: int | None) -> AsyncIterator[Frame]:
        """Frames for one viewer, without end; the first one comes at once."""
        place = self.cut()
        for frame in self._greeting(place if after is None else after, place):
            yield frame
        while True:
            turned = self._turned
            for turn in self._after(place):
                place = turn.last
                for frame in turn.frames:
                    yield frame
            try:
                await asyncio.wait_for(turned.wait(), BEAT)
            except TimeoutError:
                yield encoded(Batch(place), always=True)[0]

    async def _send_all(self, socket: WebSocket, after: int | None) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # it left while we were sending
            async for frame in self.frames(after):
                await (socket.send_text(frame) if isinstance(frame, str) else socket.send_bytes(frame))

    @asynccontextmanager
    async def _viewing(self) -> AsyncIterator[None]:
        """The pump runs as long as at least one viewer is in here."""
        self._viewers += 1
        if not self._work:
            self._turns.clear()
            self._work = [asyncio.create_task(self._pump()), asyncio.create_task(self._look_around())]
        try:
            yield
        finally:
            self._viewers -= 1
            if not self._viewers:
                work, self._work = self._work, []
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)

    async def _pump(self) -> None:
        while await self._changes.wait(self._place()) is not None:
            try:
                self.cut()
            except Exception:
                logger.exception("changes could not be shown; every viewer is told to ask again")
                self._skip()
            await asyncio.sleep(TURN)

    async def _look_around(self) -> None:
        while self._look is not None:
            try:
                await self._look()
            except LabError as error:
                logger.info("attributes could not be read: %s", error)
            except Exception:
                logger.exception("reading attributes for the page failed")
            await asyncio.sleep(LOOK)

    def _place(self) -> int:
        return self._turns[-1].last if self._turns else self._changes.sequence

    def cut(self) -> int:
        """Make a turn of all that came since the last one; answers where the stream is now."""
        place = self._place()
        if self._turns and (batch := self._changes.batch(place)) is not None:
            self._turns.append(Turn(place, batch.sequence, tuple(encoded(batch))))
        elif not self._turns:
            self._turns.append(Turn(place, place, ()))
        while len(self._turns) > 1 and (len(self._turns) > KEPT_TURNS or self.kept_bytes > KEPT_BYTES):
            self._turns.popleft()
        self._wake()
        return self._place()

    def _wake(self) -> None:
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()

    def _skip(self) -> None:
        """Pass over what came since the last turn: whoever follows finds a gap."""
        self._turns.clear()
        now = self._changes.sequence
        self._turns.append(Turn(now - 1, now, (_missed(now),)))
        self._wake()

    def _greeting(self, after: int, place: int) -> list[Frame]:
        """The frames that bring a viewer from `after` to `place`; the first says where the stream is."""
        batch = Batch(place) if after == place else self._changes.batch(after) or Batch(place)
        frames = list(encoded(batch, always=True))
        return frames if sum(map(len, frames)) <= KEPT_BYTES else [_missed(place)]

    def _after(self, place: int) -> list[Turn]:
        """The turns that follow `place`; one that says so, if some of them are no longer kept."""
        turns = [turn for turn in self._turns if turn.last > place]
        if turns and turns[0].first > place:
            return [Turn(place, turns[-1].last, (_missed(turns[-1].last),))]
        return turns


async def _until_closed(socket: WebSocket) -> None:
    """What a viewer sends is not read, but its leaving is."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def encoded(batch: Batch, *, always: bool = False) -> list[Frame]:
    """The frames of a batch; `always` asks for a text frame even if there is nothing to say but the number."""
    frames: list[Frame] = [curve_frame(curve) for curve in batch.curves]
    if batch.missed or batch.missed_curves:
        return [_missed(batch.sequence)]
    if batch.changes or frames or always:
        changes = [_change(change.sequence, change.topic, change.body) for change in batch.changes]
        frames.append(f'{{"sequence":{batch.sequence},"changes":[{",".join(changes)}]}}')
    return frames


def _missed(sequence: int) -> str:
    return f'{{"sequence":{sequence},"changes":[],"missed":true}}'


def _change(sequence: int, topic: str, body: Any) -> str:
    try:
        return codec.encode_json({"sequence": sequence, "topic": topic, "body": body}).decode()
    except LabError as error:  # one value that no wire carries must not end the page
        logger.warning("a change of %s cannot be shown: %s", topic, error)
        return codec.encode_json({"sequence": sequence, "topic": "unsaid", "body": error.problem()}).decode()


def curve_frame(curve: Curve) -> bytes:
    """The binary frame of one piece of a curve."""
    run, _, path = curve.key.partition("/")
    columns = [{"name": name} for name in curve.columns]
    about = {"run": run, "path": path, "row": curve.start, "points": curve.length, "columns": columns}
    head = codec.encode_json(about)
    head += b" " * (-(len(head) + 4) % 8)  # so that the numbers can be read in place
    return struct.pack("<I", len(head)) + head + b"".join(_little_endian(column) for column in curve.columns.values())


def _little_endian(column: Any) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return bytes(column.tobytes())


def router(live: Live) -> APIRouter:
    """The route `/live`."""
    routes = APIRouter()

    @routes.websocket("/live")
    async def _live(socket: WebSocket, after: int | None = None) -> None:
        await live.show(socket, after)

    return routes
