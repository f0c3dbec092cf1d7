"""Which library a driver comes from, and what the host gets instead of it.

Recognised by the modules of its base classes: looking asks no hardware and imports nothing, and what is in this folder
is imported only for a driver that needs it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labretto.errors import InvalidError, RefusedError
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
    offer = _before_it_is_made(driver, _module(library), name, overlay)
    complete = functools.partial(_described, name=name, overlay=overlay)
    return functools.partial(_make_face, driver, make, _module(library)), offer.completed_by(complete)


def _described(face: object, *, name: str, overlay: Overlay | None) -> Offer:
    return describe(type(face), name=name, overlay=overlay)


def _make_face(driver: type, make: Callable[[], object], module: Any) -> object:
    """Makes the driver, and the face of exactly this one: its limits and channels may be known only now."""
    made = make()
    try:
        made = module.ready(made)
        return _module("face").face_of(driver, module.offering(made))(made)
    except BaseException:
        _let_go(made)
        raise


def _let_go(made: Any) -> None:
    """A driver that could not be adopted must not keep its connection; what it says to that is of no interest now."""
    with contextlib.suppress(Exception):
        getattr(made, "adapter", made).close()


def _before_it_is_made(driver: type, module: Any, name: str, overlay: Overlay | None) -> Offer:
    """What can be said of the class; what is said of a channel that is not there yet may fit once it is made."""
    said = ("__module__", "__qualname__", "__doc__")
    if not hasattr(module, "offering_of_class"):
        return describe(type(driver.__name__, (), {word: getattr(driver, word) for word in said}), name=name)
    seen = _module("face").face_of(driver, module.offering_of_class(driver))
    try:
        return describe(seen, name=name, overlay=overlay)
    except RefusedError:
        return describe(seen, name=name)


def _module(name: str) -> Any:
    return importlib.import_module(f"labretto.instrument.adopt.{name}")


def _plainly(
    driver: type, make: Callable[[], object], name: str, overlay: Overlay | None
) -> tuple[Callable[[], object], Offer]:
    """A class of no library we know: as it is; if it is installed and cannot be, then what of it can be offered."""
    try:
        return make, describe(driver, name=name, overlay=overlay)
    except InvalidError:
        if not _is_installed(driver):
            raise  # whoever wrote it can mend it, and wants to hear what is wrong
    face = _module("face").face_of(driver, _module("plain").offering_of_class(driver))
    return lambda: face(make()), describe(face, name=name, overlay=overlay)


def _is_installed(driver: type) -> bool:
    """It is part of a package that was installed, not of the lab's own files."""
    try:
        file = Path(inspect.getfile(driver))
    except (TypeError, OSError):
        return True  # written in C
    places = {sysconfig.get_path(key) for key in ("purelib", "platlib", "stdlib")}
    return any(file.is_relative_to(place) for place in places)
