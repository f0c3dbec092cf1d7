"""Values in an experiment, and the references that may stand in them for what is only known later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, order=True)
class Where:
    """A place in the source text, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Reference:
    """`${name.key.0}`: look up a name, then keys and positions in it. Never an expression."""

    path: tuple[str, ...]
    where: Where = field(default=Where(1, 1), compare=False)

    @property
    def name(self) -> str:
        """What is looked up first: a loop variable, an earlier step or a parameter."""
        return self.path[0]

    def __str__(self) -> str:
        return "${" + ".".join(self.path) + "}"


Value: TypeAlias = "bool | int | float | str | Reference | list[Value] | dict[str, Value] | None"
"""A JSON value with references in it."""


def references(value: Value) -> Iterator[Reference]:
    """All references in a value, in order."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from references(part)
