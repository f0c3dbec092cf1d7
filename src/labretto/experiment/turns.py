"""The turns of a loop: how many there are, and which values its variables have in each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labretto.experiment.model import ForEach, Loop, Repeat, Sweep
from labretto.experiment.reference import Value, Where
from labretto.experiment.resolve import Names, refused, resolved
from labretto.experiment.unknown import stand_in

MOST_TURNS = 10_000_000
"""Of one `repeat`; a number from a slip of the finger is refused rather than begun."""


def turns(loop: Loop, names: Names) -> Iterator[dict[str, Any]]:
    """The variables of each turn, in order.

    Raises:
        InvalidError: what should be a list or a number is none.
    """
    match loop:
        case Sweep():
            return _combinations(loop, names)
        case ForEach(variable, values, place=place):
            return ({variable: value} for value in _list(variable, values, place, names))
        case Repeat():
            return ({} for _ in range(times(loop, names)))


def times(loop: Repeat, names: Names) -> int:
    """How often a `repeat` repeats at most."""
    number = stand_in(resolved(loop.times, names), 1)
    whole = not isinstance(number, bool) and isinstance(number, int | float) and float(number).is_integer()
    if not whole or not 0 <= number <= MOST_TURNS:
        way_out = f"`repeat` wants a whole number up to {MOST_TURNS}"
        raise refused(f"{number!r:.60} is not a number of turns", loop.place or loop.where, way_out)
    return int(number)


def _combinations(sweep: Sweep, names: Names) -> Iterator[dict[str, Any]]:
    """The last variable of the grid runs fastest, `zip` inside it."""
    grid = _lists(sweep, sweep.grid, names)
    zipped = _lists(sweep, sweep.zipped, names)
    if len({len(values) for values in zipped}) > 1:
        raise refused("the lists of `zip` differ in length", sweep.where, "give each the same number of values")
    rows = list(zip(*zipped, strict=True)) if zipped else [()]
    for values in itertools.product(*grid, rows):
        yield {**dict(zip(sweep.grid, values, strict=False)), **dict(zip(sweep.zipped, values[-1], strict=True))}


def _lists(sweep: Sweep, variables: Mapping[str, Value], names: Names) -> list[Sequence[Any]]:
    return [_list(name, values, sweep.places.get(name, sweep.where), names) for name, values in variables.items()]


def _list(name: str, values: Value, where: Where, names: Names) -> Sequence[Any]:
    found = resolved(values, names)
    found = stand_in(found, [found])
    if hasattr(found, "tolist") and getattr(found, "shape", ()) != ():
        found = list(found)
    if not isinstance(found, list | tuple):
        raise refused(f"the values of {name} are not a list", where, "give a list")
    return found
