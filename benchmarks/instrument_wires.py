"""One instrument on the wire: ours beside bare FastAPI, Starlette, ZMQ, labthings-fastapi, hololinked and PyTango.

Every server is a real process on loopback; the same raw client (`wires/raw.py`) asks those that speak HTTP or plain
ZMQ, their own client the others, and our own client is measured apart. Rounds of all take turns, so that all see the
same machine. Prints one JSON line for each thing measured: microseconds (medians over rounds), and the ratios that
`issue 3` has aims for.

    uv venv benchmarks/.venv && uv pip install --python benchmarks/.venv/bin/python -r benchmarks/wires/peers.txt
    python benchmarks/instrument_wires.py --peers benchmarks/.venv/bin/python

Without `--peers` (or where one of them cannot be started) the line says which is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from processes import free_port, machine, memory, running

HERE = Path(__file__).parent / "wires"
sys.path.insert(0, str(HERE))

import raw  # noqa: E402 - beside this file

Latencies = dict[str, list[list[float]]]

LAB = """
name = "benchmark"
[instruments.bench]
driver = "bench:Bench"
path = "{here}"
port = {port}
slow = ["image"]  # not looked at by itself: its memory is not the host's
[instruments.bench.poll]
polled = 60
"""


class Servers:
    """All processes, and the ports they answer at."""

    def __init__(self, peers: str | None) -> None:
        self.ports: dict[str, int] = {}
        self.pids: dict[str, int] = {}
        self.missing: dict[str, str] = {}
        self.zmq = 0
        self.started: dict[str, float] = {}
        """Seconds from the command to the first answer (of those that speak HTTP) or connection."""
        self.peers = peers
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Servers:
        for kind in ("fastapi", "starlette", "router"):
            self._start(kind, sys.executable, str(HERE / "bare.py"), kind)
        for kind in ("labthings", "hololinked", "hololinked-zmq", "tango"):
            if self.peers is None:
                self.missing[kind] = "no --peers was given"
            else:
                self._start(kind, self.peers, str(HERE / "peers.py"), kind)
        self._start_ours()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _start(self, kind: str, *command: str) -> None:
        port = free_port()
        began = time.perf_counter()
        process = self._stack.enter_context(running(*command, str(port)))
        if self._answers(port, process):
            self.started[kind] = round(time.perf_counter() - began, 2)
            self.ports[kind], self.pids[kind] = port, process.pid
        else:
            self.missing[kind] = "it does not answer; run its command to see why"

    def _answers(self, port: int, process: subprocess.Popen[bytes]) -> bool:
        until = time.monotonic() + 20
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError):
                raw.Http(port).socket.close()
                return True
            time.sleep(0.01)
        return False

    def _start_ours(self) -> None:
        home = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="labretto-benchmark-"))
        port = free_port()
        environment = {"LABRETTO_HOME": home, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
        lab = Path(home) / "lab.toml"
        lab.write_text(LAB.format(here=HERE, port=port))
        began = time.perf_counter()
        process = self._stack.enter_context(running(sys.executable, "-c", _SERVE, str(lab), environment=environment))
        first = self._first_answer(port)
        self.started["labretto"] = round(first - began, 2)
        self.ports["labretto"], self.pids["labretto"] = port, process.pid
        _, got = raw.Http(port).ask(raw.request("GET", "/"))
        body = json.loads(bytes(got).partition(b"\r\n\r\n")[2])
        self.zmq = int(body["links"]["zmq"].rpartition(":")[2])

    def _first_answer(self, port: int) -> float:
        until = time.monotonic() + 20
        while True:
            try:
                raw.Http(port).get("/attributes/count")()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.002)
            else:
                return time.perf_counter()


_SERVE = """
import sys
from pathlib import Path
from labretto.lab import load_lab
from labretto.network import serve
serve.serve(serve.order_alone(load_lab(Path(sys.argv[1])).instruments["bench"]))
"""


@contextlib.contextmanager
def blocking(port: int, path: str) -> Iterator[None]:
    """An action of ours or of the baseline keeps its driver for two seconds."""
    client = raw.Http(port)
    thread = threading.Thread(target=client.act(path, b'{"seconds": 2.0}'))
    thread.start()
    time.sleep(0.2)
    yield
    thread.join()


def contestants(servers: Servers) -> dict[str, dict[str, Callable[[], object]]]:
    """What is measured → who → a call of it."""
    at = servers.ports
    ours, wire = raw.Http(at["labretto"]), raw.Zmq(servers.zmq)
    fastapi, router = raw.Http(at["fastapi"]), raw.Zmq(at["router"])
    calls: dict[str, dict[str, Callable[[], object]]] = {
        "read": {
            "fastapi": fastapi.get("/attributes/count"),
            "fastapi, in its thread pool": fastapi.get("/threaded/count"),
            "starlette": raw.Http(at["starlette"]).get("/attributes/count"),
            "labretto http": ours.get("/attributes/count"),
            "labretto http, within its poll period": ours.get("/attributes/polled"),
            "router": router.read(),
            "labretto zmq": wire.read(),
            "labretto zmq, within its poll period": wire.read("polled"),
        },
        "action": {
            "fastapi": fastapi.act("move"),
            "labretto http, read": ours.act("look", b'{"at": 1.0}'),
            "labretto http, absolute": ours.act("move"),
            "labretto http, once": ours.act("burn", b'{"power": 1.0}'),
            "router": router.act("move", to=1.0),
            "labretto zmq, absolute": wire.act("move", to=1.0),
            "labretto zmq, once": wire.act("burn", power=1.0),
        },
        "array": {
            "fastapi": fastapi.get("/attributes/image", accept="application/octet-stream"),
            "labretto http": ours.get("/attributes/image", accept="application/octet-stream"),
            "router": router.read("image"),
            "labretto zmq": wire.read("image"),
        },
    }
    if "labthings" in at:
        labthings = raw.Http(at["labthings"])
        calls["read"]["labthings"] = labthings.get("/bench/count")
        calls["action"]["labthings"] = lambda: labthings_action(labthings)
    if "hololinked" in at:
        hololinked = raw.Http(at["hololinked"])
        calls["read"]["hololinked"] = hololinked.get("/bench/count")
        calls["action"]["hololinked"] = lambda: hololinked.ask(raw.request("POST", "/bench/move", b'{"to": 1.0}'))
    return calls


def labthings_action(client: raw.Http) -> None:
    """To its end: begun by POST, asked for until it is over."""
    _, got = client.ask(raw.request("POST", "/bench/move", b'{"to": 1.0}'))
    path = json.loads(bytes(got).partition(b"\r\n\r\n")[2])["href"].partition("//")[2].partition("/")[2]
    while json.loads(bytes(client.ask(raw.request("GET", f"/{path}"))[1]).partition(b"\r\n\r\n")[2])["status"] in (
        "pending",
        "running",
    ):
        pass


def summary(rounds: list[list[float]]) -> dict[str, float]:
    """Medians over the rounds, µs."""
    ordered = [sorted(took) for took in rounds]
    return {
        "p50": round(statistics.median(took[len(took) // 2] for took in ordered) * 1e6, 1),
        "p99": round(statistics.median(took[int(len(took) * 0.99)] for took in ordered) * 1e6, 1),
    }


def theirs(servers: Servers, seconds: float, *, long: bool) -> dict[str, dict[str, Any]]:
    """What clients of PyTango and hololinked say of their own wires."""
    figures = {}
    for kind in ("tango", "hololinked-zmq"):
        if kind in servers.ports and servers.peers:
            words = [f"measure-{kind}", str(servers.ports[kind]), str(seconds), *(["long"] if long else [])]
            done = subprocess.run(
                [servers.peers, str(HERE / "peers.py"), *words], capture_output=True, timeout=120, check=False
            )
            line = next((each for each in done.stdout.splitlines() if each.startswith(b"figures ")), None)
            figures[kind] = json.loads(line[8:]) if line else {}
    return figures


def latencies(servers: Servers, rounds: int, seconds: float) -> dict[str, dict[str, dict[str, float]]]:
    """Read, action and array at one client, all in turn."""
    calls = contestants(servers)
    took: dict[str, Latencies] = {what: {who: [] for who in whose} for what, whose in calls.items()}
    others: list[dict[str, dict[str, Any]]] = []
    for _ in range(rounds):
        for what, whose in calls.items():
            for who, call in whose.items():
                took[what][who].append(raw.times(call, seconds))
        others.append(theirs(servers, seconds, long=False))
    figures = {what: {who: summary(each) for who, each in whose.items()} for what, whose in took.items()}
    for kind in others[0]:
        for what in others[0][kind]:
            figures[what][kind] = {
                part: round(statistics.median(each[kind][what][part] for each in others), 1) for part in ("p50", "p99")
            }
    return figures


def throughputs(servers: Servers, rounds: int, seconds: float) -> dict[str, int]:
    """Answers per second to 32 clients."""
    at, count, polled = servers.ports, raw.request("GET", "/attributes/count"), raw.request("GET", "/attributes/polled")
    measure: dict[str, Callable[[], float]] = {
        "fastapi": lambda: raw.http_throughput(at["fastapi"], count, 32, seconds),
        "starlette": lambda: raw.http_throughput(at["starlette"], count, 32, seconds),
        "labretto http": lambda: raw.http_throughput(at["labretto"], count, 32, seconds),
        "labretto http, within its poll period": lambda: raw.http_throughput(at["labretto"], polled, 32, seconds),
        "router": lambda: raw.zmq_throughput(at["router"], 32, seconds),
        "labretto zmq": lambda: raw.zmq_throughput(servers.zmq, 32, seconds),
        "labretto zmq, within its poll period": lambda: raw.zmq_throughput(servers.zmq, 32, seconds, "polled"),
    }
    found = {who: [one() for _ in range(rounds)] for who, one in measure.items()}
    return {who: round(statistics.median(each)) for who, each in found.items()}


def during(servers: Servers, seconds: float) -> dict[str, dict[str, float]]:
    """Reads while an action blocks, beside the same reads right before."""
    at = servers.ports
    figures = {}
    for who, port, call in (
        ("fastapi", at["fastapi"], raw.Http(at["fastapi"]).get("/attributes/count")),
        ("labretto http", at["labretto"], raw.Http(at["labretto"]).get("/attributes/count")),
        ("labretto zmq", at["labretto"], raw.Zmq(servers.zmq).read()),
    ):
        before = summary([raw.times(call, seconds)])
        with blocking(port, "block"):
            figures[who] = {"before": before["p50"], **summary([raw.times(call, min(seconds, 1.5))])}
    return figures


async def own_client(servers: Servers, seconds: float) -> dict[str, dict[str, float]]:
    """The same with our own async client."""
    from labretto.network.client import open_instrument

    figures = {}
    for wire, address in (
        ("http", f"http://127.0.0.1:{servers.ports['labretto']}"),
        ("zmq", f"tcp://127.0.0.1:{servers.zmq}"),
    ):
        async with await open_instrument(address) as bench:
            for what, ask in (
                ("read", lambda: bench.read("count")),
                ("action", lambda: bench.invoke("move", {"to": 1.0})),
                ("array", lambda: bench.read("image")),
            ):
                took, until = [], time.perf_counter() + seconds
                while (began := time.perf_counter()) < until:
                    await ask()
                    took.append(time.perf_counter() - began)
                figures[f"{wire} {what}"] = summary([took])
    return figures


def ratios(figures: dict[str, Any]) -> dict[str, float | None]:
    """What the aims are written in."""
    read, action, array = (
        {who: each["p50"] for who, each in figures[what].items()} for what in ("read", "action", "array")
    )

    def ratio(ours: float, base: float | None) -> float | None:
        return round(ours / base, 2) if base else None

    return {
        "http read / fastapi (aim 0.7)": ratio(read["labretto http"], read["fastapi"]),
        "http read / fastapi in its thread pool": ratio(read["labretto http"], read["fastapi, in its thread pool"]),
        "http polled read / fastapi (aim 0.7)": ratio(read["labretto http, within its poll period"], read["fastapi"]),
        "zmq read / router (aim 1.5)": ratio(read["labretto zmq"], read["router"]),
        "zmq polled read / router (aim 1.5)": ratio(read["labretto zmq, within its poll period"], read["router"]),
        "zmq read / tango (aim 1)": ratio(read["labretto zmq"], read.get("tango")),
        "http action / fastapi (aim 2)": ratio(action["labretto http, absolute"], action["fastapi"]),
        "http once / fastapi": ratio(action["labretto http, once"], action["fastapi"]),
        "zmq action / tango": ratio(action["labretto zmq, absolute"], action.get("tango")),
        "http array / fastapi": ratio(array["labretto http"], array["fastapi"]),
        "zmq array / router multipart (aim 1.3)": ratio(array["labretto zmq"], array["router"]),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=0.4, help="of each measurement in each round")
    arguments.add_argument("--peers", help="the Python of an environment with wires/peers.txt")
    arguments.add_argument("--only", choices=["latency", "all"], default="all")
    asked = arguments.parse_args()
    with Servers(asked.peers) as servers:
        pss = {kind: round(sum(memory(pid).values()), 1) for kind, pid in servers.pids.items()}
        figures: dict[str, Any] = dict(latencies(servers, asked.rounds, asked.seconds))
        for what, each in figures.items():
            print(json.dumps({"benchmark": "instrument_wires", "what": what, "microseconds": each}), flush=True)
        print(json.dumps({"benchmark": "instrument_wires", "what": "ratios of p50", **ratios(figures)}), flush=True)
        if asked.only == "all":
            told: dict[str, Any] = {
                "throughput at 32 clients, per second": throughputs(servers, asked.rounds, asked.seconds),
                "read during a blocking action": during(servers, asked.seconds),
                "clients of others": theirs(servers, asked.seconds, long=True),
                "our own client": asyncio.run(own_client(servers, asked.seconds)),
            }
            for what, each in told.items():
                print(json.dumps({"benchmark": "instrument_wires", "what": what, "figures": each}), flush=True)
        said: dict[str, Any] = {"start_to_first_answer_s": servers.started, "memory_mb_at_rest": pss}
        said |= {"not_measured": servers.missing, "rounds": asked.rounds, "load": round(os.getloadavg()[0], 1)}
        print(json.dumps({"benchmark": "instrument_wires", "what": "process", **said, "machine": machine()}))


if __name__ == "__main__":
    main()
