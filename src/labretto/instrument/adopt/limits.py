"""Limits and choices that a library knows, as annotations; a check of the library's own, as one more mark.

Only what is certain becomes a limit. What is refused here is refused before the driver is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Annotated, Any, Literal

import pydantic
from annotated_types import Interval, Len, MultipleOf

from labretto.instrument.schema import schema_of

_PLAIN = (str, int, float, bool, type(None))


def between(low: Any, high: Any, *, kind: type = float) -> Any:
    """Numbers within limits; a limit that is none (infinite, or larger than any instrument's) is left out."""
    ge, le = _limit(low, kind), _limit(high, kind)
    return kind if ge is None and le is None else Annotated[kind, Interval(ge=ge, le=le)]


def _limit(bound: Any, kind: type) -> Any:
    if bound is None or not math.isfinite(bound) or abs(bound) >= 1e18:
        return None
    return kind(bound)


def range_of(values: Iterable[Any], *, kind: type = float) -> Any:
    """Numbers from the smallest to the largest of `values`; Any if they are no numbers."""
    known = [_plain(value) for value in values]
    return between(min(known), max(known), kind=kind) if known and are_numbers(known) else Any


def integers(values: range) -> Any:
    """The integers of a range."""
    if not values:
        return Any
    limits = Interval(ge=min(values), le=max(values))
    if abs(values.step) == 1 or values.start % values.step:
        return Annotated[int, limits]
    return Annotated[int, limits, MultipleOf(abs(values.step))]


def one_of(values: Iterable[Any]) -> Any:
    """One of the values; enumerations and numpy's numbers are known on the wire by what they are worth."""
    meant = {_key(value): value for value in values}
    plain = [_plain(value) for value in meant.values()]
    if not plain or not all(isinstance(value, _PLAIN) for value in plain):
        return Any
    choice = Literal[tuple(plain)]  # type: ignore[valid-type]
    if all(type(value) in _PLAIN for value in meant.values()):
        return choice
    return Annotated[choice, pydantic.AfterValidator(lambda given: meant[_key(given)])]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    return value.item() if type(value).__module__ == "numpy" and value.shape == () else value


def _key(value: Any) -> tuple[bool, Any]:
    """True is not 1 here."""
    plain = _plain(value)
    return isinstance(plain, bool), plain if isinstance(plain, _PLAIN) else id(plain)


def texts(shortest: int, longest: int) -> Any:
    """Text within limits of its length."""
    limits = Len(shortest, longest if longest < 10**6 else None)
    return str if limits == Len(0, None) else Annotated[str, limits]


def multiples(divisor: int, annotation: Any) -> Any:
    """Multiples of a whole number."""
    return Annotated[annotation, MultipleOf(divisor)]


def any_of(kinds: Sequence[Any]) -> Any:
    """What one of the annotations says; Any if one of them is."""
    if not kinds or Any in kinds:
        return Any
    together = kinds[0]
    for kind in kinds[1:]:
        together = together | kind
    return together


def checked(annotation: Any, check: Callable[[Any], Any]) -> Any:
    """The annotation, and then a check of the library's own, which raises and asks no hardware."""

    def refuse(value: Any) -> Any:
        try:
            check(value)
        except (TypeError, KeyError, AttributeError) as error:  # which pydantic does not catch
            raise ValueError(str(error)) from error
        return value

    return Annotated[annotation, pydantic.AfterValidator(refuse)]


def may_have_unit(annotation: Any) -> bool:
    """What it describes is no word, and not yes or no."""
    schema = schema_of(annotation, "")
    return not schema or schema.get("type") in ("number", "integer", "array") or "anyOf" in schema


def are_numbers(values: Iterable[Any]) -> bool:
    """None of them is a text, or True."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
