"""The shortest way to a reading answers what the long way answers, and lets everything else go the long way."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from labretto.instrument import codec
from labretto.instrument.describe import describe, effect
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.network import http
from labretto.network.http_quick import Quick

USUAL = b"GET /attributes/x HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n\r\n"


class Slow:
    """Looks as long as a test wants."""

    def __init__(self) -> None:
        self.looked = 0
        self._looking = threading.Event()
        self._go = threading.Event()
        self._go.set()

    @property
    def x(self) -> float:
        """Counts."""
        self._looking.set()
        self._go.wait(10)
        self.looked += 1
        return float(self.looked)

    @property
    def broken(self) -> float:
        """Cannot be read."""
        raise ValueError("no signal")

    @effect("read")
    def nothing(self) -> None:
        """Does nothing."""


@pytest.fixture
def driver() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow._go.set()


@pytest.fixture
async def host(driver: Slow) -> AsyncIterator[Host]:
    async with Host(lambda: driver, describe(Slow, name="slow"), Ledger()) as host:
        yield host


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.send(data)
        return await self.answer()


@asynccontextmanager
async def connected(host: Host, *, quick: bool = True) -> AsyncIterator[Client]:
    """A connection to the host; `quick` false: there is only the long way."""
    listening = http.bound("http://127.0.0.1:0")
    app = http.build_app(host)
    async with http.run_app(app, listening, quick=app.state.quick if quick else None):
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        yield Client(reader, writer)
        writer.close()
        await writer.wait_closed()


def request(path: str = "/attributes/x", *headers: str) -> bytes:
    """A request as bytes."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: 127.0.0.1", *headers, "", ""]).encode()


async def test_what_a_reading_client_sends_is_known_by_its_bytes(host: Host) -> None:
    quick = Quick(host, ["127.0.0.1", "localhost"])

    for data in (USUAL, request(), request("/attributes/x", "user-agent: curl/8", "accept: */*")):
        assert quick.asked(data) is not None, data


@pytest.mark.parametrize(
    "data",
    [
        b"GET /attributes/y HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET /attributes/x HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET /attributes/x HTTP/1.1\r\n\r\n",
        b"GET /attributes/x?fresh HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET /attributes/x HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET /attributes/x HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        b"GET /attributes/x HTTP/1.1\r\nhost : 127.0.0.1\r\n\r\n",
        b"GET /attributes/x HTTP/1.1\r\nhost: 127.0.0.1\n\r\n",
        b"GET /attributes/x HTTP/1.1\r\nhost: 127.0.0.1\r\n folded: x\r\n\r\n",
        b"GET /attributes/x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET /attributes/x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        USUAL[:-1],
        USUAL + b"x",
        USUAL.replace(b"GET", b"HEAD"),
        request("/attributes/x", "origin: http://evil.example"),
        request("/attributes/x", "authorization: Bearer abc"),
        request("/attributes/x", "content-length: 3"),
        request("/attributes/x", "transfer-encoding: chunked"),
        request("/attributes/x", "connection: close"),
        request("/attributes/x", "expect: 100-continue"),
        request("/attributes/x", "accept: application/octet-stream"),
        request("/attributes/x", "cache-control: no-cache"),
        request("/attributes/x", f"user-agent: {'x' * 3_000}"),
    ],
)
async def test_whatever_is_unusual_goes_the_long_way(host: Host, data: bytes) -> None:
    assert Quick(host, ["127.0.0.1"]).asked(data) is None


async def test_requests_that_are_never_the_same_fill_no_memory(host: Host) -> None:
    quick = Quick(host, None)
    for number in range(2_000):
        quick.asked(request("/attributes/x", f"user-agent: {number}"))

    assert len(quick._kept) <= 256


@pytest.mark.parametrize("path", ["/attributes/x", "/attributes/broken"])
@pytest.mark.parametrize("accept", ["application/json", "application/msgpack", "*/*"])
async def test_both_ways_answer_alike(host: Host, path: str, accept: str) -> None:
    answers = []
    for quick in (True, False):
        async with connected(host, quick=quick) as client:
            status, headers, body = await client.ask(request(path, f"accept: {accept}"))
            told = codec.decode_json(body) if "json" in headers["content-type"] else codec.decode(body)
            for name in ("time", "value", "traceback"):
                told.pop(name, None)
            answers.append((status, list(headers), headers["content-type"], list(told), told))

    assert answers[0] == answers[1]


async def test_one_connection_goes_both_ways_in_turn(host: Host) -> None:
    async with connected(host) as client:
        for _ in range(3):
            assert (await client.ask(USUAL))[0] == 200
            assert (await client.ask(request("/health")))[0] == 200
            assert (await client.ask(request("/nothing")))[0] == 404


async def test_what_is_sent_behind_a_reading_waits_for_its_turn(host: Host, driver: Slow) -> None:
    async with connected(host) as client:
        await looking(client, driver)
        client.send(request("/nothing") + USUAL)
        driver._go.set()

        assert [(await client.answer())[0] for _ in range(3)] == [200, 404, 200]


async def test_requests_sent_together_are_answered_in_their_order(host: Host) -> None:
    async with connected(host) as client:
        client.send(USUAL + request("/health") + USUAL)
        answers = [await client.answer() for _ in range(3)]

    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert b"idle" in answers[1][2]


async def test_a_request_in_two_pieces_is_one(host: Host) -> None:
    async with connected(host) as client:
        assert (await client.ask(USUAL))[0] == 200
        client.send(USUAL[:30])
        await asyncio.sleep(0)
        client.send(USUAL[30:])

        assert (await client.answer())[0] == 200
        assert (await client.ask(USUAL))[0] == 200


async def test_who_leaves_while_the_driver_looks_harms_nobody(host: Host, driver: Slow) -> None:
    driver._go.clear()
    async with http.serve(host) as url:
        parts = urlsplit(url)
        for _ in range(5):
            with socket.create_connection((parts.hostname, parts.port)) as leaving:
                leaving.sendall(USUAL)
        driver._go.set()
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        assert (await Client(reader, writer).ask(USUAL))[0] == 200
        writer.close()
        await writer.wait_closed()


async def test_who_waits_for_a_look_is_told_that_the_host_ends(host: Host, driver: Slow) -> None:
    async with http.serve(host) as url:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        client = Client(reader, writer)
        await looking(client, driver)
    status, _, body = await client.answer()
    driver._go.set()
    writer.close()
    await writer.wait_closed()

    assert status == 503
    assert b"The host ends." in body


async def looking(client: Client, driver: Slow) -> None:
    """Ask, and return when the driver looks: it will not come back before `_go`."""
    await client.ask(USUAL)  # its own first look is over
    driver._go.clear()
    driver._looking.clear()
    client.send(USUAL)
    assert await asyncio.to_thread(driver._looking.wait, 5)
