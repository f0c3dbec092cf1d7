"""When runs that wait or go on are expected to begin and to end. Pure.

The queue is gone through in its order as the dispatcher will do it: each run begins when the instruments that it names
are free, when its time has come, and when a place is free. The spread of an end is that of the run itself; how much the
runs before it may shift it is not added up.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from labretto.experiment.estimate import Spread
from labretto.instrument.reading import isoformat
from labretto.orchestrator.order import Waiting, in_order


@dataclass(frozen=True)
class Expected:
    """When a run is expected to begin and to end."""

    run: str
    begin: datetime | None
    """None: it is held back, or nobody knows how long those before it take. Of a run that has begun: when it did."""
    end: Spread | None
    """Seconds after the moment at which this was asked; None: nobody knows."""
    asked: datetime
    finish_by: str | None = None

    def ends(self, seconds: float) -> str:
        """The moment so many seconds after it was asked."""
        return isoformat(self.asked + timedelta(seconds=seconds))

    @property
    def late(self) -> bool | None:
        """Whether it will rather not be finished in time; None: nobody knows, or it need not be."""
        if self.finish_by is None or self.end is None:
            return None
        return self.ends(self.end.p50) > self.finish_by

    def as_dict(self) -> dict[str, Any]:
        """JSON of it."""
        told = {word: self.ends(seconds) for word, seconds in self.end.as_dict().items()} if self.end else None
        begin = None if self.begin is None else isoformat(self.begin)
        return {"run": self.run, "begin": begin, "end": told, "finish_by": self.finish_by, "late": self.late}


@dataclass(frozen=True)
class GoingOn:
    """A run that has begun."""

    run: str
    began: datetime | None
    left: Spread | None
    """Seconds until its end."""
    instruments: tuple[str, ...]
    """That it has or will need."""
    finish_by: str | None = None


@dataclass(frozen=True)
class ToCome:
    """A run that waits."""

    row: Waiting
    seconds: Spread | None
    finish_by: str | None = None


def expect(
    going_on: Sequence[GoingOn], to_come: Sequence[ToCome], *, now: datetime, limit: int | None
) -> Iterator[Expected]:
    """When each run is expected to begin and to end.

    Args:
        going_on: runs that have begun.
        to_come: runs that wait, in any order.
        now: aware.
        limit: how many runs may act at once; None: any number.
    """
    line = _Line(now, limit)
    for run in going_on:
        line.occupy(run.instruments, None if run.left is None else run.left.p50)
        yield Expected(run.run, run.began, run.left, now, run.finish_by)
    by_id = {each.row.id: each for each in to_come}
    for row in in_order([each.row for each in to_come]):
        each = by_id[row.id]
        begin = None if row.held else line.free(row)
        end = None if begin is None or each.seconds is None else _later(each.seconds, begin)
        if not row.held:
            line.occupy(row.instruments, None if end is None else end.p50)
        at = None if begin is None else now + timedelta(seconds=begin)
        yield Expected(row.id, at, end, now, each.finish_by)


class _Line:
    """When instruments and places become free, in seconds from now; infinite: nobody knows."""

    def __init__(self, now: datetime, limit: int | None) -> None:
        self._now = now
        self._limit = limit
        self._free: dict[str, float] = {}
        self._places: list[float] = []

    def occupy(self, instruments: Sequence[str], until: float | None) -> None:
        end = float("inf") if until is None else until
        self._free |= {name: max(end, self._free.get(name, 0.0)) for name in instruments}
        heapq.heappush(self._places, end)

    def free(self, row: Waiting) -> float | None:
        begin = max((self._free.get(name, 0.0) for name in row.instruments), default=0.0)
        if row.not_before:
            begin = max(begin, (datetime.fromisoformat(row.not_before) - self._now).total_seconds())
        if self._limit is not None and len(self._places) >= self._limit:
            begin = max(begin, heapq.nsmallest(len(self._places) - self._limit + 1, self._places)[-1])
        return None if begin == float("inf") else begin


def _later(seconds: Spread, begin: float) -> Spread:
    return Spread(begin + seconds.p10, begin + seconds.p50, begin + seconds.p90)
