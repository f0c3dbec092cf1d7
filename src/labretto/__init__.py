"""Labretto: your Python drivers, on the network, in experiments that survive a crash.

Everything public is here, and is imported when it is first used: `import labretto` itself loads next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labretto import bluesky as bluesky
    from labretto.catalog.read import Record as Record, open_record as open_record
    from labretto.errors import (
        BusyError as BusyError,
        ConflictError as ConflictError,
        DriverError as DriverError,
        FailedError as FailedError,
        InvalidError as InvalidError,
        LabError as LabError,
        LimitError as LimitError,
        NotFoundError as NotFoundError,
        RefusedError as RefusedError,
        UnreachableError as UnreachableError,
    )
    from labretto.experiment.file import File as File
    from labretto.experiment.function import experiment as experiment
    from labretto.hub import start_lab as start_lab
    from labretto.instrument.describe import (
        concurrent as concurrent,
        describe as describe,
        effect as effect,
        polled as polled,
    )
    from labretto.instrument.reading import Quantity as Quantity, Reading as Reading
    from labretto.network.background import start_background as start  # noqa: F401 - the front door offers it
    from labretto.network.blocking import connect as connect
    from labretto.network.client import open_instrument as open_instrument
    from labretto.orchestrator.client import (
        Hub as Hub,
        RunHandle as RunHandle,
        submit as submit,
    )
    from labretto.orchestrator.python import Run as Run

_ROOMS = {
    "labretto.errors": (
        "BusyError", "ConflictError", "DriverError", "FailedError", "InvalidError", "LabError", "LimitError",
        "NotFoundError", "RefusedError", "UnreachableError",
    ),
    "labretto.experiment.file": ("File",),
    "labretto.hub": ("start_lab",),
    "labretto.instrument.describe": ("concurrent", "describe", "effect", "polled"),
    "labretto.instrument.reading": ("Quantity", "Reading"),
    "labretto.network.blocking": ("connect",),
    "labretto.network.client": ("open_instrument",),
    "labretto.orchestrator.client": ("Hub", "RunHandle", "submit"),
    "labretto.orchestrator.python": ("Run",),
    "labretto.catalog.read": ("Record", "open_record"),
}  # fmt: skip
_HOME = {name: (room, name) for room, names in _ROOMS.items() for name in names}
_HOME["start"] = ("labretto.network.background", "start_background")

_THEMSELVES = ("bluesky", "experiment")
"""Rooms that are public as they are; the second is a decorator too: docs/decisions/0015."""

__all__ = sorted([*_HOME, *_THEMSELVES])


def __getattr__(name: str) -> Any:
    if name in _THEMSELVES:
        return importlib.import_module(f"labretto.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'labretto' has no attribute {name!r}")
    room, inner = _HOME[name]
    value = getattr(importlib.import_module(room), inner)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
