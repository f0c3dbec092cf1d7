"""Whether the queue slows down with the years: a hub with 100,000 ended runs beside one with 200, its first day's.

Both are real processes with the same instrument and the same twenty runs that wait. The history is written into the
journal and the index of each before it starts. Run it: `python benchmarks/orchestrator_history.py`. Prints one JSON
line; the two take turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from processes import answers, cpu_seconds, free_port, machine, running

from labretto.catalog.search import Index
from labretto.orchestrator.journal import SqliteJournal

HERE = Path(__file__).parent
WAITING = 20
FEW = 200
"""Enough for whole pages of 50, so that the two answer the same."""
TEXT = "name: one\nsteps:\n  - do: nop.nop\n    with: {x: 1}\n"


async def write_history(folder: Path, runs: int) -> None:
    """So many runs that have ended, each with its events, its row, its label, its place in the index."""
    with contextlib.closing(SqliteJournal(folder / "journal.db")) as journal, Index(folder / "catalog.db") as index:
        body = {"name": "scan", "who": "ada", "experiment": {"source": TEXT, "format": "file", "steps": 1}}
        body |= {"parameters": {}, "versions": {}, "labels": ["film"], "instruments": ["nop"]}
        ends = [("submitted", body), ("started", {"lease": 1}), ("finished", {"state": "succeeded", "error": None})]
        await journal.append(_name(0), 0, ends)
        submitted = datetime.now(UTC) - timedelta(days=365)
        words = {"name": "scan", "who": "ada", "state": "succeeded", "labels": ["film"]}
        index.upsert({"id": _name(0), "submitted": submitted.isoformat(), **words}).result()
    _copies(folder / "journal.db", runs, OF_A_RUN)
    _copies(folder / "catalog.db", runs, OF_A_RECORD)


OF_A_RUN = """
INSERT INTO runs SELECT printf('00000000-0000-7000-8000-%012d', i), name || ' ' || i, who,
    CASE WHEN i % 4 THEN state ELSE 'failed' END, reason, last, i + 1, submitted, started, ended, priority, held,
    not_before, labels, instruments, again, turn, followed_by FROM runs, numbers WHERE id LIKE '%-000000000000';
INSERT INTO events (run, number, kind, at, body) SELECT printf('00000000-0000-7000-8000-%012d', i), number, kind, at,
    body FROM numbers, events WHERE run LIKE '%-000000000000';
INSERT INTO labels SELECT CASE i % 4 WHEN 0 THEN 'film' ELSE 'glass' END, runs.rowid FROM numbers
    JOIN runs ON runs.id = printf('00000000-0000-7000-8000-%012d', i);
UPDATE counters SET value = 1000000 WHERE name = 'position';
"""
OF_A_RECORD = """
INSERT INTO records SELECT number + i * 60000000, printf('00000000-0000-7000-8000-%012d', i), name || ' ' || i, state,
    who, submitted, started, ended, folder, words FROM records, numbers WHERE id LIKE '%-000000000000';
INSERT OR IGNORE INTO labels SELECT CASE number / 60000000 % 4 WHEN 0 THEN 'film' ELSE 'glass' END, number FROM records;
"""


def _copies(file: Path, count: int, statements: str) -> None:
    """The first run of a file, so many times: by appending them one by one this would take minutes."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TEMP TABLE numbers (i INTEGER)")
        connection.executemany("INSERT INTO numbers VALUES (?)", ((i,) for i in range(1, count)))
        connection.executescript("BEGIN;" + statements + "COMMIT;")


def _name(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012d}"


class Side:
    """One of the two hubs, and how long it took for each thing."""

    def __init__(self, hub: httpx2.Client, runs: int) -> None:
        self._hub = hub
        self._middle = _name(runs // 2)
        self.took: dict[str, list[float]] = {name: [] for name in self.things()}

    def things(self) -> dict[str, Callable[[], Any]]:
        get = self._hub.get
        return {
            "submit_to_end": self._one,
            "queue": lambda: get("/api/queue"),
            "newest": lambda: get("/api/runs", params={"limit": 50}),
            "page": lambda: get("/api/runs", params={"limit": 50, "before": self._middle}),
            "failed": lambda: get("/api/runs", params={"limit": 50, "state": "failed"}),
            "label": lambda: get("/api/runs", params={"limit": 50, "label": "film"}),
            "records_by_label": lambda: get("/api/records", params={"limit": 50, "label": "film"}),
            "move": self._move,
        }

    def prepare(self) -> None:
        """The runs that wait during all of it."""
        self.waiting = [
            self._hub.post("/api/runs", json={"experiment": TEXT, "held": True}).json()["id"] for _ in range(WAITING)
        ]

    def measure(self) -> None:
        """Each thing once."""
        for name, do in self.things().items():
            began = time.perf_counter()
            do()
            self.took[name].append((time.perf_counter() - began) * 1e3)

    def _one(self) -> None:
        run = self._hub.post("/api/runs", json={"experiment": TEXT}).raise_for_status().json()["id"]
        assert self._hub.get(f"/api/runs/{run}/wait").json()["state"] == "succeeded"

    def _move(self) -> None:
        last = self.waiting[-1]
        self._hub.post(f"/api/runs/{last}/move", json={"where": "before", "of": self.waiting[0]}).raise_for_status()


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=50)
    asked = arguments.parse_args()
    home = Path(tempfile.mkdtemp(prefix="labretto-benchmark-"))
    runs = {"few": FEW, "many": asked.runs}
    for name, count in runs.items():
        asyncio.run(write_history(home / name, count))
    with contextlib.ExitStack() as stack:
        sides = {name: _side(stack, home, name, count) for name, count in runs.items()}
        for side, _ in sides.values():
            side.prepare()
        for round_ in range(asked.rounds + 3):
            for side, _ in sides.values():
                side.measure()
                if round_ < 3:  # warm-up
                    side.took = {name: [] for name in side.took}
    median = {
        name: {key: statistics.median(took) for key, took in side.took.items()} for name, (side, _) in sides.items()
    }
    things = list(median["few"])
    result = {
        "benchmark": "orchestrator_history",
        "runs": asked.runs,
        "ms": {key: {name: round(median[name][key], 2) for name in sides} for key in things},
        "ratio": {key: round(median["many"][key] / median["few"][key], 2) for key in things},
        "start_s": {name: round(took, 2) for name, (_, took) in sides.items()},
        "rounds": asked.rounds,
        "load": round(os.getloadavg()[0], 1),
        "machine": machine(),
    }
    print(json.dumps(result))


def _side(stack: contextlib.ExitStack, home: Path, name: str, runs: int) -> tuple[Side, float]:
    """A hub that answers, and the seconds until it did."""
    lab, port = home / f"{name}.toml", free_port()
    lab.write_text(f'name = "{name}"\n[instruments.nop]\ndriver = "nop:Nop"\npath = "{HERE}"\n')
    environment = {"LABRETTO_HOME": str(home), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    command = (sys.executable, "-m", "labretto", "up", str(lab), "--port", str(port))
    hub = stack.enter_context(running(*command, environment=environment))
    answers(f"http://127.0.0.1:{port}/api/runs")
    took = time.perf_counter() - began
    _comes_to_rest(hub.pid)
    return Side(stack.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)), runs), took


def _comes_to_rest(hub: int) -> None:
    """Return when it has read what it learns from its journal at its start."""
    before = cpu_seconds(hub)
    while time.sleep(1) is None and (now := cpu_seconds(hub)) - before > 0.1:
        before = now


if __name__ == "__main__":
    main()
