"""What many runs cost that do nothing: 1,000 that wait for people, and a hub that comes back after a kill -9.

First the hub is measured idle, which is the baseline; then with so many runs that each wait for an answer: memory and
CPU. Then ten runs act on ten instruments while so many others are queued behind them; the hub is killed by SIGKILL and
started again: how long until it answers, and until every one of the ten has done another step. The baseline of that is
the same hub's start with an empty queue. Run it: `python benchmarks/orchestrator_standing.py`. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
from processes import answers, cpu_seconds, free_port, machine, memory, running

HERE = Path(__file__).parent
INSTRUMENTS = 10
WATCHED = 10.0
"""Seconds over which CPU is measured."""
LAB = 'name = "standing"\n' + "".join(
    f'[instruments.nop{number}]\ndriver = "nop:Nop"\npath = "{HERE}"\neffects = {{ nop = "absolute" }}\n'
    for number in range(INSTRUMENTS)
)
ASKS = "name: asks\nsteps:\n  - ask: Load the film.\n"
ACTS = """
name: acts
steps:
  - repeat: 100000
    steps:
      - do: nop{number}.nop
        with: {{x: 1}}
      - wait: 0.1
"""


@contextlib.contextmanager
def hub(home: str, port: int) -> Iterator[tuple[int, httpx2.Client]]:
    """The hub's process, and a client of it; at the end it is killed without a word."""
    file = Path(home) / "lab.toml"
    file.write_text(LAB)
    environment = {"LABRETTO_HOME": home, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "labretto", "up", str(file), "--port", str(port)]
    with (
        running(*command, environment=environment) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
    ):
        yield process.pid, client
        process.kill()


def ready(client: httpx2.Client) -> None:
    """Return when the hub answers and every instrument is up."""
    answers(f"{client.base_url}/api/instruments")
    while any(one["state"] != "ready" for one in client.get("/api/instruments").json()):
        time.sleep(0.01)


def submit(client: httpx2.Client, text: str) -> str:
    """Put a run into the queue."""
    return str(client.post("/api/runs", json={"experiment": text}).raise_for_status().json()["id"])


def count(client: httpx2.Client, state: str) -> int:
    """Runs in a state."""
    return len(client.get("/api/runs", params={"state": state, "limit": 1000}).json())


def resting(pid: int) -> dict[str, float]:
    """The hub's own memory, and the CPU of all its processes, per second."""
    began = cpu_seconds(pid)
    time.sleep(WATCHED)
    return {"hub_mb": round(memory(pid)[pid], 1), "cpu_percent": round((cpu_seconds(pid) - began) / WATCHED * 100, 2)}


def waiting(runs: int) -> dict[str, object]:
    """An idle hub, and the same with so many runs that wait for people."""
    with hub(tempfile.mkdtemp(prefix="labretto-benchmark-"), free_port()) as (pid, client):
        ready(client)
        idle = resting(pid)
        began = time.perf_counter()
        for _ in range(runs):
            submit(client, ASKS)
        while count(client, "waiting") < min(runs, 1000):
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        return {"idle": idle, "waiting": resting(pid), "seconds_to_submit_and_wait": round(seconds, 1)}


def recovery(queued: int) -> dict[str, float]:
    """The hub's start with an empty queue, and after a kill with ten runs that act and so many behind them."""
    home, port = tempfile.mkdtemp(prefix="labretto-benchmark-"), free_port()
    began = time.perf_counter()
    with hub(home, port) as (_, client):
        answers(f"{client.base_url}/api/runs")
        empty = time.perf_counter() - began
        ready(client)
        acting = [submit(client, ACTS.format(number=number)) for number in range(INSTRUMENTS)]
        for number in range(queued):
            submit(client, ACTS.format(number=number % INSTRUMENTS))
        while count(client, "running") < INSTRUMENTS:
            time.sleep(0.05)
    began = time.perf_counter()
    with hub(home, port) as (_, client):
        answers(f"{client.base_url}/api/runs")
        answered = time.perf_counter() - began
        before = {run: client.get(f"/api/runs/{run}", params={"steps": 1}).json()["steps_done"] for run in acting}
        going = dict(before)
        while any(going[run] <= before[run] for run in acting):
            going |= {run: client.get(f"/api/runs/{run}", params={"steps": 1}).json()["steps_done"] for run in acting}
            time.sleep(0.005)
        on = time.perf_counter() - began
    return {
        "empty_start_s": round(empty, 2),
        "answers_after_s": round(answered, 2),
        "all_ten_go_on_after_s": round(on, 2),
        "ratio_answers": round(answered / empty, 2),
    }


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=1000)
    asked = arguments.parse_args()
    result = {
        "benchmark": "orchestrator_standing",
        "runs": asked.runs,
        **waiting(asked.runs),
        "recovery": recovery(asked.runs),
        "load": round(os.getloadavg()[0], 1),
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
