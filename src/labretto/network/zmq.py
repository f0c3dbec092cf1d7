"""An instrument on ZMQ: ROUTER for requests, a publisher for what happens.

A request has the frames [correlation, request], its answer [correlation, answer]. A request with two frames more, a
token (empty where none is needed) and b"frames", may be answered with more frames: the large arrays that the answer
names by their number (`labretto.instrument.codec.encode_framed`). A long wait never blocks another. An event has
[topic, body, number]: who takes them too slowly misses some, and sees it in the numbers.
Beyond the loopback everything is encrypted (`labretto.network.curve`), a request has its token as a third frame
(`labretto.network.zmq_door`), and who subscribes says one too.
The client's end is in `labretto.network.zmq_client`; what the bytes mean is in `labretto.network.messages`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import zmq

from labretto.access.gate import Gate
from labretto.access.listening import check_bind
from labretto.access.rule import Actor
from labretto.errors import BusyError, ConflictError, ForbiddenError, InvalidError, LabError
from labretto.instrument import codec
from labretto.instrument.host import Host
from labretto.instrument.reading import Reading
from labretto.network import messages, zmq_door
from labretto.network.credentials import with_key
from labretto.network.curve import Options, ServerKey
from labretto.network.pump import Pump, Socket, ThreadedPump, new_socket
from labretto.network.zmq_client import FRAMES, TOKEN_TOPIC, open
from labretto.network.zmq_leaving import Leaving

__all__ = ["open", "serve"]

logger = logging.getLogger(__name__)

ANYWHERE = "tcp://127.0.0.1:0"
"""Loopback, any free port."""

_AT_ONCE = 10_000
"""Requests that may wait for their answer at one time."""

_TOLD_AHEAD = 500
"""Events that wait for one slow listener; it misses the next ones, the others do not."""

_LOOK_EVERY = 1.0
"""Seconds between two looks at whether those who hear events may still do so."""

_LET_GO_WITHIN = 500
"""Milliseconds that ZMQ gets to close a port; it takes less than one."""


@contextlib.asynccontextmanager
async def serve(
    host: Host,
    address: str = ANYWHERE,
    *,
    events: str = ANYWHERE,
    links: dict[str, str] | None = None,
    gate: Gate | None = None,
    key: ServerKey | None = None,
) -> AsyncIterator[str]:
    """Answer requests to `host` at `address` and publish its events at `events` while the context lasts.

    Args:
        host: the instrument, opened.
        address: "tcp://127.0.0.1:5555"; port 0 takes a free one.
        events: the same for the publisher.
        links: where else this host is reached; this server adds "zmq" and "events".
        gate: who may do what; needed beyond the loopback.
        key: of this host; needed with a gate, since a token is never sent in clear.

    Yields:
        The address with the port that was taken.

    Raises:
        ConflictError: the port is in use.
        ForbiddenError: others could reach it, and there is no gate or no key.
        InvalidError: the address is none.
    """
    if gate is not None and key is None:
        raise ForbiddenError("Tokens are not sent in clear over ZMQ.", way_out="Give a key as well.")
    links = {} if links is None else links
    with contextlib.ExitStack() as closing:
        router = _bound(_router(key), address, gate)
        closing.callback(_let_go, router)
        publisher = closing.enter_context(contextlib.closing(_Events(host, events, gate, key)))
        public = key.public if key else None
        links |= {"zmq": with_key(_endpoint(router), public), "events": with_key(publisher.endpoint, public)}
        async with contextlib.aclosing(_Requests(host, router, links, gate)):
            yield links["zmq"]


class _Requests:
    """Requests on their way to the host and back.

    They arrive in a thread of their own, which is woken sooner than the loop. One to read an attribute is the most
    frequent, so it gets no task: it is answered there at once, or by the driver's own thread when it has looked. All
    others are answered by the loop.
    """

    def __init__(self, host: Host, router: Socket, links: dict[str, str], gate: Gate | None) -> None:
        self._host = host
        self._gate = gate
        self._links = links
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[object] = set()
        """One for each request that has no answer yet. Changed by three threads, in steps that Python does as one."""
        self._closed = False
        self._leaving = Leaving()
        # With a gate all is answered by the loop, so nothing is gained by another thread.
        self._pump = Pump(router, self._take, named=True) if gate else ThreadedPump(router, self._take)

    async def aclose(self) -> None:
        self._pump.detach()
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, frames: list[bytes]) -> None:
        if len(frames) < 3:
            back = _Back(frames[0], b"".join(frames[1:2]), framed=False)
            self._send(back, [messages.refused(InvalidError("A request has the frames [correlation, request]."))])
            return
        back = _Back(frames[0], frames[1], framed=frames[4:] == [FRAMES])
        if len(self._open) >= _AT_ONCE:
            error = BusyError(f"{_AT_ONCE} requests wait for their answer; this one was refused.")
            self._send(back, [messages.refused(error)])
        elif self._gate is not None:
            shown = zmq_door.Shown(b"".join(frames[3:4]), self._pump.peer)
            self._in_loop(self._answer_guarded, self._gate, back, frames[2], shown)
        else:
            self._answer(back, frames[2])

    def _answer(self, back: _Back, data: bytes) -> None:
        try:
            request = messages.decode_request(data)
            if type(request) is messages.Read:
                self._look(back, request)
                return
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the one who asked is told
            self._send(back, [messages.refused(error)])
        else:
            self._in_loop(self._answer_later, back, request)

    def _look(self, back: _Back, request: messages.Read) -> None:
        def told(reading: Reading | None, error: LabError | None) -> None:
            self._open.discard(ticket)
            self._send(back, self._told(back, request, reading, error))

        ticket = object()
        self._open.add(ticket)
        try:
            known = self._host.look(request.attribute, told, fresh=request.fresh)
        except LabError:
            self._open.discard(ticket)
            raise
        if known is not None:
            told(known, None)

    def _told(
        self, back: _Back, request: messages.Read, reading: Reading | None, error: LabError | None
    ) -> Sequence[codec.Buffer]:
        try:
            if reading is None:
                return [messages.refused(error or LabError("The host met a fault of its own."))]
            return self._frames(back, request, reading.as_dict())
        except Exception as fault:  # noqa: BLE001 - as above
            return [messages.refused(fault)]

    def _frames(self, back: _Back, request: messages.Request, value: Any) -> Sequence[codec.Buffer]:
        if back.framed:
            return messages.frames_of(self._host, request, value)
        return [messages.encode_value(messages.Answer(value))]

    def _in_loop(self, answer: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        ticket = object()
        self._open.add(ticket)
        with contextlib.suppress(RuntimeError):  # it is closed: nobody is there to answer
            self._loop.call_soon_threadsafe(self._begin, ticket, answer, arguments)

    def _begin(self, ticket: object, answer: Callable[..., Coroutine[Any, Any, None]], arguments: Any) -> None:
        if self._closed:
            return

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._open.discard(ticket)

        task = asyncio.create_task(answer(*arguments))
        self._tasks.add(task)
        task.add_done_callback(over)

    async def _answer_later(self, back: _Back, request: messages.Request) -> None:
        try:
            frames = self._frames(back, request, await messages.handle(self._host, request, self._links))
        except Exception as error:  # noqa: BLE001 - as above
            frames = [messages.refused(error)]
        self._send(back, frames)

    async def _answer_guarded(self, gate: Gate, back: _Back, data: bytes, shown: zmq_door.Shown) -> None:
        self._send(back, await zmq_door.answer(gate, self._host, data, self._links, shown, framed=back.framed))

    def _send(self, back: _Back, frames: Sequence[codec.Buffer]) -> None:
        """From any thread."""
        try:
            if len(frames) > 1:
                self._leaving.check(back.peer)
                self._leaving.note(back.peer, self._pump.send([back.peer, back.correlation, *frames], copy=False))
            else:
                self._pump.send([back.peer, back.correlation, frames[0]])
        except BusyError as error:
            self._send(back, [messages.refused(error)])
        except zmq.Again:
            logger.warning("a client does not take its answers; one was dropped")
        except zmq.ZMQError as error:
            # That one has gone away, and asks again if it wants to know; or we have, while the driver looked.
            if error.errno not in (zmq.EHOSTUNREACH, zmq.ENOTSOCK):
                raise


@dataclass(frozen=True, slots=True)
class _Back:
    """Where an answer goes."""

    peer: bytes
    correlation: bytes
    framed: bool
    """Large arrays may follow in frames of their own."""


class _Events:
    """What the host tells, published to those who listen."""

    def __init__(self, host: Host, address: str, gate: Gate | None, key: ServerKey | None) -> None:
        self._gate = gate
        self._key = key
        self._admitted: dict[bytes, tuple[Actor, int]] = {}
        self._looked = 0.0
        self._open(address)
        self._told = itertools.count()
        self._listen = host.listen
        self._end: Callable[[], None] | None = None

    def _open(self, address: str) -> None:
        self._socket = _bound(_publisher(self._key, guarded=self._gate is not None), address, self._gate)
        self._pump = Pump(self._socket, self._subscription)

    @property
    def endpoint(self) -> str:
        return _endpoint(self._socket)

    def close(self) -> None:
        self._hear(False)
        self._pump.detach()
        _let_go(self._socket)

    def _hear(self, heard: bool) -> None:
        """Where nobody hears, the host does not tell: that would cost it something with each reading."""
        if heard and self._end is None:
            self._end = self._listen(self._tell)
        elif not heard and self._end is not None:
            self._end()
            self._end = None

    def _subscription(self, frames: list[bytes]) -> None:
        """Told of the first and of the last subscription only: b"\\x01" + topic, b"\\x00" + topic."""
        if self._gate is None:
            self._hear(self._heard_after(frames[0]))
        elif frames[0][1:].startswith(TOKEN_TOPIC):
            self._admit(self._gate, frames[0][1:], came=frames[0][:1] == b"\x01")
            self._hear(bool(self._admitted))

    def _admit(self, gate: Gate, shown: bytes, *, came: bool) -> None:
        """Where tokens are needed a subscription counts for nothing, and the one that says a token for everything."""
        actor, count = self._admitted.pop(shown, (None, 0))
        if came:
            try:
                actor = zmq_door.who(gate, shown.removeprefix(TOKEN_TOPIC))
            except LabError as error:
                gate.note_refusal(None, "read", "subscribe", error, where="zmq")
            else:
                self._socket.setsockopt(zmq.SUBSCRIBE, b"")  # of the one whose message was taken last
                self._pump.send([b"welcome"])
                count += 1
        elif actor is not None:
            count -= 1
        if actor is not None and count > 0:
            self._admitted[shown] = (actor, count)

    def _drop_the_revoked(self, gate: Gate) -> None:
        """ZMQ cannot end one subscription of many: the port is closed and opened, and all have to show their token."""
        if (now := time.monotonic()) < self._looked + _LOOK_EVERY:
            return
        self._looked = now
        if not all(gate.still(actor) for actor, _ in self._admitted.values()):
            where = self.endpoint
            self._pump.detach()
            _let_go(self._socket)
            self._admitted.clear()
            self._hear(False)
            self._open(where)

    def _heard_after(self, subscription: bytes) -> bool:
        return subscription[:1] == b"\x01" if subscription[1:] == b"" else self._end is not None

    def _tell(self, topic: str, body: dict[str, Any]) -> None:
        if self._gate is not None:
            self._drop_the_revoked(self._gate)
        if self._end is None:
            return
        try:
            data = codec.encode(body)
        except codec.CannotEncodeError as error:
            logger.warning("an event cannot be sent: %s", error.detail, extra={"topic": topic})
        else:
            self._pump.send([topic.encode(), data, next(self._told).to_bytes(8, "big")])


def _router(key: ServerKey | None) -> Socket:
    options: Options = {
        zmq.ROUTER_MANDATORY: 1,
        zmq.MAXMSGSIZE: messages.REQUEST_LIMIT,
        zmq.SNDHWM: _AT_ONCE,
        zmq.RCVHWM: 1_000,
        zmq.HEARTBEAT_IVL: 2_000,
        zmq.HEARTBEAT_TIMEOUT: 10_000,
    }
    return new_socket(zmq.ROUTER, options | (key.options() if key else {}))


def _publisher(key: ServerKey | None, *, guarded: bool) -> Socket:
    # The first message that a listener gets says that the next ones will reach it.
    options: Options = {zmq.XPUB_MANUAL: 1} if guarded else {zmq.XPUB_WELCOME_MSG: b"welcome"}
    options |= {zmq.MAXMSGSIZE: 1_024, zmq.HEARTBEAT_IVL: 2_000, zmq.SNDHWM: _TOLD_AHEAD}
    return new_socket(zmq.XPUB, options | (key.options() if key else {}))


def _bound(socket: Socket, address: str, gate: Gate | None) -> Socket:
    if "[" in address:
        socket.setsockopt(zmq.IPV6, 1)
    try:
        socket.bind(address)
        if address.startswith("tcp:"):
            # Asked of what was bound and not of what was written: a name may lead anywhere. Nothing was taken yet.
            check_bind(urlsplit(_endpoint(socket)).hostname or "", gate)
    except ForbiddenError:
        socket.close(linger=0)
        raise
    except zmq.ZMQError as error:
        socket.close(linger=0)
        if error.errno == zmq.EADDRINUSE:
            raise ConflictError(f"{address} is in use.", way_out="Choose another port, or 0 for a free one.") from None
        raise InvalidError(f"{address} cannot be served: {error}.", way_out="Write tcp://HOST:PORT.") from None
    return socket


def _let_go(socket: Socket) -> None:
    """Close; when this returns the port is free. ZMQ would close it some time later, in a thread of its own."""
    monitor = socket.get_monitor_socket(zmq.EVENT_CLOSED)
    socket.unbind(_endpoint(socket))
    monitor.poll(_LET_GO_WITHIN)
    socket.disable_monitor()
    monitor.close(linger=0)
    socket.close(linger=0)


def _endpoint(socket: Socket) -> str:
    return bytes(socket.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()
