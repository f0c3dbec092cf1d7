"""A board makes itself known: to a hub that listens on a real socket, and to the network by datagrams."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
from zeroconf import DNSAddress, DNSIncoming, DNSPointer, DNSService, DNSText

from labretto.hub import start_lab

PROGRAM = """
import sys
from microfastapi import MicroFastApi
from microfastapi.presence import announce

class Lamp:
    @property
    def lit(self) -> bool:
        return True

port, hub, listener = (int(word) for word in sys.argv[1:4])
app = MicroFastApi(ip="127.0.0.1", port=port)
lamp = app.instrument(Lamp(), "lamp", prefix="/lamp", ledger=None)
lamp.register("http://127.0.0.1:%d" % hub, token="secret")
announce(lamp, to=("127.0.0.1", listener))
app.run("127.0.0.1")
"""


class Hub:
    """Takes registrations, and answers what it is told to."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.heard: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        answer = self.answers.pop(0) if self.answers else "201 Created"
        writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        self.heard.put_nowait((head, body))


@pytest.fixture
def listener() -> Any:
    """A socket of the loopback for datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A board with one instrument."""
    (tmp_path / "main.py").write_text(PROGRAM)
    return tmp_path / "main.py"


@pytest.mark.timeout(30)  # a board waits two seconds before it asks a second time
async def test_a_board_tells_its_hub_where_it_is_until_the_hub_takes_it(
    started: Callable[..., Any], free_port: int, program: Path, listener: socket.socket
) -> None:
    hub = Hub("503 Service Unavailable")
    server = await asyncio.start_server(hub, "127.0.0.1", 0)
    async with server:
        place = server.sockets[0].getsockname()[1]
        started(str(program), str(free_port), str(place), str(listener.getsockname()[1]), cwd=program.parent)

        with anyio.fail_after(20):
            first, second = await hub.heard.get(), await hub.heard.get()

    assert first == second
    head, body = second
    assert head.startswith("POST /api/instruments HTTP/1.1\r\n")
    assert "\r\nAuthorization: Bearer secret\r\n" in head
    assert body == {"name": "lamp", "url": f"http://127.0.0.1:{free_port}/lamp"}


def test_a_board_tells_the_network_its_name_its_place_and_its_address(
    started: Callable[..., Any], free_port: int, program: Path, listener: socket.socket
) -> None:
    started(str(program), str(free_port), "1", str(listener.getsockname()[1]), cwd=program.parent)

    said = DNSIncoming(listener.recv(2000))

    assert said.valid
    assert said.is_response()
    kinds = {type(record): record for record in said.answers()}
    pointer, place, facts, address = (kinds[kind] for kind in (DNSPointer, DNSService, DNSText, DNSAddress))
    assert isinstance(pointer, DNSPointer)
    assert isinstance(place, DNSService)
    assert isinstance(facts, DNSText)
    assert isinstance(address, DNSAddress)
    assert (pointer.name, pointer.alias) == ("_labretto._tcp.local.", "lamp._labretto._tcp.local.")
    assert (place.server, place.port) == ("lamp.local.", free_port)
    assert b"path=/lamp" in facts.text
    assert address.address == socket.inet_aton("127.0.0.1")


@pytest.mark.timeout(60)  # a hub, and a board's second attempt
def test_a_board_that_told_a_hub_where_it_is_is_an_instrument_there(
    started: Callable[..., Any], free_port: int, program: Path, listener: socket.socket, labretto_home: Path
) -> None:
    file = program.parent / "lab.toml"
    file.write_text('name = "meeting"\n')
    with start_lab(file, port=0) as lab:
        place = lab.url.rpartition(":")[2]
        started(str(program), str(free_port), place, str(listener.getsockname()[1]), cwd=program.parent)
        lamp = until_ready(f"{lab.url}/api/instruments/lamp")

        assert lamp["address"].startswith(f"http://127.0.0.1:{free_port}/lamp")
        reading = requests.get(f"{lab.url}/api/instruments/lamp/attributes/lit", timeout=10)
        assert reading.json()["value"] is True


def until_ready(url: str) -> dict[str, Any]:
    """What the hub says of an instrument, as soon as it is ready."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        answer = requests.get(url, timeout=10)
        if answer.status_code == 200 and answer.json()["state"] == "ready":
            return dict(answer.json())
        time.sleep(0.02)
    raise AssertionError(answer.text)
