"""An instrument on ZMQ: ROUTER for requests, a publisher for what happens.

A request has the frames [correlation, request], its answer [correlation, answer]; further frames are kept for large
arrays. Each request is a task of its own, so a long wait never blocks another. An event has [topic, body].
The client's end is in `labretto.network.zmq_client`; what the bytes mean is in `labretto.network.messages`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import zmq

from labretto.errors import BusyError, ConflictError, InvalidError
from labretto.instrument import codec
from labretto.instrument.host import Host
from labretto.network import messages
from labretto.network.pump import Pump, Socket, new_socket
from labretto.network.zmq_client import open

__all__ = ["open", "serve"]

logger = logging.getLogger(__name__)

ANYWHERE = "tcp://127.0.0.1:0"
"""Loopback, any free port."""

_AT_ONCE = 10_000
"""Requests that may wait for their answer at one time."""

_LET_GO_WITHIN = 500
"""Milliseconds that ZMQ gets to close a port; it takes less than one."""


@contextlib.asynccontextmanager
async def serve(
    host: Host, address: str = ANYWHERE, *, events: str = ANYWHERE, links: dict[str, str] | None = None
) -> AsyncIterator[str]:
    """Answer requests to `host` at `address` and publish its events at `events` while the context lasts.

    Args:
        host: the instrument, opened.
        address: "tcp://127.0.0.1:5555"; port 0 takes a free one.
        events: the same for the publisher.
        links: where else this host is reached; this server adds "zmq" and "events".

    Yields:
        The address with the port that was taken.

    Raises:
        ConflictError: the port is in use.
        InvalidError: the address is none.
    """
    links = {} if links is None else links
    with contextlib.ExitStack() as closing:
        router = _bound(_router(), address)
        closing.callback(_let_go, router)
        publisher = _bound(_publisher(), events)
        closing.callback(_let_go, publisher)
        links |= {"zmq": _endpoint(router), "events": _endpoint(publisher)}
        closing.enter_context(contextlib.closing(_Events(host, publisher)))
        async with contextlib.aclosing(_Requests(host, router, links)):
            yield links["zmq"]


class _Requests:
    """Requests on their way to the host and back."""

    def __init__(self, host: Host, router: Socket, links: dict[str, str]) -> None:
        self._host = host
        self._links = links
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump = Pump(router, self._take)

    async def aclose(self) -> None:
        self._pump.detach()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, frames: list[bytes]) -> None:
        if len(frames) < 3:
            fault = InvalidError("A request has the frames [correlation, request].")
            self._send(frames[0], b"".join(frames[1:2]), codec.encode(messages.Answer(problem=fault.problem())))
        elif len(self._tasks) >= _AT_ONCE:
            busy = BusyError(f"{_AT_ONCE} requests wait for their answer; this one was refused.")
            self._send(frames[0], frames[1], codec.encode(messages.Answer(problem=busy.problem())))
        else:
            task = asyncio.create_task(self._answer(*frames[:3]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, peer: bytes, correlation: bytes, data: bytes) -> None:
        self._send(peer, correlation, await messages.answer(self._host, data, self._links))

    def _send(self, peer: bytes, correlation: bytes, data: bytes) -> None:
        try:
            self._pump.send([peer, correlation, data])
        except zmq.Again:
            logger.warning("a client does not take its answers; one was dropped")
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:  # that one has gone away, and asks again if it wants to know
                raise


class _Events:
    """What the host tells, published to those who listen."""

    def __init__(self, host: Host, publisher: Socket) -> None:
        self._pump = Pump(publisher, self._subscription)
        self._heard = False
        self._end = host.listen(self._tell)

    def close(self) -> None:
        self._end()
        self._pump.detach()

    def _subscription(self, frames: list[bytes]) -> None:
        """Told of the first and of the last subscription only: b"\\x01" + topic, b"\\x00" + topic."""
        self._heard = self._heard_after(frames[0])

    def _heard_after(self, subscription: bytes) -> bool:
        return subscription[:1] == b"\x01" if subscription[1:] == b"" else self._heard

    def _tell(self, topic: str, body: dict[str, Any]) -> None:
        if not self._heard:
            return
        try:
            data = codec.encode(body)
        except codec.CannotEncodeError as error:
            logger.warning("an event cannot be sent: %s", error.detail, extra={"topic": topic})
        else:
            self._pump.send([topic.encode(), data])


def _router() -> Socket:
    options = {
        zmq.ROUTER_MANDATORY: 1,
        zmq.MAXMSGSIZE: messages.REQUEST_LIMIT,
        zmq.SNDHWM: _AT_ONCE,
        zmq.RCVHWM: 1_000,
        zmq.HEARTBEAT_IVL: 2_000,
        zmq.HEARTBEAT_TIMEOUT: 10_000,
    }
    return new_socket(zmq.ROUTER, options)


def _publisher() -> Socket:
    # The first message that a listener gets says that the next ones will reach it.
    options = {zmq.XPUB_WELCOME_MSG: b"welcome", zmq.MAXMSGSIZE: 1_024, zmq.HEARTBEAT_IVL: 2_000}
    return new_socket(zmq.XPUB, options)


def _bound(socket: Socket, address: str) -> Socket:
    try:
        socket.bind(address)
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
