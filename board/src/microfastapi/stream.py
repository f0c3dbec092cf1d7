"""Server-sent events: what happens on the board is told to everyone who listens, without waiting for anyone.

    events = Events()

    @app.get("/events")
    def listen(): return events.response()

    events.tell("reading", {"temperature": 21.4})       # from a handler, a task or app.worker's thread

A listener that reads too slowly loses the oldest events, never the board's memory.
"""

from .port import wait
from .response import Response, encode

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
        text = b"event: %s\ndata: %s\n\n" % (topic.encode(), encode(body))
        for waiting in self.listeners:
            if len(waiting) >= self.most:
                waiting.pop(0)
            waiting.append(text)

    def response(self) -> Response:
        return Response(self._feed, 200, {"Cache-Control": "no-store"}, "text/event-stream")

    async def _feed(self, send) -> None:
        waiting = []
        self.listeners.append(waiting)
        quiet = 0
        try:
            await send(b": listening\n\n")
            while True:
                while waiting:
                    await send(waiting.pop(0))
                    quiet = 0
                await wait(_TURN)
                quiet += _TURN
                if quiet >= _QUIET:
                    await send(b": quiet\n\n")
                    quiet = 0
        finally:
            self.listeners = [one for one in self.listeners if one is not waiting]
