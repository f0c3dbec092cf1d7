"""PyMeasure: properties made by `Instrument.control`, `measurement` and `setting`, and channels, read from the class.

Those functions leave everything they were told in the property they make: as defaults of its getter's and setter's
arguments, which is how PyMeasure itself changes them for one class or instance (`<property>_values = ...`). Reading it
asks no hardware. Properties that a driver writes by hand may do anything when they are read, so nobody reads them
unasked.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pymeasure.instruments.common_base import CommonBase

from labretto.instrument.adopt import limits
from labretto.instrument.adopt.documented import unit_in
from labretto.instrument.adopt.offering import (
    Method,
    Offering,
    Value,
    identifier,
    method_of,
    setter,
    with_unit,
)

_PLUMBING = frozenset(f"pymeasure.instruments.{module}" for module in ("common_base", "instrument", "channel"))
"""How drivers talk (`write`, `ask`, `read_bytes`...). A raw command would go past every limit, so none is offered."""

_SLOW = frozenset({"complete", "next_error"})
"""Reading the first waits for the instrument; reading the second, a number and a text, takes an error off its queue."""

_MADE = "CommonBase.control.<locals>.fget"


def offering_of_class(cls: type) -> Offering:
    """What drivers of a PyMeasure class offer."""
    return _offering(cls, None)


def offering(driver: object) -> Offering:
    """What this one offers: it may have limits and channels of its own."""
    return _offering(type(driver), driver)


def ready(driver: object) -> object:
    """The driver, as it was made."""
    return driver


def _offering(cls: type, instance: object) -> Offering:
    values: list[Value] = []
    methods: list[Method] = []
    for part in _parts(cls, instance, (), ""):
        for name, member in _members(part.cls).items():
            found = _value(part, name, member)
            if isinstance(found, Method):
                methods.append(found)
            elif found is not None:
                values.append(found)
    return Offering(values, methods, stop=_stop(cls), close=_close)


@dataclass(frozen=True)
class _Part:
    """The instrument, or one of its channels."""

    cls: type
    instance: object
    path: tuple[str, ...]
    within: str


def _parts(cls: type, instance: object, path: tuple[str, ...], within: str) -> Iterator[_Part]:
    yield _Part(cls, instance, path, within)
    inside = _channels_of(instance) if instance is not None else _channels(cls)
    for name, kind, channel in inside:
        yield from _parts(kind, channel, (*path, name), identifier(*filter(None, [within, name])))


def _channels(cls: type) -> Iterator[tuple[str, type, None]]:
    """Channels that the class declares: name, class."""
    for name, creator in CommonBase.get_channels(cls):
        for kind, number in creator.pairs:
            prefix = creator.kwargs.get("prefix")
            yield f"{prefix}{number}" if prefix else name, kind, None


def _channels_of(instance: object) -> Iterator[tuple[str, type, object]]:
    """Channels that the instance has, those too that its constructor added."""
    for name, child in vars(instance).items():
        if isinstance(child, CommonBase) and not name.startswith("_") and name != "parent":
            yield name, type(child), child


def _members(cls: type) -> Mapping[str, Any]:
    """Public members that are the driver's own, bases first; one that has two names has the first."""
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        theirs = base.__module__ in _PLUMBING
        members |= {name: None if theirs else value for name, value in vars(base).items() if not name.startswith("_")}
    own = {name: value for name, value in members.items() if value is not None and name not in vars(CommonBase)}
    first: dict[int, str] = {}
    for name, value in own.items():
        first.setdefault(id(value), name)
    return {name: value for name, value in own.items() if first[id(value)] == name}


def _value(part: _Part, name: str, member: Any) -> Value | Method | None:
    called = identifier(*filter(None, [part.within, name]))
    if inspect.isfunction(member):
        return method_of(member, reach=functools.partial(_at, part.path), name=called)
    if not isinstance(member, property) or ".. deprecated::" in (member.__doc__ or ""):
        return None
    if getattr(member.fget, "__qualname__", "") == _MADE:
        value = _made(part, name, called, member)
        return setter(value) if _told(part, name, member.fget)["get_command"] is None else value
    return Value(
        called,
        _reader(part.path, name),
        write=_writer(part.path, name) if member.fset else None,
        description=_documentation(member),
        slow=True,
    )


def _made(part: _Part, name: str, called: str, member: property) -> Value:
    """A property that PyMeasure made."""
    got, put = _told(part, name, member.fget), _told(part, name, member.fset)
    documentation = _documentation(member)
    taken = _taken(put)
    can_be_set = put["set_command"] is not None
    returned = taken if can_be_set else Any if name in _SLOW else _returned(got, documentation)
    unit = unit_in(documentation) if limits.may_have_unit(returned) and limits.may_have_unit(taken) else None
    write = _writer(part.path, name) if can_be_set else None
    return Value(
        called,
        _reader(part.path, name),
        with_unit(returned, unit),
        write,
        with_unit(_checked(put, taken), unit),
        documentation,
        slow=name in _SLOW,
    )


def _told(part: _Part, name: str, function: Any) -> dict[str, Any]:
    """What `control` was told; for a dynamic property, what class or instance say instead."""
    told = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    free = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    told |= {"cast": free["cast"].cell_contents} if "cast" in free else {}
    own = vars(part.instance) if part.instance is not None else {}
    if isinstance(inspect.getattr_static(part.cls, name), property) and _is_dynamic(part.cls, name):
        for key in told:
            # The three underscores are where PyMeasure keeps what an instance says.
            said = inspect.getattr_static(part.cls, f"{name}_{key}", told[key])
            told[key] = own.get(f"___{name}_{key}", said)
    return told


def _is_dynamic(cls: type, name: str) -> bool:
    return hasattr(inspect.getattr_static(cls, name), "fget_params_list")


def _at(path: tuple[str, ...], driver: Any) -> Any:
    """The channel that stands there inside the driver."""
    return functools.reduce(getattr, path, driver)


def _reader(path: tuple[str, ...], name: str) -> Callable[[Any], Any]:
    return lambda driver: getattr(_at(path, driver), name)


def _writer(path: tuple[str, ...], name: str) -> Callable[[Any, Any], None]:
    return lambda driver, value: setattr(_at(path, driver), name, value)


def _documentation(member: property) -> str:
    return inspect.cleandoc(member.__doc__ or "").removesuffix("(dynamic)").strip()


def _returned(told: Mapping[str, Any], documentation: str) -> Any:
    """The type of what is read, as far as it is certain."""
    if told["map_values"]:
        return limits.one_of(told["values"])
    plain = _is_default(told["get_process"]) and _is_default(told["get_process_list"])
    cast = told.get("cast")
    if plain and cast in (float, int, str, bool) and "list" not in documentation:
        return cast
    said = re.search(r"\((float|int|bool|str)\b", documentation)
    return {"float": float, "int": int, "bool": bool, "str": str}[said[1]] if said else Any


def _is_default(function: Any) -> bool:
    return getattr(function, "__name__", "") == "<lambda>" and function.__module__ == CommonBase.__module__


def _taken(told: Mapping[str, Any]) -> Any:
    """What may be written: limits, choices, or the type that the command has a place for."""
    values, validator = told["values"], told["validator"]
    known = Any if _is_default(validator) else _validated(validator, values, _number_of(told))
    if told["map_values"] and known is Any:
        return limits.one_of(values)
    if _is_default(validator):
        return _number_of(told)
    return known


def _checked(told: Mapping[str, Any], taken: Any) -> Any:
    """With the driver's own check besides, which asks no hardware either."""
    validator, values = told["validator"], told["values"]
    return taken if _is_default(validator) else limits.checked(taken, lambda value: validator(value, values))


def _number_of(told: Mapping[str, Any]) -> Any:
    """The type for which the command has a place, unless the value is made into something else on its way there."""
    if not _is_default(told["set_process"]) or told["map_values"]:
        return Any
    places = re.findall(r"%[-+ #0]*\d*(?:\.\d+)?([a-zA-Z])", told["set_command"] or "")
    return {"d": int, "i": int}.get(places[0], float if places[0] in "eEfFgG" else Any) if len(places) == 1 else Any


def _validated(validator: Any, values: Any, number: Any) -> Any:
    """The annotation that says what one of PyMeasure's validators says; Any for one that is not known here."""
    function = validator.func if isinstance(validator, functools.partial) else validator
    kind = number if number in (int, float) else float
    if getattr(function, "__module__", "") != "pymeasure.instruments.validators":
        return limits.range_of(values, kind=kind) if _acts_as_range(validator, values) else number
    match function.__qualname__:
        case "strict_range" | "truncated_range" | "strict_discrete_range":
            return limits.range_of(values, kind=kind)
        case "strict_discrete_set" | "truncated_discrete_set":
            # The second takes any number, and quietly makes another of it: whoever asks shall get what was asked for.
            return limits.integers(values) if isinstance(values, range) else limits.one_of(values)
        case "joined_validators.<locals>.validate":
            (each,) = [cell.cell_contents for cell in function.__closure__ or ()]
            return limits.any_of([_validated(v, vs, number) for v, vs in zip(each, values, strict=False)])
    return number


def _acts_as_range(validator: Any, values: Any) -> bool:
    """A validator of the driver's own that takes what lies between two values, and refuses what lies outside."""
    if not isinstance(values, list | tuple) or len(values) != 2 or not limits.are_numbers(values):
        return False
    low, high = values
    return (
        _takes(validator, low, values)
        and _takes(validator, high, values)
        and not any(_takes(validator, beyond, values) for beyond in (low - 1, high + 1))
    )


def _takes(validator: Any, value: Any, values: Any) -> bool:
    try:
        return bool(validator(value, values) == value)
    except Exception:  # noqa: BLE001 - it is the driver's own code
        return False


def _stop(cls: type) -> Callable[[Any], Any] | None:
    """PyMeasure's word for "brings the instrument to a safe and stable state", where the driver says how."""
    own = inspect.getattr_static(cls, "stop", None)
    if inspect.isfunction(own):
        return lambda driver: driver.stop()
    shutdown = inspect.getattr_static(cls, "shutdown", None)
    says_how = inspect.isfunction(shutdown) and shutdown.__module__ not in _PLUMBING
    return (lambda driver: driver.shutdown()) if says_how else None


def _close(driver: Any) -> None:
    """The connection only: who leaves must not switch off what is on (that is `stop`)."""
    driver.adapter.close()
