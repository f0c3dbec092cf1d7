"""A plain class becomes a description: what an instrument offers, as data.

Public annotated methods are actions, public properties and annotated class attributes are attributes; units and limits
come from `Annotated[float, Unit("degC"), Interval(ge=20, le=1200)]`. The driver imports nothing of ours; `effect` and
`concurrent` are for what annotations cannot say, `Overlay` says the same for classes one may not edit.
Everything is looked up statically: a plain `getattr` on a foreign driver may send a command.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import InitVar, dataclass, field, replace
from types import FunctionType
from typing import Any, get_args, get_origin

import pydantic_core
from pydantic import TypeAdapter

from labretto.errors import InvalidError
from labretto.instrument import codec
from labretto.instrument.checks import checks_among
from labretto.instrument.foresight import check_foresight, foreseen
from labretto.instrument.invocation import Effect
from labretto.instrument.overlay import (
    Overlay as Overlay,
    actions_as_said,
    attributes_as_said,
    check_overlay,
    safe_state,
)
from labretto.instrument.schema import Schema, adapter_of, both, columns_of, hints, own_hints, schema_of

Function = typing.TypeVar("Function", bound=Callable[..., Any])

_EFFECTS = get_args(Effect)
_RESERVED = frozenset({"stop", "close"})
"""Methods the host itself calls: `stop()` makes safe, `close()` lets the hardware go."""


def effect(kind: Effect) -> Callable[[Function], Function]:
    """Declare what repeating an action would do; undeclared means "once"."""
    if kind not in _EFFECTS:
        raise InvalidError(f"effect({kind!r}) is not known.", way_out=f"Use one of {', '.join(_EFFECTS)}.")

    def mark(function: Function) -> Function:
        function.__labretto_effect__ = kind  # type: ignore[attr-defined]
        return function

    return mark


def concurrent(function: Function) -> Function:
    """Declare that an action may run while another runs (it is called in a thread of its own)."""
    function.__labretto_concurrent__ = True  # type: ignore[attr-defined]
    return function


def polled(every: float, *, dead_band: float | None = None) -> Callable[[Function], Function]:
    """Declare, under `@property`, that the host looks by itself each `every` seconds and tells what moved.

    Args:
        every: seconds.
        dead_band: how far it has to move, in its unit, before that is told.
    """
    if not every > 0 or (dead_band is not None and not dead_band >= 0):
        raise InvalidError(f"polled(every={every!r}, dead_band={dead_band!r}) is not possible.")

    def mark(function: Function) -> Function:
        function.__labretto_poll__ = every  # type: ignore[attr-defined]
        function.__labretto_dead_band__ = dead_band  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True)
class Attribute:
    """A named value of an instrument."""

    name: str
    schema: Schema
    """JSON Schema of the value, with "unit"."""
    description: str = ""
    writable: bool = False
    measurement: bool = False
    """People come to the instrument for this one."""
    slow: bool = False
    """Read only when somebody asks for it by name, not with all the others."""
    poll: float | None = None
    """Seconds between two looks that the host takes by itself; None: it looks only when somebody asks."""
    dead_band: float | None = None
    """How far it has to move, in its unit, before that is told; None: every change is."""
    alarms: Sequence[Mapping[str, Any]] = ()
    """Limits at which all are told: "above", "below" or "equals", "hysteresis", "severity"."""
    keep: float | None = None
    """Seconds for which a reading is good enough for who looks at all attributes at once."""

    @property
    def unit(self) -> str | None:
        """As declared, e.g. "degC"."""
        return self.schema.get("unit")


@dataclass(frozen=True)
class Parameter:
    """One parameter of an action."""

    schema: Schema
    """JSON Schema of the value, with "unit", and "default" where it has one."""
    required: bool


@dataclass(frozen=True)
class Action:
    """What an instrument does."""

    name: str
    parameters: Mapping[str, Parameter]
    result: Schema
    effect: Effect = "once"
    description: str = ""
    exclusive: bool = True
    """False: may run while another action runs."""
    stream: Mapping[str, Schema] | None = None
    """Columns of the rows that a generator yields while it measures; None for an action that answers at its end."""
    expected_seconds: float | None = None
    """How long it takes, where somebody has declared it (`labretto.instrument.foresight`); else it is learned."""
    consumes: Mapping[str, str | float] = field(default_factory=dict)
    """Attribute that tells what is left → what one call takes of it: a number or a parameter's name."""
    refills: Mapping[str, str | float] = field(default_factory=dict)
    """Attribute that tells what is left → what is there afterwards: a number or an attribute's name."""


@dataclass(frozen=True)
class Description:
    """What an instrument offers, as data; the same on every wire."""

    name: str
    title: str
    description: str
    driver: str
    attributes: Mapping[str, Attribute]
    actions: Mapping[str, Action]
    stop: bool
    """The driver has a `stop()` that makes it safe."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "driver": self.driver,
            "stop": self.stop,
            "attributes": {a.name: _attribute_as_dict(a) for a in self.attributes.values()},
            "actions": {a.name: _action_as_dict(a) for a in self.actions.values()},
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Description:
        """The description that `as_dict` wrote."""
        attributes = {
            name: Attribute(name=name, **{**a, "alarms": tuple(a.get("alarms", ()))})
            for name, a in body["attributes"].items()
        }
        actions = {
            name: Action(name=name, **{**a, "parameters": {key: Parameter(**p) for key, p in a["parameters"].items()}})
            for name, a in body["actions"].items()
        }
        words = {key: body[key] for key in ("name", "title", "description", "driver", "stop")}
        return cls(**words, attributes=attributes, actions=actions)


def _attribute_as_dict(attribute: Attribute) -> dict[str, Any]:
    words = ("measurement", "slow", "poll", "dead_band", "keep")
    said = {word: getattr(attribute, word) for word in words if getattr(attribute, word)}
    said |= {"alarms": [dict(limit) for limit in attribute.alarms]} if attribute.alarms else {}
    return {"description": attribute.description, "schema": attribute.schema, "writable": attribute.writable} | said


def _action_as_dict(action: Action) -> dict[str, Any]:
    parameters = {k: {"schema": p.schema, "required": p.required} for k, p in action.parameters.items()}
    foreseen = {"expected_seconds": action.expected_seconds, "consumes": action.consumes, "refills": action.refills}
    return {
        "description": action.description,
        "effect": action.effect,
        "exclusive": action.exclusive,
        "parameters": parameters,
        "result": action.result,
        "stream": dict(action.stream) if action.stream is not None else None,
        **{word: said for word, said in foreseen.items() if said not in (None, {})},
    }


@dataclass(frozen=True)
class Offer:
    """A description with what only the host needs."""

    description: Description
    arguments: Mapping[str, Mapping[str, TypeAdapter[Any]]]
    """Action → parameter → validator."""
    values: Mapping[str, TypeAdapter[Any]]
    """Writable attribute → validator."""
    asynchronous: bool = False
    """The class has coroutines of its own, so its other methods may count on a running loop too."""
    safe: Mapping[str, Any] = field(default_factory=dict)
    """Attribute → value that makes safe a driver without a `stop`."""
    complete: Callable[[object], Offer] | None = None
    """For a driver that is known only once it is made: called with it, in its thread, for what it offers."""
    checks: Mapping[str, str] = field(default_factory=dict)
    """Action → the method that looks whether it happened (`labretto.instrument.checks`)."""

    def completed_by(self, complete: Callable[[object], Offer]) -> Offer:
        """What is known of the class, until the driver is made."""
        return replace(self, complete=complete)


def describe(driver: type, *, name: str, overlay: Overlay | None = None) -> Offer:
    """Describe what instances of the class `driver` offer, without making one and without calling anything of it.

    Static and class methods are not offered (they make drivers), nor are class attributes without an annotation.

    Raises:
        InvalidError: an annotation cannot be resolved or has no JSON Schema, or the overlay names what is not there.
    """
    if not isinstance(driver, type):
        raise InvalidError(f"{driver!r} is no class.", way_out="Name the class of the driver, as in module:Class.")
    overlay = overlay or Overlay()
    members = _public_members(driver, overlay.hidden)
    checks = checks_among(members, overlay.effects)
    members = {name: value for name, value in members.items() if name not in checks.values()}
    attributes = _annotated_attributes(driver, overlay, set(members))
    actions: dict[str, Action] = {}
    arguments: dict[str, dict[str, TypeAdapter[Any]]] = {}
    values: dict[str, TypeAdapter[Any]] = {}
    for member, value in members.items():
        if isinstance(value, property | functools.cached_property):
            attributes[member], validator = _attribute(driver, member, value, overlay)
            values |= {member: validator} if validator else {}
        elif inspect.isfunction(value) and member not in _RESERVED:
            undeclared: Effect = "checkable" if member in checks else "once"
            actions[member], arguments[member] = _action(driver, member, value, overlay, undeclared)
    check_overlay(driver, overlay, attributes, actions)
    actions = actions_as_said(overlay, actions)
    check_foresight(driver, attributes, actions)
    has_stop = "stop" not in overlay.hidden and callable(inspect.getattr_static(driver, "stop", None))
    safe = safe_state(overlay, values, driver, has_stop=has_stop)
    description = Description(
        name=name,
        title=driver.__name__,
        description=_documentation(driver),
        driver=f"{driver.__module__}:{driver.__qualname__}",
        attributes=attributes_as_said(overlay, attributes),
        actions=actions,
        stop=has_stop or bool(safe),
    )
    return Offer(description, arguments, values, any(map(_is_asynchronous, members.values())), safe, checks=checks)


def _documentation(driver: type) -> str:
    generated = f"{driver.__name__}("  # a dataclass without a docstring gets its signature for one
    text = inspect.getdoc(driver) or "" if driver.__doc__ else ""
    return "" if text.startswith(generated) else text


def _is_asynchronous(value: Any) -> bool:
    function = inspect.unwrap(value) if inspect.isfunction(value) else value
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _public_members(driver: type, hidden: frozenset[str]) -> dict[str, Any]:
    """Members in the order in which the classes define them, bases first; static, so that nothing is executed."""
    members: dict[str, Any] = {}
    for cls in reversed(driver.__mro__):
        if cls is not object:
            members |= {k: v for k, v in vars(cls).items() if not k.startswith("_") and k not in hidden}
    return members


def _with_unit(schema: Schema, unit: str | None) -> Schema:
    return schema | ({"unit": unit} if unit else {})


def _attribute(
    driver: type, member: str, value: property | functools.cached_property[Any], overlay: Overlay
) -> tuple[Attribute, TypeAdapter[Any] | None]:
    """The attribute; and the validator of what is written to it, None if it is read-only."""
    place = f"{driver.__name__}.{member}"
    getter, setter = (value.fget, value.fset) if isinstance(value, property) else (value.func, None)
    annotation = _returned(getter, driver, place)
    schema = schema_of(annotation, place)
    if setter is not None:
        annotation = _written(setter, driver, place, annotation)
        schema |= schema_of(annotation, place)
    schema = _with_unit(schema, overlay.units.get(member))
    attribute = Attribute(
        member,
        schema,
        inspect.getdoc(value) or "",
        writable=setter is not None,
        slow=getattr(getter, "__labretto_slow__", False),
        poll=getattr(getter, "__labretto_poll__", None),
        dead_band=getattr(getter, "__labretto_dead_band__", None),
        keep=getattr(getter, "__labretto_keep__", None),
    )
    return attribute, adapter_of(annotation, place) if setter else None


def _returned(getter: Callable[..., Any] | None, driver: type, place: str) -> Any:
    # A property may be made of anything callable; only a function has annotations.
    return hints(getter, place, within=driver).get("return", Any) if inspect.isfunction(getter) else Any


def _written(setter: Callable[..., Any], driver: type, place: str, returned: Any) -> Any:
    """What may be written: what is read, and within the setter's own limits too if it has some.

    A setter that takes another type than the getter answers ("home", or a number) says alone what may be written.
    """
    if not inspect.isfunction(setter):
        return returned
    given = [name for name, _ in list(inspect.signature(setter).parameters.items())[1:2]]
    own = hints(setter, place, within=driver).get(given[0], returned) if given else returned
    return both(returned, own)


def _annotated_attributes(driver: type, overlay: Overlay, defined: set[str]) -> dict[str, Attribute]:
    """Annotations of the class body (`voltage: Volt`) are read-only attributes.

    Not offered are constants (ClassVar), what only `__init__` takes (InitVar), what a property or method of that name
    says better, and the parts of a driver (a serial port, a callback), of which there is no JSON Schema.
    """
    found: dict[str, Attribute] = {}
    for cls in reversed(driver.__mro__):
        for member, annotation in own_hints(cls, hidden=overlay.hidden, place=driver.__name__).items():
            static = inspect.getattr_static(driver, member, None)
            described = member in defined and isinstance(static, property | functools.cached_property | FunctionType)
            if not described and not _is_constant(annotation):
                with contextlib.suppress(InvalidError):
                    schema = _with_unit(schema_of(annotation, member), overlay.units.get(member))
                    found[member] = Attribute(member, schema)
    return found


def _is_constant(annotation: Any) -> bool:
    return typing.ClassVar in (annotation, get_origin(annotation)) or isinstance(annotation, InitVar)


def _action(
    driver: type, member: str, function: Callable[..., Any], overlay: Overlay, undeclared: Effect
) -> tuple[Action, dict[str, TypeAdapter[Any]]]:
    place = f"{driver.__name__}.{member}"
    resolved = hints(function, place, within=driver)
    parameters: dict[str, Parameter] = {}
    adapters: dict[str, TypeAdapter[Any]] = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        unit = overlay.units.get(f"{member}.{name}")
        annotation = resolved.get(name, Any)
        parameters[name] = _parameter(parameter, annotation, f"{place}({name})", unit)
        adapters[name] = adapter_of(annotation, f"{place}({name})")
    result, stream = _answer(resolved.get("return", Any), function, place)
    kind: Effect = overlay.effects.get(member, getattr(function, "__labretto_effect__", undeclared))
    shared = member in overlay.concurrent or getattr(function, "__labretto_concurrent__", False)
    action = Action(member, parameters, result, kind, inspect.getdoc(function) or "", not shared, stream)
    return foreseen(action, function), adapters


def _parameter(parameter: inspect.Parameter, annotation: Any, place: str, unit: str | None) -> Parameter:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise InvalidError(
            f"{place}: the parameter {parameter.name!r} cannot be given by name.",
            way_out="Name every parameter of an action, or hide the method.",
        )
    required = parameter.default is parameter.empty
    default = {} if required else _default(parameter.default)
    return Parameter(_with_unit(schema_of(annotation, place), unit) | default, required)


def _default(value: Any) -> Schema:
    """The word "default", unless JSON cannot spell it: then the driver's own default is used, unseen."""
    try:
        spelled = TypeAdapter(Any).dump_python(value, mode="json")
        codec.encode_json(spelled)
    except (pydantic_core.PydanticSerializationError, ValueError, InvalidError):
        return {}
    return {"default": spelled}


def _answer(returned: Any, function: Callable[..., Any], place: str) -> tuple[Schema, dict[str, Schema] | None]:
    """The schema of an action's result, and its columns if it yields rows (none known: not annotated)."""
    generator = inspect.unwrap(function)
    yields = inspect.isgeneratorfunction(generator) or inspect.isasyncgenfunction(generator)
    rows = _ROWS | ({Iterable, AsyncIterable} if yields else set())
    if get_origin(returned) in rows and get_args(returned):
        columns = columns_of(get_args(returned)[0], place)
        return {"type": "object", "properties": columns}, columns
    if yields or returned in rows:
        return {"type": "object"}, {}
    return schema_of(returned, place), None


_ROWS: frozenset[Any] = frozenset({Iterator, Generator, AsyncIterator, AsyncGenerator})
