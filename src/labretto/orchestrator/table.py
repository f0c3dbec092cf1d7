"""The table of runs: one row for each, brought up to its events in the transaction that appends them.

It answers "which runs wait, in which order" without reading events. What waits can be told from it alone: priority,
place, held, not before. A run that is to be done again and again is put back here, in the transaction that ends its
turn, so that no crash can lose the next turn or double it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from labretto.instrument import codec
from labretto.instrument.invocation import new_id
from labretto.orchestrator import tasks
from labretto.orchestrator.engine import state_after
from labretto.orchestrator.place import count, place
from labretto.sqlite import Database, Row

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, who TEXT, state TEXT NOT NULL, reason TEXT, last INTEGER NOT NULL,
    position INTEGER NOT NULL, submitted TEXT NOT NULL, started TEXT, ended TEXT,
    priority INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0, not_before TEXT,
    labels TEXT NOT NULL DEFAULT '[]', instruments TEXT NOT NULL DEFAULT '[]',
    again INTEGER DEFAULT 0, turn INTEGER NOT NULL DEFAULT 1, followed_by TEXT
);
CREATE INDEX IF NOT EXISTS runs_in_order ON runs (state, priority DESC, position);
CREATE INDEX IF NOT EXISTS runs_of_state ON runs (state);
DROP INDEX IF EXISTS runs_by_state;
DROP INDEX IF EXISTS runs_by_position;
CREATE TABLE IF NOT EXISTS labels (label TEXT, run INTEGER, PRIMARY KEY (label, run)) WITHOUT ROWID;
"""
# SQLite keeps a place between two whole ones as it is, although the column is called INTEGER.

ADDED = {
    "runs": {
        "priority": "INTEGER NOT NULL DEFAULT 0",
        "held": "INTEGER NOT NULL DEFAULT 0",
        "not_before": "TEXT",
        "labels": "TEXT NOT NULL DEFAULT '[]'",
        "instruments": "TEXT NOT NULL DEFAULT '[]'",
        "again": "INTEGER DEFAULT 0",
        "turn": "INTEGER NOT NULL DEFAULT 1",
        "followed_by": "TEXT",
    }
}
"""Columns that journals of the first version lack. A run that was queued then asks for its instruments as it goes."""

_LISTS = ("labels", "instruments")
_WAITING_WORDS = ("name", "priority", "not_before", "again")
"""What a row takes as it is from the events *submitted* and *edited*."""


_AFTER_WHICH_IT_MAY_ASK = frozenset({"waiting", "settled", "started", "resumed"})


class Event(Protocol):
    """What is needed of `journal.Event`."""

    @property
    def number(self) -> int:
        """In its run, from 1."""

    @property
    def kind(self) -> str:
        """What it is."""

    @property
    def at(self) -> str:
        """ISO 8601, UTC, microseconds."""

    @property
    def body(self) -> Mapping[str, Any]:
        """The rest."""


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
    position: float
    """Place in the queue; among equal priorities smaller goes first."""
    submitted: str
    started: str | None
    ended: str | None
    priority: int = 0
    """Higher goes first."""
    held: bool = False
    """A person keeps it back; `reason` says who."""
    not_before: str | None = None
    """ISO 8601, UTC, microseconds."""
    labels: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    """All that it needs, if that is known before it begins."""
    again: int | None = 0
    """Turns still to come after this one; None: until a person says otherwise."""
    turn: int = 1
    followed_by: str | None = None
    """The run that is its next turn."""

    def as_dict(self) -> dict[str, Any]:
        """JSON of it."""
        return {name: getattr(self, name) for name in RunRow.__dataclass_fields__} | {
            name: list(getattr(self, name)) for name in _LISTS
        }


def row_of(row: Row) -> RunRow:
    """A row as SQLite answers it."""
    words = {name: row[name] for name in RunRow.__dataclass_fields__}
    return RunRow(**words | {name: tuple(json.loads(row[name])) for name in _LISTS} | {"held": bool(row["held"])})


def in_queue_order(database: Database, states: Sequence[str], limit: int) -> list[RunRow]:
    """The rows of the given states, by priority and place; limit -1: all of them."""
    where = f"WHERE state IN ({_marks(states)})" if states else ""
    sql = f"SELECT * FROM runs {where} ORDER BY priority DESC, position, rowid LIMIT ?"
    return [row_of(row) for row in database.read(sql, [*states, limit])]


def newest(
    database: Database, limit: int, *, before: str | None, states: Sequence[str], label: str | None
) -> list[RunRow]:
    """The rows of the runs submitted last; see `journal.Journal.newest`."""
    of, values = "FROM runs AS r", list[Any]()
    if label is not None:
        of, values = "FROM labels JOIN runs AS r ON r.rowid = labels.run AND labels.label = ?", [label]
    clauses = ["r.rowid < (SELECT rowid FROM runs WHERE id = ?)"] if before is not None else []
    clauses += [f"r.state IN ({_marks(states)})"] if states else []
    values += [*([before] if before is not None else []), *states, limit]
    by = "labels.run" if label is not None else "r.rowid"
    sql = f"SELECT r.* {of} WHERE {' AND '.join(clauses) or '1'} ORDER BY {by} DESC LIMIT ?"
    return [row_of(row) for row in database.read(sql, values)]


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))


def add(connection: sqlite3.Connection, run: str, *events: Event) -> None:
    """Put a new run at the end of the queue; the first of its events is *submitted*."""
    first = events[0]
    values = (run, first.body["name"], first.body.get("who"), count(connection, "position"), first.at)
    sql = "INSERT INTO runs (id, name, who, state, last, position, submitted) VALUES (?, ?, ?, 'queued', 0, ?, ?)"
    connection.execute(sql, values)
    follow(connection, run, events)


def follow(connection: sqlite3.Connection, run: str, events: Sequence[Event]) -> None:
    """Bring the row of `run` up to its events."""
    changes: dict[str, Any] = {"last": events[-1].number}
    for event in events:
        tasks.follow(connection, run, event.kind, event.at, event.body)
        asks = tasks.asks(connection, run) if event.kind in _AFTER_WHICH_IT_MAY_ASK else None
        if state := state_after(event.kind, event.body, asks=asks):
            changes |= {"state": state, "reason": asks if state == "waiting" else event.body.get("reason")}
        if change := _CHANGES.get(event.kind):
            changes |= change(connection, run, event)
    names = ", ".join(f"{name} = ?" for name in changes)
    connection.execute(f"UPDATE runs SET {names} WHERE id = ?", (*changes.values(), run))
    if "labels" in changes:
        _file_labels(connection, run, json.loads(changes["labels"]))


def _said(words: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that `words` of an event fill."""
    said = {name: words[name] for name in _WAITING_WORDS if name in words}
    return said | {name: json.dumps(list(words[name])) for name in _LISTS if words.get(name) is not None}


def _submitted(_: sqlite3.Connection, __: str, event: Event) -> dict[str, Any]:
    held = {"held": True, "reason": event.body.get("why_held")} if event.body.get("held") else {}
    return _said(event.body) | {"turn": event.body.get("turn", 1)} | held


def _edited(_: sqlite3.Connection, __: str, event: Event) -> dict[str, Any]:
    return _said(event.body["changed"])


def _held(_: sqlite3.Connection, __: str, event: Event) -> dict[str, Any]:
    return {"held": True, "reason": event.body.get("reason")}


def _released(_: sqlite3.Connection, __: str, event: Event) -> dict[str, Any]:
    return {"held": False, "reason": None}


def _moved(connection: sqlite3.Connection, run: str, event: Event) -> dict[str, Any]:
    return place(connection, run, event.body["where"], event.body.get("of"))


def _started(_: sqlite3.Connection, __: str, event: Event) -> dict[str, Any]:
    return {"started": event.at}


def _finished(connection: sqlite3.Connection, run: str, event: Event) -> dict[str, Any]:
    if event.body["state"] != "succeeded":
        return {"ended": event.at}
    return {"ended": event.at} | _put_back(connection, run, event.at)


def _put_back(connection: sqlite3.Connection, run: str, at: str) -> dict[str, Any]:
    """A run that is to be done again goes back to the end of the queue, as a run of its own."""
    row = row_of(connection.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone())
    if row.again == 0:
        return {}
    sql = "SELECT body FROM events WHERE run = ? AND kind IN ('submitted', 'edited') ORDER BY number"
    bodies = [codec.decode(found["body"]) for found in connection.execute(sql, (run,))]
    following, first = new_id(), First(at, following_turn(bodies, row))
    sql = "INSERT INTO events (run, number, kind, at, body) VALUES (?, ?, ?, ?, ?)"
    connection.execute(sql, (following, first.number, first.kind, first.at, codec.encode(first.body)))
    add(connection, following, first)
    return {"followed_by": following}


@dataclass(frozen=True)
class First:
    """The first event of a run."""

    at: str
    body: Mapping[str, Any]
    kind: str = "submitted"
    number: int = 1


def following_turn(bodies: Sequence[Mapping[str, Any]], row: RunRow) -> dict[str, Any]:
    """What is submitted as the next turn of a run.

    Args:
        bodies: of the run's event *submitted* and of each *edited*.
        row: of the run.
    """
    body = dict(bodies[0])
    for edited in bodies[1:]:
        body |= edited["changed"]
    again = None if row.again is None else row.again - 1
    kept = {name: value for name, value in body.items() if name not in _OF_ONE_TURN}
    return kept | {"again": again, "turn": row.turn + 1, "turn_of": row.id}


_OF_ONE_TURN = frozenset({"not_before", "finish_by", "held", "why_held"})
"""What was said of one turn, and not of the next."""


_CHANGES: dict[str, Callable[[sqlite3.Connection, str, Event], dict[str, Any]]] = {
    "submitted": _submitted,
    "edited": _edited,
    "held": _held,
    "released": _released,
    "moved": _moved,
    "started": _started,
    "finished": _finished,
}


def _file_labels(connection: sqlite3.Connection, run: str, labels: Sequence[str]) -> None:
    (row,) = connection.execute("SELECT rowid FROM runs WHERE id = ?", (run,)).fetchone()
    connection.execute("DELETE FROM labels WHERE run = ?", (row,))
    connection.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?)", [(label, row) for label in labels])
