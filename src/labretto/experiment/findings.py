"""What the references in a value stand for before the run, and the values they make when put in.

A sweep variable stands for each of its values, a parameter for one, an earlier step for something known by its schema
only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from labretto.experiment.model import Step
from labretto.experiment.reference import Reference, Value
from labretto.experiment.scope import NothingThereError, Scope, find, look_up, narrow
from labretto.experiment.values import HOLE


@dataclass(frozen=True)
class Finding:
    """What one reference stands for."""

    kind: Literal["parameter", "variable", "step"]
    values: tuple[Any, ...] | None
    """All values it takes, or None if they are not known before the run."""
    schema: Mapping[str, Any]
    absent: str = ""
    """Why it may be missing; empty if it never is."""


Findings = Mapping[tuple[str, ...], Finding]
"""The references of one value by their paths."""


def finding(reference: Reference, scope: Scope, steps: Sequence[Step]) -> Finding:
    """What a reference stands for in this scope.

    Raises:
        NothingThereError: if it leads nowhere, whatever the run will bring.
    """
    binding = find(reference, scope, steps)
    if binding.values is None:
        return Finding(binding.kind, None, narrow(binding.schema, reference), binding.absent)
    values = tuple(look_up(value, reference) for value in binding.values)
    return Finding(binding.kind, values, narrow_if_known(binding.schema, reference))


def narrow_if_known(schema: Mapping[str, Any], reference: Reference) -> Mapping[str, Any]:
    """`narrow` where the values themselves have shown, or will show, that there is such a part."""
    try:
        return narrow(schema, reference)
    except NothingThereError:
        return {}


def candidates(value: Value, findings: Findings) -> Iterator[tuple[Any, str]]:
    """The value with its references put in, and where it came from: the first value of each variable, then each other.

    Not every combination: a schema judges the parts of a value one by one, and three long lists would not end.
    """
    first = {path: found.values[0] for path, found in findings.items() if found.values}
    swept = {path: found.values for path, found in findings.items() if found.kind == "variable" and found.values}
    yield _put_in(value, first), "".join(_origin(path, 0) for path in swept)
    for path, values in swept.items():
        seen = {repr(values[0])}
        for number, each in enumerate(values[1:], start=1):
            if repr(each) not in seen:
                seen.add(repr(each))
                yield _put_in(value, {**first, path: each}), _origin(path, number)


def _origin(path: tuple[str, ...], number: int) -> str:
    return f" (value {number + 1} of the sweep over {path[0]})"


def _put_in(value: Value, known: Mapping[tuple[str, ...], Any]) -> Any:
    if isinstance(value, Reference):
        return known.get(value.path, HOLE)
    if isinstance(value, list):
        return [_put_in(part, known) for part in value]
    if isinstance(value, dict):
        return {key: _put_in(part, known) for key, part in value.items()}
    return value
