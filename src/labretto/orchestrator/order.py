"""In which order waiting runs begin, which of them may begin now, and in one sentence why another does not. Pure.

The order is priority, then place. A run that waits for an instrument keeps all of its instruments for itself, so that
later and smaller runs cannot starve it; a run that is held or not due keeps nothing. A run that names no instruments
asks for them as it goes, and stands in nobody's way here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from labretto.instrument.reading import isoformat, spoken


class Waiting(Protocol):
    """What is needed of a run that waits; `journal.RunRow` has it."""

    @property
    def id(self) -> str:
        """Of the run."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def reason(self) -> str | None:
        """Who held it, in one sentence."""

    @property
    def priority(self) -> int:
        """Higher goes first."""

    @property
    def position(self) -> float:
        """Among equals: smaller goes first."""

    @property
    def held(self) -> bool:
        """A person keeps it back."""

    @property
    def not_before(self) -> str | None:
        """ISO 8601, UTC, microseconds."""

    @property
    def instruments(self) -> tuple[str, ...]:
        """All that it needs; empty: it asks as it goes."""


@dataclass(frozen=True)
class Standing:
    """How one waiting run stands."""

    run: str
    why: str | None
    """What it waits for, in one sentence; None: it may begin now."""


def in_order(queued: Sequence[Waiting]) -> list[Waiting]:
    """The runs in the order in which they are looked at."""
    return sorted(queued, key=lambda row: (-row.priority, row.position))


def next_runs(
    queued: Sequence[Waiting], busy: frozenset[str], *, now: datetime, running: int, limit: int | None
) -> list[str]:
    """The runs that may begin now, in their order.

    Args:
        queued: all that have not begun, in any order.
        busy: instruments that runs which have begun use, or will.
        now: aware.
        running: how many runs have begun and act.
        limit: how many may; None: any number.
    """
    users = dict.fromkeys(busy, "another run")
    return [each.run for each in standings(queued, users, now=now, running=running, limit=limit) if each.why is None]


def standings(
    queued: Sequence[Waiting], users: Mapping[str, str], *, now: datetime, running: int, limit: int | None
) -> Iterator[Standing]:
    """How each waiting run stands, in their order.

    Args:
        queued, now, running, limit: as in `next_runs`.
        users: instrument → who uses it, in words.
    """
    time = isoformat(now)
    taken = {instrument: f"{user} has" for instrument, user in users.items()}
    for row in in_order(queued):
        why = _kept_back(row, time) or _in_use(row, taken) or _too_many(running, limit)
        yield Standing(row.id, why)
        if why is None:
            running += 1
            taken |= dict.fromkeys(row.instruments, f"{_named(row)} has")
        elif not _kept_back(row, time):
            taken = dict.fromkeys(row.instruments, f"{_named(row)} waits for before it") | taken


def next_due(queued: Sequence[Waiting], now: datetime) -> datetime | None:
    """When the first of those that wait for their time may begin; None if none waits for that."""
    time = isoformat(now)
    times = [row.not_before for row in queued if not row.held and row.not_before and row.not_before > time]
    return datetime.fromisoformat(min(times)) if times else None


def short(run: str) -> str:
    """A run's id for a sentence: its end, since the ids of runs that were submitted within a minute begin alike."""
    return f"…{run[-8:]}"


def _kept_back(row: Waiting, time: str) -> str | None:
    if row.held:
        return row.reason or "A person holds it back."
    if row.not_before and row.not_before > time:
        return f"It is not to begin before {spoken(row.not_before)}."
    return None


def _in_use(row: Waiting, taken: Mapping[str, str]) -> str | None:
    return next((f"Waits for {name}, which {taken[name]}." for name in row.instruments if name in taken), None)


def _too_many(running: int, limit: int | None) -> str | None:
    if limit is None or running < limit:
        return None
    return "Waits for its turn: as many runs act as may at once."


def _named(row: Waiting) -> str:
    return f'run {short(row.id)} "{row.name}"'
