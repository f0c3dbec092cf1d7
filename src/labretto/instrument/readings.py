"""What a host saw last of each attribute, how old that is, and whether a new look says something that has to be told.

An attribute with a poll period is looked at by itself (`labretto.instrument.polling`), so its last reading answers
whoever asks, as long as it is younger than the period and nothing has acted since: an answer after an action is never
one from before it. What is told is what moved beyond the dead-band, and a sign of life every few periods.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from labretto.instrument.describe import Attribute
from labretto.instrument.reading import Reading

_PLAIN = (float, int, str)

HEARTBEAT = 10
"""Poll periods after which a reading is told although it says nothing new; longer silence means trouble."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look."""

    reading: Reading
    at: float
    """When it was over, on the monotonic clock."""
    acts: int
    """How many acts there had been when it began."""


class Readings:
    """The last reading of each attribute of one instrument.

    Args:
        attributes: as they are described now.
        tell: called with what has to be told, in whichever thread looked.
    """

    def __init__(
        self, attributes: Callable[[], Mapping[str, Attribute]], tell: Callable[[str, Reading], object]
    ) -> None:
        self._attributes = attributes
        self._tell = tell
        self._seen: dict[str, Seen] = {}
        self._told: dict[str, Seen] = {}
        self.acts = 0
        """How often something acted: read it before a look, and give it to `note`."""

    def acted(self) -> None:
        """Something has begun or ended that may change any attribute: what was seen before answers nobody."""
        self.acts += 1

    def last(self, name: str) -> Reading | None:
        """The last reading, however old."""
        seen = self._seen.get(name)
        return seen.reading if seen else None

    def forget(self) -> None:
        """Know nothing, as at the beginning."""
        self._seen.clear()

    def recent(self, name: str) -> Reading | None:
        """The last reading of a polled attribute where it answers as well as a new one; else None."""
        seen, every = self._seen.get(name), self._attributes()[name].poll
        if seen is None or every is None or seen.acts != self.acts or seen.reading.status != "ok":
            return None
        return seen.reading if time.monotonic() - seen.at < every else None

    def good_enough(self, name: str) -> Reading | None:
        """The last reading where it will do for who looks at all attributes at once; else None."""
        seen, described = self._seen.get(name), self._attributes()[name]
        if described.poll:
            return self.recent(name)
        return seen.reading if seen and described.keep and time.monotonic() - seen.at < described.keep else None

    def note(self, name: str, reading: Reading, acts: int) -> Reading:
        """Remember a look that began after so many acts; tell it if it says something."""
        seen = Seen(reading, time.monotonic(), acts)
        self._seen[name] = seen
        told = self._told.get(name)
        if told is None or worth_telling(self._attributes()[name], told, seen):
            self._told[name] = seen
            self._tell(name, reading)
        return reading

    def silent(self, name: str, why: str) -> None:
        """It cannot be looked at now: tell that the last reading is stale, as often as there are signs of life."""
        seen, told = self._seen.get(name), self._told.get(name)
        every = self._attributes()[name].poll
        if seen is None or every is None:
            return
        now = time.monotonic()
        if now - max(seen.at, told.at if told else 0.0) < HEARTBEAT * every:
            return
        stale = replace(seen.reading, status="stale" if seen.reading.status != "error" else "error", detail=why)
        self._told[name] = Seen(stale, now, seen.acts)
        self._tell(name, stale)


def worth_telling(attribute: Attribute, told: Seen, seen: Seen) -> bool:
    """Whether `seen` says something that `told` did not, or the time for a sign of life has come."""
    if attribute.poll is not None and seen.at - told.at >= HEARTBEAT * attribute.poll:
        return True
    before, after = told.reading, seen.reading
    if before.status != after.status:
        return True
    if attribute.dead_band is not None and _is_number(before.value) and _is_number(after.value):
        moved = abs(float(after.value) - float(before.value))
        return not moved <= attribute.dead_band and not _both_nan(before.value, after.value)
    return not _says_the_same(before.value, after.value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _both_nan(one: float, other: float) -> bool:
    return one != one and other != other


def _says_the_same(one: Any, other: Any) -> bool:
    """Arrays are told each time: comparing them would cost more than it spares."""
    plain = other is None or isinstance(other, _PLAIN)
    return plain and type(one) is type(other) and one == other
