"""ophyd-async: signals and movables, read from the device once it is connected, in a loop of its own.

A device lives in the loop in which it was connected, and only there; so it gets one, in a thread beside the driver's.
Reading a signal waits for that loop; moving does not, so attributes can be read meanwhile.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import weakref
from collections.abc import Coroutine, Iterator, Mapping
from enum import Enum
from typing import Any

from ophyd_async.core import Signal, SignalR, SignalW

from labretto.instrument.adopt import limits
from labretto.instrument.adopt.offering import Method, Offering, Value, can_be_sent, identifier, setter, with_unit

WITHIN = 10.0
"""Seconds in which a signal has to answer, and a device to be connected."""


class _Loop:
    """A loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ophyd-async", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What `work` answers there."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, WITHIN), self._loop).result()

    async def follow(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The same, without keeping this thread; cancelling it cancels the work."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


_LOOPS: weakref.WeakKeyDictionary[Any, _Loop] = weakref.WeakKeyDictionary()
"""Connected device → the loop in which it lives."""


def ready(driver: Any) -> Any:
    """The driver, connected in a loop of its own."""
    if driver not in _LOOPS:
        loop = _Loop()
        try:
            loop.wait(driver.connect())
        except BaseException:
            loop.close()
            raise
        _LOOPS[driver] = loop
    return driver


def offering(driver: Any) -> Offering:
    """What this device offers."""
    loop = _LOOPS[driver]
    values: list[Value] = []
    methods: list[Method] = []
    for name, part in _parts(driver, ""):
        if not isinstance(part, Signal):
            methods += _actions(part, name, loop)
            continue
        found = _signal(part, name or "value", loop)
        if isinstance(part, SignalR):
            values.append(found)
        elif found.write:
            methods.append(setter(found))
    stops = [part for _, part in _parts(driver, "") if callable(getattr(part, "stop", None))]
    stop = (lambda device: [loop.wait(_stop(part)) for part in stops]) if stops else None
    return Offering(values, methods, stop=stop, close=lambda device: _LOOPS.pop(device).close())


async def _stop(part: Any) -> None:
    stopping = part.stop(success=False)
    if inspect.isawaitable(stopping):
        await stopping


def _parts(part: Any, within: str) -> Iterator[tuple[str, Any]]:
    yield within, part
    for name, inside in part.children():
        yield from _parts(inside, identifier(*filter(None, [within, name])))


def _signal(signal: Any, name: str, loop: _Loop) -> Value:
    told = next(iter(loop.wait(signal.describe()).values())) if isinstance(signal, SignalR) else {}
    kind = _type(signal.datatype)
    unit = told.get("units") or None if limits.may_have_unit(kind) else None

    async def put(value: Any) -> None:
        await signal.set(value)

    return Value(
        name,
        lambda driver: loop.wait(signal.get_value()),
        with_unit(kind, unit),
        (lambda driver, value: loop.wait(put(value))) if isinstance(signal, SignalW) else None,
        with_unit(_within(kind, told), unit),
    )


def _type(datatype: Any) -> Any:
    if isinstance(datatype, type) and issubclass(datatype, Enum):
        return limits.one_of(datatype)
    return datatype if datatype is not None and can_be_sent(datatype) else Any


def _within(kind: Any, told: Mapping[str, Any]) -> Any:
    """The limits that EPICS calls control limits."""
    control = (told.get("limits") or {}).get("control") or {}
    return limits.between(control.get("low"), control.get("high"), kind=kind) if kind in (int, float) else kind


def _actions(part: Any, within: str, loop: _Loop) -> Iterator[Method]:
    if callable(getattr(part, "set", None)):
        yield _awaited(part, "set", within, loop, {"value": _moved(part, loop)}, "Move, and be there at the end.")
    if callable(getattr(part, "trigger", None)):
        yield _awaited(part, "trigger", within, loop, {}, "Trigger it, and wait for its end.")


def _moved(part: Any, loop: _Loop) -> Any:
    """The annotation of where a movable goes: as where it is."""
    fields = getattr(part, "hints", {}).get("fields") or []
    told = loop.wait(part.describe()) if fields else {}
    if len(fields) != 1 or told.get(fields[0], {}).get("dtype") != "number":
        return Any
    return with_unit(_within(float, told[fields[0]]), told[fields[0]].get("units") or None)


def _awaited(part: Any, verb: str, within: str, loop: _Loop, parameters: Mapping[str, Any], said: str) -> Method:
    """A method that answers a status, as an action that ends when the status is done."""

    async def ended(*given: Any) -> None:
        await getattr(part, verb)(*given)

    async def call(driver: Any, **given: Any) -> None:
        try:
            await loop.follow(ended(*given.values()))
        except asyncio.CancelledError:
            if callable(getattr(part, "stop", None)):
                await loop.follow(_stop(part))
            raise

    words = [inspect.Parameter(word, inspect.Parameter.KEYWORD_ONLY, annotation=a) for word, a in parameters.items()]
    name = identifier(*filter(None, [within, verb]))
    return Method(name, call, words, None, said, "absolute" if verb == "set" else "once", call)
