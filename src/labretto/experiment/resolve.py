"""References looked up in the values that a run has so far; what they find keeps its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.errors import InvalidError
from labretto.experiment.faults import refusal
from labretto.experiment.model import Fault
from labretto.experiment.reference import Reference, Value, Where
from labretto.experiment.scope import NothingThereError, look_up

Names = Mapping[str, Any]
"""What each name stands for now."""


def resolved_all(values: Mapping[str, Value], names: Names) -> dict[str, Any]:
    """Each value with its references looked up."""
    return {name: resolved(value, names) for name, value in values.items()}


def resolved(value: Value, names: Names) -> Any:
    """A value with its references looked up.

    Raises:
        InvalidError: a reference leads nowhere.
    """
    if isinstance(value, Reference):
        return _found(value, names)
    if isinstance(value, list):
        return [resolved(part, names) for part in value]
    if isinstance(value, dict):
        return {key: resolved(part, names) for key, part in value.items()}
    return value


def _found(reference: Reference, names: Names) -> Any:
    try:
        if reference.name not in names:
            raise NothingThereError(f"nothing is named {reference.name} here")
        return look_up(names[reference.name], reference)
    except NothingThereError as error:
        raise refused(f"{reference}: {error.detail}", reference.where, error.way_out) from error


def refused(detail: str, where: Where, way_out: str) -> InvalidError:
    """The error of a value that turns out, while the experiment runs, to be none that can be used."""
    return refusal([Fault(detail, where.line, where.column, way_out=way_out)])
