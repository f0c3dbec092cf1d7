"""The instrument that a host is checked with: it blocks, fails, measures and counts as it is told.

A plain driver like any other; on a host that is no Python write one of the same name with the same actions and
attributes (the table is in the how-to). What it did is counted in attributes and, where it is given a file, written
there before and after each act, so that a process that died leaves what it did.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from annotated_types import Interval, Unit

from labretto.instrument.describe import effect

Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=100)]
Millilitre = Annotated[float, Unit("mL"), Interval(ge=0, le=10)]
Seconds = Annotated[float, Unit("s"), Interval(ge=0, le=60)]


class Row(NamedTuple):
    """What `measure` yields."""

    number: int
    signal: Annotated[float, Unit("V")]


class Subject:
    """An instrument that hosts are checked with.

    Args:
        log: file that gets a line of JSON when a `dose` begins and when it ends; "" for none.
        pour: called in the middle of a `dose`; the kit that kills does it here.
    """

    def __init__(self, log: str = "", pour: Callable[[], None] | None = None) -> None:
        self._log = Path(log) if log else None
        self._pour = pour
        self._position = 0.0
        self._doses = 0
        self._failures = 0
        self._placings = 0
        self._released = threading.Event()
        self.progress: float | None = None

    @property
    def position(self) -> Millimetre:
        """Where it stands."""
        return self._position

    @position.setter
    def position(self, to: Millimetre) -> None:
        self._position = to

    @property
    def doses(self) -> int:
        """How often `dose` has begun."""
        return self._doses

    @property
    def failures(self) -> int:
        """How often `fail` has begun."""
        return self._failures

    @property
    def placings(self) -> int:
        """How often `place` has begun."""
        return self._placings

    @effect("read")
    def look(self) -> Millimetre:
        """Answer the position."""
        return self._position

    @effect("absolute")
    def place(self, to: Millimetre) -> Millimetre:
        """Go to a position."""
        self._placings += 1
        self._position = to
        return to

    @effect("once")
    def dose(self, volume: Millilitre, mark: str = "") -> Millilitre:
        """Pour; `mark` tells one pouring from another in the log."""
        self._doses += 1
        self._note("begin", mark)
        if self._pour is not None:
            self._pour()
        self._note("end", mark)
        return volume

    @effect("once")
    def fail(self) -> None:
        """The driver raises."""
        self._failures += 1
        raise RuntimeError("the valve is stuck")

    @effect("read")
    def hold(self, seconds: Seconds = 30.0) -> bool:
        """Block the driver until `stop()` or for so long; answer whether it was stopped."""
        self._released.clear()
        self.progress = 0.5
        try:
            return self._released.wait(seconds)
        finally:
            self.progress = None

    @effect("read")
    async def linger(self, seconds: Seconds = 30.0) -> None:
        """Take so long and leave the opportunity to be cancelled."""
        await asyncio.sleep(seconds)

    @effect("read")
    def measure(self, rows: Annotated[int, Interval(ge=1, le=1000)] = 5) -> Iterator[Row]:
        """Yield so many rows."""
        for number in range(rows):
            yield Row(number, number / 8)

    def stop(self) -> None:
        """End a `hold`."""
        self._released.set()

    def _note(self, phase: str, mark: str) -> None:
        if self._log is None:
            return
        # One write of one line: whole in the file, or not there at all, if the process dies.
        descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, json.dumps({"phase": phase, "mark": mark}).encode() + b"\n")
        finally:
            os.close(descriptor)
