"""The journal: what was decided and what came of it, as events that are only ever appended.

Each run is one stream of events numbered from 1. Who appends says the number expected last; if another wrote meanwhile
the append is refused, so a revived old worker cannot write into a run that was taken over. A table of runs, written in
the same transaction, answers "which runs wait" without reading events. What events mean is decided in `engine`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from labretto.errors import ConflictError, NotFoundError
from labretto.instrument import codec
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.engine import state_after
from labretto.sqlite import Database, Row

Entry = tuple[str, Mapping[str, Any]]
"""Kind and body of an event to be appended."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY, run TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, at TEXT NOT NULL,
    body BLOB NOT NULL, UNIQUE (run, number)
);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, who TEXT, state TEXT NOT NULL, reason TEXT, last INTEGER NOT NULL,
    position INTEGER NOT NULL, submitted TEXT NOT NULL, started TEXT, ended TEXT
);
CREATE INDEX IF NOT EXISTS runs_by_state ON runs (state, position);
CREATE INDEX IF NOT EXISTS runs_by_position ON runs (position);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters VALUES ('lease', 0), ('position', 0), ('owner', 0);
"""


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


@dataclass(frozen=True)
class RunRow:
    """What the table of runs says of one."""

    id: str
    name: str
    who: str | None
    state: str
    reason: str | None
    last: int
    """Number of its last event."""
    position: int
    """Place in the queue; smaller goes first."""
    submitted: str
    started: str | None
    ended: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON of it."""
        return {name: getattr(self, name) for name in RunRow.__dataclass_fields__}


class Journal(Protocol):
    """Where events are kept. Nothing is answered before it is on disk."""

    async def append(self, run: str, expected: int, entries: Sequence[Entry], *, flush: bool = False) -> list[Event]:
        """Append to `run`, whose last event must have the number `expected` (0: the run is new).

        Raises:
            ConflictError: another wrote meanwhile.
            StorageError: the disk does not take it; nothing was written.
        """

    def read(self, run: str, after: int = 0) -> list[Event]:
        """The events of `run` after number `after`, in order."""

    def since(self, sequence: int, limit: int) -> list[tuple[int, Event]]:
        """The next events of all runs, in the order in which they were written, each with its sequence number."""

    def row(self, run: str) -> RunRow:
        """What the table says of one run; `NotFoundError` if there is none."""

    def rows(self, states: Sequence[str] = (), *, limit: int | None = 100, after: int | None = None) -> list[RunRow]:
        """Runs in queue order; of the given states, at positions after `after`; None: all of them."""

    def newest(self, limit: int) -> list[RunRow]:
        """The runs submitted last, newest first."""

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
        self._database = Database(path, _SCHEMA)
        self._owner = 0

    async def append(self, run: str, expected: int, entries: Sequence[Entry], *, flush: bool = False) -> list[Event]:
        """See `Journal`."""
        at = isoformat(now())
        events = [Event(run, expected + 1 + i, kind, at, body) for i, (kind, body) in enumerate(entries)]
        packed = [codec.encode(event.body) for event in events]
        write = self._database.transact(lambda c: _append(c, self._owner, expected, events, packed), flush=flush)
        await asyncio.wrap_future(write)
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

    def row(self, run: str) -> RunRow:
        """See `Journal`."""
        rows = self._database.read("SELECT * FROM runs WHERE id = ?", (run,))
        if not rows:
            raise NotFoundError(f"There is no run {run[:80]!r}.", way_out="GET /api/runs lists them.")
        return _row(rows[0])

    def rows(self, states: Sequence[str] = (), *, limit: int | None = 100, after: int | None = None) -> list[RunRow]:
        """See `Journal`."""
        where = [f"state IN ({','.join('?' * len(states))})"] if states else []
        where += ["position > ?"] if after is not None else []
        parameters = [*states, *([after] if after is not None else []), -1 if limit is None else limit]
        clause = f"WHERE {' AND '.join(where)}" if where else ""
        # Only question marks are put into the text.
        sql = f"SELECT * FROM runs {clause} ORDER BY position LIMIT ?"
        return [_row(row) for row in self._database.read(sql, parameters)]

    def newest(self, limit: int) -> list[RunRow]:
        """See `Journal`."""
        return [_row(row) for row in self._database.read("SELECT * FROM runs ORDER BY position DESC LIMIT ?", (limit,))]

    async def own(self) -> None:
        """See `Journal`."""
        self._owner = await asyncio.wrap_future(self._database.transact(lambda c: _count(c, "owner"), flush=True))

    async def next_lease(self, *, above: int = 0) -> int:
        """See `Journal`."""
        # Not flushed: should a power cut take the number back, the hosts have it and a higher one is asked for.
        return await asyncio.wrap_future(self._database.transact(lambda c: _count(c, "lease", above)))

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
    if not found:
        first = events[0]
        values = (run, first.body["name"], first.body.get("who"), _count(connection, "position"), first.at)
        sql = "INSERT INTO runs (id, name, who, state, last, position, submitted) VALUES (?, ?, ?, 'queued', 0, ?, ?)"
        connection.execute(sql, values)
    _follow(connection, run, events)


def _check_owner(connection: sqlite3.Connection, owner: int) -> None:
    present = connection.execute("SELECT value FROM counters WHERE name = 'owner'").fetchone()["value"]
    if present != owner:
        raise ConflictError(
            "Another hub has taken this journal over.",
            way_out="Only one hub may own a lab's folder; this one must stop.",
        )


def _follow(connection: sqlite3.Connection, run: str, events: Sequence[Event]) -> None:
    """Bring the row of `run` up to its events."""
    changes: dict[str, Any] = {"last": events[-1].number}
    for event in events:
        if state := state_after(event.kind, event.body):
            changes |= {"state": state, "reason": event.body.get("reason")}
        if event.kind == "started":
            changes["started"] = event.at
        if event.kind == "finished":
            changes["ended"] = event.at
    names = ", ".join(f"{name} = ?" for name in changes)
    connection.execute(f"UPDATE runs SET {names} WHERE id = ?", (*changes.values(), run))


def _count(connection: sqlite3.Connection, name: str, above: int = 0) -> int:
    sql = "UPDATE counters SET value = MAX(value, ?) + 1 WHERE name = ? RETURNING value"
    return int(connection.execute(sql, (above, name)).fetchone()["value"])


def _row(row: Row) -> RunRow:
    return RunRow(**{name: row[name] for name in RunRow.__dataclass_fields__})
