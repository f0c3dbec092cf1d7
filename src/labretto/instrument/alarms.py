"""Alarms: an attribute beyond a limit that the lab has set, raised and cleared by readings, acknowledged by a person.

An alarm tells and does nothing: what must not happen is refused by limits (`labretto.instrument.limits`). It is on the
list until it is over *and* somebody has said that they saw it, also across a restart of the host. An attribute that
cannot be read raises one too, for a broken sensor must not be silence.
"""

from __future__ import annotations

import logging
import math
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, get_args

from labretto.errors import ConflictError, LabError, NotFoundError
from labretto.instrument.describe import Attribute
from labretto.instrument.invocation import new_id
from labretto.instrument.ledger import Ledger
from labretto.instrument.reading import Reading, isoformat, now
from labretto.lab import Severity

logger = logging.getLogger(__name__)

SEVERITIES: tuple[Severity, ...] = get_args(Severity)

UNSEEN = "cannot be read"
"""The condition of an attribute with alarms that has no value."""

_MOST = 500
"""Alarms on one list; the oldest that are over leave first."""


@dataclass(frozen=True)
class Alarm:
    """One alarm, from its raising until it is over and was seen."""

    id: str
    instrument: str
    attribute: str
    condition: str
    """In words, such as "above 800 degC"."""
    severity: Severity
    raised: datetime
    reading: Mapping[str, Any]
    """That raised it, as on every wire."""
    times: int = 1
    """How often it was raised since somebody last saw it."""
    cleared: datetime | None = None
    acknowledged: datetime | None = None
    by: str | None = None
    """Who saw it."""
    note: str = ""

    @property
    def active(self) -> bool:
        """The attribute is beyond its limit."""
        return self.cleared is None

    def as_dict(self) -> dict[str, Any]:
        """The JSON form of every wire and of the ledger."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        times = {name: isoformat(at) if (at := plain[name]) else None for name in ("raised", "cleared", "acknowledged")}
        return plain | times | {"reading": dict(self.reading), "active": self.active}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Alarm:
        """The alarm that `as_dict` wrote."""
        words = {name: body[name] for name in cls.__dataclass_fields__ if name in body}
        for name in ("raised", "cleared", "acknowledged"):
            words[name] = datetime.fromisoformat(words[name]) if words.get(name) else None
        return cls(**words)


@dataclass(frozen=True)
class Watched:
    """One condition of one attribute."""

    condition: str
    severity: Severity
    beyond: Callable[[Any], bool]
    within: Callable[[Any], bool]
    """Whether it is over; not the opposite of `beyond` where there is a hysteresis."""


class Alarms:
    """The alarms of one instrument. Everything here is called in the front loop.

    Args:
        ledger: where the list outlives the host.
        tell: called with each alarm that was raised, cleared or acknowledged.
    """

    def __init__(self, ledger: Ledger, tell: Callable[[Alarm], None]) -> None:
        self._ledger = ledger
        self._tell = tell
        self._watched: dict[str, list[Watched]] = {}
        self._listed: dict[tuple[str, str], Alarm] = {}
        self._instrument = ""

    def watch(self, instrument: str, attributes: Mapping[str, Attribute]) -> None:
        """Begin, with what was on the list; an alarm whose limit is no more is over."""
        self._instrument = instrument
        self._watched = {name: list(_conditions(each)) for name, each in attributes.items() if each.alarms}
        known = {(name, each.condition) for name, watched in self._watched.items() for each in watched}
        for alarm in map(Alarm.from_dict, self._ledger.alarms):
            key = (alarm.attribute, alarm.condition)
            kept = alarm if key in known or not alarm.active else replace(alarm, cleared=now())
            if kept.active or not kept.acknowledged:
                self._listed[key] = kept

    def watches(self, attribute: str) -> bool:
        """It has alarms."""
        return attribute in self._watched

    def listed(self) -> list[Alarm]:
        """All that are not over, or that nobody has seen; the gravest first, then the newest."""
        newest = sorted(self._listed.values(), key=lambda alarm: alarm.raised, reverse=True)
        return sorted(newest, key=lambda alarm: (not alarm.active, -SEVERITIES.index(alarm.severity)))

    def see(self, attribute: str, reading: Reading) -> None:
        """Raise and clear what `reading` says; a stale one says nothing."""
        if reading.status == "stale":
            return
        unseen = reading.status == "error" or reading.value is None or _is_nan(reading.value)
        for each in self._watched[attribute]:
            if each.condition == UNSEEN:
                self._be(attribute, each, reading, beyond=unseen, within=not unseen)
            elif not unseen:
                self._be(attribute, each, reading, beyond=each.beyond(reading.value), within=each.within(reading.value))

    def acknowledge(self, identity: str, by: str, note: str = "") -> Alarm:
        """Somebody has seen it.

        Raises:
            NotFoundError: it is not on the list.
            ConflictError: somebody else has said so before.
            StorageError: the ledger does not take it.
        """
        alarm = next((each for each in self._listed.values() if each.id == identity), None)
        if alarm is None:
            raise NotFoundError(f"{self._instrument} has no alarm {identity[:80]!r}.", way_out="Ask for the list anew.")
        if alarm.acknowledged:
            raise ConflictError(f"{alarm.by} has acknowledged it at {isoformat(alarm.acknowledged)}.", by=alarm.by)
        seen = replace(alarm, acknowledged=now(), by=" ".join(by.split())[:200] or "somebody", note=note[:2_000])
        self._ledger.keep_alarms([each.as_dict() for each in self._with(seen)])
        self._put(seen)
        self._tell(seen)
        return seen

    def _be(self, attribute: str, watched: Watched, reading: Reading, *, beyond: bool, within: bool) -> None:
        listed = self._listed.get((attribute, watched.condition))
        if beyond and (listed is None or not listed.active):
            times = listed.times + 1 if listed else 1
            self._change(self._raised(attribute, watched, reading, listed.id if listed else new_id(), times))
        elif within and listed is not None and listed.active:
            self._change(replace(listed, cleared=reading.time))

    def _raised(self, attribute: str, watched: Watched, reading: Reading, identity: str, times: int) -> Alarm:
        body = reading.as_dict()
        if not isinstance(reading.value, int | float | str | None):
            body["value"] = reprlib.repr(reading.value)
        words = (identity, self._instrument, attribute, watched.condition, watched.severity)
        return Alarm(*words, raised=reading.time, reading=body, times=times)

    def _change(self, alarm: Alarm) -> None:
        self._put(alarm)
        try:
            self._ledger.keep_alarms([each.as_dict() for each in self._listed.values()])
        except LabError as error:  # that it is told matters more than that it is kept
            logger.warning("the ledger cannot keep an alarm", extra={"why": error.detail})
        self._tell(alarm)

    def _with(self, alarm: Alarm) -> Iterator[Alarm]:
        """The list with `alarm` in its place, or without it if it is over and was seen."""
        for each in self._listed.values():
            if each.id != alarm.id:
                yield each
            elif alarm.active or not alarm.acknowledged:
                yield alarm

    def _put(self, alarm: Alarm) -> None:
        self._listed[(alarm.attribute, alarm.condition)] = alarm
        self._listed = {(each.attribute, each.condition): each for each in self._with(alarm)}
        if len(self._listed) > _MOST:
            over = next((key for key, each in self._listed.items() if not each.active), None)
            self._listed.pop(over or next(iter(self._listed)))


def _conditions(attribute: Attribute) -> Iterator[Watched]:
    unit = f" {attribute.unit}" if attribute.unit else ""
    gravest = max((each["severity"] for each in attribute.alarms), key=SEVERITIES.index)
    for limit in attribute.alarms:
        yield from _of_limit(limit, unit)
    yield Watched(UNSEEN, gravest, lambda value: False, lambda value: True)


def _of_limit(limit: Mapping[str, Any], unit: str) -> Iterator[Watched]:
    severity, slack = limit["severity"], limit.get("hysteresis", 0.0)
    if (above := limit.get("above")) is not None:
        yield Watched(f"above {above:g}{unit}", severity, _any(lambda v: v > above), _all(lambda v: v <= above - slack))
    if (below := limit.get("below")) is not None:
        yield Watched(f"below {below:g}{unit}", severity, _any(lambda v: v < below), _all(lambda v: v >= below + slack))
    if "equals" in limit:
        wrong = limit["equals"]
        yield Watched(f"is {wrong!r}", severity, lambda v: bool(v == wrong), lambda v: bool(v != wrong))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _any(test: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda value: any(test(each) for each in _numbers(value))


def _all(test: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda value: all(test(each) for each in _numbers(value))


def _numbers(value: Any) -> Sequence[float]:
    """The number, or all in an array; none in what has none."""
    if hasattr(value, "dtype"):
        value = value.reshape(-1).tolist() if getattr(value, "shape", ()) else value.item()
    if isinstance(value, list | tuple):
        return [number for each in value for number in _numbers(each)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []
