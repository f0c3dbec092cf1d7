"""Schedules: what shall be submitted again and again, or once, at a time. A table in the journal's database.

A row says what is due next. The run that a due time brings, and the row's going on to the next, are written in one
transaction (`taken`), which writes nothing if the row has gone on already: so no due time can bring two runs, whoever
is killed when. What a rule means is in `schedule`, who waits for the time in `timetable`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from labretto.errors import ConflictError, NotFoundError
from labretto.instrument import codec
from labretto.instrument.invocation import new_id
from labretto.instrument.reading import isoformat
from labretto.orchestrator.schedule import Rule, parse
from labretto.sqlite import Database, Row

T = TypeVar("T")
Missed = Literal["late", "skip"]
"""What becomes of a time at which the hub did not run: the run is submitted later, once; or not at all."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS schedules (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, rule TEXT NOT NULL, zone TEXT NOT NULL, missed TEXT NOT NULL,
    submission BLOB NOT NULL, who TEXT, created TEXT NOT NULL, held INTEGER NOT NULL DEFAULT 0, due TEXT,
    last_due TEXT, last_run TEXT, last_word TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS schedules_by_due ON schedules (due);
"""


@dataclass(frozen=True)
class Schedule:
    """One of them."""

    id: str
    name: str
    rule: str
    """As it was said, such as `every day 02:00`."""
    zone: str
    """The time zone in which the rule is meant."""
    missed: Missed
    submission: Mapping[str, Any]
    """What is submitted, as POST /api/runs takes it; `finish_within` seconds after the due time is its deadline."""
    who: str | None
    created: str
    held: bool = False
    due: str | None = None
    """When it is due next, UTC; None: never again."""
    last_due: str | None = None
    last_run: str | None = None
    last_word: str | None = None
    """What became of the time that was due last, in one sentence."""

    @property
    def parsed(self) -> Rule:
        """Its rule."""
        return parse(self.rule, self.zone)

    def after(self, moment: datetime) -> str | None:
        """When it is due next after `moment`, as `due` says it."""
        due = self.parsed.next_after(moment)
        return None if due is None else isoformat(due)

    def as_dict(self) -> dict[str, Any]:
        """JSON of it."""
        return asdict(self) | {"submission": dict(self.submission)}


@dataclass(frozen=True)
class Taken:
    """What became of a due time."""

    word: str
    """In one sentence."""
    next: str | None
    """When the schedule is due next."""
    run: str | None = None


class Schedules:
    """The schedules of one lab.

    Args:
        database: the journal's, with the table of `SCHEMA`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, identity: str) -> Schedule:
        """One of them.

        Raises:
            NotFoundError: there is none of that id or name.
        """
        rows = self._database.read("SELECT * FROM schedules WHERE id = ? OR name = ? LIMIT 2", (identity, identity))
        if len(rows) != 1:
            what = "several schedules are" if rows else "no schedule is"
            raise NotFoundError(f"{what.capitalize()} called {identity[:80]!r}.", way_out="Name one by its id.")
        return _schedule(rows[0])

    def all(self) -> list[Schedule]:
        """All of them; what is due first stands first, what is over last."""
        return [
            _schedule(row) for row in self._database.read("SELECT * FROM schedules ORDER BY due IS NULL, due, name")
        ]

    def due(self, at: datetime) -> list[Schedule]:
        """Those that are due at a moment, and are not held."""
        sql = "SELECT * FROM schedules WHERE due <= ? AND NOT held ORDER BY due"
        return [_schedule(row) for row in self._database.read(sql, (isoformat(at),))]

    def next_moment(self) -> str | None:
        """When the next of them is due."""
        (row,) = self._database.read("SELECT MIN(due) AS due FROM schedules WHERE NOT held")
        return str(row["due"]) if row["due"] else None

    async def add(self, schedule: Schedule) -> Schedule:
        """Keep a new one; it is on the disk when this answers."""
        words = schedule.as_dict() | {"submission": codec.encode(schedule.submission)}
        names, marks = ", ".join(words), ", ".join("?" * len(words))
        sql = f"INSERT INTO schedules ({names}) VALUES ({marks})"
        await self._written(lambda connection: connection.execute(sql, list(words.values())))
        return schedule

    async def remove(self, identity: str) -> None:
        """Forget one; its runs stay."""
        await self._written(lambda connection: connection.execute("DELETE FROM schedules WHERE id = ?", (identity,)))

    async def hold(self, identity: str, held: bool, due: str | None) -> None:
        """Keep one from becoming due, or let it become due again, at `due`."""
        sql, values = "UPDATE schedules SET held = ?, due = ? WHERE id = ?", (held, due, identity)
        await self._written(lambda connection: connection.execute(sql, values))

    async def pass_over(self, schedule: Schedule, taken: Taken) -> None:
        """Go on to the next time without a run."""
        await self._written(lambda connection: take(connection, schedule, taken))

    async def _written(self, run: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._database.transact(run, flush=True))


def take(connection: sqlite3.Connection, schedule: Schedule, taken: Taken) -> None:
    """Go on from the time that was due to the next; in the transaction that submits the run.

    Raises:
        ConflictError: it has gone on already, is held, or is gone; nothing is written.
    """
    sql = "UPDATE schedules SET due = ?, last_due = ?, last_run = COALESCE(?, last_run), last_word = ?"
    values = (taken.next, schedule.due, taken.run, taken.word, schedule.id, schedule.due)
    if not connection.execute(f"{sql} WHERE id = ? AND due = ? AND NOT held", values).rowcount:
        raise ConflictError(f"The schedule {schedule.name!r} is not due any more at {schedule.due}.")


def new_schedule(
    *,
    rule: str,
    zone: str,
    missed: Missed,
    submission: Mapping[str, Any],
    who: str | None,
    name: str,
    now: datetime,
) -> Schedule:
    """A schedule that begins now.

    Raises:
        InvalidError: the rule or the zone cannot be understood.
        ConflictError: it would never be due.
    """
    due = parse(rule, zone).next_after(now)
    if due is None:
        raise ConflictError(f"{rule!r} is over; nothing was scheduled.", way_out="Name a time to come.")
    words = {"rule": " ".join(rule.split()), "zone": zone, "missed": missed, "submission": dict(submission)}
    return Schedule(id=new_id(), name=name, who=who, created=isoformat(now), due=isoformat(due), **words)  # type: ignore[arg-type]


def _schedule(row: Row) -> Schedule:
    words = {name: row[name] for name in Schedule.__dataclass_fields__}
    return Schedule(**words | {"submission": codec.decode(row["submission"]), "held": bool(row["held"])})
