"""What a run will be like, before it runs: how long, on which instruments, what runs out, when people are needed.

Pure: from an experiment, descriptions, learned durations and the present levels of tanks. The experiment is walked in
thought (`dry`), twice where it depends on results what is done: once as if every open condition held, once as if none
did; the answer is then a range. What is not known is said (`notes`) and counts as no time; nothing is made up. All
times are seconds after the beginning, so the same forecast serves a run that waits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labretto.experiment.dry import READ, WRITE, Draw, DryStep, Notes, Setting, dry_run, generic
from labretto.experiment.estimate import Estimate, Row, Source, Spread, spelled, spread
from labretto.experiment.model import Experiment

MOST_STEPS = 20_000
"""Steps that one forecast walks through; what comes after is taken to go on in the same way."""
MOST_TOLD = 100
"""Entries of each list; the rest is counted."""

Levels = Mapping[tuple[str, str], float]
"""(instrument, attribute) → what it tells now: what is in a tank, and how much goes into it."""


@dataclass(frozen=True)
class Part:
    """Steps of one place in the file on the critical path: they decide how long it takes."""

    path: str
    """Without the turns of loops."""
    steps: int
    seconds: float


@dataclass(frozen=True)
class Occupied:
    """What one instrument has to do."""

    seconds: float
    steps: int
    first: float
    """When it is first needed, and when no longer."""
    last: float


@dataclass(frozen=True)
class Consumable:
    """What is taken out of one tank."""

    instrument: str
    attribute: str
    unit: str | None
    needed: float
    available: float | None
    """None: nobody could tell."""
    runs_out: Spread | None = None
    """When; None: it lasts, or nobody knows."""
    path: str | None = None
    """The step that finds too little."""
    unknown: int = 0
    """Draws of which nobody knows how much they take."""


@dataclass(frozen=True)
class Needed:
    """People are needed: a question."""

    path: str
    text: str
    at: Spread
    answer: Spread | None
    """How long people take to answer; None: nobody knows, and it counts as no time."""
    certain: bool = True
    """False: it depends on a result whether it is asked."""
    assignee: str | None = None


@dataclass(frozen=True)
class Basis:
    """What the forecast stands on: one action, or one question."""

    what: str
    steps: int
    source: Source
    n: int
    """Of how many ends."""
    each: Spread


@dataclass(frozen=True)
class Forecast:
    """What a run will be like."""

    seconds: Spread | None
    """None: nothing is known of how long it takes."""
    steps: int | None
    """How many there are; None: nobody knows."""
    critical: tuple[Part, ...] = ()
    instruments: Mapping[str, Occupied] | None = None
    consumables: tuple[Consumable, ...] = ()
    people: tuple[Needed, ...] = ()
    basis: tuple[Basis, ...] = ()
    notes: tuple[str, ...] = ()
    """What is not known, and what is in doubt, in sentences."""

    def as_dict(self) -> dict[str, Any]:
        """JSON of it."""
        return {
            "seconds": self.seconds.as_dict() if self.seconds else None,
            "steps": self.steps,
            "critical": [_plain(part) for part in self.critical],
            "instruments": {name: _plain(each) for name, each in (self.instruments or {}).items()},
            "consumables": [_plain(each) for each in self.consumables],
            "people": [_plain(each) for each in self.people],
            "basis": [_plain(each) for each in self.basis],
            "notes": list(self.notes),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Spread):
        return value.as_dict()
    if isinstance(value, float):
        return round(value, 3)
    names = getattr(value, "__dataclass_fields__", None)
    return {name: _plain(getattr(value, name)) for name in names} if names else value


def forecast(
    experiment: Experiment, parameters: Mapping[str, Any], setting: Setting, *, levels: Levels, steps: int | None = None
) -> Forecast:
    """What a run of this experiment will be like; not to be called in a thread that runs an event loop.

    Args:
        experiment: checked without a fault, and settled (`soe.settle`) if it came as `soe`.
        parameters: what was given.
        setting: descriptions, what has been learned, and how many steps may be walked.
        levels: of the tanks that its steps draw from or fill; those that are missing are not known.
        steps: how many it has (`follow.count_steps`), where that is known.

    Raises:
        InvalidError: a reference leads nowhere.
    """
    runs = _runs(experiment, parameters, setting)
    whole = all(run.whole for run in runs)
    views = sorted((_View(run, steps) for run in runs), key=lambda view: view.seconds)
    shortest, longest = views[0], views[-1]
    return Forecast(
        seconds=_range(shortest.spread, longest.spread) if longest.something_is_known else None,
        steps=max(run.count for run in runs) if whole else steps,
        critical=longest.critical(),
        instruments=longest.instruments(),
        consumables=tuple(longest.consumables(levels, setting.descriptions)),
        people=_people(shortest, longest),
        basis=tuple(longest.basis()),
        notes=tuple(_notes(shortest, longest)),
    )


def tanks(descriptions: Mapping[str, Mapping[str, Any]], instruments: Iterable[str]) -> set[tuple[str, str]]:
    """The (instrument, attribute) whose present values a forecast asks for."""
    found: set[tuple[str, str]] = set()
    for name in instruments:
        for action in (descriptions.get(name, {}).get("actions") or {}).values():
            found |= {(name, attribute) for attribute in action.get("consumes") or {}}
            for attribute, amount in (action.get("refills") or {}).items():
                found |= {(name, attribute)} | ({(name, amount)} if isinstance(amount, str) else set())
    return found


def _runs(experiment: Experiment, parameters: Mapping[str, Any], setting: Setting) -> list[Notes]:
    """One dry run, or two where it depends on a result what is done."""
    first = dry_run(experiment, parameters, setting, holds=True)
    return [first, dry_run(experiment, parameters, setting, holds=False)] if first.undecided else [first]


class _View:
    """One dry run, looked at."""

    def __init__(self, notes: Notes, steps: int | None) -> None:
        self.notes = notes
        self.factor = 1.0 if notes.whole or not steps else max(1.0, steps / max(1, notes.count))
        """So many times as much as was walked."""
        self.seconds = notes.seconds * self.factor
        self._path = _critical_path(notes.steps, notes.seconds)
        self._row = Row()
        for step in self._path:
            self._row.add(step.estimate)
        self.spread = spread(self.seconds, self._row.longer(self.factor).variance)

    @property
    def something_is_known(self) -> bool:
        """Of at least one step, or there is none."""
        steps = self.notes.steps
        return not steps or any(step.estimate.source != "not known" for step in steps)

    def critical(self) -> tuple[Part, ...]:
        parts: defaultdict[str, list[DryStep]] = defaultdict(list)
        for step in self._path:
            parts[generic(step.path)].append(step)
        told = [Part(path, self._times(len(of)), self.factor * _length(of)) for path, of in parts.items()]
        return tuple(sorted(told, key=lambda part: -part.seconds)[:12])

    def instruments(self) -> dict[str, Occupied]:
        used: defaultdict[str, list[DryStep]] = defaultdict(list)
        for step in self.notes.steps:
            if step.instrument:
                used[step.instrument].append(step)
        return {name: self._occupied(of) for name, of in used.items()}

    def _occupied(self, of: Sequence[DryStep]) -> Occupied:
        last = self.factor * max(step.end for step in of)
        return Occupied(self.factor * _length(of), self._times(len(of)), min(step.begin for step in of), last)

    def basis(self) -> list[Basis]:
        used: defaultdict[tuple[str, Source], list[Estimate]] = defaultdict(list)
        for step in self.notes.steps:
            if step.action != "sleep":
                used[_spelled(step), step.estimate.source].append(step.estimate)
        told = [
            Basis(what, self._times(len(of)), source, _ends(of), _typical(of).spread)
            for (what, source), of in used.items()
        ]
        return told[:MOST_TOLD]

    def at(self, second: float) -> Spread:
        """When that moment of the dry run will be."""
        row = Row()
        for step in self._path:
            if step.end > second:
                break
            row.add(step.estimate)
        return spread(second, row.variance)

    def consumables(self, levels: Levels, descriptions: Mapping[str, Mapping[str, Any]]) -> Iterable[Consumable]:
        draws: defaultdict[tuple[str, str], list[Draw]] = defaultdict(list)
        for draw in sorted(self.notes.draws, key=lambda each: each.step.begin):
            draws[draw.step.instrument, draw.attribute].append(draw)
        for tank, of in draws.items():
            described = ((descriptions.get(tank[0]) or {}).get("attributes") or {}).get(tank[1]) or {}
            yield self._drawn(tank, of, levels, (described.get("schema") or {}).get("unit"))

    def _drawn(self, tank: tuple[str, str], draws: Sequence[Draw], levels: Levels, unit: str | None) -> Consumable:
        """What becomes of one tank; `left` is None as long as nobody knows how much is in it."""
        left = levels.get(tank)
        told = Consumable(*tank, unit, 0.0, left)
        for draw in draws:
            if draw.fills:
                left = levels.get((tank[0], draw.amount)) if isinstance(draw.amount, str) else draw.amount
            elif draw.amount is None:
                told = replace(told, unknown=told.unknown + 1)
            else:
                told = replace(told, needed=told.needed + draw.amount)
                left = None if left is None else left - draw.amount
            if left is not None and left < -1e-9 and told.path is None:
                told = replace(told, runs_out=self.at(draw.step.begin), path=draw.step.path)
        filled = any(draw.fills for draw in draws)
        return told if self.factor == 1 or filled else self._drawn_further(told)

    def _drawn_further(self, told: Consumable) -> Consumable:
        """The same over the part that was not walked: it goes on in the same way."""
        told = replace(told, needed=told.needed * self.factor)
        if told.path is None and told.available is not None and told.needed > told.available:
            return replace(told, runs_out=spread(self.seconds * told.available / told.needed, 0.0))
        return told

    def _times(self, count: int) -> int:
        return round(count * self.factor)


def _critical_path(steps: Sequence[DryStep], end: float) -> list[DryStep]:
    """The steps that decide when it ends, in order: each begins when the one before it ends."""
    ends: dict[float, DryStep] = {step.end: step for step in steps if step.end > step.begin}
    found: list[DryStep] = []
    while (step := ends.get(end)) is not None:
        found.append(step)
        end = step.begin
    return found[::-1]


def _length(steps: Iterable[DryStep]) -> float:
    return sum(step.end - step.begin for step in steps)


def _ends(estimates: Sequence[Estimate]) -> int:
    """The most ends that one of them was learned from."""
    return max(each.n for each in estimates)


def _typical(estimates: Sequence[Estimate]) -> Estimate:
    return sorted(estimates, key=lambda each: each.mean)[len(estimates) // 2]


def _range(shortest: Spread, longest: Spread) -> Spread:
    return Spread(shortest.p10, (shortest.p50 + longest.p50) / 2, longest.p90)


def _people(shortest: _View, longest: _View) -> tuple[Needed, ...]:
    """Every question of either run, in order of time; one that is in one of them only is not certain."""
    found: dict[str, list[tuple[_View, DryStep, Any]]] = {}
    for view in {id(view): view for view in (shortest, longest)}.values():
        for step, question in view.notes.questions[:MOST_TOLD]:
            found.setdefault(step.path, []).append((view, step, question))
    both = 1 if shortest is longest else 2
    told = [_needed(path, seen, certain=len(seen) == both) for path, seen in found.items()]
    return tuple(sorted(told, key=lambda each: each.at.p50)[:MOST_TOLD])


def _needed(path: str, seen: Sequence[tuple[_View, DryStep, Any]], *, certain: bool) -> Needed:
    times = sorted((view.at(step.begin) for view, step, _ in seen), key=lambda each: each.p50)
    _, step, question = seen[0]
    answer = step.estimate.spread if step.estimate.n else None
    return Needed(path, question.text, _range(times[0], times[-1]), answer, certain, question.assignee)


def _notes(shortest: _View, longest: _View) -> Iterable[str]:
    notes = longest.notes
    nothing = {_spelled(step): None for step in notes.steps if step.estimate.source == "not known"}
    if nothing:
        names = ", ".join(list(nothing)[:10]) + (" and others" if len(nothing) > 10 else "")
        yield f"Nobody knows yet how long these take, and they count as no time: {names}."
    if undecided := {generic(path): None for view in (shortest, longest) for path in view.notes.undecided}:
        low, high = spelled(shortest.seconds), spelled(longest.seconds)
        times = f": {low} to {high}" if longest.something_is_known else ""
        yield f"It depends on the results of {', '.join(list(undecided)[:10])} what is done{times}."
    if not notes.whole:
        yield f"The first {notes.count} steps were looked at; the rest is taken to go on in the same way."
    yield from list(notes.warnings)[:MOST_TOLD]


def _spelled(step: DryStep) -> str:
    if not step.instrument:
        return "people's answers"
    for word, verb in ((READ, "reading"), (WRITE, "setting")):
        if step.action.startswith(word):
            return f"{verb} {step.instrument}.{step.action.removeprefix(word)}"
    return f"{step.instrument}.{step.action}"


def of_earlier_runs(estimate: Estimate | None) -> Forecast:
    """Of an experiment that cannot be walked in thought, a Python function: as long as its earlier runs were."""
    if estimate is None:
        note = "How long it takes is not known: it is Python, and no earlier run of this function has ended well."
        return Forecast(None, None, notes=(note,))
    basis = Basis("the whole run", 1, estimate.source, estimate.n, estimate.spread)
    version = "an earlier version of this function" if estimate.source == "earlier version" else "this function"
    note = f"It is Python: the time is that of {estimate.n} earlier runs of {version}; nothing else can be foreseen."
    return Forecast(estimate.spread, None, basis=(basis,), notes=(note,))
