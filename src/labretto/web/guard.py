"""What every request meets before anything else reads it, and what every answer carries. Knows nothing of laboratories.

Who may ask at all (the Host header against DNS rebinding, the Origin header against forged requests) is decided in
`labretto.network.http_guard`, for instruments and hub alike; that a body has an end is FastAPI's business. Here a hub
that listens beyond the loopback asks for its token, and each answer tells the browser what it must not do with it.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labretto.access import bearer, is_loopback, token_matches
from labretto.errors import ForbiddenError
from labretto.network.http_guard import LOOPBACK, refusal
from labretto.network.http_wire import problem_response

COOKIE = "labretto-token"

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
        token: what everybody must show where it is not the loopback.
    """

    def __init__(self, app: ASGIApp, *, bound: str, token: str | None = None) -> None:
        self._app = app
        self._names = LOOPBACK if is_loopback(bound) else None
        self._token = None if is_loopback(bound) else token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = refusal(headers, self._names) or foreign(headers)
        app = problem_response(refused.problem()) if refused else self._known(HTTPConnection(scope))
        await app(scope, receive, _with_headers(send))

    def _known(self, asked: HTTPConnection) -> ASGIApp:
        """The app for those who show the token; a browser shows it once, in the page's address, and gets a cookie."""
        if self._token is None:
            return self._app
        shown = bearer(asked.headers.get("authorization")) or asked.cookies.get(COOKIE)
        if token_matches(shown, self._token):
            return self._app
        if asked.scope["path"] == "/" and token_matches(asked.query_params.get("token"), self._token):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return answer
        way_out = "Send it as `Authorization: Bearer TOKEN`, or open /?token=TOKEN in a browser."
        return problem_response(ForbiddenError("This lab asks for its token.", way_out=way_out).problem())


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
