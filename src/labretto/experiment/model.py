"""What an experiment is: a frozen tree of steps, each knowing the line it came from.

No reading (`load`), no judging (`check`), no doing (`follow`). A value inside a step is a JSON value in which a
`Reference` may stand anywhere for what is only known later (`reference`). A step's identity is its path through lists,
branches and loops (`paths`), never its order of arrival. A step that holds others is a block; `inside` names its lists.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from labretto.experiment.condition import Condition
from labretto.experiment.policy import PLAIN, Policy
from labretto.experiment.question import Question
from labretto.experiment.reference import Value, Where


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
class Call:
    """`do: instrument.action`."""

    instrument: str
    action: str
    parameters: Mapping[str, Value]
    where: Where
    name: str | None = None
    places: Mapping[str, Where] = field(default_factory=dict, compare=False)
    """Where each parameter stands."""
    when: Condition | None = None
    policy: Policy = PLAIN


@dataclass(frozen=True)
class Read:
    """`read: instrument.attribute`."""

    instrument: str
    attribute: str
    where: Where
    name: str | None = None
    when: Condition | None = None
    policy: Policy = PLAIN


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
    when: Condition | None = None
    policy: Policy = PLAIN


@dataclass(frozen=True)
class Save:
    """`save: {column: value}`: one row of the record's table."""

    row: Mapping[str, Value]
    where: Where
    name: str | None = None
    places: Mapping[str, Where] = field(default_factory=dict, compare=False)
    when: Condition | None = None


@dataclass(frozen=True)
class Ask:
    """`ask: text`: a person answers."""

    question: Question
    where: Where
    name: str | None = None
    show: Mapping[str, Value] = field(default_factory=dict)
    """The question's values, with references in them."""
    places: Mapping[str, Where] = field(default_factory=dict, compare=False)
    """Where each word of the question stands."""
    when: Condition | None = None


@dataclass(frozen=True)
class Wait:
    """`wait: 30 s`."""

    seconds: Value
    where: Where
    name: str | None = None
    place: Where | None = field(default=None, compare=False)
    when: Condition | None = None


@dataclass(frozen=True)
class Block:
    """`steps:` with `when`, `else`, `finally`: steps that belong together."""

    steps: tuple[Step, ...]
    where: Where
    name: str | None = None
    when: Condition | None = None
    otherwise: tuple[Step, ...] = ()
    """Done where `when` does not hold."""
    clean_up: tuple[Step, ...] = ()
    """Done at the end, however it ends."""
    on_failure: Literal["fail", "go on"] = "fail"


@dataclass(frozen=True)
class Parallel:
    """`parallel:` branches that are done at the same time.

    All are taken to their end; if some failed, the first of them in the order of the file tells why.
    """

    branches: Mapping[str, tuple[Step, ...]]
    """In file order; branches without names are called 0, 1, 2."""
    where: Where
    name: str | None = None
    when: Condition | None = None
    clean_up: tuple[Step, ...] = ()
    on_failure: Literal["fail", "go on"] = "fail"


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
    when: Condition | None = None
    clean_up: tuple[Step, ...] = ()
    on_failure: Literal["fail", "go on"] = "fail"

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


@dataclass(frozen=True)
class ForEach:
    """`for each: {variable: list}`: the inner steps once for each value of a list that only the run may know."""

    variable: str
    values: Value
    steps: tuple[Step, ...]
    where: Where
    name: str | None = None
    place: Where = field(default=Where(1, 1), compare=False)
    """Where the variable stands."""
    when: Condition | None = None
    clean_up: tuple[Step, ...] = ()
    on_failure: Literal["fail", "go on"] = "fail"


@dataclass(frozen=True)
class Repeat:
    """`repeat: times`, and `until` a condition holds after a turn; if it never does, the step fails."""

    times: Value
    """With `until` the most turns."""
    steps: tuple[Step, ...]
    where: Where
    name: str | None = None
    until: Condition | None = None
    """May use the names that are given in the turn."""
    place: Where | None = field(default=None, compare=False)
    """Where the number stands."""
    when: Condition | None = None
    clean_up: tuple[Step, ...] = ()
    on_failure: Literal["fail", "go on"] = "fail"


@dataclass(frozen=True)
class Within:
    """`experiment: name`, `with: {…}`: another experiment of the same text, done here."""

    experiment: str
    parameters: Mapping[str, Value]
    where: Where
    name: str | None = None
    places: Mapping[str, Where] = field(default_factory=dict, compare=False)
    when: Condition | None = None
    on_failure: Literal["fail", "go on"] = "fail"


Leaf: TypeAlias = Call | Read | Write | Save | Ask | Wait
"""A step that is durable itself."""

Loop: TypeAlias = Sweep | ForEach | Repeat

Step: TypeAlias = Leaf | Block | Parallel | Loop | Within


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
class SubExperiment:
    """An experiment that others of the same text call; it knows its own parameters only."""

    name: str
    parameters: Mapping[str, Parameter]
    steps: tuple[Step, ...]
    clean_up: tuple[Step, ...] = ()
    result: Mapping[str, Value] = field(default_factory=dict)
    """What the name of the calling step stands for afterwards."""
    places: Mapping[str, Where] = field(default_factory=dict, compare=False)
    """Where each part of the result stands."""
    where: Where = field(default=Where(1, 1), compare=False)

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """As `Experiment.values`."""
        return values_of(self.parameters, given)


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
    clean_up: tuple[Step, ...] = ()
    """Done at the end, however it ends."""
    experiments: Mapping[str, SubExperiment] = field(default_factory=dict)
    """Those that its steps, and they themselves, call by name; never in a circle."""

    @property
    def instruments(self) -> tuple[str, ...]:
        """The instruments it uses, in order of first use."""
        used = (step.instrument for step in self.all_steps() if isinstance(step, Call | Read | Write))
        return tuple(dict.fromkeys(used))

    def all_steps(self) -> Iterator[Step]:
        """Every step of the text: its own, its clean-up, those of the experiments that can be called."""
        lists = [self.steps, self.clean_up]
        for each in self.experiments.values():
            lists += [each.steps, each.clean_up]
        for steps in lists:
            yield from every_step(steps)

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
        return values_of(self.parameters, given)


def values_of(parameters: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given for declared parameters, else their defaults."""
    defaults = {name: each.default for name, each in parameters.items() if not each.required}
    return {**defaults, **{name: value for name, value in given.items() if name in parameters}}


def inside(step: Step) -> tuple[tuple[Step, ...], ...]:
    """The lists of steps that a block holds, in file order; none in a step that is no block."""
    match step:
        case Block():
            return step.steps, step.otherwise, step.clean_up
        case Parallel():
            return *step.branches.values(), step.clean_up
        case Sweep() | ForEach() | Repeat():
            return step.steps, step.clean_up
    return ()


def every_step(steps: Sequence[Step]) -> Iterator[Step]:
    """All steps in file order, those inside blocks too."""
    for step in steps:
        yield step
        for inner in inside(step):
            yield from every_step(inner)
