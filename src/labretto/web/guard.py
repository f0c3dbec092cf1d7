"""What every request meets before anything else reads it, and what every answer carries. Knows nothing of laboratories.

Who may ask at all (the Host header against DNS rebinding, the Origin header against forged requests) is decided in
`labretto.network.http_guard`, for instruments and hub alike. Here a body has an end, and each answer tells the browser
what it must not do with it.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labretto.access import is_loopback
from labretto.errors import ForbiddenError, InvalidError
from labretto.network.http_guard import LOOPBACK, refusal
from labretto.network.http_wire import problem_response

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes of one request; an experiment is text."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}
"""A page brings a content security policy of its own; what is no page runs nothing."""


class TooLargeError(InvalidError):
    """A body over the limit."""

    status = 413
    title = "The body is too large"


class Guard:
    """ASGI middleware; the outermost, so that a refusal costs nothing.

    Args:
        app: what is guarded.
        bound: the address on which the hub listens.
    """

    def __init__(self, app: ASGIApp, *, bound: str) -> None:
        self._app = app
        self._names = LOOPBACK if is_loopback(bound) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        try:
            self._check(Headers(scope=scope))
            await self._app(scope, exchange.receive, exchange.send)
        except (ForbiddenError, TooLargeError) as error:
            if not exchange.begun:
                await problem_response(error.problem())(scope, receive, exchange.answer)

    def _check(self, headers: Headers) -> None:
        """Raise what stands against a request, as far as its head tells."""
        if refused := refusal(headers, self._names) or _foreign(headers):
            raise refused
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > BODY_LIMIT:
            raise _too_large()


class _Exchange:
    """One request and its answer: counts the body, since a chunked one announces no length, and adds the headers."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._came = 0
        self.begun = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._came += len(message.get("body", b""))
        if self._came > BODY_LIMIT:
            raise _too_large()
        return message

    async def send(self, message: Message) -> None:
        if self._came > BODY_LIMIT and not self.begun:
            raise _too_large()  # the application took our error for one of its own and answers it
        await self.answer(message)

    async def answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _foreign(headers: Headers) -> ForbiddenError | None:
    """A request that a page of elsewhere caused, where the browser says so without an Origin."""
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
        return ForbiddenError("A page from elsewhere may not ask here.", way_out="Open this server's own page.")
    return None


def _too_large() -> TooLargeError:
    limit = f"{BODY_LIMIT // 1024 // 1024} MiB"
    return TooLargeError(f"A request to the hub has at most {limit}.", way_out="Leave out what it need not hold.")
