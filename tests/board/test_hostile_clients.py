"""A served board and clients that mean it badly: after all of them it answers, and its heap and connections are as
before.
"""

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import gc, sys
from microfastapi import MicroFastApi, Response, Body
app = MicroFastApi(port=int(sys.argv[1]))

@app.get("/")
def index():
    gc.collect()
    return {"heap": gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0, "clients": len(app.connections)}

@app.get("/items/{item_id}")
def item(item_id: int, q: float = 1.0):
    return item_id

@app.post("/values")
def values(body: dict, volume: float = Body(1.0, ge=0)):
    return volume

@app.get("/large")
def large():
    return Response(iter([b"x" * 500] * 2000))

app.run()
"""
PIECES = (
    *(b"GET ", b"POST ", b"PUT ", b"HEAD ", b"/", b"/items/", b"/values", b"?q=", b"&", b"=", b"%", b"%zz", b"%ff"),
    *(b" HTTP/1.1", b" HTTP/9", b"\r\n", b"\r\n\r\n", b"\n", b"Content-Length: ", b"5", b"-1", b"99999999999999999999"),
    *(
        b"Transfer-Encoding: chunked",
        b"Connection: ",
        b"Expect: 100-continue\r\n",
        b"{",
        b"}",
        b'"',
        b"[",
        b"\0",
        b"\xff",
    ),
    *(b"x" * 300, b'{"volume": ', b"1e999", b": ", b"Host: board\r\n"),
)


def ask(port: int, data: bytes, *, patience: float = 10.0) -> bytes:
    """Sends, says that nothing more will come, and reads to the end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while more := sock.recv(4096):
                answer += more
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer


@pytest.fixture
def port(started: Callable[..., Any], free_port: int, tmp_path: Path) -> int:
    """Of a board that is being served."""
    (tmp_path / "main.py").write_text(PROGRAM)
    process = started("main.py", str(free_port), cwd=tmp_path)
    end = time.monotonic() + 10
    while True:
        try:
            ask(free_port, b"")
        except OSError:
            assert process.poll() is None, (tmp_path / "output.txt").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        else:
            return free_port


def state(port: int) -> "tuple[int, int]":
    """Heap in use and connections, as the board says."""
    answer = ask(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200"), answer
    words = answer.split(b"\r\n\r\n")[1].replace(b"}", b",").split(b",")
    numbers = {part.split(b'"')[1]: int(part.split(b":")[1]) for part in words if b":" in part}
    return numbers[b"heap"], numbers[b"clients"]


def test_bytes_at_random_leave_the_board_as_it_was(port: int, tmp_path: Path) -> None:
    """The same 400 for every interpreter; each is answered or closed, none hangs."""
    chance = random.Random(5)

    def attack() -> None:
        for _ in range(200):
            ask(port, b"".join(chance.choice(PIECES) for _ in range(chance.randint(1, 25))))

    attack()
    before, _ = state(port)
    attack()
    after, clients = state(port)

    assert clients == 1
    assert after - before < 2048
    assert (tmp_path / "output.txt").read_text() == ""  # no task died, no handler failed


def test_a_reader_that_stops_reading_does_not_stop_the_others(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        for _ in range(5):
            state(port)


def test_a_client_that_resets_the_connection_leaves_no_trace(port: int) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as rude:
            rude.sendall(b"GET /large HTTP/1.1\r\n\r\n")
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close = reset
    deadline = time.monotonic() + 10
    while state(port)[1] > 1:
        assert time.monotonic() < deadline
