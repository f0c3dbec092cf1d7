"""ZMQ, seen with a plain socket."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import zmq as plain
import zmq.asyncio

from labretto.access.gate import Gate
from labretto.access.tokens import Tokens, owner_token
from labretto.errors import InvalidError, UnreachableError
from labretto.instrument import codec
from labretto.instrument.host import Host
from labretto.network import http, messages, zmq
from labretto.network.client import open_instrument
from labretto.network.curve import server_key


@pytest.fixture
async def dealer(host: Host) -> AsyncIterator[plain.asyncio.Socket]:
    """A plain socket to the rig."""
    async with zmq.serve(host) as address:
        with plain.asyncio.Context() as context, context.socket(plain.DEALER) as socket:
            socket.setsockopt(plain.LINGER, 0)
            socket.connect(address)
            yield socket


async def answered(dealer: plain.asyncio.Socket, *frames: bytes) -> tuple[bytes, list[Any]]:
    """The correlation and the decoded answer."""
    await dealer.send_multipart(frames)
    correlation, data = await dealer.recv_multipart()
    return correlation, codec.decode(data)


async def test_a_request_is_two_frames_and_so_is_its_answer(dealer: plain.asyncio.Socket) -> None:
    correlation, (value, problem) = await answered(dealer, b"17", codec.encode({"ask": "read", "attribute": "x"}))

    assert (correlation, value["value"], problem) == (b"17", 1.5, None)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"{}", b"\x81\xa3ask\xa4nope", b"\x91" * 10_000, b"\0" * 100_000])
async def test_bytes_that_are_no_request_are_answered_with_a_problem(dealer: plain.asyncio.Socket, data: bytes) -> None:
    correlation, (value, problem) = await answered(dealer, b"1", data)

    assert (correlation, value, problem["type"]) == (b"1", None, "urn:labretto:error:InvalidError")


async def test_a_missing_frame_is_answered_with_a_problem(dealer: plain.asyncio.Socket) -> None:
    _, (_, problem) = await answered(dealer, b"alone")

    assert "frames" in problem["detail"]


async def test_a_frame_that_is_too_large_ends_that_connection_and_no_other(dealer: plain.asyncio.Socket) -> None:
    endpoint = dealer.getsockopt_string(plain.LAST_ENDPOINT)
    async with await open_instrument(endpoint) as instrument:
        await dealer.send_multipart([b"1", b"\0" * (messages.REQUEST_LIMIT + 1)])

        assert (await instrument.read("x")).value == 1.5


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:5000", "tcp://127.0.0.1", "tcp://256.1.1.1:0", "http://127.0.0.1:0"]
)
async def test_what_is_no_address_cannot_be_served(host: Host, address: str) -> None:
    with pytest.raises(InvalidError, match="Write tcp://HOST:PORT"):
        async with zmq.serve(host, address):
            pass


async def test_a_host_on_all_addresses_is_heard_at_the_one_it_was_reached_by(host: Host, tmp_path: Path) -> None:
    heard: list[str] = []
    guarded: dict[str, Any] = {"gate": Gate("rig", Tokens(tmp_path)), "key": server_key(tmp_path)}
    async with zmq.serve(host, "tcp://0.0.0.0:0", events="tcp://0.0.0.0:0", **guarded) as address:
        here, token = address.replace("0.0.0.0", "127.0.0.1"), owner_token(tmp_path)
        async with await open_instrument(here, token=token) as instrument:
            instrument.listen(lambda topic, body: heard.append(topic))
            await instrument.hearing()


async def test_another_protocol_at_the_address_is_not_reachable(host: Host) -> None:
    async with http.serve(host) as url:
        with pytest.raises(UnreachableError):
            await open_instrument(url.replace("http", "tcp"))


ANOTHER_KEY = "bUtgVEhVS2ZvX0tpQ3N2a1J9MnpQeDhRdzVuVGJ5TGo"


async def test_a_wrong_key_or_none_is_told_as_what_it_may_be(host: Host, tmp_path: Path) -> None:
    guarded: dict[str, Any] = {"gate": Gate("rig", Tokens(tmp_path)), "key": server_key(tmp_path)}
    async with zmq.serve(host, "tcp://127.0.0.1:0", **guarded) as address:
        bare = address.partition("#")[0]
        with pytest.raises(UnreachableError, match=r"not with an address that has no key \(tcp://...#curve=...\)"):
            await open_instrument(bare)
        with pytest.raises(UnreachableError, match="it does not speak ZMQ, or not with this key"):
            await open_instrument(f"{bare}#curve={ANOTHER_KEY}")
