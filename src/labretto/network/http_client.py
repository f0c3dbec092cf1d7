"""The client's end of an instrument on HTTP: a host of ours, a board, or anything that keeps the same contract."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2

from labretto.errors import FailedError, InvalidError, LabError, from_problem
from labretto.instrument import codec
from labretto.network import messages
from labretto.network.connection import CONNECT_WITHIN, Listener, Listeners, back_off, closed, unreachable
from labretto.network.http_events import unframed as events_in
from labretto.network.http_formats import FRAMES, unframed

_MSGPACK = "application/msgpack"
_JSON = "application/json"
_ACCEPT = f"{_MSGPACK}, {_JSON};q=0.5"

_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # A host whose machine vanished says no good-bye: asked after 5 s of silence, given up after 3 more.
    *([(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)] if hasattr(socket, "TCP_KEEPIDLE") else []),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


_MAY_TAKE_LONG = messages.Invoke | messages.Check | messages.Cancel | messages.Stop

_MAY_HOLD_ARRAYS = messages.Read | messages.ReadAll | messages.Write | messages.Invoke | messages.Find
"""Large arrays are asked for as they lie in the host's memory; who does not know that format sends another."""

_OF_A_PROXY = frozenset({502, 503, 504})
"""What a proxy answers for a host that died or does not answer; a host's own problems come as such."""

_AT_ONCE = 16
"""Connections for quick requests; more at one time would only be opened to be closed again."""


class _Asked(NamedTuple):
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


async def open(address: str, token: str | None = None) -> HttpConnection:
    """A connection to the instrument at `address` ("http://127.0.0.1:5001").

    Raises:
        InvalidError: the address is none.
    """
    return HttpConnection(address, token)


class HttpConnection:
    """Requests over kept-alive connections."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address.rstrip("/")
        shown = {"authorization": f"Bearer {token}"} if token else {}
        # An action may take hours, so an answer is waited for without end; a lost connection ends the waiting.
        timeout = httpx2.Timeout(None, connect=CONNECT_WITHIN)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=60.0)
        # Reading the certificates of the world takes longer than everything else here.
        verify = _certificates() if self.address.startswith("https:") else False
        transport = httpx2.AsyncHTTPTransport(verify, limits=limits, socket_options=_KEEP_ALIVE, trust_env=False)
        self._client = httpx2.AsyncClient(headers=shown, timeout=timeout, transport=transport, trust_env=False)
        self._closed = False
        self._speaks_msgpack = False
        self._quick = asyncio.Semaphore(_AT_ONCE)
        self._events = _EventStream(self)

    async def ask(self, request: messages.Request) -> Any:
        """The value that answers `request`; see `labretto.network.connection.Connection`."""
        if self._closed:
            raise closed(self.address)
        method, path, body, headers = as_http(request)
        headers = {"accept": f"{FRAMES}, {_ACCEPT}" if isinstance(request, _MAY_HOLD_ARRAYS) else _ACCEPT, **headers}
        data = None
        if body is not None:
            data = self._encoded(body)
            headers["content-type"] = _MSGPACK if self._speaks_msgpack else _JSON
        # What may wait for an action's end is never queued behind what is quick.
        place = contextlib.nullcontext() if isinstance(request, _MAY_TAKE_LONG) else self._quick
        with self._lost_is_unreachable():
            async with place:
                response = await self._client.request(method, self.address + path, content=data, headers=headers)
        return self._value(response)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for what the host tells from now on, best effort; the answer ends that."""
        return self._events.listen(listener)

    async def hearing(self) -> None:
        """Return when the host's events are on their way to the listeners."""
        await self._events.hearing.wait()

    async def close(self) -> None:
        """Let the connection go; what still waits gets an `UnreachableError`."""
        self._closed = True
        await self._events.close()
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of an answer without end."""
        headers = {"accept": _MSGPACK}
        with self._lost_is_unreachable():
            async with self._client.stream("GET", self.address + path, headers=headers) as response:
                if response.status_code != 200 or not _is_msgpack(response):
                    raise unreachable(self.address, "it has no events")
                yield response.aiter_raw()

    def _encoded(self, body: Any) -> bytes:
        data = codec.encode(body) if self._speaks_msgpack else codec.encode_json(body)
        if len(data) > messages.REQUEST_LIMIT:
            raise messages.too_large(len(data))
        return data

    def _value(self, response: httpx2.Response) -> Any:
        try:
            if _media(response) == FRAMES:
                self._speaks_msgpack = True
                value = codec.decode_framed(unframed(response.content))
            elif _is_msgpack(response):
                self._speaks_msgpack = True
                value = codec.decode(response.content)
            else:
                value = codec.decode_json(response.content)
        except InvalidError as error:
            raise self._foreign(response) from error
        if response.status_code < 400:
            return value
        if not isinstance(value, dict):
            raise self._foreign(response)
        if "invocation" in value:
            return value["invocation"]  # an action that failed is an answer
        raise from_problem({"status": response.status_code, **value})

    def _foreign(self, response: httpx2.Response) -> LabError:
        if response.status_code in _OF_A_PROXY:
            return unreachable(self.address, f"what stands before it answers {response.status_code}")
        return FailedError(
            f"{self.address} answered {response.status_code} with something that is no answer of an instrument.",
            way_out="Is it the address of an instrument?",
        )

    @contextlib.contextmanager
    def _lost_is_unreachable(self) -> Iterator[None]:
        try:
            yield
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
            raise InvalidError(f"{self.address!r} is no address: {error}.", way_out="Write http://HOST:PORT.") from None
        except httpx2.ConnectTimeout:
            raise unreachable(self.address, f"no connection within {CONNECT_WITHIN:g} s", sent=False) from None
        except httpx2.ConnectError as error:
            why = str(error).replace("All connection attempts failed", "nobody listens there")
            raise unreachable(self.address, why, sent=False) from None
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise unreachable(self.address, str(error) or "the connection is lost") from None


def as_http(request: messages.Request) -> _Asked:
    """The same request in the words of HTTP."""
    match request:
        case messages.Read():
            fresh = {"cache-control": "no-cache"} if request.fresh else {}
            return _Asked("GET", f"/attributes/{_quoted(request.attribute)}", None, fresh)
        case messages.Write():
            path = f"/attributes/{_quoted(request.attribute)}"
            return _Asked("PUT", path, {"value": request.value}, _headers(request))
        case messages.Invoke():
            path = f"/actions/{_quoted(request.action)}"
            if request.identity is None:
                return _Asked("POST", path, request.parameters, _headers(request))
            return _Asked("PUT", f"{path}/{_quoted(request.identity)}", request.parameters, _headers(request))
        case messages.Find():
            return _Asked("GET", _invocation_path(request))
        case messages.Check():
            return _Asked("POST", f"{_invocation_path(request)}/check")
        case messages.Cancel():
            within = "" if request.within is None else f"?within={request.within!r}"
            return _Asked("DELETE", _invocation_path(request) + within)
        case messages.Stop():
            return _Asked("POST", "/stop")
        case messages.Take():
            until = request.until.isoformat() if request.until else None
            words = {"holder": request.holder, "number": request.number, "until": until, "over": request.over}
            return _Asked("PUT", "/lease", words)
        case messages.Alarms():
            return _Asked("GET", "/alarms")
        case messages.Acknowledge():
            by = {"labretto-actor": quote(request.by, safe=" @")} if request.by else {}
            return _Asked("POST", f"/alarms/{_quoted(request.alarm)}/acknowledge", {"note": request.note}, by)
        case messages.GiveBack():
            return _Asked("DELETE", "/lease", None, {"labretto-lease": str(request.number)})
        case messages.ReadAll():
            return _Asked("GET", "/attributes")
        case messages.Health():
            return _Asked("GET", "/health")
        case _:
            return _Asked("GET", "/")


def _invocation_path(request: messages.Find | messages.Check | messages.Cancel) -> str:
    identity = _quoted(request.identity)
    return f"/actions/{_quoted(request.action)}/{identity}" if request.action else f"/invocations/{identity}"


def _headers(request: messages.Write | messages.Invoke) -> dict[str, str]:
    headers = {"labretto-lease": str(request.lease)} if request.lease is not None else {}
    if isinstance(request, messages.Invoke):
        headers |= {"labretto-actor": quote(request.actor, safe=" @")} if request.actor else {}
        headers |= {} if request.wait else {"prefer": "respond-async"}
    return headers


def _certificates() -> ssl.SSLContext | bool:
    """Those of the world, or the file of the lab's own that SSL_CERT_FILE names."""
    own = os.environ.get("SSL_CERT_FILE")
    return ssl.create_default_context(cafile=own) if own else True


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _is_msgpack(response: httpx2.Response) -> bool:
    return _media(response) == _MSGPACK


def _media(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


class _EventStream:
    """The host's events; asked for when somebody listens, asked for again after each loss."""

    def __init__(self, connection: HttpConnection) -> None:
        self.hearing = asyncio.Event()
        self._connection = connection
        self._listeners = Listeners()
        self._task: asyncio.Task[None] | None = None

    def listen(self, listener: Listener) -> Callable[[], None]:
        self._task = self._task or asyncio.create_task(self._keep_hearing())
        return self._listeners.add(listener)

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_hearing(self) -> None:
        pauses = back_off()
        while True:
            try:
                await self._hear()
                pauses = back_off()
            except LabError:
                pass
            self.hearing.clear()
            await asyncio.sleep(next(pauses))

    async def _hear(self) -> None:
        buffer = bytearray()
        async with self._connection.stream("/events") as chunks:
            async for chunk in chunks:
                buffer += chunk
                for topic, body in events_in(buffer):
                    self.hearing.set()
                    if topic:
                        self._listeners.tell(topic, body)
