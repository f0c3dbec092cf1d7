"""When something is due: `every day 02:00`, `every monday 06:00`, `every 30 minutes`, `once 2026-11-22 03:00`.

Pure: a rule and a moment in, the next moment out; who waits for it is in `timetable`. A time of day is meant in a time
zone that is named, and is the same on the clock on the wall all year. Where the clocks are put forward and the time
does not exist, it is due at the first moment after the gap; where they are put back and it comes twice, the first time
only. An interval is elapsed time, counted from 1970-01-01 00:00 UTC, so that every 30 minutes is at :00 and :30.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from labretto.errors import InvalidError
from labretto.lab import did_you_mean

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

WORDS = "`every day 02:00`, `every monday, thursday 06:00`, `every 30 minutes` or `once 2026-11-22 03:00`"

_LONGEST = timedelta(days=366)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}


@dataclass(frozen=True)
class Daily:
    """At times of day, on some days of the week."""

    days: frozenset[int]
    """0 is Monday."""
    times: tuple[time, ...]
    """In order."""
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime | None:
        """The first moment after `moment` (aware) at which it is due, UTC."""
        first = moment.astimezone(self.zone).date() - timedelta(days=1)
        dues = (due for day in _from(first) if day.weekday() in self.days for due in self._on(day))
        return next(due for due in dues if due > moment)

    def last_until(self, moment: datetime) -> datetime | None:
        """The last moment until `moment` at which it was due; None if there was none in the last weeks."""
        day = moment.astimezone(self.zone).date() + timedelta(days=1)
        days = [day - timedelta(days=back) for back in range(16) if (day - timedelta(days=back)).weekday() in self.days]
        return max((due for each in days for due in self._on(each) if due <= moment), default=None)

    def _on(self, day: date) -> list[datetime]:
        return sorted({_moment(day, each, self.zone) for each in self.times})


@dataclass(frozen=True)
class Interval:
    """Again and again after the same time."""

    length: timedelta

    def next_after(self, moment: datetime) -> datetime | None:
        """See `Daily.next_after`."""
        return _EPOCH + ((moment - _EPOCH) // self.length + 1) * self.length

    def last_until(self, moment: datetime) -> datetime | None:
        """See `Daily.last_until`."""
        return _EPOCH + (moment - _EPOCH) // self.length * self.length


@dataclass(frozen=True)
class Once:
    """At one moment."""

    due: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        """See `Daily.next_after`; None when it is over."""
        return self.due if self.due > moment else None

    def last_until(self, moment: datetime) -> datetime | None:
        """See `Daily.last_until`."""
        return self.due if self.due <= moment else None


Rule = Daily | Interval | Once


def parse(text: str, zone: str) -> Rule:
    """The rule that a text says, in the time zone of that name.

    Raises:
        InvalidError: it says none, or there is no such zone.
    """
    found = zone_of(zone)
    words = " ".join(text.lower().split())
    for pattern, make in _FORMS:
        if match := re.fullmatch(pattern, words):
            return make(match, found)
    raise _refused(text)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of a name such as `Europe/Berlin` or `UTC`.

    Raises:
        InvalidError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        way_out = did_you_mean(name, sorted(known)) if len(known) > 1 else ""
        raise InvalidError(
            f"There is no time zone {name[:80]!r}.",
            way_out=way_out if way_out.startswith("Did") else "Name one such as Europe/Berlin, America/Chicago or UTC.",
        ) from None


def _moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """When the clock on the wall shows `at` for the first time that day, UTC; after a gap if it never does."""
    local = datetime.combine(day, at, zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    return _end_of_gap(moment, zone)


def _end_of_gap(moment: datetime, zone: ZoneInfo) -> datetime:
    """The moment at which the clocks were put forward, found by halving; `moment` lies within a day after it."""
    low, high = moment - timedelta(days=1), moment
    after = high.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (low, middle) if middle.astimezone(zone).utcoffset() == after else (middle, high)
    return high.replace(microsecond=0)


def _from(day: date) -> Iterator[date]:
    while True:
        yield day
        day += timedelta(days=1)


def _daily(match: re.Match[str], zone: ZoneInfo) -> Rule:
    return Daily(_days(match["days"]), _times(match["times"]), zone)


def _days(text: str) -> frozenset[int]:
    if text in ("day", "weekday"):
        return frozenset(range(7 if text == "day" else 5))
    named = [name.strip() for name in text.replace(" and ", ",").split(",")]
    if unknown := [name for name in named if name not in DAYS]:
        raise InvalidError(f"{unknown[0][:40]!r} is no day of the week.", way_out=did_you_mean(unknown[0], DAYS))
    return frozenset(DAYS.index(name) for name in named)


def _times(text: str) -> tuple[time, ...]:
    return tuple(sorted({_time(each.strip()) for each in text.split(",")}))


def _time(text: str) -> time:
    hours, minutes = map(int, text.split(":"))
    if hours > 23 or minutes > 59:
        raise InvalidError(f"{text} is no time of day.", way_out="From 00:00 to 23:59.")
    return time(hours, minutes)


def _interval(match: re.Match[str], zone: ZoneInfo) -> Rule:
    length = int(match["number"] or 1) * _UNITS[match["unit"]]
    if not timedelta(minutes=1) <= length <= _LONGEST:
        raise InvalidError(f"{match[0]!r} is too often or too seldom.", way_out="From 1 minute to 366 days.")
    return Interval(length)


def _once(match: re.Match[str], zone: ZoneInfo) -> Rule:
    try:
        day = date.fromisoformat(match["day"])
    except ValueError:
        raise InvalidError(f"{match['day']} is no date.", way_out="Write for instance 2026-11-22.") from None
    return Once(_moment(day, _time(match["time"]), zone))


def _refused(text: str) -> InvalidError:
    return InvalidError(f"{text[:80]!r} says no time.", way_out=f"Write {WORDS}.")


_TIMES = r"(?P<times>\d{1,2}:\d\d( ?, ?\d{1,2}:\d\d)*)"
_FORMS: tuple[tuple[str, Callable[[re.Match[str], ZoneInfo], Rule]], ...] = (
    (r"every ((?P<number>\d{1,6}) )?(?P<unit>minute|hour)s?", _interval),
    (rf"every (?P<days>[a-z]+(( ?, ?| and )[a-z]+)*) (at )?{_TIMES}", _daily),
    (r"once (?P<day>\d{4}-\d\d-\d\d) (at )?(?P<time>\d{1,2}:\d\d)", _once),
)
