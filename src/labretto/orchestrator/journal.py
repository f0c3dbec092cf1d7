"""The journal: what was decided and what came of it, as events that are only ever appended.

Each run is one stream of events numbered from 1. Who appends says the number expected last; if another wrote meanwhile
the append is refused, so a revived old worker cannot write into a run that was taken over. A table of runs, written in
the same transaction, answers "which runs wait" without reading events. What events mean is decided in `engine`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from labretto.errors import ConflictError, NotFoundError
from labretto.instrument import codec
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator import schedules, table, tasks
from labretto.orchestrator.place import count
from labretto.orchestrator.table import RunRow as RunRow, row_of
from labretto.sqlite import Database

Entry = tuple[str, Mapping[str, Any]]
"""Kind and body of an event to be appended."""
Also = Callable[[sqlite3.Connection], None]
"""Further statements of the same transaction."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY, run TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, at TEXT NOT NULL,
    body BLOB NOT NULL, UNIQUE (run, number)
);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters VALUES ('lease', 0), ('position', 0), ('owner', 0);
"""  # with the table of runs: `table.SCHEMA`, and those of tasks and schedules


@dataclass(frozen=True)
class Event:
    """One thing that was decided or happened in a run."""

    run: str
    number: int
    """Counts from 1 in its run."""
    kind: str
    at: str
    """ISO 8601, UTC, microseconds."""
    body: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The flat form of records and of the API."""
        return {"run": self.run, "number": self.number, "kind": self.kind, "at": self.at, **self.body}


class Journal(Protocol):
    """Where events are kept. Nothing is answered before it is on disk."""

    @property
    def tasks(self) -> tasks.Tasks:
        """What people have to do; what runs ask is among it, written together with the events that ask."""

    @property
    def schedules(self) -> schedules.Schedules:
        """What is submitted at its time; a time and the run that it brings are written together."""

    async def append(
        self, run: str, expected: int, entries: Sequence[Entry], *, flush: bool = False, also: Also | None = None
    ) -> list[Event]:
        """Append to `run`, whose last event must have the number `expected` (0: the run is new).

        Args:
            run, expected, entries: what.
            flush: survives a power cut too.
            also: writes what belongs to it in the same transaction; what it raises undoes both.

        Raises:
            ConflictError: another wrote meanwhile.
            StorageError: the disk does not take it; nothing was written.
        """

    def read(self, run: str, after: int = 0) -> list[Event]:
        """The events of `run` after number `after`, in order."""

    def since(self, sequence: int, limit: int) -> list[tuple[int, Event]]:
        """The next events of all runs, in the order in which they were written, each with its sequence number."""

    def newest_sequence(self) -> int:
        """Of the event written last; 0 if there is none."""

    def counts(self) -> dict[str, int]:
        """Word → how many runs are in it now."""

    def row(self, run: str) -> RunRow:
        """What the table says of one run; `NotFoundError` if there is none."""

    def rows(self, states: Sequence[str] = (), *, limit: int | None = 100) -> list[RunRow]:
        """Runs in the order of the queue; of the given states; limit None: all of them."""

    def newest(
        self, limit: int, *, before: str | None = None, states: Sequence[str] = (), label: str | None = None
    ) -> list[RunRow]:
        """The runs submitted last, newest first; only those submitted before the run `before`, in one of `states`,
        with that label."""

    async def own(self) -> None:
        """Be the only writer from now on; whoever was it before is refused from here on, also within a run."""

    async def next_lease(self, *, above: int = 0) -> int:
        """A fencing number higher than all before, for the whole lab, and higher than one that a host has seen."""

    def note(self, name: str, value: Any) -> Future[int]:
        """Keep a value of the lab (not of a run) under a name; the future resolves when it is on the disk."""

    def noted(self, name: str) -> Any:
        """The value kept under a name; None if there is none."""

    def close(self) -> None:
        """Commit what waits and close."""


class SqliteJournal:
    """The journal of a lab on one machine: one SQLite file, one writer thread, group commit."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA + table.SCHEMA + tasks.SCHEMA + schedules.SCHEMA, added=table.ADDED)
        self.tasks = tasks.Tasks(self._database)
        self.schedules = schedules.Schedules(self._database)
        self._owner = 0

    async def append(
        self, run: str, expected: int, entries: Sequence[Entry], *, flush: bool = False, also: Also | None = None
    ) -> list[Event]:
        """See `Journal`."""
        at = isoformat(now())
        events = [Event(run, expected + 1 + i, kind, at, body) for i, (kind, body) in enumerate(entries)]
        packed = [codec.encode(event.body) for event in events]
        owner = self._owner

        def write(connection: sqlite3.Connection) -> None:
            _append(connection, owner, expected, events, packed)
            if also is not None:
                also(connection)

        await asyncio.wrap_future(self._database.transact(write, flush=flush))
        return events

    def read(self, run: str, after: int = 0) -> list[Event]:
        """See `Journal`."""
        sql = "SELECT number, kind, at, body FROM events WHERE run = ? AND number > ? ORDER BY number"
        rows = self._database.read(sql, (run, after))
        return [Event(run, row["number"], row["kind"], row["at"], codec.decode(row["body"])) for row in rows]

    def since(self, sequence: int, limit: int) -> list[tuple[int, Event]]:
        """See `Journal`."""
        sql = "SELECT * FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?"
        rows = self._database.read(sql, (sequence, limit))
        return [
            (r["sequence"], Event(r["run"], r["number"], r["kind"], r["at"], codec.decode(r["body"]))) for r in rows
        ]

    def newest_sequence(self) -> int:
        """See `Journal`."""
        return int(self._database.read("SELECT MAX(sequence) AS newest FROM events")[0]["newest"] or 0)

    def counts(self) -> dict[str, int]:
        """See `Journal`."""
        rows = self._database.read("SELECT state, COUNT(*) AS runs FROM runs GROUP BY state")
        return {row["state"]: row["runs"] for row in rows}

    def row(self, run: str) -> RunRow:
        """See `Journal`."""
        rows = self._database.read("SELECT * FROM runs WHERE id = ?", (run,))
        if not rows:
            raise NotFoundError(f"There is no run {run[:80]!r}.", way_out="GET /api/runs lists them.")
        return row_of(rows[0])

    def rows(self, states: Sequence[str] = (), *, limit: int | None = 100) -> list[RunRow]:
        """See `Journal`."""
        return table.in_queue_order(self._database, states, -1 if limit is None else limit)

    def newest(
        self, limit: int, *, before: str | None = None, states: Sequence[str] = (), label: str | None = None
    ) -> list[RunRow]:
        """See `Journal`."""
        return table.newest(self._database, limit, before=before, states=states, label=label)

    def on_commit(self, told: Callable[[float, bool], None]) -> None:
        """Let `told` hear, in the writer's thread, how many seconds each commit took and whether it was flushed."""
        self._database.on_commit = told

    async def own(self) -> None:
        """See `Journal`."""
        self._owner = await asyncio.wrap_future(self._database.transact(lambda c: count(c, "owner"), flush=True))

    async def next_lease(self, *, above: int = 0) -> int:
        """See `Journal`."""
        # Not flushed: should a power cut take the number back, the hosts have it and a higher one is asked for.
        return await asyncio.wrap_future(self._database.transact(lambda c: count(c, "lease", above)))

    def note(self, name: str, value: Any) -> Future[int]:
        """See `Journal`."""
        return self._database.write(
            "INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, codec.encode(value)), flush=True
        )

    def noted(self, name: str) -> Any:
        """See `Journal`."""
        rows = self._database.read("SELECT value FROM notes WHERE name = ?", (name,))
        return codec.decode(rows[0]["value"]) if rows else None

    def close(self) -> None:
        """See `Journal`."""
        self._database.close()


def _append(
    connection: sqlite3.Connection, owner: int, expected: int, events: Sequence[Event], packed: Sequence[bytes]
) -> None:
    if owner:
        _check_owner(connection, owner)
    run = events[0].run
    found = connection.execute("SELECT last FROM runs WHERE id = ?", (run,)).fetchone()
    last = found["last"] if found else 0
    if last != expected:
        raise ConflictError(
            f"Run {run} has {last} events, not {expected}: another process wrote into it.",
            way_out="Only one hub may own a lab's folder; this one must stop.",
        )
    rows = [(event.run, event.number, event.kind, event.at, body) for event, body in zip(events, packed, strict=True)]
    connection.executemany("INSERT INTO events (run, number, kind, at, body) VALUES (?, ?, ?, ?, ?)", rows)
    if found:
        table.follow(connection, run, events)
    else:
        table.add(connection, run, *events)


def _check_owner(connection: sqlite3.Connection, owner: int) -> None:
    present = connection.execute("SELECT value FROM counters WHERE name = 'owner'").fetchone()["value"]
    if present != owner:
        raise ConflictError(
            "Another hub has taken this journal over.",
            way_out="Only one hub may own a lab's folder; this one must stop.",
        )
