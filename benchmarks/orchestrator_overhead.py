"""What the orchestrator adds: the time between two actions, the rate with 1 and 10 runs at once, files and Python.

Ten instruments, each a host of its own whose action does nothing; a run acts on one of them. The time between two
actions is what the hosts wrote down: the start of one less the end of the one before, in the same run. The baseline is
a loop that sends the same actions to one of the same hosts over one kept connection and writes nothing down itself.
Run it: `python benchmarks/orchestrator_overhead.py`. Prints one JSON line for each case, baseline first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
from processes import answers, cpu_seconds, free_port, machine, running

HERE = Path(__file__).parent
INSTRUMENTS = 10
FILE = """
name: many
steps:
  - sweep: {{x: {points}}}
    steps:
      - do: {instrument}.nop
        with: {{x: "${{x}}"}}
"""
PYTHON = """
import labretto

@labretto.experiment
async def many(run: labretto.Run, instrument: str, points: int) -> None:
    (nop,) = [await run.lease(instrument)]
    for x in range(points):
        await nop.nop(x=x)
"""


def lab(effect: str) -> str:
    """The lab file: ten instruments whose action has this effect."""
    tables = [
        f'[instruments.nop{number}]\ndriver = "nop:Nop"\npath = "{HERE}"\neffects = {{ nop = "{effect}" }}\n'
        for number in range(INSTRUMENTS)
    ]
    return 'name = "overhead"\n' + "".join(tables)


def submission(kind: str, instrument: str, actions: int) -> dict[str, Any]:
    """What is posted to the hub."""
    if kind == "file":
        return {"experiment": FILE.format(points=list(range(actions)), instrument=instrument)}
    return {
        "experiment": PYTHON,
        "function": "many",
        "parameters": {"instrument": instrument, "points": actions},
    }


def case(hub: httpx2.Client, pid: int, kind: str, runs: int, actions: int) -> dict[str, Any]:
    """`runs` at once, each with so many actions: their rate, CPU and overheads."""
    began, cpu = time.perf_counter(), cpu_seconds(pid)
    identities = []
    for number in range(runs):
        body = submission(kind, f"nop{number}", actions)
        identities.append(hub.post("/api/runs", json=body).raise_for_status().json()["id"])
    for identity in identities:
        ended = hub.get(f"/api/runs/{identity}/wait", params={"timeout": 300}).raise_for_status().json()
        assert ended["state"] == "succeeded", ended
    seconds, spent = time.perf_counter() - began, cpu_seconds(pid) - cpu
    gaps = [gap for identity in identities for gap in between(hub, identity)]
    count = runs * actions
    return {
        "runs": runs,
        "kind": kind,
        "actions_per_second": round(count / seconds),
        "cpu_ms_per_action": round(spent / count * 1e3, 2),
        **quantiles(gaps),
    }


def between(hub: httpx2.Client, identity: str) -> Iterator[float]:
    """Milliseconds from the end of each action to the start of the next, by the host's clock."""
    events = hub.get(f"/api/runs/{identity}/events").raise_for_status().json()
    ended = [event for event in events if event["kind"] == "ended"]
    for before, after in pairwise(ended):
        yield (moment(after["started"]) - moment(before["ended"])) * 1e3


def moment(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def quantiles(gaps: Sequence[float]) -> dict[str, float]:
    """Of the milliseconds between two actions."""
    hundredths = statistics.quantiles(gaps, n=100)
    return {"overhead_p50_ms": round(hundredths[49], 2), "overhead_p99_ms": round(hundredths[98], 2)}


def bare(host: str, actions: int) -> dict[str, Any]:
    """The baseline: a loop that asks the same host, over one connection, and keeps nothing."""
    with httpx2.Client(base_url=host, timeout=60) as client:
        began = time.perf_counter()
        ended = [client.post("/actions/nop", json={"x": x}).raise_for_status().json() for x in range(actions)]
        seconds = time.perf_counter() - began
    gaps = [(moment(after["started"]) - moment(before["ended"])) * 1e3 for before, after in pairwise(ended)]
    return {"runs": 1, "kind": "bare loop", "actions_per_second": round(actions / seconds), **quantiles(gaps)}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--actions", type=int, default=500, help="of each run")
    arguments.add_argument("--effects", nargs="+", default=["absolute", "once"])
    asked = arguments.parse_args()
    for effect in asked.effects:
        home = tempfile.mkdtemp(prefix="labretto-benchmark-")
        file = Path(home) / "lab.toml"
        file.write_text(lab(effect))
        port = free_port()
        environment = {"LABRETTO_HOME": home, "OMP_NUM_THREADS": "1"}
        with (
            running(
                sys.executable, "-m", "labretto", "up", str(file), "--port", str(port), environment=environment
            ) as up,
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=310) as hub,
        ):
            answers(f"http://127.0.0.1:{port}/api/runs")
            words = {"benchmark": "orchestrator_overhead", "effect": effect, "machine": machine()}
            case(hub, up.pid, "file", INSTRUMENTS, 20)  # warm-up: every connection is made
            host = json.loads((Path(home) / "overhead/hosts/nop0/host.json").read_text())["addresses"]["http"]
            baseline = bare(host, asked.actions)
            print(json.dumps(words | baseline | {"load": round(os.getloadavg()[0], 1)}))
            for kind in ("file", "python"):
                for runs in (1, INSTRUMENTS):
                    found = case(hub, up.pid, kind, runs, asked.actions)
                    ratio = found["overhead_p50_ms"] / baseline["overhead_p50_ms"]
                    more = {"ratio_overhead_to_bare": round(ratio, 2), "load": round(os.getloadavg()[0], 1)}
                    print(json.dumps(words | found | more), flush=True)


if __name__ == "__main__":
    main()
