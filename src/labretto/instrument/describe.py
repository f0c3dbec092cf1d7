"""A plain class becomes a description: what an instrument offers, as data.

Public annotated methods are actions, public properties and annotated class attributes are attributes; units and limits
come from `Annotated[float, Unit("degC"), Interval(ge=20, le=1200)]`. The driver imports nothing of ours; `effect` and
`concurrent` are for what annotations cannot say, `Overlay` says the same for classes one may not edit.
Everything is looked up statically: a plain `getattr` on a foreign driver may send a command.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_args, get_origin

import annotated_types
import pydantic
from pydantic import TypeAdapter

from labretto.errors import InvalidError
from labretto.instrument.invocation import Effect

Schema = dict[str, Any]
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


@dataclass(frozen=True)
class Overlay:
    """What the lab says about a driver that its class does not: the side table of an instrument in `lab.toml`."""

    hidden: frozenset[str] = frozenset()
    """Names that are not offered."""
    effects: Mapping[str, Effect] = field(default_factory=dict)
    """Action → effect."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Attribute, or "action.parameter" → unit."""
    concurrent: frozenset[str] = frozenset()
    """Actions that may run while another runs."""


@dataclass(frozen=True)
class Attribute:
    """A named value of an instrument."""

    name: str
    schema: Schema
    """JSON Schema of the value, with "unit"."""
    description: str = ""
    writable: bool = False

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
            "attributes": {
                a.name: {"description": a.description, "schema": a.schema, "writable": a.writable}
                for a in self.attributes.values()
            },
            "actions": {a.name: _action_as_dict(a) for a in self.actions.values()},
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Description:
        """The description that `as_dict` wrote."""
        attributes = {name: Attribute(name=name, **a) for name, a in body["attributes"].items()}
        actions = {
            name: Action(name=name, **{**a, "parameters": {key: Parameter(**p) for key, p in a["parameters"].items()}})
            for name, a in body["actions"].items()
        }
        words = {key: body[key] for key in ("name", "title", "description", "driver", "stop")}
        return cls(**words, attributes=attributes, actions=actions)


def _action_as_dict(action: Action) -> dict[str, Any]:
    parameters = {k: {"schema": p.schema, "required": p.required} for k, p in action.parameters.items()}
    return {
        "description": action.description,
        "effect": action.effect,
        "exclusive": action.exclusive,
        "parameters": parameters,
        "result": action.result,
        "stream": dict(action.stream) if action.stream is not None else None,
    }


@dataclass(frozen=True)
class Offer:
    """A description with the validators that only the host needs."""

    description: Description
    arguments: Mapping[str, Mapping[str, TypeAdapter[Any]]]
    """Action → parameter → validator."""
    values: Mapping[str, TypeAdapter[Any]]
    """Writable attribute → validator."""


def describe(driver: type, *, name: str, overlay: Overlay | None = None) -> Offer:
    """Describe what instances of the class `driver` offer, without making one and without calling anything of it.

    Raises:
        InvalidError: an annotation cannot be resolved or has no JSON Schema; names the method and the parameter.
    """
    overlay = overlay or Overlay()
    attributes: dict[str, Attribute] = {}
    actions: dict[str, Action] = {}
    arguments: dict[str, dict[str, TypeAdapter[Any]]] = {}
    values: dict[str, TypeAdapter[Any]] = {}
    for member, value in _public_members(driver, overlay.hidden):
        if isinstance(value, property):
            attribute, validator = _attribute_of_property(driver, member, value, overlay)
            attributes[member] = attribute
            if attribute.writable:
                values[member] = validator
        elif inspect.isfunction(value) and member not in _RESERVED:
            actions[member], arguments[member] = _action(driver, member, value, overlay)
    attributes |= _annotated_attributes(driver, overlay)
    description = Description(
        name=name,
        title=driver.__name__,
        description=inspect.getdoc(driver) or "" if driver.__doc__ else "",
        driver=f"{driver.__module__}:{driver.__qualname__}",
        attributes=attributes,
        actions=actions,
        stop=callable(inspect.getattr_static(driver, "stop", None)),
    )
    return Offer(description, arguments, values)


def _public_members(driver: type, hidden: frozenset[str]) -> list[tuple[str, Any]]:
    """Members in the order in which the classes define them, bases first; static, so that nothing is executed."""
    members: dict[str, Any] = {}
    for cls in reversed(driver.__mro__):
        if cls is not object:
            members |= {k: v for k, v in vars(cls).items() if not k.startswith("_") and k not in hidden}
    return list(members.items())


def _attribute_of_property(
    driver: type, member: str, value: property, overlay: Overlay
) -> tuple[Attribute, TypeAdapter[Any]]:
    place = f"{driver.__name__}.{member}"
    annotation = _hints(value.fget, place).get("return", Any) if value.fget else Any
    schema = _schema(annotation, place)
    if member in overlay.units:
        schema["unit"] = overlay.units[member]
    attribute = Attribute(member, schema, inspect.getdoc(value) or "", writable=value.fset is not None)
    return attribute, _adapter(annotation, place)


def _annotated_attributes(driver: type, overlay: Overlay) -> dict[str, Attribute]:
    """Annotations of the class body (`voltage: Volt`) that are not constants of the class: read-only attributes."""
    found: dict[str, Attribute] = {}
    for cls in reversed(driver.__mro__):
        for member, annotation in _own_annotations(cls).items():
            if member.startswith("_") or member in overlay.hidden or get_origin(annotation) is typing.ClassVar:
                continue
            schema = _schema(annotation, f"{driver.__name__}.{member}")
            found[member] = Attribute(
                member, schema | ({"unit": overlay.units[member]} if member in overlay.units else {})
            )
    return found


def _own_annotations(cls: type) -> dict[str, Any]:
    if cls is object or "__annotations__" not in vars(cls):
        return {}
    hints = _hints(cls, cls.__name__)
    return {member: hints[member] for member in vars(cls)["__annotations__"]}


def _action(
    driver: type, member: str, function: Callable[..., Any], overlay: Overlay
) -> tuple[Action, dict[str, TypeAdapter[Any]]]:
    place = f"{driver.__name__}.{member}"
    hints = _hints(function, place)
    parameters: dict[str, Parameter] = {}
    adapters: dict[str, TypeAdapter[Any]] = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InvalidError(
                f"{place}: the parameter {name!r} cannot be given by name.",
                way_out="Name every parameter of an action, or hide the method.",
            )
        parameters[name], adapters[name] = _parameter(parameter, hints.get(name, Any), f"{place}({name})")
        if f"{member}.{name}" in overlay.units:
            parameters[name].schema["unit"] = overlay.units[f"{member}.{name}"]
    returned = hints.get("return", Any)
    row = _row(returned)
    stream = {key: _column(hint, f"{place} -> {key}") for key, hint in _row_hints(row).items()} if row else None
    result = {"type": "object", "properties": stream} if stream is not None else _schema(returned, place)
    kind: Effect = overlay.effects.get(member, getattr(function, "__labretto_effect__", "once"))
    shared = member in overlay.concurrent or getattr(function, "__labretto_concurrent__", False)
    action = Action(member, parameters, result, kind, inspect.getdoc(function) or "", not shared, stream)
    return action, adapters


def _parameter(parameter: inspect.Parameter, annotation: Any, place: str) -> tuple[Parameter, TypeAdapter[Any]]:
    required = parameter.default is parameter.empty
    schema = _schema(annotation, place)
    if not required:
        try:
            schema["default"] = pydantic.TypeAdapter(Any).dump_python(parameter.default, mode="json")
        except pydantic.errors.PydanticSchemaGenerationError as error:
            raise _no_schema(place, error) from error
    return Parameter(schema, required), _adapter(annotation, place)


def _row(returned: Any) -> Any:
    """The type of the rows that a generator action yields; None for an ordinary answer."""
    origin = get_origin(returned)
    if origin in (Iterator, Generator, AsyncIterator) or origin in (typing.Iterator, typing.Generator):
        return get_args(returned)[0]
    return None


def _has_fields(annotation: Any) -> bool:
    """A NamedTuple, a TypedDict or a dataclass."""
    is_class = isinstance(annotation, type)
    return is_class and (typing.is_typeddict(annotation) or hasattr(annotation, "_fields") or is_dataclass(annotation))


def _row_hints(row: Any) -> dict[str, Any]:
    if _has_fields(row):
        hints = _hints(row, row.__name__)
        return {f.name: hints[f.name] for f in fields(row)} if is_dataclass(row) else hints
    raise InvalidError(
        f"A generator action yields {row!r}, whose columns have no names.",
        way_out="Yield a NamedTuple, a TypedDict or a dataclass whose fields are annotated with their units.",
    )


def _column(annotation: Any, place: str) -> Schema:
    """A column of a stream: an array along "point", whatever a single yield brings (a number or a chunk)."""
    schema = _schema(annotation, place)
    unit = schema.get("unit") or schema.get("items", {}).get("unit")
    return {"type": "array", "items": {"type": "number"}, "dims": ["point"]} | ({"unit": unit} if unit else {})


def _hints(thing: Any, place: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except NameError as error:
        raise InvalidError(
            f"{place}: the annotation {error.name!r} cannot be resolved.",
            way_out="Import it at the top of the driver's module, not inside a TYPE_CHECKING block or a function.",
        ) from error


def _schema(annotation: Any, place: str) -> Schema:
    """JSON Schema with "unit" from `annotated_types.Unit`, "dims" from a tuple of names in the annotation."""
    if annotation is None or annotation is type(None):
        return {"type": "null"}
    unit, dims, bare = _unit_and_dims(annotation)
    if _has_fields(bare):
        return {"type": "object", "properties": {k: _schema(h, f"{place} -> {k}") for k, h in _row_hints(bare).items()}}
    if get_origin(bare) is list and unit is None:
        return {"type": "array", "items": _schema(get_args(bare)[0], place)} | _bounds(annotation, place)
    if _is_array(bare):
        schema: Schema = {"type": "array", "items": {"type": "number"}}
    else:
        try:
            schema = pydantic.TypeAdapter(_with_units(annotation)).json_schema()
        except (pydantic.errors.PydanticInvalidForJsonSchema, pydantic.errors.PydanticSchemaGenerationError) as error:
            raise _no_schema(place, error) from error
    return schema | ({"unit": unit} if unit else {}) | ({"dims": list(dims)} if dims else {})


def _bounds(annotation: Any, place: str) -> Schema:
    """Words about the list itself (`minItems`, `maxItems`), which its items do not say."""
    full = pydantic.TypeAdapter(_with_units(annotation)).json_schema()
    return {word: full[word] for word in ("minItems", "maxItems", "uniqueItems") if word in full}


def _unit_and_dims(annotation: Any) -> tuple[str | None, tuple[str, ...] | None, Any]:
    if get_origin(annotation) is not typing.Annotated:
        return None, None, annotation
    bare, *marks = get_args(annotation)
    unit = next((mark.unit for mark in marks if isinstance(mark, annotated_types.Unit)), None)
    dims = next((mark for mark in marks if isinstance(mark, tuple)), None)
    return unit, dims, bare


def _with_units(annotation: Any) -> Any:
    """The annotation with every `Unit` inside (fields of lists, optionals, tuples) turned into a schema word."""
    if get_origin(annotation) is not typing.Annotated:
        return annotation
    bare, *marks = get_args(annotation)
    unit = next((mark.unit for mark in marks if isinstance(mark, annotated_types.Unit)), None)
    kept = [mark for mark in marks if not isinstance(mark, tuple)]
    if unit:
        kept.append(pydantic.Field(json_schema_extra={"unit": unit}))
    return typing.Annotated[bare, *kept] if kept else bare


def _is_array(annotation: Any) -> bool:
    """A numpy array type, recognised without importing numpy (which an instrument need not have)."""
    bare = get_origin(annotation) or annotation
    return getattr(bare, "__module__", "").startswith("numpy") and getattr(bare, "__name__", "") == "ndarray"


def _adapter(annotation: Any, place: str) -> TypeAdapter[Any]:
    bare = _unit_and_dims(annotation)[2]
    try:
        return TypeAdapter(Any if _is_array(bare) or annotation is None else annotation)
    except pydantic.errors.PydanticSchemaGenerationError as error:
        raise _no_schema(place, error) from error


def _no_schema(place: str, error: Exception) -> InvalidError:
    first = str(error).splitlines()[0]
    return InvalidError(
        f"{place}: the annotation has no JSON Schema ({first}).",
        way_out="Use numbers, text, lists, dictionaries, Literal, Enum, dataclasses or numpy arrays; or hide it.",
    )
