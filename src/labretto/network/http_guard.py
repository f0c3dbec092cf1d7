"""Who may speak to an app at all: names against DNS rebinding, origins against foreign pages.

Who may do what is another matter, and the door's (`labretto.network.http_door`).

An instrument on the loopback has no password, so a page of the internet that the user's browser shows must not reach
it: neither under a name of its own that resolves to 127.0.0.1, nor by posting to 127.0.0.1 from elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from labretto.access.gate import Gate
from labretto.access.listening import LOOPBACK_NAMES
from labretto.errors import ForbiddenError
from labretto.network.http_door import INSTRUMENT, Door
from labretto.network.http_wire import problem_response

LOOPBACK = LOOPBACK_NAMES


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, names: Collection[str] | None, gate: Gate | None = None) -> None:
        self._app = app
        self._names = names
        self._door = Door(gate, INSTRUMENT) if gate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            refused = refusal(Headers(scope=scope), self._names)
            if refused is not None:
                await problem_response(refused.problem())(scope, receive, send)
                return
            if self._door is not None:
                await self._door.pass_on(self._app, scope, receive, send)
                return
        await self._app(scope, receive, send)


def refusal(headers: Headers, names: Collection[str] | None) -> ForbiddenError | None:
    """Why a request with these headers is not answered; None if it is."""
    asked = headers.get("host", "")
    if names is not None and _name(asked) not in names:
        return ForbiddenError(
            f"This server is not called {asked[:200]!r}.", way_out="Ask it as localhost or 127.0.0.1."
        )
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != asked.lower():
        return ForbiddenError(f"A page of {origin[:200]!r} may not ask here.", way_out="Open this server's own page.")
    return None


def _name(host: str) -> str:
    if "@" in host:
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
