"""What changes, as it changes: one ordered stream for pages and scripts.

A change has a sequence number from one counter that goes on rising after a restart, so that whoever was cut off asks
for what followed the last number it saw. Two rings hold the newest changes and the newest points of curves. A
subscriber is only a place in them: a slow one costs nothing, holds up nobody, and is told what it missed; it then asks
the record. Everything here happens in one event loop; from another thread use `loop.call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changed."""

    sequence: int
    topic: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points that follow each other on one curve."""

    sequence: int
    key: str
    start: int
    """How many points of this curve came before: 0 begins it anew."""
    columns: Mapping[str, array[float]]
    """name → values, all of one length; their bytes are native float64."""

    @property
    def length(self) -> int:
        """How many points."""
        return max((len(column) for column in self.columns.values()), default=0)


@dataclass(frozen=True, slots=True)
class Batch:
    """All that came since the batch before."""

    sequence: int
    """Of the newest in it; `subscribe(after=sequence)` goes on from here."""
    changes: list[Change] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    """One piece for points that join, however many times they were published."""
    missed: bool = False
    """Changes were lost: ask for the state again."""
    missed_curves: bool = False
    """Points were lost: ask the records for the columns so far."""


class _Numbered(Protocol):
    @property
    def sequence(self) -> int: ...


T = TypeVar("T", bound=_Numbered)


class _Ring(Generic[T]):
    """The newest entries up to a total weight, and where the lost ones ended."""

    def __init__(self, limit: int, lost: int) -> None:
        self.lost = lost
        self._limit = limit
        self._weight = 0
        self._entries: deque[tuple[T, int]] = deque()

    def append(self, entry: T, weight: int = 1) -> None:
        self._entries.append((entry, weight))
        self._weight += weight
        while self._weight > self._limit and len(self._entries) > 1:
            oldest, light = self._entries.popleft()
            self._weight -= light
            self.lost = oldest.sequence

    def after(self, sequence: int) -> list[T]:
        newest: list[T] = []
        for entry, _ in reversed(self._entries):
            if entry.sequence <= sequence:
                break
            newest.append(entry)
        return newest[::-1]


class Changes:
    """The change stream of one process.

    Args:
        keep: so many changes can be asked for again.
        keep_points: so many points of curves, over all columns.
        first: the sequence number to count from; default: the microsecond of now, which is above any number that a
            process before this one has given.
    """

    def __init__(self, *, keep: int = 10_000, keep_points: int = 2_000_000, first: int | None = None) -> None:
        self.sequence = time.time_ns() // 1000 if first is None else first
        self._changes: _Ring[Change] = _Ring(keep, self.sequence)
        self._curves: _Ring[Curve] = _Ring(keep_points, self.sequence)
        self._next = asyncio.Event()
        self._closed = False

    def publish(self, topic: str, body: Mapping[str, Any]) -> int:
        """Tell all subscribers; answers the change's sequence number."""
        self.sequence += 1
        self._changes.append(Change(self.sequence, topic, body))
        self._wake()
        return self.sequence

    def publish_curve(self, key: str, columns: Mapping[str, Any], *, start: int = 0) -> int:
        """Tell all subscribers of new points on the curve `key`; answers the sequence number.

        Args:
            key: which curve; `<run>/<path of the step>`.
            columns: name → one number or a 1-D array; columns that are no numbers are left out.
            start: the index of the first of these points, as `StreamWriter.append` answers it.
        """
        self.sequence += 1
        curve = Curve(self.sequence, key, start, {n: c for n, v in columns.items() if (c := _floats(v)) is not None})
        self._curves.append(curve, 1 + curve.length * len(curve.columns))
        self._wake()
        return self.sequence

    def subscribe(self, after: int | None = None) -> Subscription:
        """Batches of what follows the sequence number `after` (None: from now on), for `async for`."""
        return Subscription(self, self.sequence if after is None else after)

    @property
    def closed(self) -> bool:
        """Nothing more will come."""
        return self._closed

    def close(self) -> None:
        """End every subscription once it has read what is left."""
        self._closed = True
        self._wake()

    def batch(self, after: int) -> Batch | None:
        """All that follows `after`, without waiting; None if nothing does."""
        if after == self.sequence:
            return None
        known = after < self.sequence
        if not known:  # a number this process never gave: a clock was set back between two processes
            return Batch(self.sequence, missed=True, missed_curves=True)
        return Batch(
            self.sequence,
            self._changes.after(after),
            list(_joined(self._curves.after(after))),
            missed=after < self._changes.lost,
            missed_curves=after < self._curves.lost,
        )

    async def wait(self, after: int) -> Batch | None:
        """The next batch after `after`; None when the stream is closed and nothing is left."""
        while (batch := self.batch(after)) is None and not self._closed:
            await self._next.wait()
        return batch

    def _wake(self) -> None:
        # everyone who waits holds this event; those who come later wait for the next one
        self._next.set()
        if not self._closed:
            self._next = asyncio.Event()


class Subscription:
    """One subscriber's place in the stream. Nothing needs closing."""

    def __init__(self, changes: Changes, after: int) -> None:
        self._changes = changes
        self.sequence = after
        """Of the newest that was read."""

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Batch:
        if (batch := await self._changes.wait(self.sequence)) is None:
            raise StopAsyncIteration
        self.sequence = batch.sequence
        return batch


def _floats(values: Any) -> array[float] | None:
    column = array("d")
    try:
        if getattr(values, "shape", ()) != ():
            column.frombytes(values.astype("float64").tobytes())
        elif isinstance(values, list | tuple | array):
            column.extend(values)
        else:
            column.append(float(values))
    except (TypeError, ValueError):
        return None
    return column


def _joined(curves: list[Curve]) -> Iterator[Curve]:
    """Pieces of one curve that follow each other as one piece, in the order in which each began."""
    open_: dict[str, list[Curve]] = {}
    done: list[list[Curve]] = []
    ends: dict[str, int] = {}
    for curve in curves:
        pieces = open_.get(curve.key)
        if pieces is None or ends[curve.key] != curve.start or pieces[0].columns.keys() != curve.columns.keys():
            done.append(pieces := [])
            open_[curve.key] = pieces
        pieces.append(curve)
        ends[curve.key] = curve.start + curve.length
    yield from (_one(pieces) for pieces in done)


def _one(pieces: list[Curve]) -> Curve:
    if len(pieces) == 1:
        return pieces[0]
    columns = {name: array("d") for name in pieces[0].columns}
    for piece in pieces:
        for name, column in columns.items():
            column.extend(piece.columns[name])
    return Curve(pieces[-1].sequence, pieces[0].key, pieces[0].start, columns)
