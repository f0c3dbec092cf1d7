"""An installed class of no library we know, which cannot be described as it is: all of it that can be offered.

An annotation that cannot be resolved, or that no wire can carry, is taken for none; parameters of variable number are
left out.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Iterator
from typing import Any

from labretto.instrument.adopt.offering import Offering, Value, can_be_sent, methods_of


def offering_of_class(cls: type) -> Offering:
    """Properties and public methods."""
    own = {name: inspect.getattr_static(cls, name, None) for name in ("stop", "close")}
    stop, close = (inspect.isfunction(own[name]) for name in ("stop", "close"))
    return Offering(
        list(_values(cls)),
        list(methods_of(cls)),
        stop=(lambda driver: driver.stop()) if stop else None,
        close=(lambda driver: driver.close()) if close else None,
    )


def _values(cls: type) -> Iterator[Value]:
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        members |= vars(base)
    for name, member in members.items():
        if not name.startswith("_") and isinstance(member, property | functools.cached_property):
            yield value_of(name, member)


def value_of(name: str, member: property | functools.cached_property[Any]) -> Value:
    """A property as a value."""
    getter, can_be_set = (member.fget, member.fset) if isinstance(member, property) else (member.func, None)
    annotation = _annotation(getter)

    def write(driver: Any, value: Any) -> None:
        setattr(driver, name, value)

    return Value(
        name,
        lambda driver: getattr(driver, name),
        annotation,
        write if can_be_set else None,
        annotation,
        inspect.getdoc(member) or "",
    )


def _annotation(getter: Any) -> Any:
    try:
        said = typing.get_type_hints(getter, include_extras=True).get("return", Any)
    except Exception:  # noqa: BLE001 - an annotation is any expression, and may raise anything
        return Any
    return said if can_be_sent(said) else Any
