"""Actions per second, CPU per action and the latency of a one-action experiment, against the tutorial's orchestrator.

Both run as real processes on loopback: action server and orchestrator. Ours journals, keeps a ledger and leaves a
record of everything; the baseline keeps a dict in memory. Run it: `python benchmarks/orchestrator_actions.py`.
Prints one JSON line; rounds of both take turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from processes import answers, cpu_seconds, free_port, machine, running

HERE = Path(__file__).parent


def ours_many(hub: httpx2.Client, actions: int) -> None:
    text = "name: many\nsteps:\n  - sweep: {x: %s}\n    steps:\n      - do: nop.nop\n        with: {x: '${x}'}\n"
    run = hub.post("/api/runs", json={"experiment": text % list(range(actions))}).raise_for_status().json()["id"]
    ended = hub.get(f"/api/runs/{run}/wait", params={"timeout": 300}).json()
    assert ended["state"] == "succeeded", ended


def ours_one(hub: httpx2.Client) -> None:
    text = "name: one\nsteps:\n  - do: nop.nop\n    with: {x: 1}\n"
    run = hub.post("/api/runs", json={"experiment": text}).raise_for_status().json()["id"]
    assert hub.get(f"/api/runs/{run}/wait").json()["state"] == "succeeded"


def theirs(hub: httpx2.Client, actions: int, number: int) -> None:
    names = [f"nop_{i}" for i in range(actions)]
    experiment = {"soe": [f"nop/{name}" for name in names], "params": {name: {"x": 1} for name in names}}
    hub.post("/addExperiment", params={"experiment": json.dumps(experiment)}).raise_for_status()
    pause = 0.0002 if actions == 1 else 0.02
    while True:
        found = hub.get("/getData").json().get(f"experiment_{number}", {})
        if len(found) == actions and "here" not in found.values():
            return
        time.sleep(pause)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--actions", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--baseline", choices=["requests", "kept"], default="requests")
    asked = arguments.parse_args()
    home = tempfile.mkdtemp(prefix="labretto-benchmark-")
    lab = Path(home) / "lab.toml"
    lab.write_text(f'name = "benchmark"\n[instruments.nop]\ndriver = "nop:Nop"\npath = "{HERE}"\n')
    port, base_server, base_port = free_port(), free_port(), free_port()
    script = str(HERE / "primitive_orchestrator.py")
    environment = {"LABRETTO_HOME": home, "OMP_NUM_THREADS": "1"}
    with (
        running(sys.executable, "-m", "labretto", "up", str(lab), "--port", str(port), environment=environment) as up,
        running(sys.executable, script, "server", str(base_server)) as server,
        running(
            sys.executable, script, "orchestrator", str(base_port), f"http://127.0.0.1:{base_server}", asked.baseline
        ) as primitive,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=310) as ours,
        httpx2.Client(base_url=f"http://127.0.0.1:{base_port}", timeout=310) as base,
    ):
        answers(f"http://127.0.0.1:{port}/api/runs")
        answers(f"http://127.0.0.1:{base_server}/nop?x=1")
        answers(f"http://127.0.0.1:{base_port}/getData")
        figures: dict[str, list[float]] = {
            name: [] for name in ("rate", "cpu", "one", "base_rate", "base_cpu", "base_one")
        }
        number = 0
        # In pieces of 100: one URL holds no more, and asking for the data of more stalls its dispatch.
        piece = min(100, asked.actions)
        for round_ in range(asked.rounds + 1):
            began, cpu = time.perf_counter(), cpu_seconds(up.pid)
            ours_many(ours, asked.actions)
            rate, spent = asked.actions / (time.perf_counter() - began), cpu_seconds(up.pid) - cpu
            began, cpu = time.perf_counter(), cpu_seconds(server.pid) + cpu_seconds(primitive.pid)
            for _ in range(asked.actions // piece):
                theirs(base, piece, number)
                number += 1
            done = asked.actions // piece * piece
            base_rate = done / (time.perf_counter() - began)
            base_spent = cpu_seconds(server.pid) + cpu_seconds(primitive.pid) - cpu
            ones, base_ones = [], []
            for _ in range(50):
                began = time.perf_counter()
                ours_one(ours)
                ones.append(time.perf_counter() - began)
                began = time.perf_counter()
                theirs(base, 1, number)
                number += 1
                base_ones.append(time.perf_counter() - began)
            if round_ == 0:
                continue  # warm-up
            figures["rate"].append(rate)
            figures["cpu"].append(spent / asked.actions * 1e3)
            figures["one"].append(statistics.median(ones) * 1e3)
            figures["base_rate"].append(base_rate)
            figures["base_cpu"].append(base_spent / done * 1e3)
            figures["base_one"].append(statistics.median(base_ones) * 1e3)
    median = {name: statistics.median(values) for name, values in figures.items()}
    result = {
        "benchmark": "orchestrator_actions",
        "baseline": asked.baseline,
        "actions_per_second": {"labretto": round(median["rate"]), "tutorial": round(median["base_rate"])},
        "cpu_ms_per_action": {"labretto": round(median["cpu"], 2), "tutorial": round(median["base_cpu"], 2)},
        "submit_to_result_ms": {"labretto": round(median["one"], 1), "tutorial": round(median["base_one"], 1)},
        "ratio_rate": round(median["rate"] / median["base_rate"], 2),
        "ratio_cpu": round(median["cpu"] / median["base_cpu"], 2),
        "rounds": asked.rounds,
        "load": round(os.getloadavg()[0], 1),
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
