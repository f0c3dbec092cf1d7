"""A viewer that does not take what is told loses frames and is told so; nobody else notices, and nothing piles up."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import zmq as pyzmq

from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.network import http, zmq
from labretto.network.client import open_instrument
from labretto.network.http_events import KEPT, KEPT_BYTES, Waiting

MANY = 5_000
BODY = {"text": "x" * 2_000}


class Thing:
    """Says nothing by itself."""

    @property
    def x(self) -> float:
        """Always one."""
        return 1.0


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with Host(Thing, describe(Thing, name="thing"), Ledger()) as host:
        yield host


class Heard(list[tuple[str, Any]]):
    """What a listener was told."""

    def __init__(self) -> None:
        self._more = asyncio.Event()

    def hear(self, topic: str, body: dict[str, Any]) -> None:
        self.append((topic, body.get("number", body.get("events"))))
        self._more.set()

    async def until(self, number: int) -> None:
        """Return when the event of this number has come."""
        async with asyncio.timeout(5):
            while not self or self[-1] != ("stream", number):
                self._more.clear()
                await self._more.wait()

    async def more_than(self, number: int) -> None:
        """Return when so many have come, and another."""
        async with asyncio.timeout(5):
            while len(self) <= number:
                self._more.clear()
                await self._more.wait()


async def tell_many(host: Host, heard: Heard) -> None:
    """Tell more than any buffer holds; the others get their turn after each few."""
    for number in range(MANY):
        host._tell("stream", {"number": number, **BODY})
        if number % 50 == 49:
            await heard.until(number)


# HTTP -----------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def slow_http(url: str, accept: str) -> AsyncIterator[Callable[[], bytes]]:
    """A viewer that takes nothing until it is asked for all that waits."""
    parts = urlsplit(url)
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await asyncio.to_thread(viewer.connect, (parts.hostname, parts.port))
    viewer.sendall(f"GET /events HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: {accept}\r\n\r\n".encode())
    await asyncio.to_thread(viewer.recv, 1, socket.MSG_PEEK)

    def until_it_is_told() -> bytes:
        viewer.settimeout(5)
        seen = b""
        while b"lost" not in seen:
            seen = seen[-100:] + viewer.recv(65_536)
        return seen

    try:
        yield until_it_is_told
    finally:
        viewer.close()


@pytest.mark.parametrize("accept", ["text/event-stream", "application/msgpack"])
async def test_a_slow_viewer_on_http_is_told_that_it_lost_events_and_others_lose_none(host: Host, accept: str) -> None:
    heard = Heard()
    async with http.serve(host) as url, await open_instrument(url) as other, slow_http(url, accept) as slow:
        other.listen(heard.hear)
        await other.hearing()
        await tell_many(host, heard)

        assert heard == [("stream", number) for number in range(MANY)]
        assert b"lost" in await asyncio.to_thread(slow)
        assert (await other.read("x")).value == 1.0


async def test_what_waits_for_a_viewer_is_bounded_in_number_and_in_bytes() -> None:
    waiting = Waiting()
    for number in range(3 * KEPT):
        waiting.put("stream", {"number": number})
    assert len(waiting) == KEPT
    for _ in range(100):
        waiting.put("stream", {"columns": {"image": np.zeros(1_000_000)}})

    assert waiting.bytes <= KEPT_BYTES
    assert await waiting.next() == ("lost", {"events": 3 * KEPT + 100 - len(waiting)})
    assert (await waiting.next() or ("", {}))[0] == "stream"


async def test_one_event_that_is_larger_than_all_that_may_wait_is_told_still() -> None:
    waiting = Waiting()
    waiting.put("attribute", {"value": np.zeros(KEPT_BYTES)})

    assert (await waiting.next() or ("", {}))[0] == "attribute"
    assert waiting.bytes == 0


# ZMQ ------------------------------------------------------------------------------------------------------------------


async def test_a_slow_viewer_on_zmq_sees_in_the_numbers_what_it_lost_and_others_lose_none(host: Host) -> None:
    heard = Heard()
    async with zmq.serve(host, links=(links := {})) as address, await open_instrument(address) as other:
        context = pyzmq.Context()
        slow = context.socket(pyzmq.SUB)
        slow.setsockopt(pyzmq.RCVHWM, 1)
        slow.setsockopt(pyzmq.RCVBUF, 4_096)
        slow.setsockopt(pyzmq.SUBSCRIBE, b"")
        slow.connect(links["events"])
        assert await asyncio.to_thread(slow.recv_multipart) == [b"welcome"]
        other.listen(heard.hear)
        await other.hearing()
        await tell_many(host, heard)
        seen = await asyncio.to_thread(_all_that_is_there, slow)
        slow.close(linger=0)
        context.term()

    assert heard == [("stream", number) for number in range(MANY)]
    assert seen == sorted(seen)
    assert 0 < len(seen) < MANY


def _all_that_is_there(socket: Any) -> list[int]:
    """The numbers of the events that wait for this one."""
    numbers = []
    while socket.poll(500):
        numbers.append(int.from_bytes(socket.recv_multipart()[2], "big"))
    return numbers


async def test_our_client_on_zmq_is_told_how_many_it_missed(host: Host) -> None:
    heard = Heard()
    async with zmq.serve(host) as address, await open_instrument(address) as viewer:
        viewer.listen(heard.hear)
        await viewer.hearing()
        # In one go: this loop, which the viewer lives in too, takes none meanwhile.
        for number in range(sent := MANY * 4):
            host._tell("stream", {"number": number, **BODY})
        while heard[-1:] != [("stream", sent - 1)] or sent == MANY * 4:  # where there is no room, that one is lost too
            host._tell("stream", {"number": sent})
            sent += 1
            await heard.more_than(len(heard))

    rows = sum(topic == "stream" for topic, _ in heard)
    lost = sum(number for topic, number in heard if topic == "lost")
    assert lost > 0
    assert rows + lost == sent
