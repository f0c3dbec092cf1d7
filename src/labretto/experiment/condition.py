"""Conditions: a value compared with a value, all or any of several. Never an expression.

`holds` decides on real values and on nothing else, so a second walk over the same values decides the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from labretto.experiment.reference import Reference, Value, Where, references

Word: TypeAlias = Literal["above", "below", "at least", "at most", "equals", "is not", "one of"]

ORDER: Mapping[str, Callable[[Any, Any], Any]] = {
    "above": operator.gt,
    "below": operator.lt,
    "at least": operator.ge,
    "at most": operator.le,
}
"""The words that compare two numbers."""

WORDS: tuple[Word, ...] = ("above", "below", "at least", "at most", "equals", "is not", "one of")


@dataclass(frozen=True)
class Comparison:
    """`{value: "${x}", above: 0.1}`."""

    value: Value
    word: Word
    to: Value
    where: Where = field(default=Where(1, 1), compare=False)
    place: Where = field(default=Where(1, 1), compare=False)
    """Where `to` stands."""


@dataclass(frozen=True)
class Every:
    """`all:` every one of them holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Some:
    """`any:` at least one of them holds."""

    conditions: tuple[Condition, ...]


Condition: TypeAlias = Comparison | Every | Some


class CannotCompareError(TypeError):
    """Two values that have no order, told in words."""


def holds(condition: Condition, resolve: Callable[[Value], Any]) -> bool:
    """Whether a condition holds; `resolve` looks its references up.

    What follows is not looked at once it is decided, so `${x} is not null` may stand before `${x.peak} above 1`.

    Raises:
        CannotCompareError: above or below of what is no number.
    """
    match condition:
        case Every(conditions):
            return all(holds(each, resolve) for each in conditions)
        case Some(conditions):
            return any(holds(each, resolve) for each in conditions)
        case Comparison(value, word, to):
            return compare(resolve(value), word, resolve(to))


def compare(value: Any, word: Word, to: Any) -> bool:
    """One comparison of real values.

    Raises:
        CannotCompareError: above or below of what is no number.
    """
    if word in ORDER:
        for each in (value, to):
            if not is_number(each):
                raise CannotCompareError(f"{_told(each)} is not a number and cannot be compared by `{word}`")
        return bool(ORDER[word](value, to))
    if word == "one of":
        return isinstance(to, list | tuple) and any(_equal(value, each) for each in to)
    return _equal(value, to) is (word == "equals")


def is_number(value: Any) -> bool:
    """A single number, not a truth value; numpy's count too."""
    if isinstance(value, bool | str | bytes | list | tuple | dict) or value is None:
        return False
    if isinstance(value, int | float):
        return True
    return getattr(value, "shape", None) == () and getattr(getattr(value, "dtype", None), "kind", "f") in "iuf"


def _equal(value: Any, to: Any) -> bool:
    """1 equals 1.0 and not true; arrays equal by all their values."""
    if isinstance(value, bool) != isinstance(to, bool):
        return False
    value, to = (each.tolist() if hasattr(each, "tolist") else each for each in (value, to))
    return bool(value == to)


def _told(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def comparisons(condition: Condition | None) -> Iterator[Comparison]:
    """All comparisons in a condition, in order."""
    match condition:
        case Comparison():
            yield condition
        case Every(conditions) | Some(conditions):
            for each in conditions:
                yield from comparisons(each)


def proven(condition: Condition | None) -> frozenset[str]:
    """The names that are not null wherever the condition holds."""
    match condition:
        case Comparison(Reference((name,)), "is not", None):
            return frozenset({name})
        case Every(conditions):
            return frozenset().union(*(proven(each) for each in conditions))
    return frozenset()


def used_in(condition: Condition | None) -> Iterator[Reference]:
    """All references in a condition."""
    for each in comparisons(condition):
        yield from references(each.value)
        yield from references(each.to)
