"""What an experiment is: a frozen tree of steps, each knowing the line it came from.

No reading (`load`), no judging (`check`), no doing (`follow`). A value inside a step is a JSON value in which a
`Reference` may stand anywhere for a value that is only known later. A step's identity is its path through lists and
loops (`paths`), never its order of arrival.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, order=True)
class Where:
    """A place in the source text, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Fault:
    """One thing that stands against an experiment, and the way out of it."""

    detail: str
    line: int | None = None
    """None where the fault is not in the source, for instance in a parameter given at submission."""
    column: int | None = None
    path: str = ""
    """The place by its words, for instance `steps[2].with.x`."""
    way_out: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The form of a fault on the wire; detail and way out are sentences there."""
        place = {"line": self.line, "column": self.column, "path": self.path}
        way_out = self.way_out[:1].upper() + self.way_out[1:]
        return {"detail": _ended(self.detail), **place, "way_out": _ended(way_out)}

    def __str__(self) -> str:
        sentences = self.as_dict()
        place = f"line {self.line}, column {self.column}: " if self.line is not None else ""
        return f"{place}{sentences['detail']} {sentences['way_out']}".rstrip()


def _ended(sentence: str) -> str:
    return sentence + "." if sentence and sentence[-1] not in ".?!" else sentence


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


@dataclass(frozen=True)
class Call:
    """`do: instrument.action`."""

    instrument: str
    action: str
    parameters: Mapping[str, Value]
    where: Where
    name: str | None = None
    places: Mapping[str, Where] = field(default_factory=dict, compare=False)
    """Where each parameter stands."""


@dataclass(frozen=True)
class Read:
    """`read: instrument.attribute`."""

    instrument: str
    attribute: str
    where: Where
    name: str | None = None


@dataclass(frozen=True)
class Write:
    """`set: instrument.attribute`, `to: value`."""

    instrument: str
    attribute: str
    value: Value
    where: Where
    name: str | None = None
    place: Where | None = field(default=None, compare=False)
    """Where the value stands."""


@dataclass(frozen=True)
class Save:
    """`save: {column: value}`: one row of the record's table."""

    row: Mapping[str, Value]
    where: Where
    name: str | None = None
    places: Mapping[str, Where] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Sweep:
    """`sweep:` and `zip:`: the inner steps once for each combination of values.

    The last variable of `grid` runs fastest; `zipped` variables advance together, inside the grid. A list may be a
    reference to a parameter.
    """

    grid: Mapping[str, Value]
    zipped: Mapping[str, Value]
    steps: tuple[Step, ...]
    where: Where
    name: str | None = None
    places: Mapping[str, Where] = field(default_factory=dict, compare=False)

    @property
    def mode(self) -> Literal["grid", "zip", "both"]:
        """How its variables advance."""
        if not self.zipped:
            return "grid"
        return "both" if self.grid else "zip"

    @property
    def variables(self) -> dict[str, Value]:
        """Every variable with its list (or the reference to it), in file order: grid, then zip."""
        return {**self.grid, **self.zipped}


Step: TypeAlias = Call | Read | Write | Save | Sweep


@dataclass(frozen=True)
class Parameter:
    """What whoever submits the experiment may, or must, choose."""

    name: str
    schema: Mapping[str, Any]
    """JSON Schema with `unit` and `default` in it."""
    required: bool
    default: Any = None
    where: Where = field(default=Where(1, 1), compare=False)


@dataclass(frozen=True)
class Experiment:
    """What shall be done, and the text that said so."""

    name: str
    description: str
    parameters: Mapping[str, Parameter]
    steps: tuple[Step, ...]
    format: Literal["file", "soe"]
    source: str
    hash: str
    """SHA-256 of the source, hexadecimal."""
    file: str | None = None

    @property
    def instruments(self) -> tuple[str, ...]:
        """The instruments it uses, in order of first use."""
        used = (step.instrument for step in every_step(self.steps) if isinstance(step, Call | Read | Write))
        return tuple(dict.fromkeys(used))

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the parameters, for a generated form."""
        return {
            "type": "object",
            "properties": {name: copy.deepcopy(dict(each.schema)) for name, each in self.parameters.items()},
            "required": [name for name, each in self.parameters.items() if each.required],
            "additionalProperties": False,
        }

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as a run uses them: what was given, else the default; one without either is left out."""
        defaults = {name: each.default for name, each in self.parameters.items() if not each.required}
        return {**defaults, **{name: value for name, value in given.items() if name in self.parameters}}


def every_step(steps: Sequence[Step]) -> Iterator[Step]:
    """All steps in file order, those inside sweeps too."""
    for step in steps:
        yield step
        if isinstance(step, Sweep):
            yield from every_step(step.steps)


def references(value: Value) -> Iterator[Reference]:
    """All references in a value, in order."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from references(part)


def component(step: Step) -> str:
    """What a step is called in a path before repetitions are told apart: its name, else what it does."""
    if step.name is not None:
        return step.name
    match step:
        case Call():
            return f"{step.instrument}.{step.action}"
        case Read() | Write():
            return f"{step.instrument}.{step.attribute}"
        case Save():
            return "save"
        case Sweep():
            return "sweep"


def paths(steps: Sequence[Step], within: str = "") -> tuple[str, ...]:
    """One path for each step of one list; the second of a kind gets `~2`.

    A sweep's iteration is not in it yet: see `iteration`.
    """
    seen: Counter[str] = Counter()
    found = []
    for step in steps:
        base = component(step)
        seen[base] += 1
        repeated = f"~{seen[base]}" if seen[base] > 1 else ""
        found.append(f"{within}{base}{repeated}")
    return tuple(found)


def iteration(sweep_path: str, number: int) -> str:
    """What the paths inside one turn of a sweep begin with: `sweep[3]/`."""
    return f"{sweep_path}[{number}]/"
