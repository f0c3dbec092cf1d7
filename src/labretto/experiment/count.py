"""How many steps a run will do, counted without walking through its turns.

Where a condition or a result decides, there are two numbers: the fewest and the most, if nothing fails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labretto.experiment.model import (
    Block,
    Experiment,
    ForEach,
    Parallel,
    Repeat,
    Step,
    SubExperiment,
    Sweep,
    Within,
)
from labretto.experiment.reference import Reference, Value, references
from labretto.experiment.scope import NothingThereError, look_up
from labretto.experiment.turns import MOST_TURNS

Possible = Mapping[str, tuple[Any, ...]]
"""All values that a name can have; a name that is not in it may have any."""


@dataclass(frozen=True)
class Bounds:
    """So many at least, and at most."""

    least: int
    most: int | None
    """None: only the run can tell."""

    def __add__(self, other: Bounds) -> Bounds:
        most = None if self.most is None or other.most is None else self.most + other.most
        return Bounds(self.least + other.least, most)

    def times(self, other: Bounds) -> Bounds:
        """So many, each so often."""
        if 0 in (self.most, other.most):
            return NONE
        most = None if self.most is None or other.most is None else self.most * other.most
        return Bounds(self.least * other.least, most)

    def either(self, other: Bounds) -> Bounds:
        """The one or the other."""
        most = None if self.most is None or other.most is None else max(self.most, other.most)
        return Bounds(min(self.least, other.least), most)


NONE = Bounds(0, 0)
ONE = Bounds(1, 1)


def count_steps(experiment: Experiment, parameters: Mapping[str, Any]) -> int | None:
    """How many steps (those with a path of their own) a run will do at most; None if only the run can tell."""
    return step_bounds(experiment, parameters).most


def step_bounds(experiment: Experiment, parameters: Mapping[str, Any]) -> Bounds:
    """How many steps a run will do, with the fewest and the most turns and branches."""
    known = {name: (value,) for name, value in experiment.values(parameters).items()}
    counter = _Counter(experiment.experiments)
    return counter.all(experiment.steps, known) + counter.all(experiment.clean_up, known)


class _Counter:
    """Counts; the same call of the same sub-experiment once."""

    def __init__(self, experiments: Mapping[str, SubExperiment]) -> None:
        self.experiments = experiments
        self.counted: dict[tuple[str, str], Bounds] = {}

    def all(self, steps: Sequence[Step], known: Possible) -> Bounds:
        return sum((self._step(step, known) for step in steps), NONE)

    def _step(self, step: Step, known: Possible) -> Bounds:
        if isinstance(step, Block):
            return self._block(step, known)
        found = self._done(step, known)
        return found if step.when is None else found.either(NONE)

    def _block(self, block: Block, known: Possible) -> Bounds:
        steps = self.all(block.steps, known)
        if block.when is not None:
            steps = steps.either(self.all(block.otherwise, known))
        return steps + self.all(block.clean_up, known)

    def _done(self, step: Step, known: Possible) -> Bounds:
        match step:
            case Parallel():
                branches = (self.all(branch, known) for branch in step.branches.values())
                return sum(branches, self.all(step.clean_up, known))
            case Sweep():
                inner = {**known, **_possible(step.variables, known)}
                return self.all(step.steps, inner).times(_sweep(step, known)) + self.all(step.clean_up, known)
            case ForEach(variable, values):
                inner = {**known, **_possible({variable: values}, known)}
                return self.all(step.steps, inner).times(_length(values, known)) + self.all(step.clean_up, known)
            case Repeat():
                return self.all(step.steps, known).times(_times(step, known)) + self.all(step.clean_up, known)
            case Within():
                return self._within(step, known)
        return ONE

    def _within(self, step: Within, known: Possible) -> Bounds:
        called = self.experiments[step.experiment]
        given = {name: _values(value, known) for name, value in step.parameters.items()}
        inner = {name: (value,) for name, value in called.values({}).items()}
        inner |= {name: values for name, values in given.items() if values is not None}
        for name in given:
            if given[name] is None:
                inner.pop(name, None)
        key = (step.experiment, repr(inner))
        if key not in self.counted:
            self.counted[key] = self.all(called.steps, inner) + self.all(called.clean_up, inner)
        return self.counted[key]


def _values(value: Value, known: Possible) -> tuple[Any, ...] | None:
    """All that a value can be; None if that is not known."""
    if not isinstance(value, Reference):
        return None if any(references(value)) else (value,)
    if value.name not in known:
        return None
    try:
        return tuple(look_up(each, value) for each in known[value.name])
    except NothingThereError:
        return None


def _possible(variables: Mapping[str, Value], known: Possible) -> dict[str, tuple[Any, ...]]:
    """The values of loop variables, of those that can be known."""
    found = {}
    for name, values in variables.items():
        lists = _values(values, known)
        if lists is not None and all(isinstance(each, list | tuple) for each in lists):
            found[name] = tuple(value for each in lists for value in each)
    return found


def _length(values: Value, known: Possible) -> Bounds:
    if isinstance(values, list):
        return Bounds(len(values), len(values))
    lists = _values(values, known)
    lengths = [len(each) for each in lists or () if isinstance(each, list | tuple)]
    return Bounds(min(lengths), max(lengths)) if lengths else Bounds(0, None)


def _sweep(sweep: Sweep, known: Possible) -> Bounds:
    lengths = [_length(values, known) for values in sweep.grid.values()]
    lengths += [_length(values, known) for values in list(sweep.zipped.values())[:1]]
    mosts = [each.most for each in lengths]
    most = None if None in mosts else math.prod(each for each in mosts if each is not None)
    return Bounds(math.prod(each.least for each in lengths), most)


def _times(loop: Repeat, known: Possible) -> Bounds:
    numbers = [int(each) for each in _values(loop.times, known) or () if isinstance(each, int | float)]
    found = Bounds(min(numbers), max(numbers)) if numbers else Bounds(0, MOST_TURNS)
    return found if loop.until is None else Bounds(min(1, found.least), found.most)
