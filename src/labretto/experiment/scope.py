"""What a reference can mean where it stands, before anything has run.

A name is a parameter or a loop variable, whose values are known, or an earlier step, whose result is known by its
schema. `check` asks; at run time `follow` does the same look-ups on real values.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from labretto.experiment.faults import did_you_mean
from labretto.experiment.model import (
    Ask,
    Block,
    Call,
    ForEach,
    Parallel,
    Read,
    Step,
    Sweep,
    Within,
    Write,
    every_step,
)
from labretto.experiment.reference import Reference, Where
from labretto.experiment.values import kinds

_POSITION = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True)
class Binding:
    """What a name stands for."""

    kind: Literal["parameter", "variable", "step"]
    where: Where
    values: tuple[Any, ...] | None = None
    """All values it takes, or None if they are not known before the run."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """What is known of its values; empty if nothing is."""
    absent: str = ""
    """Why it may be null although the schema does not say so; empty if it never is."""


Scope = ChainMap[str, Binding]
"""Names to bindings, innermost first."""


class NothingThereError(LookupError):
    """A reference leads nowhere."""

    def __init__(self, detail: str, way_out: str = "") -> None:
        super().__init__(detail)
        self.detail, self.way_out = detail, way_out


def look_up(value: Any, reference: Reference) -> Any:
    """The part of a real value that a reference means: keys of mappings and positions of sequences, never an attribute.

    Raises:
        NothingThereError: if there is no such part.
    """
    for depth, part in enumerate(reference.path[1:], start=1):
        value = _part(value, part, ".".join(reference.path[:depth]))
    return value


def _part(value: Any, part: str, so_far: str) -> Any:
    if isinstance(value, Mapping):
        if part in value:
            return value[part]
        raise NothingThereError(f"{so_far} has no {part}", did_you_mean(part, [str(key) for key in value]))
    if not isinstance(value, str | bytes) and hasattr(type(value), "__getitem__") and hasattr(type(value), "__len__"):
        if _POSITION.fullmatch(part) and -len(value) <= int(part) < len(value):
            return value[int(part)]
        raise NothingThereError(
            f"{so_far} is a list of {len(value)} and has no position {part}", "positions count from 0; -1 is the last"
        )
    raise NothingThereError(f"{so_far} is a single value and has no part {part}", f"write ${{{so_far}}}")


def narrow(schema: Mapping[str, Any], reference: Reference) -> Mapping[str, Any]:
    """The schema of the part that a reference means; empty where nothing is known.

    Raises:
        NothingThereError: if the schema says that there can be no such part.
    """
    root = schema
    for depth, part in enumerate(reference.path[1:], start=1):
        schema = _resolved(schema, root)
        schema = _narrowed(schema, part, ".".join(reference.path[:depth]))
    return _resolved(schema, root)


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with its local `$ref` followed; alternatives (`anyOf` and so on) count as unknown."""
    for _ in range(8):
        if not isinstance(schema, Mapping) or any(word in schema for word in ("anyOf", "oneOf", "allOf")):
            return {}
        if "$ref" not in schema:
            return schema
        target: Any = root
        for key in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
            target = target.get(key, {}) if isinstance(target, Mapping) else {}
        schema = target
    return {}


def _narrowed(schema: Mapping[str, Any], part: str, so_far: str) -> Mapping[str, Any]:
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and part in properties:
        return _mapping(properties[part])
    match schema.get("type"):
        case "object":
            return _member(schema, part, so_far)
        case "array":
            return _item(schema, part, so_far)
        case "number" | "integer" | "string" | "boolean" | "null" as single:
            raise NothingThereError(f"{so_far} is {kinds(single)} and has no part {part}", f"write ${{{so_far}}}")
    return {}


def _member(schema: Mapping[str, Any], part: str, so_far: str) -> Mapping[str, Any]:
    properties, more = schema.get("properties"), schema.get("additionalProperties")
    if more or (more is None and not properties) or "patternProperties" in schema:
        return _mapping(more)
    raise NothingThereError(f"{so_far} has no {part}", did_you_mean(part, list(properties or ())))


def _item(schema: Mapping[str, Any], part: str, so_far: str) -> Mapping[str, Any]:
    if not _POSITION.fullmatch(part):
        raise NothingThereError(f"{so_far} is a list and has no {part}", f"write a position, as in ${{{so_far}.0}}")
    first, most, position = schema.get("prefixItems") or [], schema.get("maxItems"), int(part)
    if isinstance(most, int) and not -most <= position < most:
        raise NothingThereError(
            f"{so_far} has at most {most} values and no position {part}", "positions count from 0; -1 is the last"
        )
    if 0 <= position < len(first):
        return _mapping(first[position])
    # the unit of a list is the unit of its values
    item = _mapping(schema.get("items"))
    return {"unit": schema["unit"], **item} if "unit" in schema else item


def _mapping(schema: Any) -> Mapping[str, Any]:
    return schema if isinstance(schema, Mapping) else {}


def find(reference: Reference, scope: Scope, steps: Sequence[Step]) -> Binding:
    """What the name of a reference stands for, here.

    Args:
        reference: only its name is looked at.
        scope: the names known where it stands.
        steps: the whole experiment, to say what a name that is not known here would have been.

    Raises:
        NothingThereError: if the name means nothing here.
    """
    name = reference.name
    if name in scope:
        return scope[name]
    elsewhere = [where for other, where in _names(steps) if other == name]
    if any(where > reference.where for where in elsewhere):
        raise NothingThereError(f"{name} comes later, in line {max(elsewhere).line}", "refer to earlier steps only")
    if elsewhere:
        line = max(elsewhere).line
        raise NothingThereError(
            f"{name} of line {line} is not known here", "a name is known after its step and inside its own block only"
        )
    silent = [step.where.line for step in every_step(steps) if step.name == name]
    if silent:
        raise NothingThereError(f"{name} of line {silent[0]} has no result", "refer to a `do`, `read` or `set` step")
    raise NothingThereError(f"nothing is named {name}", did_you_mean(name, scope) or "no name is known here")


def _names(steps: Sequence[Step]) -> Iterator[tuple[str, Where]]:
    """Every name that can be referred to somewhere, with its place."""
    for step in every_step(steps):
        if isinstance(step, Sweep):
            yield from step.places.items()
        elif isinstance(step, ForEach):
            yield step.variable, step.place
        elif step.name is not None and has_result(step):
            yield step.name, step.where


def has_result(step: Step) -> bool:
    """Whether later steps can refer to it."""
    return isinstance(step, Call | Read | Write | Ask | Within)


def names_given(step: Step) -> Iterator[tuple[str, Where]]:
    """The names that are taken after a step in its list: its own, and those given in steps that are always done."""
    if step.name is not None:
        yield step.name, step.where
    for steps in open_lists(step):
        yield from dict(name for inner in steps for name in names_given(inner)).items()


def open_lists(step: Step) -> tuple[tuple[Step, ...], ...]:
    """The lists whose names stay known after the step: of a block without condition, of branches.

    Not of what may be passed over, or is done more than once.
    """
    match step:
        case Block(when=None, on_failure="fail"):
            return (step.steps,)
        case Parallel(when=None, on_failure="fail"):
            return tuple(step.branches.values())
    return ()
