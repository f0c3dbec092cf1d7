"""`GET /getData` with 5 and with 5,000 stored experiments: what a request costs, and whether runs notice it.

Two hubs as real processes on loopback, each with a journal of that many finished experiments of two moves. Beside the
whole request: the same bytes from a server that only sends them (what cannot be saved as long as the contract says
that everything is sent), and what the original's way of answering costs, encoding all data at each request in the loop
that dispatches. Run it: `python benchmarks/orchestrator_getdata.py`. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import httpx2
from fastapi.encoders import jsonable_encoder
from processes import answers, cpu_seconds, free_port, machine, running

from labretto.instrument.invocation import new_id
from labretto.orchestrator.journal import Entry, SqliteJournal

HERE = Path(__file__).parent
SENDER = """
import sys, uvicorn
body = sys.stdin.buffer.read()

async def app(scope, receive, send):
    if scope["type"] == "http":
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""


def entries(number: int) -> list[Entry]:
    """What the journal holds of one finished experiment."""
    params = {f"move_{i}": {"loc": f"[{number}, {i}, 5]"} for i in (1, 2)}
    source = json.dumps({"soe": [f"motor/{name}" for name in params], "params": params})
    experiment = {"format": "soe", "source": source, "hash": "", "steps": 2, "file": None}
    found: list[Entry] = [
        ("submitted", {"name": "experiment", "who": None, "parameters": {}, "versions": {}, "experiment": experiment}),
        ("started", {"lease": 1}),
    ]
    for name, given in params.items():
        step = {"path": name, "invocation": new_id()}
        what = {"instrument": "motor", "action": "move", "parameters": given, "effect": "absolute", "attempt": 1}
        result = {"position": json.loads(given["loc"])}
        times = {"started": "", "ended": "", "origin": "answered"}
        found += [
            ("intended", {**step, **what}),
            ("ended", {**step, **times, "state": "succeeded", "error": None, "result": result}),
        ]
    return [*found, ("finished", {"state": "succeeded", "error": None})]


async def store(folder: Path, count: int) -> None:
    journal = SqliteJournal(folder / "journal.db")
    await asyncio.gather(*(journal.append(new_id(), 0, entries(number)) for number in range(count)))
    journal.close()


@contextlib.contextmanager
def hub(home: Path, count: int) -> Iterator[tuple[Popen[bytes], httpx2.Client, float]]:
    """A hub with so many stored experiments, a client of it, and the seconds until the first answer to getData."""
    asyncio.run(store(home / "benchmark", count))
    port = free_port()
    lab = home / "lab.toml"
    lab.write_text(
        f'name = "benchmark"\nport = {port}\n[compat]\nhelao = true\n'
        f'[instruments.nop]\ndriver = "nop:Nop"\npath = "{HERE}"\n'
    )
    environment = {"LABRETTO_HOME": str(home), "OMP_NUM_THREADS": "1"}
    url = f"http://127.0.0.1:{port}"
    with (
        running(sys.executable, "-m", "labretto", "up", str(lab), environment=environment) as process,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        answers(f"{url}/api/lab")
        began = time.perf_counter()
        assert len(client.get("/getData").json()) == count
        yield process, client, time.perf_counter() - began


@contextlib.contextmanager
def sender(body: bytes) -> Iterator[httpx2.Client]:
    """A server that does nothing but send `body`."""
    port = free_port()
    with tempfile.TemporaryFile() as given:
        given.write(body)
        given.seek(0)
        process = Popen([sys.executable, "-c", SENDER, str(port)], stdin=given)
    try:
        answers(f"http://127.0.0.1:{port}/")
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


def asked(client: httpx2.Client, route: str, times: int) -> float:
    """Milliseconds of one request, median."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        client.get(route).raise_for_status()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def one_action(client: httpx2.Client, times: int) -> float:
    """Milliseconds from the submission of an experiment of one action to its end, median."""
    took = []
    text = json.dumps({"soe": ["nop/nop_1"], "params": {"nop_1": {"x": 1}}})
    for _ in range(times):
        began = time.perf_counter()
        run = client.post("/addExperiment", params={"experiment": text}).raise_for_status().headers["labretto-run"]
        client.get(f"/api/runs/{run}/wait").raise_for_status()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def while_asked(client: httpx2.Client, times: int) -> tuple[float, int]:
    """`one_action` while another client asks for the data ten times a second, as an eager notebook does."""
    ended, count = threading.Event(), 0

    def ask() -> None:
        nonlocal count
        with httpx2.Client(base_url=client.base_url, timeout=60) as other:
            while not ended.wait(0.1):
                other.get("/getData").raise_for_status()
                count += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        return one_action(client, times), count
    finally:
        ended.set()
        thread.join()


def originals_way(data: object) -> float:
    """Milliseconds in which FastAPI makes the text of `data`, at each request; median of five."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        json.dumps(jsonable_encoder(data)).encode()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stored", type=int, default=5000)
    arguments.add_argument("--requests", type=int, default=200)
    told = arguments.parse_args()
    with contextlib.ExitStack() as stack:
        homes = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        _, few, _ = stack.enter_context(hub(homes[0], 5))
        process, many, first = stack.enter_context(hub(homes[1], told.stored))
        answer = many.get("/getData")
        bare = stack.enter_context(sender(answer.content))
        asked(few, "/getData", 20), asked(many, "/getData", 20), asked(bare, "/", 20)  # warm-up
        few_ms, bare_ms = asked(few, "/getData", told.requests), asked(bare, "/", told.requests)
        cpu = cpu_seconds(process.pid)
        many_ms = asked(many, "/getData", told.requests)
        cpu_ms = (cpu_seconds(process.pid) - cpu) / told.requests * 1e3
        original_ms = originals_way(answer.json())
        alone = one_action(many, 50)
        meanwhile, count = while_asked(many, 50)
        few_alone = one_action(few, 50)
    result = {
        "benchmark": "orchestrator_getdata",
        "stored": [5, told.stored],
        "ms": [round(few_ms, 2), round(many_ms, 2)],
        "ratio": round(many_ms / few_ms, 2),
        "bytes": len(answer.content),
        "sending_alone_ms": round(bare_ms, 2),
        "ratio_to_sending_alone": round(many_ms / bare_ms, 2),
        "hub_cpu_ms": round(cpu_ms, 2),
        "originals_encoding_ms": round(original_ms, 1),
        "first_request_after_start_ms": round(first * 1e3, 1),
        "submit_to_result_ms": {"5 stored": round(few_alone, 1), f"{told.stored} stored": round(alone, 1)},
        "submit_to_result_while_asked_ms": round(meanwhile, 1),
        "asked_meanwhile": count,
        "load": round(os.getloadavg()[0], 1),
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
