"""ophyd: signals and positioners, read from the device once it is made and connected.

A signal is an attribute, "motor.user_readback" under the name "motor_user_readback". What moves has an action `set`
that ends when the device says that it is there; between its begin and its end attributes can be read, and cancelling
it stops the device. Staging and flying belong to a run engine and are not offered.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ophyd import Device, Kind, Signal
from ophyd.signal import EpicsSignalBase

from labretto.instrument.adopt import limits
from labretto.instrument.adopt.offering import Method, Offering, Value, identifier, methods_of, with_unit

CONNECT_WITHIN = 10.0
"""Seconds in which every signal has to be connected."""

_BASES = ("ophyd.device", "ophyd.ophydobj", "ophyd.positioner")
"""Here `stop` and `trigger` do nothing yet."""


def ready(driver: Any) -> Any:
    """The driver, connected."""
    driver.wait_for_connection(timeout=CONNECT_WITHIN)
    return driver


def offering(driver: Any) -> Offering:
    """What this device offers."""
    values = [_value(signal, name) for name, signal in _signals(driver)]
    methods: list[Method] = []
    for within, part in _parts(driver):
        values += _position(part, within)
        methods += _actions(part, within)
        methods += methods_of(type(part), foreign=_is_plumbing, reach=_always(part), within=within)
    stops = any(_says(part, "stop") for _, part in _parts(driver))
    stop = (lambda device: device.stop()) if stops else None
    return Offering(values, methods, stop=stop, close=lambda device: device.destroy())


def _always(part: Any) -> Callable[[Any], Any]:
    return lambda driver: part


def _is_plumbing(module: str) -> bool:
    return module == "ophyd" or module.startswith("ophyd.")


def _signals(driver: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(driver, Signal):
        yield "value", driver
        return
    for _, dotted, signal in driver.walk_signals():
        yield identifier(*dotted.split(".")), signal


def _parts(driver: Any) -> Iterator[tuple[str, Any]]:
    """The device, then those inside it."""
    yield "", driver
    if isinstance(driver, Device):
        for dotted, part in driver.walk_subdevices():
            yield identifier(*dotted.split(".")), part


def _says(part: Any, name: str) -> bool:
    """The class says how; not only the base from which all have it."""
    found = inspect.getattr_static(type(part), name, None)
    return inspect.isfunction(found) and found.__module__ not in _BASES


def _value(signal: Any, name: str) -> Value:
    told = next(iter(signal.describe().values()))
    words = list(told.get("enum_strs") or ())
    kind = limits.one_of(words) if words else _type(signal, told)
    unit = told.get("units") or None if limits.may_have_unit(kind) else None

    def read(driver: Any) -> Any:
        value = signal.get()
        return words[value] if words and isinstance(value, int) else value

    def write(driver: Any, value: Any) -> None:
        signal.put(value)

    can_be_set = signal.metadata.get("write_access") and hasattr(signal, "put")
    return Value(
        name,
        read,
        with_unit(kind, unit),
        write if can_be_set else None,
        with_unit(_within(kind, signal.limits), unit),
        _documentation(signal),
        slow=signal.kind == Kind.omitted,
    )


def _type(signal: Any, told: Mapping[str, Any]) -> Any:
    """A soft signal happens to hold an integer now; one of EPICS can hold nothing else."""
    whole = int if isinstance(signal, EpicsSignalBase) else float
    return {"number": float, "integer": whole, "string": str, "boolean": bool}.get(told.get("dtype", ""), Any)


def _within(kind: Any, bounds: Any) -> Any:
    """ophyd writes limits that are none as equal ones."""
    low, high = bounds or (0, 0)
    return limits.between(low, high, kind=kind) if kind in (int, float) and low < high else kind


def _documentation(signal: Any) -> str:
    component = getattr(type(signal.parent), signal.attr_name, None) if signal.parent is not None else None
    said = getattr(component, "doc", None) or ""
    return "" if said.startswith(type(component).__name__) else said


def _position(part: Any, within: str) -> list[Value]:
    """Where a positioner is."""
    if isinstance(part, Signal) or not isinstance(inspect.getattr_static(type(part), "position", None), property):
        return []
    unit = getattr(part, "egu", None) or None
    name = identifier(*filter(None, [within, "position"]))
    return [Value(name, lambda driver: part.position, with_unit(float, unit), description="Where it is.")]


def _actions(part: Any, within: str) -> Iterator[Method]:
    if isinstance(part, Signal):
        return
    if callable(getattr(part, "set", None)):
        kind = _within(float if _position(part, within) else Any, getattr(part, "limits", None))
        yield _set(part, within, with_unit(kind, getattr(part, "egu", None) or None))
    if _says(part, "trigger"):
        yield _trigger(part, within)


def _set(part: Any, within: str, taken: Any) -> Method:
    async def call(driver: Any, value: Any) -> None:
        try:
            await _over(part.set(value))
        except asyncio.CancelledError:
            part.stop()
            raise

    parameter = inspect.Parameter("value", inspect.Parameter.KEYWORD_ONLY, annotation=taken)
    said = "Move, and be there at the end."
    return Method(identifier(*filter(None, [within, "set"])), call, [parameter], None, said, "absolute", call)


def _trigger(part: Any, within: str) -> Method:
    async def call(driver: Any) -> dict[str, Any]:
        await _over(part.trigger())
        return {name: reading["value"] for name, reading in part.read().items()}

    said = "Measure, and answer what was measured."
    name = identifier(*filter(None, [within, "trigger"]))
    return Method(name, call, [], dict[str, Any], said, "read", call)


async def _over(status: Any) -> None:
    """Return when the device says that it is done; raise what it says if it failed."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    status.add_callback(lambda *_: loop.call_soon_threadsafe(over.set))
    await over.wait()
    status.wait(1)
