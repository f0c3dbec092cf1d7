"""What a host tells, as a stream of HTTP: server-sent events for browsers and curl, framed msgpack for our client."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from labretto.instrument import codec
from labretto.instrument.host import Host

KEEP_ALIVE = 15.0
"""Seconds of silence after which a sign of life is sent, so that a vanished listener is noticed."""

KEPT = 1_000
"""Events that wait for a slow listener; then the oldest are dropped."""

KEPT_BYTES = 16 * 1024 * 1024
"""The same for arrays in them, in bytes."""

Event = tuple[str, dict[str, Any]]
Encode = Callable[[str, dict[str, Any]], bytes]


class Events:
    """The open streams of one app."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._open: set[Waiting] = set()

    async def stream(self, encode: Encode) -> AsyncIterator[bytes]:
        """Events as they come, first of all a welcome with the empty topic; "lost" where some had to be dropped."""
        waiting = Waiting()
        end = self._host.listen(waiting.put)
        self._open.add(waiting)
        try:
            yield encode("", {})
            while (event := await waiting.next()) is not None:
                with contextlib.suppress(codec.CannotEncodeError):
                    yield encode(*event)
        finally:
            end()
            self._open.discard(waiting)

    def close(self) -> None:
        """End every stream."""
        for waiting in self._open:
            waiting.end()


class Waiting:
    """What waits for one listener."""

    def __init__(self) -> None:
        self.bytes = 0
        self._events: deque[tuple[str, dict[str, Any], int]] = deque()
        self._lost = 0
        self._ended = False
        self._something = asyncio.Event()

    def __len__(self) -> int:
        return len(self._events)

    def put(self, topic: str, body: dict[str, Any]) -> None:
        """One more; the oldest go where there are too many."""
        size = _size(body)
        self._events.append((topic, body, size))
        self.bytes += size
        while len(self._events) > KEPT or (self.bytes > KEPT_BYTES and len(self._events) > 1):
            self.bytes -= self._events.popleft()[2]
            self._lost += 1
        self._something.set()

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._something.set()

    async def next(self) -> Event | None:
        """The oldest; a sign of life where nothing happens; None at the end."""
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                await self._something.wait()
        except TimeoutError:
            return "", {}
        if self._ended:
            return None
        if self._lost:
            lost, self._lost = self._lost, 0
            return "lost", {"events": lost}
        topic, body, size = self._events.popleft()
        self.bytes -= size
        if not self._events:
            self._something.clear()
        return topic, body


def _size(value: Any) -> int:
    """Bytes of the arrays in a body."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return int(getattr(value, "nbytes", 0))


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
