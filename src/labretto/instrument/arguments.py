"""Values on their way into a driver: checked against annotations before anything moves.

What does not fit is refused in the words of the lab: the parameter, the value, the limit, the unit.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import pydantic
import pydantic_core
from pydantic import TypeAdapter

from labretto.errors import InvalidError, LimitError
from labretto.instrument.describe import Action

_BOUNDS = {
    "greater_than_equal": ("ge", "is below"),
    "greater_than": ("gt", "is not above"),
    "less_than_equal": ("le", "is above"),
    "less_than": ("lt", "is not below"),
}

_WITHIN = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}

_TOLD = 100
"""Faults of one request that are told; a request of 300,000 of them is not answered with as many sentences."""


def check_arguments(
    action: Action, validators: Mapping[str, TypeAdapter[Any]], given: Mapping[str, Any], instrument: str
) -> dict[str, Any]:
    """What the driver's method is called with.

    Raises:
        InvalidError: lists every parameter that is missing, unknown or wrong.
        LimitError: the only faults are values outside their limits.
    """
    place = f"{instrument}.{action.name}"
    known = ", ".join(action.parameters) or "none"
    unknown = [
        InvalidError(f"{place} has no parameter {str(name)[:100]!r}; it has {known}.")
        for name in given
        if name not in validators
    ]
    missing = [
        InvalidError(f"{place} needs the parameter {name!r}{_wanted(parameter.schema)}.")
        for name, parameter in action.parameters.items()
        if parameter.required and name not in given
    ]
    arguments: dict[str, Any] = {}
    wrong: list[InvalidError] = []
    for name in [name for name in given if name in validators]:
        try:
            unit = action.parameters[name].schema.get("unit")
            arguments[name] = check_value(validators[name], given[name], f"{place}: {name}", unit)
        except InvalidError as error:
            wrong.append(error)
    if unknown or missing or wrong:
        raise _all_in_one(place, [*unknown, *missing], wrong)
    return arguments


def check_value(validator: TypeAdapter[Any], value: Any, place: str, unit: str | None) -> Any:
    """`value` as the driver gets it.

    Raises:
        LimitError: a number outside its limits.
        InvalidError: anything else that does not fit; says what came and what is wanted.
    """
    try:
        return validator.validate_python(value)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
    except Exception as error:
        # A limit that does not fit its type, a check of the driver's own that fails: refused, like what does not fit.
        raise InvalidError(f"{place}={_shown(value)} cannot be checked: {error}.") from error
    if first["type"] in _BOUNDS:
        raise _beyond(first, place, unit)
    raise InvalidError(f"{place}={_shown(value)} does not fit: {first['msg'][:1].lower()}{first['msg'][1:]}.")


def _beyond(first: pydantic_core.ErrorDetails, place: str, unit: str | None) -> LimitError:
    with_unit = f" {unit}" if unit else ""
    key, words = _BOUNDS[first["type"]]
    bound = first["ctx"][key]
    if first["input"] != first["input"]:  # a NaN is beyond every limit, and neither above nor below
        words = "is no number; the limit is"
    limit = format(bound, ".12g") if isinstance(bound, float) else str(bound)  # "100", as declared, not "100.0"
    inner = "".join(f"[{part}]" for part in first["loc"])
    return LimitError(
        f"{place}{inner}={_shown(first['input'])}{with_unit} {words} {limit}{with_unit}.",
        way_out=f"Give a value {_WITHIN[key]} {limit}{with_unit}.",
    )


def _shown(value: Any) -> str:
    """Short, whatever it is; a list of a million numbers is not spelled out first."""
    return reprlib.repr(value)[:120]


def _wanted(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    unit = schema.get("unit")
    return (f" ({kind}" + (f", {unit}" if unit else "") + ")") if kind else ""


def _all_in_one(place: str, others: list[InvalidError], wrong: list[InvalidError]) -> InvalidError:
    errors = [*others, *wrong]
    if len(errors) == 1:
        return errors[0]
    kind = LimitError if not others and all(isinstance(error, LimitError) for error in wrong) else InvalidError
    faults = [{"detail": error.detail, "way_out": error.way_out} for error in errors[:_TOLD]]
    return kind(f"{place} cannot be called: {len(errors)} faults; nothing moved.", faults=faults)
