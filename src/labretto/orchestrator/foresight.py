"""Forecasts for a lab: what was learned, what the tanks tell now and how far a run is, put together.

`labretto.experiment.forecast` foresees; here is where it gets what it needs. At a submission it is given little time,
since somebody waits for the answer; who asks for a forecast gets all that `MOST_STEPS` allows.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from labretto.errors import LabError
from labretto.experiment.count import count_steps
from labretto.experiment.dry import Setting
from labretto.experiment.estimate import Estimate, Known, NothingKnown, Spread
from labretto.experiment.forecast import MOST_STEPS, Forecast, Levels, forecast, of_earlier_runs, tanks
from labretto.experiment.load import load
from labretto.experiment.model import Experiment
from labretto.experiment.soe import settle as settle_soe
from labretto.instrument.reading import Reading
from labretto.orchestrator.engine import RunState
from labretto.orchestrator.submission import LabInstruments

AT_SUBMISSION = 2_000
"""Steps that are walked in thought while somebody waits for a submission's answer: some 30 ms."""
LEVELS_WITHIN = 0.5
"""Seconds in which an instrument tells what is in its tanks; else that is not known."""


class Learned(Known, Protocol):
    """What has been learned of actions, answers and whole runs; `durations.Durations`."""

    def of_run(self, function: str, digest: str) -> Estimate | None:
        """Of a Python experiment."""


class NothingLearned(NothingKnown):
    """Of a lab that has done nothing yet."""

    def of_run(self, function: str, digest: str) -> Estimate | None:
        """See `Learned`."""
        return None


@dataclass(frozen=True)
class View:
    """The lab at one moment, as forecasts see it. Any thread but one with a running event loop may ask it."""

    descriptions: Mapping[str, Mapping[str, Any]]
    learned: Learned
    levels: Levels
    most_steps: int = MOST_STEPS

    def of_file(
        self,
        experiment: Experiment,
        parameters: Mapping[str, Any],
        *,
        done: Mapping[str, Any] | None = None,
        elapsed: Mapping[str, float] | None = None,
        failed: Mapping[str, int] | None = None,
        left: Mapping[str, float] | None = None,
    ) -> Forecast:
        """What a run of a checked experiment will be like, or what is left of one."""
        so_far = (done or {}, elapsed or {}, failed or {}, left or {})
        setting = Setting(self.descriptions, self.learned, self.most_steps, *so_far)
        steps = count_steps(experiment, parameters)
        return forecast(experiment, parameters, setting, levels=self.levels, steps=steps)

    def of_python(self, function: str, digest: str) -> Forecast:
        """What a run of a Python experiment will be like."""
        return of_earlier_runs(self.learned.of_run(function, digest))

    def of_rest(self, state: RunState, at: datetime) -> Forecast:
        """What is left of a run that has begun, at a moment.

        Of a Python run nobody knows how far it is: what is left is what is left of its usual time.
        """
        words = state.experiment
        if words["format"] == "python":
            return _shortened(self.of_python(words["function"], words["hash"]), _since(state.started, at))
        experiment = settle_soe(_loaded(words["source"]), self.descriptions)
        left = {path: max(0.0, -_since(until, at, signed=True)) for path, until in state.wakes.items()}
        so_far = {"done": _done(state), "elapsed": _elapsed(state, at), "failed": _failed(state), "left": left}
        return self.of_file(experiment, state.parameters, **so_far)


class Foresight:
    """Makes views of one lab.

    Args:
        learned: what is known of durations.
        instruments: whose tanks are asked.
    """

    def __init__(self, learned: Learned, instruments: LabInstruments) -> None:
        self.learned = learned
        self._instruments = instruments
        self._seen: Levels = {}

    async def view(self) -> View:
        """The lab as it is now."""
        await self.look()
        return self.latest(MOST_STEPS)

    async def look(self) -> None:
        """Ask what is in the tanks."""
        descriptions = self._instruments.descriptions()
        self._seen = await self._levels(tanks(descriptions, descriptions))

    def latest(self, most_steps: int) -> View:
        """The lab as it was when somebody looked last."""
        return View(self._instruments.descriptions(), self.learned, self._seen, most_steps)

    async def _levels(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """What is in the tanks now; of those that answer with a number, and soon."""
        names = list(wanted)
        read = await asyncio.gather(*(self._level(*tank) for tank in names))
        return {tank: level for tank, level in zip(names, read, strict=True) if level is not None}

    async def _level(self, instrument: str, attribute: str) -> float | None:
        try:
            async with asyncio.timeout(LEVELS_WITHIN):
                reading: Reading = await (await self._instruments.instrument(instrument)).read(attribute)
        except (LabError, TimeoutError):
            return None
        value = reading.value
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@functools.lru_cache(maxsize=32)
def _loaded(source: str) -> Experiment:
    """The text of a run that was checked when it was submitted; the page asks again and again."""
    return load(source)


def _done(state: RunState) -> dict[str, Any]:
    """What the steps that are over answered."""
    done: dict[str, Any] = {
        path: _answer(step.result) for path, step in state.steps.items() if step.state in ("succeeded", "skipped")
    }
    return done | dict.fromkeys(state.saved) | dict.fromkeys(state.slept) | dict(state.answers)


def _failed(state: RunState) -> dict[str, int]:
    """How often what has failed was tried; the experiment says whether that is the end of it."""
    return {path: step.failures for path, step in state.steps.items() if step.state == "failed"}


def _answer(stored: Any) -> Any:
    """A result as conditions compare it; `Ellipsis` for what lies in the record's files."""
    if not isinstance(stored, Mapping):
        return stored
    if "$value" in stored:
        return stored["$value"]
    if any(str(key).startswith("$") for key in stored):
        return ...
    parts = {key: _answer(part) for key, part in stored.items()}
    return ... if any(part is ... for part in parts.values()) else parts


def _elapsed(state: RunState, at: datetime) -> dict[str, float]:
    """For how long what has begun is under way."""
    return {path: _since(step.at, at) for path, step in state.steps.items() if step.state == "intended"}


def _since(time: str | None, at: datetime, *, signed: bool = False) -> float:
    seconds = (at - datetime.fromisoformat(time)).total_seconds() if time else 0.0
    return seconds if signed else max(0.0, seconds)


def _shortened(whole: Forecast, by: float) -> Forecast:
    if whole.seconds is None:
        return whole
    left = Spread(*(max(0.0, each - by) for each in (whole.seconds.p10, whole.seconds.p50, whole.seconds.p90)))
    return replace(whole, seconds=left)
