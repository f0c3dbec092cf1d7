"""yaq: a daemon's properties and messages, as its protocol names them once a client is connected.

The daemon tells units, limits and options of a property; the protocol tells the types of everything.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from labretto.instrument.adopt import limits
from labretto.instrument.adopt.offering import Method, Offering, Value, setter, with_unit

_TYPES: Mapping[str, Any] = {"double": float, "float": float, "int": int, "long": int, "string": str, "boolean": bool}
_TYPES = {**_TYPES, "null": None}

_DAEMONS = frozenset({"id", "shutdown", "get_config", "get_config_filepath", "get_state"})
"""About the daemon and not about what it drives; who leaves the instrument must not end it."""


def ready(driver: Any) -> Any:
    """The client, which connects when it is made."""
    return driver


def offering(driver: Any) -> Offering:
    """What this daemon offers."""
    protocol: Mapping[str, Any] = driver._protocol  # noqa: SLF001 - the client shows it nowhere else
    messages: Mapping[str, Any] = protocol.get("messages", {})
    properties: Mapping[str, Any] = protocol.get("properties", {})
    told = {each.get(way) for each in properties.values() for way in ("getter", "setter")}
    found = [_property(driver, name, each) for name, each in properties.items()]
    values = [value for value, can_be_read in found if can_be_read]
    methods = [setter(value) for value, can_be_read in found if not can_be_read]
    if "busy" in messages:
        values.append(Value("busy", lambda client: client.busy(), bool, description="It has not arrived yet."))
    others = {name: each for name, each in messages.items() if name not in told | _DAEMONS | {"busy"}}
    methods += [_message(name, each) for name, each in others.items()]
    return Offering(values, methods, close=lambda client: client._socket._socket.close())  # noqa: SLF001 - no other way


def _property(driver: Any, name: str, told: Mapping[str, Any]) -> tuple[Value, bool]:
    kind = _type(told.get("type"))
    unit = _asked(driver, told, "units_getter")
    options = _asked(driver, told, "options_getter")
    bounds = _asked(driver, told, "limits_getter")
    taken = kind
    if options:
        taken = limits.one_of(options)
    elif bounds and kind in (int, float):
        taken = limits.between(min(bounds), max(bounds), kind=kind)
    value = Value(
        name,
        lambda client: getattr(client, told["getter"])(),
        with_unit(kind, unit),
        _writer(told["setter"]) if told.get("setter") else None,
        with_unit(taken, unit),
        slow=not told.get("dynamic", True) and told.get("record_kind") == "metadata",
    )
    return value, bool(told.get("getter"))


def _writer(message: str) -> Callable[[Any, Any], None]:
    def write(client: Any, value: Any) -> None:
        getattr(client, message)(value)

    return write


def _asked(driver: Any, told: Mapping[str, Any], way: str) -> Any:
    """What the daemon answers, where the protocol says that it can be asked."""
    return getattr(driver, told[way])() if told.get(way) else None


def _type(avro: Any) -> Any:
    """The annotation for a type of Avro; Any for what has parts."""
    if isinstance(avro, list):
        return limits.any_of([_type(each) for each in avro])
    return _TYPES.get(avro, Any) if isinstance(avro, str) else Any


def _message(name: str, told: Mapping[str, Any]) -> Method:
    empty = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(
            each["name"],
            inspect.Parameter.KEYWORD_ONLY,
            default=each.get("default", empty),
            annotation=_type(each.get("type")),
        )
        for each in told.get("request", [])
    ]

    def call(client: Any, **given: Any) -> Any:
        return getattr(client, name)(**given)

    return Method(name, call, parameters, _type(told.get("response")), told.get("doc") or "")
