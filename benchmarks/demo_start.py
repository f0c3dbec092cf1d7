"""How long until the first measured curve, how much memory while nothing happens, how long the imports take.

The baseline of the times is the bare interpreter (`python -c pass`) and a bare FastAPI import, in the same run.
Run it: `python benchmarks/demo_start.py`. Prints one JSON line.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from processes import answers, free_port, machine, memory, running


def seconds(*command: str, rounds: int = 7) -> float:
    """Median wall time of a command."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def first_curve() -> float:
    """Seconds from starting `labretto demo` to the first whole voltammogram in the record."""
    port = free_port()
    environment = {"LABRETTO_HOME": tempfile.mkdtemp(prefix="labretto-benchmark-")}
    began = time.perf_counter()
    with running(sys.executable, "-m", "labretto", "demo", "--port", str(port), environment=environment):
        answers(f"http://127.0.0.1:{port}/api/runs")
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as hub:
            while not (runs := hub.get("/api/runs").json()):
                time.sleep(0.01)
            while not hub.get(f"/api/records/{runs[0]['id']}/data").json():
                time.sleep(0.02)
            return time.perf_counter() - began


def idle_memory() -> dict[str, float]:
    """MB (proportional) of the hub and its two instruments, after start."""
    port = free_port()
    import labretto

    lab = Path(labretto.__file__).parent / "demo" / "lab.toml"
    environment = {"LABRETTO_HOME": tempfile.mkdtemp(prefix="labretto-benchmark-")}
    with running(sys.executable, "-m", "labretto", "up", str(lab), "--port", str(port), environment=environment) as up:
        answers(f"http://127.0.0.1:{port}/api/instruments")
        hub, *hosts = memory(up.pid).values()
    return {"hub": round(hub), "hosts": round(sum(hosts)), "all": round(hub + sum(hosts))}


def main() -> None:
    result = {
        "benchmark": "demo_start",
        "demo_to_first_curve_s": round(statistics.median(first_curve() for _ in range(3)), 2),
        "idle_memory_mb": idle_memory(),
        "import_labretto_s": round(seconds(sys.executable, "-c", "import labretto"), 3),
        "labretto_help_s": round(seconds(sys.executable, "-m", "labretto", "--help"), 3),
        "bare_python_s": round(seconds(sys.executable, "-c", "pass"), 3),
        "import_fastapi_s": round(seconds(sys.executable, "-c", "import fastapi"), 3),
        "load": round(os.getloadavg()[0], 1),
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
