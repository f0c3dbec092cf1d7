"""What a library's driver offers, in words of ours: values and methods, each reached from the driver itself.

Filled by one module per library; turned into a class by `face`. Nothing here knows any library.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Unit

from labretto.errors import InvalidError
from labretto.instrument.invocation import Effect
from labretto.instrument.schema import adapter_of, schema_of


@dataclass(frozen=True)
class Value:
    """What becomes an attribute."""

    name: str
    read: Callable[[Any], Any]
    """Asks the driver."""
    returned: Any = Any
    """Annotation of what is read."""
    write: Callable[[Any, Any], None] | None = None
    """Tells the driver; None if it can only be read."""
    taken: Any = Any
    """Annotation of what may be written: type, unit, limits, choices."""
    description: str = ""
    slow: bool = False
    """Read only when somebody asks for it by name."""


@dataclass(frozen=True)
class Method:
    """What becomes an action."""

    name: str
    call: Callable[..., Any]
    """Called with the driver and the arguments by name."""
    parameters: Sequence[inspect.Parameter] = ()
    """With annotations that have a JSON Schema; none of variable number."""
    returned: Any = Any
    description: str = ""
    effect: Effect = "once"
    original: Callable[..., Any] | None = None
    """The driver's own coroutine or generator, whose kind the face shares."""


@dataclass(frozen=True)
class Offering:
    """Everything that one driver offers."""

    values: Sequence[Value] = ()
    methods: Sequence[Method] = ()
    stop: Callable[[Any], Any] | None = None
    """Makes the hardware safe."""
    close: Callable[[Any], Any] | None = None
    """Lets the hardware go."""


def identifier(*parts: object) -> str:
    """The name of what stands inside of channels: `identifier("ch_1", "voltage")` is "ch_1_voltage".

    It can be written in Python, in a URL and in the `instrument.attribute` of an experiment's file.
    """
    name = re.sub(r"\W", "_", "_".join(str(part) for part in parts), flags=re.ASCII)
    return name if name[:1].isalpha() else f"n{name}"


def with_unit(annotation: Any, unit: str | None) -> Any:
    """The annotation with a unit, if there is one."""
    return Annotated[annotation, Unit(unit)] if unit else annotation


def setter(value: Value) -> Method:
    """For what can be set and not read: an action `set_<name>`, since an attribute has to have readings."""

    def call(driver: Any, **given: Any) -> None:
        if value.write:
            value.write(driver, given["value"])

    parameter = inspect.Parameter("value", inspect.Parameter.KEYWORD_ONLY, annotation=value.taken)
    return Method(f"set_{value.name}", call, [parameter], None, value.description, effect="absolute")


def methods_of(
    cls: type,
    *,
    foreign: Callable[[str], bool] = lambda module: False,
    reach: Callable[[Any], Any] = lambda driver: driver,
    within: str = "",
) -> Iterator[Method]:
    """The public methods of a class, found statically.

    Args:
        foreign: whether a module is the library's own plumbing, whose methods are not offered, whoever overrides them.
        reach: from the driver to the object whose methods they are.
        within: the name before the method's, for a channel.
    """
    found: dict[str, Callable[..., Any]] = {}
    theirs = {"stop", "close"}
    for base in reversed(cls.__mro__):
        if base is object or foreign(base.__module__):
            theirs |= set(vars(base))
        else:
            found |= {name: value for name, value in vars(base).items() if inspect.isfunction(value)}
    for name, function in found.items():
        if not name.startswith("_") and name not in theirs and inspect.getattr_static(cls, name) is function:
            yield method_of(function, reach=reach, name=identifier(*filter(None, [within, name])))


def method_of(function: Callable[..., Any], *, reach: Callable[[Any], Any], name: str) -> Method:
    """A method as an action: what cannot be annotated for a wire is Any, what has no fixed number is left out."""
    attribute = function.__name__
    hints = _lenient_hints(function)
    fixed = [p for p in list(inspect.signature(function).parameters.values())[1:] if p.kind not in _VARIABLE]
    first = [p.name for p in fixed if p.kind is inspect.Parameter.POSITIONAL_ONLY]

    def call(driver: Any, **given: Any) -> Any:
        by_place = [given.pop(key) for key in first if key in given]
        return getattr(reach(driver), attribute)(*by_place, **given)

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [p.replace(kind=kind, annotation=hints.get(p.name, Any)) for p in fixed]
    plain = inspect.unwrap(function)
    original = plain if _goes_on(plain) else None
    return Method(name, call, parameters, hints.get("return", Any), inspect.getdoc(function) or "", original=original)


def _goes_on(function: Callable[..., Any]) -> bool:
    """A coroutine or a generator: it is not over when its call returns."""
    generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    return generates or inspect.iscoroutinefunction(function)


_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _lenient_hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Annotations as far as they can be resolved and have a JSON Schema."""
    try:
        resolved = typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is any expression, and may raise anything
        return {}
    return {name: annotation for name, annotation in resolved.items() if can_be_sent(annotation)}


def can_be_sent(annotation: Any) -> bool:
    """It has a JSON Schema and can be checked."""
    try:
        schema_of(annotation, "")
        adapter_of(annotation, "")
    except InvalidError:
        return False
    return True


@dataclass
class Names:
    """Sees to it that no name is offered twice: what comes first keeps it."""

    taken: set[str] = field(default_factory=lambda: {"stop", "close"})

    def free(self, name: str) -> bool:
        """Whether nobody has this name yet; now somebody has."""
        is_free = name not in self.taken
        self.taken.add(name)
        return is_free
