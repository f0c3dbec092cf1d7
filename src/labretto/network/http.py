"""An instrument on HTTP: an app made from its description, and the server it runs in.

Requests that have to be quick are plain routes that go straight to `labretto.network.messages`; what people read
(OpenAPI at /openapi.json, pages at /docs and /redoc) is generated from the description in `labretto.network.openapi`.
Bodies and answers are JSON, or msgpack where exact arrays matter (`Content-Type` and `Accept: application/msgpack`);
an array alone has formats of its own (`labretto.network.http_formats`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labretto.access.gate import Gate
from labretto.access.listening import check_bind, names_answered
from labretto.errors import ConflictError, InvalidError, UnreachableError
from labretto.instrument.host import Host
from labretto.instrument.leases import lease_as_dict
from labretto.network import messages
from labretto.network.docs import offline_docs
from labretto.network.http_arrays import found_response, outcome_response, reading_response, result_response
from labretto.network.http_events import Events, framed, server_sent
from labretto.network.http_formats import in_format
from labretto.network.http_guard import LOOPBACK, Guard
from labretto.network.http_quick import Quick, connection_with
from labretto.network.http_thing import ThingRoutes
from labretto.network.http_wire import (
    Handler,
    actor_of,
    answer_problems,
    answering,
    asked_from,
    encoded,
    lease_of,
    parsed_body,
    problem_response,
    seconds_of,
    wants_msgpack,
)
from labretto.network.openapi import paths_and_components

if TYPE_CHECKING:
    from labretto.network.http_client import HttpConnection

__all__ = ["build_app", "open", "serve"]

_GRACE = 1
"""Seconds that open requests get when the server ends."""


async def open(address: str, token: str | None = None) -> HttpConnection:
    """As `labretto.network.http_client.open`; here, because a host has no use for the library of clients."""
    from labretto.network import http_client

    return await http_client.open(address, token)


class InstrumentApp(FastAPI):
    """An app whose OpenAPI document speaks of one instrument as well as of routes added to it."""

    def __init__(self, host: Host, **words: Any) -> None:
        self._host = host
        described = host.description
        super().__init__(
            title=f"{described.name}: {described.title}", description=described.description, version="1", **words
        )

    def openapi(self) -> dict[str, Any]:
        """The document, OpenAPI 3.1."""
        document = super().openapi()
        paths, components = paths_and_components(self._host.description)
        schemas = document.get("components", {}).get("schemas", {})
        return document | {
            "paths": paths | document["paths"],
            "components": document.get("components", {}) | {"schemas": components | schemas},
        }


def build_app(
    host: Host,
    *,
    links: dict[str, str] | None = None,
    names: Collection[str] | None = LOOPBACK,
    gate: Gate | None = None,
) -> InstrumentApp:
    """The app of one instrument.

    Args:
        host: the instrument.
        links: where else it is reached; told in its description.
        names: what a request's Host header may say, against DNS rebinding; None: anything.
        gate: who may do what; None: everybody everything, as on the loopback.
    """
    app = InstrumentApp(host, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(Guard, names=names, gate=gate)
    answer_problems(app)
    offline_docs(app)
    routes = _Routes(host, {} if links is None else links)
    app.state.end = routes.end
    app.state.quick = Quick(host, names) if gate is None else None
    for path, handlers in routes.table().items():
        app.router.add_route(path, answering(_by_method(handlers)), methods=list(handlers), include_in_schema=False)
    return app


@contextlib.asynccontextmanager
async def serve(
    host: Host,
    address: str = "http://127.0.0.1:0",
    *,
    links: dict[str, str] | None = None,
    gate: Gate | None = None,
) -> AsyncIterator[str]:
    """Serve `host` at `address` in the running loop while the context lasts; yields the address with its port.

    Args:
        host: the instrument, opened.
        address: "http://127.0.0.1:5001"; port 0 takes a free one.
        links: where else this host is reached; this server adds "http".
        gate: who may do what; needed beyond the loopback.

    Raises:
        ForbiddenError: others could reach it, and there is no gate.
        ConflictError: the port is in use.
        InvalidError: the address is none.
    """
    links = {} if links is None else links
    listening = bound(address)
    name, port = listening.getsockname()[:2]
    with contextlib.ExitStack() as refused:
        refused.callback(listening.close)
        check_bind(name, gate)
        refused.pop_all()
    links["http"] = f"http://{f'[{name}]' if ':' in name else name}:{port}"
    app = build_app(host, links=links, names=gate.names if gate else names_answered(name, ()), gate=gate)
    async with run_app(app, listening, quick=app.state.quick):
        try:
            yield links["http"]
        finally:
            app.state.end()


@contextlib.asynccontextmanager
async def run_app(
    app: Any,
    listening: socket.socket,
    *,
    websockets: bool = False,
    quick: Quick | None = None,
    tls: tuple[Path, Path] | None = None,
) -> AsyncIterator[None]:
    """Run any ASGI app on a bound socket in the running loop; it is ready when the context begins.

    What `quick` can answer never reaches the app. `tls` names the files of a certificate and of its key: then it is
    HTTPS (see `check_certificate`).
    """
    ending = _Ending(app)
    config = uvicorn.Config(
        app if quick else ending,  # a host tells those who wait by itself
        http=connection_with(quick) if quick else "auto",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="websockets-sansio" if websockets else "none",
        lifespan="off",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Not `serve()`: that takes the process's signals, and polls ten times a second for whether to end.
    await server.startup(sockets=[listening])
    try:
        yield
    finally:
        ending.began = True
        await server.shutdown(sockets=[listening])


class _Ending:
    """Who still waits for an answer when the server's time to end is over gets one that says so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.began = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if not self.began or scope["type"] != "http":
                raise
            if not answered:
                error = UnreachableError(
                    "The server was ended before it could answer.",
                    way_out="Look what became of the request when it is back.",
                )
                await problem_response(error.problem())(scope, receive, send)


def check_certificate(tls: tuple[Path, Path] | None) -> None:
    """Refuse what cannot be served with, before anything is begun.

    Raises:
        InvalidError: the files are no certificate and its key.
    """
    if tls is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*tls)
    except OSError as error:  # what ssl raises is one too
        raise InvalidError(
            f"{tls[0]} and {tls[1]} are no certificate and its key: {error.strerror or error}.",
            way_out="Name files in PEM form that this user can read.",
        ) from error


def bound(address: str) -> socket.socket:
    """A listening socket at `address` ("http://127.0.0.1:5001").

    Raises:
        ConflictError: the port is in use.
        InvalidError: the address is none, or not of this machine.
    """
    way_out = "Write http://HOST:PORT."
    try:
        parts = urlsplit(address)
        where = (parts.hostname or "", parts.port or 0)
    except ValueError as error:
        raise InvalidError(f"{address!r} cannot be served: {error}.", way_out=way_out) from None
    if parts.scheme != "http" or not where[0]:
        raise InvalidError(f"{address!r} is no address of a server.", way_out=way_out)
    try:
        return _listening(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(f"{address} is in use.", way_out="Choose another port, or 0 for a free one.") from None
        raise InvalidError(f"{address} cannot be served: {error}.", way_out=way_out) from None


def _listening(where: tuple[str, int]) -> socket.socket:
    # Not `socket.create_server`: asyncio sends small answers at once only on sockets that say that they are TCP.
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(1024)
    except BaseException:
        listening.close()
        raise
    return listening


def _by_method(handlers: dict[str, Handler]) -> Handler:
    """One handler for one path, so that a wrong method is told all the right ones."""

    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return handle


class _Routes:
    """What each route asks of the host."""

    def __init__(self, host: Host, links: dict[str, str]) -> None:
        self._host = host
        self._links = links
        self._events = Events(host)
        self._asking: set[asyncio.Task[Any]] = set()
        self._ended = False

    def end(self) -> None:
        """End every stream; tell everybody who waits that the host ends."""
        self._ended = True
        self._events.close()
        for task in self._asking:
            task.cancel()

    def table(self) -> dict[str, dict[str, Handler]]:
        """Path → method → what it asks; the quickest paths first, since they are looked for in this order."""
        return {
            "/attributes/{name}": {"GET": self.read, "PUT": self.write},
            "/actions/{action}": {"POST": self.invoke},
            "/actions/{action}/{identity}": {"PUT": self.invoke, "GET": self.find, "DELETE": self.cancel},
            "/actions/{action}/{identity}/check": {"POST": self.check},
            "/actions/{action}/{identity}/result": {"GET": self.result},
            "/actions/{action}/{identity}/result/{path:path}": {"GET": self.result},
            "/invocations/{identity}/check": {"POST": self.check},
            "/invocations/{identity}": {"GET": self.find, "DELETE": self.cancel},
            "/attributes": {"GET": self.read_all},
            "/health": {"GET": self.health},
            "/stop": {"POST": self.stop},
            "/alarms": {"GET": self.alarms},
            "/alarms/{alarm}/acknowledge": {"POST": self.acknowledge},
            "/lease": {"GET": self.lease, "PUT": self.take, "DELETE": self.give_back},
            "/events": {"GET": self.listen},
            "/": {"GET": self.describe},
            **ThingRoutes(self._host, self._events, self._ask).table(),
        }

    async def describe(self, request: Request) -> Response:
        return encoded(request, await self._ask(messages.Describe()))

    async def health(self, request: Request) -> Response:
        return encoded(request, await self._ask(messages.Health()))

    async def read_all(self, request: Request) -> Response:
        asked = messages.ReadAll()
        return in_format(request, messages.labelled(self._host.description, asked, await self._ask(asked)))

    async def read(self, request: Request) -> Response:
        fresh = "no-cache" in request.headers.get("cache-control", "")
        name = request.path_params["name"]
        return reading_response(request, self._host.description, name, await self._ask(messages.Read(name, fresh)))

    async def write(self, request: Request) -> Response:
        body = await parsed_body(request)
        if not isinstance(body, dict) or body.keys() != {"value"}:
            raise InvalidError("To set an attribute send its value.", way_out='Send a body such as {"value": 1.5}.')
        asked = messages.Write(request.path_params["name"], body["value"], lease_of(request))
        return reading_response(request, self._host.description, asked.attribute, await self._ask(asked))

    async def invoke(self, request: Request) -> Response:
        body = await parsed_body(request)
        if body is not None and not isinstance(body, dict):
            raise InvalidError("The parameters are not an object.", way_out='Send a body such as {"to": 1.5}, or none.')
        asked = messages.Invoke(
            request.path_params["action"],
            body or {},
            request.path_params.get("identity"),
            lease_of(request),
            actor_of(request),
            wait="respond-async" not in request.headers.get("prefer", ""),
        )
        return outcome_response(request, self._host.description, await self._ask(asked))

    async def find(self, request: Request) -> Response:
        return found_response(request, self._host.description, await self._find(request))

    async def result(self, request: Request) -> Response:
        path = request.path_params.get("path", "")
        return result_response(request, self._host.description, await self._find(request), path)

    async def _find(self, request: Request) -> dict[str, Any]:
        asked = messages.Find(request.path_params["identity"], request.path_params.get("action"))
        found: dict[str, Any] = await self._ask(asked)
        return found

    async def cancel(self, request: Request) -> Response:
        within = seconds_of(request, "within")
        asked = messages.Cancel(request.path_params["identity"], request.path_params.get("action"), within)
        told = await self._ask(asked)
        return encoded(request, told, status=202 if told["state"] == "running" else 200)

    async def check(self, request: Request) -> Response:
        asked = messages.Check(request.path_params["identity"], request.path_params.get("action"))
        return encoded(request, await self._ask(asked))

    async def stop(self, request: Request) -> Response:
        return encoded(request, await self._ask(messages.Stop()))

    async def alarms(self, request: Request) -> Response:
        return encoded(request, await self._ask(messages.Alarms()))

    async def acknowledge(self, request: Request) -> Response:
        body = await parsed_body(request)
        if not isinstance(body, dict | None) or not {"note"} >= (body or {}).keys():
            raise InvalidError("To acknowledge an alarm send a note, or nothing.", way_out='Such as {"note": "Seen."}.')
        note = str((body or {}).get("note", ""))
        asked = messages.Acknowledge(request.path_params["alarm"], actor_of(request) or "", note)
        return encoded(request, await self._ask(asked))

    async def lease(self, request: Request) -> Response:
        return encoded(request, lease_as_dict(self._host.description.name, self._host.lease))

    async def take(self, request: Request) -> Response:
        return encoded(request, await self._ask(asked_from(messages.Take, await parsed_body(request))))

    async def give_back(self, request: Request) -> Response:
        number = lease_of(request)
        if number is None:
            raise InvalidError("Which lease is given back?", way_out="Say its number in the header Labretto-Lease.")
        return encoded(request, await self._ask(messages.GiveBack(number)))

    async def listen(self, request: Request) -> Response:
        if wants_msgpack(request):
            return StreamingResponse(self._events.stream(framed), media_type="application/msgpack")
        return StreamingResponse(self._events.stream(server_sent), media_type="text/event-stream")

    async def _ask(self, request: messages.Request) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            return await messages.handle(self._host, request, self._links)
        except asyncio.CancelledError:
            if not self._ended:
                raise
            raise UnreachableError("The host ends.", way_out="Ask again with the same id when it is back.") from None
        finally:
            self._asking.discard(task)
