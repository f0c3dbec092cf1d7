"""Which library a driver comes from, and what the host gets instead of it.

Recognised by the modules of its base classes: looking asks no hardware and imports nothing.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from labretto.errors import InvalidError
from labretto.instrument.adopt import plain
from labretto.instrument.adopt.face import Face, face_of
from labretto.instrument.describe import Offer, describe
from labretto.instrument.overlay import Overlay

_LIBRARIES = ("pymeasure", "qcodes", "ophyd_async", "ophyd", "pyvisa", "yaqc")
"""Packages whose classes we know; each has a module of its name here."""

_NAMED = frozenset({"qcodes", "ophyd_async", "ophyd"})
"""Their drivers take their own name as an argument."""


def library_of(driver: type) -> str | None:
    """The library that the class of a driver comes from."""
    packages = {cls.__module__.partition(".")[0] for cls in driver.__mro__}
    return next((library for library in _LIBRARIES if library in packages), None)


def constructor(driver: type) -> Callable[..., object]:
    """What is called with an instrument's settings to make its driver: the class, where it can be called."""
    return _module("pyvisa").open_resource(driver) if library_of(driver) == "pyvisa" else driver


def arguments(driver: type, settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The settings, with the instrument's name for a driver that wants to be told it."""
    takes_name = library_of(driver) in _NAMED and "name" not in settings
    return {"name": name.replace("-", "_")} | dict(settings) if takes_name else dict(settings)


def adopt(
    driver: type, make: Callable[[], object], *, name: str, overlay: Overlay | None = None
) -> tuple[Callable[[], object], Offer]:
    """What the host makes, and what that offers, for any driver.

    Args:
        driver: its class.
        make: makes it.
        name: of the instrument.
        overlay: what the lab says about it.

    Raises:
        InvalidError: it cannot be described, or the overlay names what is not there. For a driver that is known only
            once it is made this comes from the offer's `complete`.
    """
    library = library_of(driver)
    if library is None:
        return _plainly(driver, make, name, overlay)
    module = _module(library)
    known: bool = hasattr(module, "offering_of_class")
    seen = face_of(driver, module.offering_of_class(driver)) if known else _unseen(driver)
    offer = describe(seen, name=name, overlay=overlay if known else None)
    complete = functools.partial(_described, name=name, overlay=overlay)
    return _facing(driver, make, module), offer.completed_by(complete)


def _described(face: object, *, name: str, overlay: Overlay | None) -> Offer:
    return describe(type(face), name=name, overlay=overlay)


def _facing(driver: type, make: Callable[[], object], module: ModuleType) -> Callable[[], object]:
    """Makes the driver, and the face of exactly this one: its limits and channels may be known only now."""

    def make_face() -> Face:
        made = make()
        try:
            made = module.ready(made)
            return face_of(driver, module.offering(made))(made)
        except BaseException:
            _let_go(made)
            raise

    return make_face


def _let_go(made: Any) -> None:
    """A driver that could not be adopted must not keep its connection; what it says to that is of no interest now."""
    with contextlib.suppress(Exception):
        getattr(made, "adapter", made).close()


def _unseen(driver: type) -> type:
    """What can be said of a driver that has not been made yet."""
    return type(
        driver.__name__, (), {word: getattr(driver, word) for word in ("__module__", "__qualname__", "__doc__")}
    )


def _module(library: str) -> Any:
    return importlib.import_module(f"labretto.instrument.adopt.{library}")


def _plainly(
    driver: type, make: Callable[[], object], name: str, overlay: Overlay | None
) -> tuple[Callable[[], object], Offer]:
    """A class of no library we know: as it is; if it is installed and cannot be, then what of it can be offered."""
    try:
        return make, describe(driver, name=name, overlay=overlay)
    except InvalidError:
        if not _is_installed(driver):
            raise  # whoever wrote it can mend it, and wants to hear what is wrong
    face = face_of(driver, plain.offering_of_class(driver))
    return lambda: face(make()), describe(face, name=name, overlay=overlay)


def _is_installed(driver: type) -> bool:
    """It is part of a package that was installed, not of the lab's own files."""
    try:
        file = Path(inspect.getfile(driver))
    except (TypeError, OSError):
        return True  # written in C
    places = {sysconfig.get_path(key) for key in ("purelib", "platlib", "stdlib")}
    return any(file.is_relative_to(place) for place in places)
