"""Clients that cost next to nothing, the same for every server: a blocking socket with HTTP, a blocking ZMQ DEALER."""

from __future__ import annotations

import selectors
import socket
import time
import uuid
from collections.abc import Callable, Iterable

import msgspec
import zmq

Call = Callable[[], object]
_encode = msgspec.msgpack.Encoder().encode


def request(method: str, path: str, body: bytes = b"", accept: str = "application/json") -> bytes:
    """An HTTP request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: {accept}\r\n"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Http:
    """One kept connection; made again where the server closed it while others were measured."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._buffer = bytearray(1 << 20)
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, data: bytes) -> tuple[int, bytearray]:
        """Status and what was received with the head; the rest of a long body is read and dropped."""
        try:
            return self._ask(data)
        except ConnectionError:
            self.socket.close()
            self._connect()
            return self._ask(data)

    def _ask(self, data: bytes) -> tuple[int, bytearray]:
        self.socket.sendall(data)
        got = bytearray()
        while (end := got.find(b"\r\n\r\n")) < 0:
            self._more(got)
        head = bytes(got[:end]).lower()
        place = head.find(b"content-length:")
        length = int(head[place + 15 : place + 30].split(b"\r\n")[0]) if place >= 0 else 0
        left = length - (len(got) - end - 4)
        view = memoryview(self._buffer)
        while left > 0:
            received = self.socket.recv_into(view, min(left, len(view)))
            if received == 0:
                raise ConnectionError("the server closed the connection")
            if len(got) < 4_096:
                got += view[:received]
            left -= received
        return int(got[9:12]), got

    def _more(self, got: bytearray) -> None:
        chunk = self.socket.recv(65_536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        got += chunk

    def get(self, path: str, accept: str = "application/json") -> Call:
        """A call that asks for `path`."""
        data = request("GET", path, accept=accept)

        def call() -> None:
            status, got = self.ask(data)
            assert status == 200, bytes(got)

        return call

    def act(self, action: str, body: bytes = b'{"to": 1.0}') -> Call:
        """A call that invokes an action under a new id, and waits for its end."""

        def call() -> None:
            status, got = self.ask(request("PUT", f"/actions/{action}/{identity()}", body))
            assert status == 200, bytes(got)

        return call


class Zmq:
    """One DEALER."""

    def __init__(self, port: int) -> None:
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def read(self, attribute: str = "count") -> Call:
        """A call that reads an attribute."""
        return self._asks(lambda: {"ask": "read", "attribute": attribute})

    def act(self, action: str, **parameters: object) -> Call:
        """A call that invokes an action under a new id, and waits for its end."""
        return self._asks(lambda: {"ask": "invoke", "action": action, "parameters": parameters, "identity": identity()})

    def _asks(self, make: Callable[[], dict[str, object]]) -> Call:
        def call() -> None:
            self.socket.send_multipart([b"12345678", _encode(make()), b"", b"frames"])
            frames = self.socket.recv_multipart(copy=False)
            answer = frames[1].buffer
            assert answer[-1:] == b"\xc0" or len(frames) > 2, bytes(answer[:300])  # no problem in it

        return call


def identity() -> str:
    """A UUIDv7, as callers mint them."""
    bits = (time.time_ns() // 1_000_000 << 80) | (uuid.uuid4().int & ((1 << 80) - 1))
    return str(uuid.UUID(int=bits & ~(0xF000 << 64) & ~(0xC000 << 48) | (0x7000 << 64) | (0x8000 << 48)))


def times(call: Call, seconds: float) -> list[float]:
    """How long each call took, in turn, for so many seconds."""
    for _ in range(20):
        call()
    took, until = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        call()
        took.append(time.perf_counter() - began)
    return took


def http_throughput(port: int, data: bytes, clients: int, seconds: float) -> float:
    """Answers per second to so many clients, each with one request on its way."""
    selector = selectors.DefaultSelector()
    sockets = [Http(port).socket for _ in range(clients)]
    for each in sockets:
        selector.register(each, selectors.EVENT_READ)
        each.sendall(data)
    answered, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        for key, _ in selector.select(1.0):
            got = key.fileobj.recv(65_536)
            # One answer may come in two pieces; only the one with the body's end counts.
            if got.endswith((b"}", b"\xa2ok")):
                answered += 1
                key.fileobj.sendall(data)
    _close(sockets)
    return answered / seconds


def zmq_throughput(port: int, clients: int, seconds: float, attribute: str = "count") -> float:
    """The same over ZMQ."""
    poller = zmq.Poller()
    sockets = [Zmq(port).socket for _ in range(clients)]
    data = [b"12345678", _encode({"ask": "read", "attribute": attribute})]
    for each in sockets:
        poller.register(each, zmq.POLLIN)
        each.send_multipart(data)
    answered, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        for each, _ in poller.poll(1_000):
            each.recv_multipart()
            each.send_multipart(data)
            answered += 1
    _close(sockets)
    return answered / seconds


def _close(sockets: Iterable[object]) -> None:
    for each in sockets:
        each.close()  # type: ignore[attr-defined]
