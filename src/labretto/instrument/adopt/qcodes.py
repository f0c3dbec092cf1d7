"""QCoDeS: parameters, submodules and channels, read from the instrument once it is made, for only then they are there.

A parameter's unit, validator and label become unit, limits or choices, and description; asking for them asks no
hardware. What is read from several places at once (arrays, several values) and what QCoDeS itself leaves out of its
snapshots is read only when somebody asks for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qcodes import validators
from qcodes.instrument import ChannelTuple, InstrumentBase
from qcodes.parameters import ArrayParameter, MultiParameter, ParameterWithSetpoints

from labretto.instrument.adopt import limits
from labretto.instrument.adopt.offering import Method, Offering, Value, identifier, methods_of, setter, with_unit

_ACQUIRES = (ArrayParameter, MultiParameter, ParameterWithSetpoints)


def ready(driver: object) -> object:
    """The driver, as it was made."""
    return driver


def offering(driver: Any) -> Offering:
    """What this instrument offers."""
    values: list[Value] = []
    methods: list[Method] = []
    for within, part in _parts(driver, "", set()):
        for parameter in part.parameters.values():
            value = _value(parameter, identifier(*filter(None, [within, parameter.short_name])))
            if parameter.gettable:
                values.append(value)
            elif value.write:
                methods.append(setter(value))
        methods += [_function(name, function, within) for name, function in part.functions.items()]
        methods += methods_of(type(part), foreign=_is_plumbing, reach=_reach(part), within=within)
    return Offering(values, methods, stop=_stop(type(driver)), close=lambda instrument: instrument.close())


def _parts(part: Any, within: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """The instrument, then everything inside it, each once; a channel by its own name rather than by its place."""
    if id(part) in seen:
        return
    seen.add(id(part))
    yield within, part
    for name, inside in part.submodules.items():
        if isinstance(inside, InstrumentBase):
            yield from _parts(inside, identifier(*filter(None, [within, name])), seen)
    for inside in part.submodules.values():
        for channel in inside if isinstance(inside, ChannelTuple) else ():
            yield from _parts(channel, identifier(*filter(None, [within, channel.short_name])), seen)


def _is_plumbing(module: str) -> bool:
    """How QCoDeS talks and takes snapshots; its own drivers are elsewhere."""
    return module.startswith(("qcodes.instrument.", "qcodes.metadatable", "qcodes.utils"))


def _reach(part: Any) -> Callable[[Any], Any]:
    return lambda driver: part


def _stop(cls: type) -> Callable[[Any], Any] | None:
    return (lambda driver: driver.stop()) if inspect.isfunction(inspect.getattr_static(cls, "stop", None)) else None


def _value(parameter: Any, name: str) -> Value:
    taken = _annotation(parameter)
    returned = _parsed(parameter) if taken is Any else taken
    unit = _unit(parameter) if limits.may_have_unit(returned) else None

    def write(driver: Any, value: Any) -> None:
        parameter.set(value)

    return Value(
        name,
        lambda driver: _sendable(parameter.get()),
        with_unit(returned, unit),
        write if parameter.settable else None,
        with_unit(limits.checked(taken, parameter.validate), unit),
        _description(parameter, name),
        slow=isinstance(parameter, _ACQUIRES) or not parameter.snapshot_value,
    )


def _unit(parameter: Any) -> str | None:
    unit = getattr(parameter, "unit", None)
    return unit if isinstance(unit, str) and unit.strip() else None


def _description(parameter: Any, name: str) -> str:
    said = getattr(parameter, "_docstring", None) or getattr(parameter, "label", None) or ""
    return "" if said in (name, parameter.short_name) else str(said)


def _sendable(value: Any) -> Any:
    """A complex number as its parts: no wire has another way for one."""
    return {"real": value.real, "imag": value.imag} if isinstance(value, complex) else value


def _parsed(parameter: Any) -> Any:
    """The type that a parameter without a validator is read as, where Python itself makes it."""
    parser = getattr(parameter, "get_parser", None)
    return parser if parser in (float, int, str, bool) else Any


def _annotation(parameter: Any) -> Any:
    """What may be written, from the parameter's mapping or validator."""
    if parameter.inverse_val_mapping:
        return limits.one_of(parameter.inverse_val_mapping.values())  # of several names of a value, the one it reads as
    return _validated(parameter.vals) if parameter.vals is not None else Any


def _validated(validator: Any) -> Any:
    """What one of QCoDeS's validators says; Any for one that is not known here, which is then asked itself."""
    match validator:
        case validators.Multiples():
            return limits.multiples(validator.divisor, _between(validator, int))
        case validators.Ints():
            return _between(validator, int)
        case validators.Numbers():
            return _between(validator, float)
        case validators.Bool():
            return bool
        case validators.Strings():
            return limits.texts(validator.min_length, validator.max_length)
        case validators.OnOff():
            return limits.one_of(["on", "off"])
        case validators.Enum():
            return limits.one_of(validator.valid_values)
        case validators.MultiType() if validator.combiner == "OR":
            return limits.any_of([_validated(each) for each in validator.validators])
    return Any


def _between(validator: Any, kind: type) -> Any:
    return limits.between(validator.min_value, validator.max_value, kind=kind)


def _function(name: str, function: Any, within: str) -> Method:
    """A `Function`, the older way to add a command: its arguments have validators and no names."""
    words = [f"argument_{number}" for number in range(1, len(function._args) + 1)]  # noqa: SLF001 - told nowhere else
    kinds: Mapping[str, Any] = {
        word: limits.checked(_validated(validator), validator.validate)
        for word, validator in zip(words, function._args, strict=True)  # noqa: SLF001
    }

    def call(driver: Any, **given: Any) -> Any:
        return function.call(*(given[word] for word in words))

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(word, keyword, annotation=kind) for word, kind in kinds.items()]
    said = vars(function).get("__doc__") or ""
    return Method(identifier(*filter(None, [within, name])), call, parameters, description=said)
