"""What every request meets before anything else reads it, and what every answer carries. Knows nothing of laboratories.

Who may ask at all (the Host header against DNS rebinding, the Origin header against forged requests) is decided in
`labretto.network.http_guard`, who may do what in `labretto.access` by way of `labretto.network.http_door`, for
instruments and hub alike; that a body has an end is FastAPI's business. Here stands what the hub's requests are, and
each answer tells the browser what it must not do with it.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labretto.access.gate import Gate
from labretto.access.listening import names_answered
from labretto.errors import ForbiddenError
from labretto.network.http_door import Door, Needs
from labretto.network.http_guard import refusal
from labretto.network.http_wire import problem_response

COOKIE = "labretto-session"

HUB = Needs(
    stopping=(
        r"POST /api/halt",
        r"POST /api/instruments/[^/]+/stop",
        r"DELETE /api/instruments/[^/]+/invocations/[^/]+",
        r"POST /api/runs/[^/]+/(pause|abort|cancel|hold)",
        r"POST /api/queue/stop",
    ),
    configuring=(r"POST /api/instruments/[^/]+/(restart|reload|accept)", r"DELETE /api/instruments/[^/]+"),
    open=(r"(GET|HEAD) /", r"(GET|HEAD) /static/.*", r"(POST|DELETE) /session"),
)
"""What the hub's requests are, where they are neither looks nor plain acts."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""A page brings a content security policy of its own; what is no page runs nothing."""


class Guard:
    """ASGI middleware; the outermost, so that a refusal costs nothing.

    Args:
        app: what is guarded.
        bound: the address on which the hub listens.
        gate: who may do what; None: everybody everything, as tests of other things want it.
    """

    def __init__(self, app: ASGIApp, *, bound: str, gate: Gate | None = None) -> None:
        self._app = app
        self._names = gate.names if gate else names_answered(bound, ())
        self._door = Door(gate, HUB, COOKIE) if gate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        send = _with_headers(send)
        if refused := refusal(headers, self._names) or foreign(headers):
            await problem_response(refused.problem())(scope, receive, send)
        elif self._door:
            await self._door.pass_on(self._app, scope, receive, send)
        else:
            await self._app(scope, receive, send)


def foreign(headers: Headers) -> ForbiddenError | None:
    """Why a request that a page of elsewhere caused is not answered, where the browser says so without an Origin."""
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
        return ForbiddenError("A page from elsewhere may not ask here.", way_out="Open this server's own page.")
    return None


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
