"""A thousand requests that nobody should send: no 500, no hang, no growth of memory, and an answer afterwards.

A host and a hub live in processes of their own, so that their memory can be looked at from outside. The requests are
made by Schemathesis from the OpenAPI documents, by Hypothesis for ZMQ, and by hand where neither thinks of it.
"""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import schemathesis
import zmq
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import GenerationMode

from labretto.instrument import codec
from labretto.instrument.invocation import new_id

EXAMPLES = int(os.environ.get("LABRETTO_HOSTILE", "1000"))
"""Requests in all."""
LEAK = 48 * 1024 * 1024
"""Bytes that a process may have grown by after everything: caches and the allocator's own store, no leak."""
ANSWER_WITHIN = 30.0
"""Seconds after which a server counts as hanging."""
QUIET = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


class Victim:
    """A server in a process of its own."""

    def __init__(self, process: int, url: str, zmq_address: str = "") -> None:
        self.process = process
        self.url = url
        self.zmq_address = zmq_address
        self.place = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
        self.http = httpx2.Client(base_url=url, timeout=ANSWER_WITHIN, trust_env=False, verify=False)
        self.sane()
        self._first = self.memory()

    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def sane(self) -> None:
        """It answers as if nothing had happened."""
        answer = self.http.get("/health" if self.zmq_address else "/api/lab")
        assert answer.status_code == 200, answer.text

    def unharmed(self) -> None:
        """It answers, and has not grown."""
        self.sane()
        grown = self.memory() - self._first
        assert grown < LEAK, f"grown by {grown / 1e6:.0f} MB"

    def connected(self) -> socket.socket:
        """A plain connection."""
        return socket.create_connection(self.place, timeout=ANSWER_WITHIN)


@pytest.fixture(scope="module")
def host(command_line_of_the_module: Any) -> Iterator[Victim]:
    """`labretto serve` of the instrument that hosts are checked with."""
    words = ("serve", "labretto.network.conformance:Subject", "--name", "victim")
    with command_line_of_the_module.start(*words) as process:
        line = process.stdout.readline()
        http, zmq_address = [word.rstrip(",") for word in line.split() if "://" in word][:2]
        victim = Victim(process.pid, http, zmq_address)
        yield victim
        victim.http.close()


@pytest.fixture(scope="module")
def hub(command_line_of_the_module: Any) -> Iterator[Victim]:
    """`labretto up` of an empty lab."""
    with command_line_of_the_module.start("up", "--port", "0") as process:
        line = process.stdout.readline()
        victim = Victim(process.pid, next(word for word in line.split() if "://" in word))
        yield victim
        victim.http.close()


# By the documents -----------------------------------------------------------------------------------------------------


def thrown(victim: Victim, examples: int, mode: GenerationMode, *, spared: str) -> set[int]:
    """Statuses that were answered to requests made from the victim's own OpenAPI document."""
    document = victim.http.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document).exclude(path_regex=spared)
    statuses: set[int] = set()

    @settings(QUIET, max_examples=examples)
    @given(case=schema.as_strategy(generation_mode=mode))
    def throw(case: Any) -> None:
        words = case.as_transport_kwargs(base_url=victim.url)
        with contextlib.suppress(UnicodeError, httpx2.InvalidURL, httpx2.LocalProtocolError):  # cannot even be sent
            words = {name: value for name, value in words.items() if name in {"method", "url", "params", "headers"}} | (
                {"content": json.dumps(words["json"]).encode()} if "json" in words else {"content": words.get("data")}
            )
            answer = victim.http.request(**words)
            statuses.add(answer.status_code)
            assert answer.status_code < 500 or "urn:labretto:error:" in answer.text, (words, answer.text)
            assert answer.status_code != 500, (words, answer.text)

    throw()
    return statuses


NEVER_ENDING = "/events|/hold|/linger|/things?"
NEVER_ENDING_OF_A_HUB = "/wait|/live|/changes"


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_the_document_of_an_instrument_allows_or_forbids(host: Victim, mode: GenerationMode) -> None:
    statuses = thrown(host, EXAMPLES * 2 // 10, mode, spared=NEVER_ENDING)

    assert statuses
    host.unharmed()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_the_document_of_a_hub_allows_or_forbids(hub: Victim, mode: GenerationMode) -> None:
    statuses = thrown(hub, EXAMPLES * 15 // 100, mode, spared=NEVER_ENDING_OF_A_HUB)

    assert statuses
    hub.unharmed()


# Bytes on ZMQ ---------------------------------------------------------------------------------------------------------

WORDS = strategies.sampled_from(
    ["ask", "read", "write", "invoke", "find", "take", "attribute", "identity", "lease", ""]
)
VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers(-(2**63), 2**64 - 1) | strategies.floats()
    | strategies.text(max_size=20) | strategies.binary(max_size=20) | WORDS,
    lambda inner: strategies.lists(inner, max_size=5) | strategies.dictionaries(WORDS | strategies.text(), inner),
    max_leaves=15,
)  # fmt: skip
KINDS = ["describe", "health", "readall", "read", "write", "find", "cancel", "stop", "take", "giveback", "invoke"]
FIELDS = ["attribute", "value", "lease", "identity", "action", "number", "over", "actor", "until", "parameters"]
REQUESTS = strategies.fixed_dictionaries(
    {"ask": strategies.sampled_from(KINDS)}, optional=dict.fromkeys(FIELDS, VALUES)
)
FRAMES = strategies.binary(max_size=200) | VALUES.map(codec.encode) | REQUESTS.map(codec.encode)


def test_whatever_bytes_come_over_zmq(host: Victim) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.RCVTIMEO, int(ANSWER_WITHIN * 1000))
        dealer.connect(host.zmq_address)

        @settings(QUIET, max_examples=EXAMPLES * 25 // 100)
        @given(frames=strategies.lists(FRAMES, min_size=1, max_size=4))
        def throw(frames: list[bytes]) -> None:
            dealer.send_multipart(frames)
            _, answer = dealer.recv_multipart()
            _, problem = codec.decode(answer)
            assert problem is None or problem["status"] != 500, (frames, problem)

        throw()
    free_again(host)
    host.unharmed()


def free_again(host: Victim) -> None:
    """Give the lease back that a lucky request may have taken."""
    lease = host.http.get("/lease").json()
    if lease["number"] is not None:
        host.http.request("DELETE", "/lease", headers={"labretto-lease": str(lease["number"])})


def test_bytes_that_are_not_even_zmq(host: Victim) -> None:
    place = urlsplit(host.zmq_address)
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"\xff\0\0\0\0\0\0\0\1\x7f\3" + b"\xff" * 200, b""):
        for _ in range(10):
            with socket.create_connection((place.hostname, place.port), timeout=ANSWER_WITHIN) as plain:
                plain.sendall(data)

    host.unharmed()


# By hand: HTTP --------------------------------------------------------------------------------------------------------

Bodies = dict[str, Callable[[], bytes]]
BODIES: Bodies = {
    "10,000 deep": lambda: b'{"mark": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "100,000 deep and open": lambda: b"[" * 100_000,
    "a number of a million digits": lambda: b'{"volume": ' + b"9" * 1_000_000 + b"}",
    "an exponent": lambda: b'{"volume": 1e999999999}',
    "a key twice": lambda: b'{"volume": 1, "volume": 2}',
    "half a surrogate": lambda: b'{"volume": 1, "mark": "\\ud800"}',
    "no UTF-8": lambda: b'{"volume": 1, "mark": "\xff\xfe"}',
    "a zero": lambda: b'{"volume": 1, "mark": "\\u0000"}',
    "30,000 keys": lambda: b"{" + b",".join(b'"%d":1' % number for number in range(30_000)) + b"}",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_meant_to_hurt(host: Victim, hub: Victim, body: str) -> None:
    headers = {"content-type": "application/json"}
    for victim, method, path in (
        (host, "PUT", f"/actions/dose/{new_id()}"),
        (host, "PUT", "/attributes/position"),
        (hub, "POST", "/api/runs"),
        (hub, "POST", "/api/runs/check"),
    ):
        answer = victim.http.request(method, path, content=BODIES[body](), headers=headers)
        assert answer.status_code < 500, (path, answer.text[:500])
        assert len(answer.content) < 100_000, path
        victim.unharmed()


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW", "get"])
def test_a_wrong_method_is_told_the_right_ones(host: Victim, hub: Victim, method: str) -> None:
    for victim, paths in ((host, ["/", "/health", "/attributes", "/stop"]), (hub, ["/api/lab", "/api/runs/check"])):
        for path in paths:
            with contextlib.suppress(httpx2.LocalProtocolError):
                answer = victim.http.request(method, path)
                assert answer.status_code < 500 or answer.status_code == 501, (method, path, answer.text)


def test_a_body_of_a_gigabyte_is_refused_before_it_is_read(host: Victim, hub: Victim) -> None:
    """Announced, or poured in pieces without an end: what is taken of it is bounded, and so is what is poured here."""
    for victim, line in ((host, b"PUT /attributes/position"), (hub, b"POST /api/runs")):
        head = line + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        with victim.connected() as announced:
            announced.sendall(head + b"Content-Length: 1073741824\r\n\r\n")
            assert b" 413 " in announced.recv(200)
        with victim.connected() as poured:
            poured.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(40):
                    poured.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
            with contextlib.suppress(ConnectionError):
                assert b" 413 " in poured.recv(200)
        victim.unharmed()


def test_a_flood_of_headers_is_cut_off(host: Victim, hub: Victim) -> None:
    for victim in (host, hub):
        with victim.connected() as flooding, contextlib.suppress(ConnectionError):
            flooding.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            for _ in range(64):
                flooding.sendall(b"x-flood: " + b"y" * 65_536 + b"\r\n")
            answer = flooding.recv(200)
            assert answer == b"" or b" 4" in answer[:13]
        victim.unharmed()


HEADS = [
    b"",
    b"\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"PUT /attributes/position HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    b"PUT /attributes/position HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0" * 4096,
]


def test_what_is_no_http_harms_nobody(host: Victim, hub: Victim) -> None:
    for victim in (host, hub):
        for head in HEADS:
            with victim.connected() as plain, contextlib.suppress(ConnectionError):
                plain.sendall(head)
                plain.shutdown(socket.SHUT_WR)
                answer = plain.recv(100)
                assert b" 500 " not in answer, (head[:60], answer)
        victim.unharmed()


SLOW = [b"G", b"GET / HTTP/1.1\r\nHost:", b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"]


def test_many_slow_and_half_open_clients_keep_nobody_else_from_being_answered(host: Victim, hub: Victim) -> None:
    """Some send a byte and no more, some never read, some went away without a word; others are served meanwhile."""
    for victim in (host, hub):
        with contextlib.ExitStack() as stack:
            for number in range(150):
                slow = stack.enter_context(victim.connected())
                slow.sendall(SLOW[number % len(SLOW)])
            victim.sane()
            reset = struct.pack("ii", 1, 0)
            for _ in range(50):
                gone = victim.connected()
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                gone.sendall(b"PUT /attributes/position HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{")
                gone.close()
            victim.sane()
        victim.unharmed()
