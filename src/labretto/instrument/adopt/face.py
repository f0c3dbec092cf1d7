"""An `Offering` becomes a plain annotated class: the face that an adopted driver shows to the host.

Its properties and methods ask the driver behind it, one at a time. Only `stop()` goes past: it waits a moment for the
talk that is going on, so that answers do not get mixed up, and then no longer.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

from labretto.instrument.adopt.offering import Method, Names, Offering, Value

PATIENCE = 0.25
"""Seconds that `stop()` waits for the question that the driver's thread has asked to be answered."""

SETTING = 4.0
"""Seconds between two looks at what can be set: it changes when somebody sets it, and then it is read at once."""


class Turn:
    """One talk with the hardware at a time; a thread that does not own the driver goes ahead after `PATIENCE`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = threading.get_ident()
        self._taken = threading.local()

    def __enter__(self) -> None:
        timeout = -1 if threading.get_ident() == self._owner else PATIENCE
        self._taken.mine = self._lock.acquire(timeout=timeout)

    def __exit__(self, *_: object) -> None:
        if self._taken.mine:
            self._lock.release()


class Face:
    """What all faces share; made in the driver's thread."""

    _offering = Offering()

    def __init__(self, driver: object) -> None:
        self._driver = driver
        self._turn = Turn()

    def close(self) -> None:
        """Let the hardware go."""
        if self._offering.close:
            self._offering.close(self._driver)


def face_of(driver: type, offering: Offering) -> type[Face]:
    """A class whose instances stand before drivers of the class `driver`."""
    names = Names()
    members: dict[str, Any] = {"_offering": offering}
    members |= {value.name: _property(value) for value in offering.values if names.free(value.name)}
    members |= {method.name: _function(method) for method in offering.methods if names.free(method.name)}
    if offering.stop:
        members["stop"] = _stop
    members |= {"__module__": driver.__module__, "__qualname__": driver.__qualname__, "__doc__": driver.__doc__}
    return type(driver.__name__, (Face,), members)


def _stop(self: Face) -> Any:
    """Make the hardware safe."""
    assert self._offering.stop
    with self._turn:
        return self._offering.stop(self._driver)


def _property(value: Value) -> property:
    def read(self: Face) -> Any:
        with self._turn:
            return value.read(self._driver)

    def write(self: Face, given: Any) -> None:
        with self._turn:
            value.write(self._driver, given)  # type: ignore[misc]

    read.__annotations__ = {"return": value.returned}
    read.__doc__ = value.description
    read.__labretto_slow__ = value.slow  # type: ignore[attr-defined]
    read.__labretto_keep__ = SETTING if value.write else None  # type: ignore[attr-defined]
    write.__annotations__ = {"given": value.taken}
    return property(read, write if value.write else None)


def _function(method: Method) -> Callable[..., Any]:
    def act(self: Face, **given: Any) -> Any:
        if method.original:  # a coroutine or a generator: the talk is not over when this returns
            return method.call(self._driver, **given)
        with self._turn:
            return method.call(self._driver, **given)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    act.__signature__ = inspect.Signature([own, *method.parameters])  # type: ignore[attr-defined]
    act.__annotations__ = {p.name: p.annotation for p in method.parameters} | {"return": method.returned}
    act.__name__ = method.name
    act.__doc__ = method.description
    act.__labretto_effect__ = method.effect  # type: ignore[attr-defined]
    if method.original:
        act.__wrapped__ = method.original  # type: ignore[attr-defined]
    return act
