"""The client's end of an instrument on ZMQ.

A `Line` is one TCP connection. ZMQ would reconnect by itself and say nothing; here its monitor tells when the line
breaks, everything that waits on it fails at once, and the next request makes a new line. So nothing that was given up
is delivered later.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import zmq

from labretto.access.listening import is_loopback
from labretto.errors import ForbiddenError, InvalidError, LabError
from labretto.instrument import codec
from labretto.network import messages
from labretto.network.connection import CONNECT_WITHIN, Listener, Listeners, back_off, closed, unreachable
from labretto.network.credentials import split_key
from labretto.network.curve import Options, client_options
from labretto.network.messages import Describe, Request
from labretto.network.pump import Pump, new_socket

_CONNECTED = zmq.EVENT_HANDSHAKE_SUCCEEDED
_LOST: dict[int, str] = {
    zmq.EVENT_DISCONNECTED: "the connection is lost",
    zmq.EVENT_CONNECT_RETRIED: "nobody answers there",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "it does not speak ZMQ, or not with {key}",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "it does not speak ZMQ, or not with {key}",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "it refuses this client",
}
_WATCHED = _CONNECTED | sum(_LOST)


TOKEN_TOPIC = b"token "
"""What a listener subscribes to besides everything, with its token behind it, where a token is needed."""


FRAMES = b"frames"
"""Last frame of a request whose sender takes large arrays as frames of their own, after the answer."""


async def open(address: str, token: str | None = None) -> ZmqConnection:
    """A connection to the host at `address` ("tcp://127.0.0.1:5555").

    Args:
        address: beyond the loopback with the host's public key, as the host tells it.
        token: shown to a host whose public key is in its address; never sent in clear.

    Raises:
        ForbiddenError: it is beyond the loopback and says no public key.
        UnreachableError: nobody answers there.
        InvalidError: the address is none.
    """
    connection = ZmqConnection(address, token)
    await connection.connect()
    return connection


class ZmqConnection:
    """Requests with correlation numbers over one line; a new line when the old one broke."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        bare, self.key = split_key(address)
        there = urlsplit(bare)
        if self.key is None and there.scheme == "tcp" and there.hostname and not is_loopback(there.hostname):
            raise ForbiddenError(
                f"{address[:200]} says no public key; what is sent there could be read and changed on the way.",
                way_out="Write the address as the host tells it (tcp://...#curve=...), or its http:// address.",
            )
        self.token = token.encode() if token and self.key else None
        self._line: Line | None = None
        self._closed = False
        self._dialling = asyncio.Lock()
        self._events = _EventLine(self)

    async def ask(self, request: Request) -> Any:
        """The value that answers `request`; see `labretto.network.connection.Connection`."""
        data = messages.encode_request(request)
        line = self._line if self._line and not self._line.lost else await self.connect()
        return messages.decode_answer(*await line.ask(data))

    async def connect(self) -> Line:
        """The line that is there, or a new one."""
        async with self._dialling:
            if self._closed:
                raise closed(self.address)
            if self._line is None or self._line.lost:
                line = Line(self.address, (self.token or b"", FRAMES))
                await line.open()
                self._line = line
            return self._line

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for what the host tells from now on, best effort; the answer ends that."""
        return self._events.listen(listener)

    async def hearing(self) -> None:
        """Return when the host's events are on their way to the listeners."""
        await self._events.hearing()

    async def close(self) -> None:
        """Let the connection go; what still waits gets an `UnreachableError`."""
        self._closed = True
        await self._events.close()
        if self._line:
            self._line.fail("the client closed the connection")


class Line:
    """One TCP connection: a DEALER and the monitor that watches it.

    Args:
        address: as for `open`.
        tail: frames behind each request; a host of ours takes two, others none.
    """

    def __init__(self, address: str, tail: Sequence[bytes] = ()) -> None:
        self.lost: str | None = None
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._address, key = split_key(address)
        self._key = "this key" if key else "an address that has no key (tcp://...#curve=...)"
        self._tail = tail
        self._waiting: dict[bytes, asyncio.Future[list[Any]]] = {}
        self._numbers = itertools.count()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        socket = new_socket(zmq.DEALER, _options(self._address, key))
        self._monitor = Pump(socket.get_monitor_socket(_WATCHED), self._watch)
        self._pump = Pump(socket, self._take, copied=2)
        self._socket = socket

    async def open(self) -> None:
        """Connect.

        Raises:
            UnreachableError: nobody answers there.
            InvalidError: the address is none.
        """
        try:
            self._socket.connect(self._address)
        except zmq.ZMQError as error:
            self.fail("the address is none")
            raise InvalidError(f"{self._address!r} is no address: {error}.", way_out="Write tcp://HOST:PORT.") from None
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await asyncio.shield(self._ready)
        except BaseException as error:
            self.fail(f"no connection within {CONNECT_WITHIN:g} s")
            if isinstance(error, TimeoutError):
                raise unreachable(self._address, str(self.lost), sent=False) from None
            raise

    async def ask(self, data: bytes) -> list[Any]:
        """The frames that come back for `data`; `UnreachableError` as soon as the line is lost."""
        number = next(self._numbers).to_bytes(8, "big")
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._pump.send([number, data, *self._tail])
            return await answer
        except zmq.ZMQError as error:
            raise unreachable(self._address, self.lost or str(error)) from None
        finally:
            self._waiting.pop(number, None)

    def fail(self, why: str) -> None:
        """Close; everything that waits fails at once. Nothing happens if it was lost before."""
        if self.lost:
            return
        self.lost, connected = why, self._ready.done()
        # First: ZMQ's own thread waits for ever, and with it every line of the process, if it has something to tell to
        # a monitor that is closed already.
        self._socket.disable_monitor()
        self._monitor.close()
        self._pump.close()
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._waiting.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(unreachable(self._address, why, sent=connected))
        self._ready.exception()  # nobody may be waiting for it
        self.end.set_result(None)

    def _take(self, frames: list[Any]) -> None:
        answer = self._waiting.get(frames[0])
        if answer is not None and not answer.done() and len(frames) > 1:
            answer.set_result(frames[1:])

    def _watch(self, frames: list[bytes]) -> None:
        event = int.from_bytes(frames[0][:2], sys.byteorder)  # `zmq.utils.monitor` would bring `zmq.asyncio` along
        if event == _CONNECTED and not self._ready.done():
            self._ready.set_result(None)
        elif event in _LOST:
            self._pump.drain()  # an answer that came before the end counts
            self.fail(_LOST[event].format(key=self._key))


class _EventLine:
    """The subscription to what the host tells; made when somebody listens, made again after each loss."""

    def __init__(self, connection: ZmqConnection) -> None:
        self._connection = connection
        self._listeners = Listeners()
        self._hearing = asyncio.Event()
        self._next: int | None = None
        """Number that the next event has if none is missed."""
        self._task: asyncio.Task[None] | None = None

    def listen(self, listener: Listener) -> Callable[[], None]:
        self._task = self._task or asyncio.create_task(self._keep_hearing())
        return self._listeners.add(listener)

    async def hearing(self) -> None:
        await self._hearing.wait()

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_hearing(self) -> None:
        pauses = back_off()
        while True:
            try:
                line = await self._connection.connect()
                await self._hear(line)
                pauses = back_off()
            except LabError:
                await asyncio.sleep(next(pauses))

    async def _hear(self, line: Line) -> None:
        """Subscribe to the host at the end of `line` until that is lost."""
        events = (await self._connection.ask(Describe())).get("links", {}).get("events")
        if events is None:
            raise unreachable(self._connection.address, "it publishes no events")
        where, key = split_key(_seen_from_here(events, self._connection.address))
        ipv6 = {zmq.IPV6: 1} if "[" in where else {}
        socket = new_socket(zmq.SUB, {zmq.HEARTBEAT_IVL: 2_000} | ipv6 | client_options(key))
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        if key is not None and self._connection.token:
            socket.setsockopt(zmq.SUBSCRIBE, TOKEN_TOPIC + self._connection.token)
        with contextlib.closing(Pump(socket, self._take)):
            socket.connect(where)
            try:
                await asyncio.shield(line.end)
            finally:
                self._hearing.clear()

    def _take(self, frames: list[bytes]) -> None:
        if len(frames) < 2:
            self._next = None
            self._hearing.set()
            return
        number = int.from_bytes(frames[2], "big") if len(frames) > 2 else None
        if number is not None and self._next is not None and number > self._next:
            self._listeners.tell("lost", {"events": number - self._next})
        self._next = None if number is None else number + 1
        self._listeners.tell(frames[0].decode(), codec.decode(frames[1]))


def _seen_from_here(events: str, address: str) -> str:
    """Where the publisher is for one who reaches the host at `address`, if it listens on all of its addresses."""
    there = urlsplit(events)
    if there.hostname not in ("0.0.0.0", "::", "*"):
        return events
    name = urlsplit(address).hostname or ""
    key = f"#{there.fragment}" if there.fragment else ""
    return f"tcp://{f'[{name}]' if ':' in name else name}:{there.port}{key}"


def _options(address: str, key: bytes | None) -> Options:
    return client_options(key) | {
        zmq.IPV6: int("[" in address),
        zmq.IMMEDIATE: 1,
        zmq.SNDHWM: 0,
        zmq.RCVHWM: 0,
        zmq.HANDSHAKE_IVL: int(CONNECT_WITHIN * 1_000),
        # A host whose machine vanished says no good-bye.
        zmq.HEARTBEAT_IVL: 2_000,
        zmq.HEARTBEAT_TIMEOUT: 8_000,
    }
