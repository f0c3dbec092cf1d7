"""What it costs the ones who act that a hub is watched: a step's event written and told, without and with watchers.

Baseline: journal and change stream alone. Ours: counted for Prometheus, followed for notices and traces, and read by
one script over the journal. Both in turn, five times, in this process; the medians are compared. One JSON line.

    python benchmarks/orchestrator_watching.py [EVENTS]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from labretto.catalog.live import Changes
from labretto.orchestrator.following import follow
from labretto.orchestrator.journal import SqliteJournal
from labretto.web.metrics import Metrics

STEP = {"run": "a", "path": "m", "instrument": "stage", "action": "move", "state": "succeeded"} | {
    "started": "2026-11-21T08:00:00Z",
    "ended": "2026-11-21T08:00:02Z",
}
FOLLOWERS = (0.2, 1.0, 0.02)
"""Seconds for which notices, traces and a script's stream gather events."""
PAUSE = 0.002
"""Seconds between two events: 500 a second is a very fast run."""


class NoInstruments:
    def status(self) -> list[dict[str, Any]]:
        return []


async def once(events: int, *, watched: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        changes, journal = Changes(), SqliteJournal(Path(folder) / "journal.db")
        await journal.append("a", 0, [("submitted", {"name": "x", "experiment": {}, "parameters": {}})])
        about: dict[str, Any] = {"viewers": {}, "halted": lambda: False, "lab": "x", "version": "1"}
        metrics = Metrics(changes, journal, NoInstruments(), Path(folder), **about)
        async with contextlib.AsyncExitStack() as stack:
            if watched:
                journal.on_commit(metrics.on_commit)
                await stack.enter_async_context(metrics.counting())
                for together in FOLLOWERS:
                    task = asyncio.create_task(followed(journal, changes, together))
                    stack.callback(task.cancel)
            return await measured(journal, changes, events)


async def followed(journal: SqliteJournal, changes: Changes, together: float) -> None:
    async for _ in follow(journal, changes, 0, together=together):
        pass


async def measured(journal: SqliteJournal, changes: Changes, events: int) -> dict[str, float]:
    taken = []
    cpu = time.process_time()
    for number in range(events):
        began = time.perf_counter()
        await journal.append("a", number + 1, [("saved", {"path": f"p{number}", "row": {}})])
        changes.publish("step", STEP)
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE)
    cpu = time.process_time() - cpu
    taken.sort()
    journal.close()
    return {"p50": taken[events // 2] * 1e6, "p99": taken[events * 99 // 100] * 1e6, "cpu": cpu / events * 1e6}


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    taken: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(5):
        for watched in (False, True):
            taken[watched].append(asyncio.run(once(events, watched=watched)))
    found = {
        watched: {name: round(statistics.median(each[name] for each in all_), 1) for name in ("p50", "p99", "cpu")}
        for watched, all_ in taken.items()
    }
    ratio = round(found[True]["p50"] / found[False]["p50"], 2)
    print(json.dumps({"unit": "us per event", "baseline": found[False], "watched": found[True], "ratio_p50": ratio}))


if __name__ == "__main__":
    main()
