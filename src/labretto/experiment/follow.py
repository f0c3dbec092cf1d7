"""An experiment walked as a function would: step after step, references looked up, sweeps unrolled while they run.

It decides which step comes next and with which values; what a step does is the `Walk`'s matter (it may journal, send,
or answer from what a journal remembers). The order and the paths depend on the experiment and its parameters alone, so
a second walk repeats the first.
"""

from __future__ import annotations

import itertools
import math
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from labretto.experiment.faults import refusal
from labretto.experiment.model import (
    Call,
    Experiment,
    Fault,
    Read,
    Reference,
    Save,
    Step,
    Sweep,
    Value,
    Where,
    Write,
    iteration,
    paths,
)
from labretto.experiment.scope import NothingThereError, look_up


class Walk(Protocol):
    """Does the steps.

    Each gets its path, its identity across crashes; each answers the value that `${name}` stands for afterwards.
    """

    async def call(self, path: str, instrument: str, action: str, parameters: Mapping[str, Any]) -> Any: ...

    async def read(self, path: str, instrument: str, attribute: str) -> Any: ...

    async def write(self, path: str, instrument: str, attribute: str, value: Any) -> Any: ...

    async def save(self, path: str, row: Mapping[str, Any]) -> None: ...


async def follow(experiment: Experiment, parameters: Mapping[str, Any], walk: Walk) -> None:
    """Walk an experiment to its end, or to the first error of a step, which is let through.

    Args:
        experiment: checked, and settled (`soe.settle`) if it came as `soe`.
        parameters: what was given; defaults are filled in here.
        walk: does the steps.

    Raises:
        InvalidError: if a reference leads nowhere in the values that the steps answered.
    """
    await _walk(experiment.steps, "", ChainMap(experiment.values(parameters)), walk)


async def _walk(steps: Sequence[Step], within: str, names: ChainMap[str, Any], walk: Walk) -> None:
    """One list of steps; the names given in it are forgotten at its end."""
    names = names.new_child({})
    for path, step in zip(paths(steps, within), steps, strict=True):
        if isinstance(step, Sweep):
            for number, variables in enumerate(_turns(step, names)):
                await _walk(step.steps, iteration(path, number), names.new_child(variables), walk)
        else:
            result = await _do(step, path, names, walk)
            if step.name is not None and not isinstance(step, Save):
                names[step.name] = result


async def _do(step: Call | Read | Write | Save, path: str, names: Mapping[str, Any], walk: Walk) -> Any:
    match step:
        case Call():
            return await walk.call(path, step.instrument, step.action, _resolved_all(step.parameters, names))
        case Read():
            return await walk.read(path, step.instrument, step.attribute)
        case Write():
            return await walk.write(path, step.instrument, step.attribute, _resolved(step.value, names))
        case Save():
            return await walk.save(path, _resolved_all(step.row, names))


def _resolved_all(values: Mapping[str, Value], names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _resolved(value, names) for name, value in values.items()}


def _resolved(value: Value, names: Mapping[str, Any]) -> Any:
    """A value with its references looked up; what they find keeps its type."""
    if isinstance(value, Reference):
        return _found(value, names)
    if isinstance(value, list):
        return [_resolved(part, names) for part in value]
    if isinstance(value, dict):
        return {key: _resolved(part, names) for key, part in value.items()}
    return value


def _found(reference: Reference, names: Mapping[str, Any]) -> Any:
    try:
        if reference.name not in names:
            raise NothingThereError(f"nothing is named {reference.name} here")
        return look_up(names[reference.name], reference)
    except NothingThereError as error:
        raise _refused(f"{reference}: {error.detail}", reference.where, error.way_out) from error


def _refused(detail: str, where: Where, way_out: str) -> Exception:
    return refusal([Fault(detail, where.line, where.column, way_out=way_out)])


def _turns(sweep: Sweep, names: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The variables of each turn, in order: the last of the grid runs fastest, `zip` inside it."""
    lists, rows = _lists(sweep, names)
    for values in itertools.product(*lists, rows):
        yield {**dict(zip(sweep.grid, values, strict=False)), **dict(zip(sweep.zipped, values[-1], strict=True))}


def _lists(sweep: Sweep, names: Mapping[str, Any]) -> tuple[list[Sequence[Any]], list[tuple[Any, ...]]]:
    """The lists of the grid, and the rows of the zip (one empty row if there is none)."""
    grid = [_list(name, values, sweep, names) for name, values in sweep.grid.items()]
    zipped = [_list(name, values, sweep, names) for name, values in sweep.zipped.items()]
    if len({len(values) for values in zipped}) > 1:
        raise _refused("the lists of `zip` differ in length", sweep.where, "give each the same number of values")
    return grid, list(zip(*zipped, strict=True)) if zipped else [()]


def _list(name: str, values: Value, sweep: Sweep, names: Mapping[str, Any]) -> Sequence[Any]:
    found = _resolved(values, names)
    if not isinstance(found, list | tuple):
        raise _refused(f"the values of {name} are not a list", sweep.places.get(name, sweep.where), "give a list")
    return found


def count_steps(experiment: Experiment, parameters: Mapping[str, Any]) -> int:
    """How many steps a run will do (calls, reads, writes and saves), counted without walking through the turns.

    Raises:
        InvalidError: if the lists of a sweep are not known; an experiment that `check` finds without fault does not
        raise.
    """
    return _count(experiment.steps, experiment.values(parameters))


def _count(steps: Sequence[Step], names: Mapping[str, Any]) -> int:
    return sum(_count_sweep(step, names) if isinstance(step, Sweep) else 1 for step in steps)


def _count_sweep(sweep: Sweep, names: Mapping[str, Any]) -> int:
    grid, rows = _lists(sweep, names)
    return math.prod(map(len, grid)) * len(rows) * _count(sweep.steps, names)
