"""Server-sent events: what happens on the board is told to everyone who listens, without waiting for anyone.

    events = Events()

    @app.get("/events")
    def listen(): return events.response()

    events.tell("reading", {"temperature": 21.4})       # from a handler, a task or app.worker's thread

A listener that reads too slowly loses the oldest events, never the board's memory.
"""

import json
import struct

from .answer import encode
from .port import wait
from .response import Response

_TURN = 50  # milliseconds between two looks; looking needs no lock between loop and thread
_QUIET = 15000  # milliseconds after which a comment shows both sides that the line is up


class Events:
    """Those who listen, and what they have not been sent yet."""

    def __init__(self, most: int = 32):
        self.most = most
        self.listeners = []

    def tell(self, topic: str, body) -> None:
        """Sends an event to all who listen now."""
        if not self.listeners:
            return
        text = encode(body)
        for waiting in self.listeners:
            if len(waiting) >= self.most:
                waiting.pop(0)
            waiting.append((topic, text))

    def response(self, framed: bool = False) -> Response:
        """The stream as an answer; `framed` in the hub's form: four bytes of length, then msgpack [topic, body]."""
        kind = "application/msgpack" if framed else "text/event-stream"

        async def feed(send):
            await self._feed(send, _frame if framed else _event)

        return Response(feed, 200, {"Cache-Control": "no-store"}, kind)

    async def _feed(self, send, form) -> None:
        waiting = []
        self.listeners.append(waiting)
        quiet = 0
        try:
            await send(form("", b"{}"))
            while True:
                while waiting:
                    await send(form(*waiting.pop(0)))
                    quiet = 0
                await wait(_TURN)
                quiet += _TURN
                if quiet >= _QUIET:
                    await send(form("", b"{}"))
                    quiet = 0
        finally:
            self.listeners = [one for one in self.listeners if one is not waiting]


def _event(topic: str, text: bytes) -> bytes:
    """One event for a browser; a comment where there is no topic."""
    return b"event: %s\ndata: %s\n\n" % (topic.encode(), text) if topic else b":\n\n"


def _frame(topic: str, text: bytes) -> bytes:
    data = pack([topic, json.loads(text)])
    return struct.pack(">I", len(data)) + data


def pack(value) -> bytes:
    """msgpack of what JSON can say, as much of it as boards send."""
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        value = value.encode()
        return b"\xdb" + struct.pack(">I", len(value)) + value
    if isinstance(value, dict):
        pairs = [pack(key) + pack(value[key]) for key in value]
        return b"\xdf" + struct.pack(">I", len(pairs)) + b"".join(pairs)
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join([pack(item) for item in value])
