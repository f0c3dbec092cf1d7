"""The gate of `labretto.access` before every route of an app: who asks, may they, and a line for what they did.

One idea: no route is trusted to ask. Every request is refused here unless it may be done, and what is not known to be
harmless counts as an act; so a route that somebody adds tomorrow is guarded today. What an app's stopping and
configuring requests are is a table (`Needs`), told by whoever makes the app.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labretto.access.gate import Gate
from labretto.access.listening import bearer
from labretto.access.rule import Actor, Verb
from labretto.errors import ForbiddenError, InvalidError, LabError, TokenError
from labretto.instrument import codec
from labretto.network.http_wire import MSGPACK, problem_response

ACTOR = "labretto.actor"
GATE = "labretto.gate"
"""Where a request's scope says who asks, and through which gate they came."""

SESSION_ENDED = 4401
"""WebSocket's closing code when what the viewer showed has ended."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_KEPT = 4_096
"""Bytes of a body that are kept for its line in the trail."""


@dataclass(frozen=True)
class Needs:
    """Which requests of an app are no plain acts: patterns of "METHOD /path", in full."""

    stopping: tuple[str, ...] = ()
    configuring: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    """Answered to everybody: a page on which one signs in, and what it is made of."""

    def verb(self, asked: str) -> Verb:
        """What a request does."""
        if asked.partition(" ")[0] in _READING:
            return "read"
        if any(re.fullmatch(pattern, asked) for pattern in self.stopping):
            return "stop"
        if any(re.fullmatch(pattern, asked) for pattern in self.configuring):
            return "configure"
        return "act"

    def is_open(self, asked: str) -> bool:
        """Everybody is answered."""
        return any(re.fullmatch(pattern, asked) for pattern in self.open)


INSTRUMENT = Needs(stopping=(r"POST /stop", r"DELETE /actions/[^/]+/[^/]+", r"DELETE /invocations/[^/]+"))
"""Of an instrument's app; cancelling is stopping."""


class Door:
    """Lets requests of an app pass, or not.

    Args:
        gate: who may pass.
        needs: what this app's requests do.
        cookie: name of the session's cookie; None: only tokens count.
    """

    def __init__(self, gate: Gate, needs: Needs, cookie: str | None = None) -> None:
        self._gate = gate
        self._needs = needs
        self._cookie = cookie

    async def pass_on(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by `app`, or refuse it."""
        method = "GET" if scope["type"] == "websocket" else scope["method"]
        asked = f"{method} {scope['path']}"
        verb = self._needs.verb(asked)
        headers = Headers(scope=scope)
        about = _about(scope, headers)
        actor: Actor | None = None
        try:
            actor = self._who(headers, about["where"], verb)
            self._gate.check(actor, verb)
        except LabError as error:
            if self._needs.is_open(asked):
                await app({**scope, GATE: self._gate, ACTOR: None}, receive, send)
                return
            self._gate.note_refusal(actor, verb, asked, error, **about)
            await refuse(error)(scope, receive, send)
            return
        scope = {**scope, GATE: self._gate, ACTOR: actor}
        if self._gate.guarded:
            scope["headers"] = _named(scope["headers"], actor, about["on_behalf_of"])
            send = _while_valid(send, lambda: self._gate.still(actor))
        if verb == "read":
            with contextlib.suppress(ClientDisconnect):  # what was shown has ended in the middle of an answer
                await app(scope, receive, send)
            return
        watched = _Watched(receive, send)
        try:
            await app(scope, watched.receive, watched.send)
        finally:
            if not self._needs.is_open(asked):
                parameters = _parameters(headers, watched)
                self._gate.note(actor, verb, asked, watched.status or "no answer", parameters=parameters, **about)

    def _who(self, headers: Headers, where: str, verb: Verb) -> Actor:
        token = bearer(headers.get("authorization"))
        cookie = cookie_parser(headers.get("cookie", "")).get(self._cookie) if self._cookie else None
        if token is not None or not cookie or not self._gate.guarded:
            return self._gate.who(token, where)
        actor = self._gate.who_browses(cookie)
        if verb != "read" and not _from_own_page(headers):
            raise ForbiddenError("A session acts only from the lab's own page.", way_out="Programs show a token.")
        return actor


def require(request: Request, verb: Verb, what: str = "") -> None:
    """For a route that does more than its method says, such as a GET that acts.

    Raises:
        ForbiddenError, PaceError: who asks may not.
    """
    gate: Gate | None = request.scope.get(GATE)
    if gate is None:
        return
    actor: Actor = request.scope[ACTOR]
    asked = what or f"{request.method} {request.url.path}"
    where = request.client.host if request.client else ""
    try:
        gate.check(actor, verb)
    except LabError as error:
        gate.note_refusal(actor, verb, asked, error, where=where)
        raise
    gate.note(actor, verb, asked, "let in", where=where, parameters=dict(request.query_params))


def refuse(error: LabError) -> ASGIApp:
    """The answer to a request that may not be done."""
    headers = {"www-authenticate": 'Bearer realm="labretto"'} if isinstance(error, TokenError) else {}
    return problem_response(error.problem(), headers=headers)


def _about(scope: Scope, headers: Headers) -> dict[str, str]:
    where = scope["client"][0] if scope.get("client") else ""
    return {"where": where, "on_behalf_of": unquote(headers.get("labretto-actor", ""))[:200]}


def _from_own_page(headers: Headers) -> bool:
    """A browser says so of every request that acts: by an Origin (which the guard has compared), or in words."""
    return "origin" in headers or headers.get("sec-fetch-site") == "same-origin"


def _named(headers: list[tuple[bytes, bytes]], actor: Actor, claimed: str) -> list[tuple[bytes, bytes]]:
    """The same headers, with the name that was shown instead of the one that was claimed."""
    name = actor.name if claimed in ("", actor.name) else f"{claimed} ({actor.name})"
    others = [(key, value) for key, value in headers if key != b"labretto-actor"]
    return [*others, (b"labretto-actor", quote(name, safe=" @()").encode())]


def _while_valid(send: Send, still: Callable[[], bool]) -> Send:
    """Sends as long as what was shown counts; an answer that goes on for days ends when it does not."""

    async def sending(message: Message) -> None:
        last = _LAST.get(message["type"]) if message["type"] == "websocket.send" or message.get("more_body") else None
        if last is None or still():
            await send(message)
            return
        await send(last)
        raise OSError("the token has ended")  # so servers say that nobody reads any more

    return sending


_LAST: dict[str, Message] = {
    "http.response.body": {"type": "http.response.body", "body": b"", "more_body": False},
    "websocket.send": {"type": "websocket.close", "code": SESSION_ENDED, "reason": "Sign in again."},
}


class _Watched:
    """A request's body as far as it is kept, and its answer's status."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.body = bytearray()
        self.size = 0
        self.status: int | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            chunk = message.get("body", b"")
            self.size += len(chunk)
            self.body += chunk[: _KEPT - len(self.body)]
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _parameters(headers: Headers, watched: _Watched) -> Any:
    """What a body says; of one that is too long, or cannot be read, its size."""
    if not watched.size:
        return None
    if watched.size <= _KEPT:
        decode = codec.decode if headers.get("content-type", "").startswith(MSGPACK) else codec.decode_json
        try:
            return decode(bytes(watched.body))
        except InvalidError:
            pass
    return {"omitted": f"{watched.size} bytes"}
