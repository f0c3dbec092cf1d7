"""What a forecast costs: beside the bare walk of the same sweep, beside a submission without one, and learning.

The baseline of a forecast is `follow` with a walk that answers at once; that of a submission the same preparation
without a forecast. Run it: `python benchmarks/orchestrator_forecast.py`. Prints one JSON line for each case.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from labretto.experiment.count import count_steps
from labretto.experiment.dry import Setting
from labretto.experiment.estimate import Estimate, NothingKnown, learned
from labretto.experiment.follow import follow
from labretto.experiment.forecast import forecast
from labretto.experiment.load import load
from labretto.instrument.invocation import new_id
from labretto.orchestrator.durations import Durations
from labretto.orchestrator.foresight import NothingLearned, View
from labretto.orchestrator.journal import SqliteJournal
from labretto.orchestrator.submission import Submission, prepared

SWEEP = """
name: sweep
steps:
  - sweep: {{x: {values}}}
    steps:
      - do: stage.move
        with: {{x: "${{x}}"}}
      - save: {{x: "${{x}}"}}
"""
LAB: dict[str, Any] = {
    "stage": {
        "attributes": {},
        "actions": {"move": {"parameters": {"x": {"schema": {"type": "number"}, "required": True}}, "result": {}}},
    }
}


class Learned(NothingKnown):
    """Twenty ends of every action."""

    def of_action(self, instrument: str, action: str, parameters: object) -> Estimate | None:
        return learned([1.0, 1.1] * 10, "action", f"{instrument}.{action}")


class Nothing:
    """Answers at once."""

    async def call(self, *_: Any, **__: Any) -> None: ...

    async def save(self, *_: Any) -> None: ...

    def cleaning(self) -> Any:
        return nullcontext()


class Instruments:
    """The lab's, as a submission is checked against them."""

    def descriptions(self) -> dict[str, Any]:
        return LAB

    def why_unknown(self, name: str) -> None: ...


def median(work: Callable[[], object], rounds: int) -> float:
    """Milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def walks(steps: int) -> dict[str, Any]:
    experiment = load(SWEEP.format(values=list(range(steps // 2))))
    count = count_steps(experiment, {})
    setting = Setting(LAB, Learned(), 20_000)
    bare = median(lambda: asyncio.run(follow(experiment, {}, Nothing())), 5)  # type: ignore[arg-type]
    ours = median(lambda: forecast(experiment, {}, setting, levels={}, steps=count), 5)
    return {"case": f"forecast of {steps} steps", "baseline_ms": round(bare, 2), "ms": round(ours, 2)}


def submissions() -> dict[str, Any]:
    submission = Submission(SWEEP.format(values=[1.0]))
    view, instruments = View(LAB, NothingLearned(), {}, 2000), Instruments()
    without = median(lambda: prepared(submission, instruments), 200)  # type: ignore[arg-type]
    ours = median(lambda: prepared(submission, instruments, view), 200)  # type: ignore[arg-type]
    return {"case": "prepare a submission of 2 steps", "baseline_ms": round(without, 2), "ms": round(ours, 2)}


async def learning(actions: int) -> dict[str, Any]:
    """Processor time for one event of the journal, folded afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        await journal.append("r", 0, [("submitted", {"name": "x", "experiment": {"format": "file"}, "parameters": {}})])
        for first in range(0, actions, 500):
            entries = [entry for number in range(first, first + 500) for entry in _step(number)]
            await journal.append("r", 1 + 2 * first, entries)
        durations = Durations(Path(folder) / "durations.db", journal)
        began = time.process_time()
        await durations.catch_up()
        seconds = time.process_time() - began
        durations.close()
        journal.close()
    return {"case": "learn from one event, after the fact", "cpu_us": round(seconds / (2 * actions) * 1e6, 1)}


def _step(number: int) -> list[tuple[str, dict[str, Any]]]:
    path, invocation = f"sweep[{number}]/stage.move", new_id()
    words = {"instrument": "stage", "action": "move", "effect": "absolute", "attempt": 1}
    ended = {"state": "succeeded", "origin": "answered", "result": 1.5, "error": None}
    return [
        ("intended", {"path": path, "invocation": invocation, "parameters": {"x": number % 700}, **words}),
        ("ended", {"path": path, "invocation": invocation, "started": "", "ended": "", **ended}),
    ]


if __name__ == "__main__":
    for line in (walks(100), walks(20_000), walks(100_000), submissions(), asyncio.run(learning(20_000))):
        print(json.dumps(line))
