"""Tasks: what people have to do. A table in the journal's database; one row for each, by whatever it came to be.

A run's question makes its row in the transaction that writes the question into the journal, and the answer closes it in
the transaction that writes the answer, so that neither can be without the other (`follow`). A task that somebody just
put down (`Tasks.create`) is a row of the same table without a question. What closing one means to a run: see `people`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from labretto.errors import NotFoundError
from labretto.instrument import codec
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.task import OPEN, PRIORITIES, Priority, Status, Task, Wanted, marks, moment
from labretto.sqlite import Database, Row

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, description TEXT NOT NULL, status TEXT NOT NULL,
    priority INTEGER NOT NULL, due_date TEXT, due TEXT, assignee TEXT, created TEXT NOT NULL, updated TEXT NOT NULL,
    kind TEXT NOT NULL, run TEXT, path TEXT, question BLOB, late_at TEXT, remind_at TEXT, remind_every REAL,
    choice TEXT, answer BLOB, closed TEXT, closed_by TEXT, why TEXT, key TEXT UNIQUE
);
CREATE INDEX IF NOT EXISTS tasks_by_status ON tasks (status, due);
CREATE INDEX IF NOT EXISTS tasks_of_run ON tasks (run, updated);
"""

_OPEN_SQL = "status IN ('pending', 'in_progress')"


class Tasks:
    """The tasks of one lab.

    Args:
        database: the journal's, with the tables of `SCHEMA`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: list[Callable[[Sequence[Task]], None]] = []

    def find(self, identity: int) -> Task:
        """One task.

        Raises:
            NotFoundError: there is none of this number.
        """
        rows = self._database.read("SELECT * FROM tasks WHERE id = ?", (identity,))
        if not rows:
            raise _no_task(identity)
        return _task(rows[0])

    def listed(self, wanted: Wanted) -> tuple[list[Task], int]:
        """The tasks of one page, and how many there are on all pages."""
        where, values = wanted.where()
        (count,) = self._database.read(f"SELECT COUNT(*) AS n FROM tasks WHERE {where}", values)
        sql = f"SELECT * FROM tasks WHERE {where} ORDER BY {wanted.order()} LIMIT ? OFFSET ?"
        rows = self._database.read(sql, [*values, wanted.limit, wanted.offset])
        return [_task(row) for row in rows], int(count["n"])

    def of_run(self, run: str, *, updated: str | None = None) -> list[Task]:
        """What is to be done about a run, the oldest first; only what changed at a moment, if that is given."""
        where, values = ("", []) if updated is None else (" AND updated = ?", [updated])
        rows = self._database.read(f"SELECT * FROM tasks WHERE run = ?{where} ORDER BY id", [run, *values])
        return [_task(row) for row in rows]

    def listen(self, on_change: Callable[[Sequence[Task]], None]) -> None:
        """Have somebody told of tasks that were put down, changed or closed; of those removed with their last state."""
        self._listeners.append(on_change)

    def tell(self, run: str, at: str) -> None:
        """An event of this moment has been appended to `run`: what it did to tasks is told."""
        if self._listeners and (changed := self.of_run(run, updated=at)):
            self._tell(changed)

    def _tell(self, changed: Sequence[Task]) -> None:
        for on_change in self._listeners:
            on_change(changed)

    def next_moment(self) -> str | None:
        """When the next task will be late, or the next reminder is due."""
        sql = f"SELECT MIN(remind_at) AS reminder, MIN(late_at) AS late FROM tasks WHERE {_OPEN_SQL}"
        (row,) = self._database.read(sql)
        return min((each for each in (row["reminder"], row["late"]) if each is not None), default=None)

    def late(self, at: datetime) -> Sequence[Task]:
        """Open tasks that are late, and of which that was not noted yet (`note_late`)."""
        sql = f"SELECT * FROM tasks WHERE {_OPEN_SQL} AND late_at <= ? ORDER BY late_at"
        return [_task(row) for row in self._database.read(sql, (isoformat(at),))]

    async def note_late(self, identity: int, again: datetime | None = None) -> None:
        """What follows from its being late has been done; or, at `again`, is to be tried again."""
        told = {"late_at": None if again is None else isoformat(again)}
        await self._written(lambda connection: _update(connection, told, "id = ?", identity))

    async def create(
        self,
        *,
        title: str,
        description: str,
        status: Status = "pending",
        priority: Priority = "medium",
        due_date: str | None = None,
        assignee: str | None = None,
        reminder: str | None = None,
        kind: str = "task",
        run: str | None = None,
        path: str | None = None,
        who: str | None = None,
        key: str | None = None,
    ) -> Task:
        """Put a task down; it is on the disk when this answers.

        Args:
            due_date, reminder: a date or a time, ISO 8601.
            run, path: what it is about, if it is about a run; none waits for it.
            who: puts it down; closes it, if it is over from the beginning.
            key: of several tasks of one key only the first is put down; the others are answered that one.
        """
        at = isoformat(now())
        row = {"title": title, "description": description, "kind": kind, "run": run, "path": path, "key": key}
        row |= {"created": at} | _columns(
            {"status": status, "priority": priority, "due_date": due_date, "assignee": assignee, "reminder": reminder},
            at,
            who,
        )

        def insert(connection: sqlite3.Connection) -> Task:
            found = connection.execute("SELECT * FROM tasks WHERE key = ?", (key,)).fetchone() if key else None
            return _task(found or _inserted(connection, row))

        return self._told(await self._written(insert))

    async def change(self, identity: int, changes: Mapping[str, Any], *, who: str | None, why: str | None) -> Task:
        """Change a task that no run waits for.

        Args:
            changes: words of `create`, with their new values.

        Raises:
            NotFoundError: there is none of this number.
        """
        columns = _columns(changes, isoformat(now()), who) | ({"why": why} if why is not None else {})

        def update(connection: sqlite3.Connection) -> Task:
            if not _update(connection, columns, "id = ?", identity):
                raise _no_task(identity)
            return _task(connection.execute("SELECT * FROM tasks WHERE id = ?", (identity,)).fetchone())

        return self._told(await self._written(update))

    async def remove(self, identity: int) -> Task:
        """Take a task off the list; what a run's journal says of it stays there. Answers its last state."""

        def delete(connection: sqlite3.Connection) -> Task:
            found = connection.execute("DELETE FROM tasks WHERE id = ? RETURNING *", (identity,)).fetchone()
            if found is None:
                raise _no_task(identity)
            return _task(found)

        return await self._written(delete)

    async def take_reminders(self, at: datetime) -> Sequence[Task]:
        """Tasks of which somebody is to be reminded now; each is answered once for each reminder, restarts or not."""

        def take(connection: sqlite3.Connection) -> list[Task]:
            sql = f"SELECT * FROM tasks WHERE {_OPEN_SQL} AND remind_at <= ? ORDER BY remind_at"
            found = connection.execute(sql, (isoformat(at),)).fetchall()
            for row in found:
                _update(connection, {"remind_at": _next_reminder(row, at)}, "id = ?", row["id"])
            return [_task(row) for row in found]

        return await self._written(take)

    def _told(self, task: Task) -> Task:
        self._tell([task])
        return task

    async def _written(self, run: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._database.transact(run, flush=True))


# What a run's events mean to its tasks ------------------------------------------------------------------------------


def follow(connection: sqlite3.Connection, run: str, kind: str, at: str, body: Mapping[str, Any]) -> None:
    """Bring the tasks of `run` up to one event of it; in the transaction that appends the event."""
    if kind == "waiting":
        _inserted(connection, _asked(run, at, body))
    elif kind == "settled":
        changes = _columns(body.get("task") or {}, at, None)
        status = "cancelled" if body["choice"] == "abort" else "completed"
        closed = changes | {"status": status, "choice": body["choice"], "answer": codec.encode(body["value"])}
        _close(connection, closed, at, body, "run = ? AND path = ?", run, body["path"])
    if kind in ("aborting", "finished") or (kind == "settled" and body["choice"] == "abort"):
        told = {"who": body.get("who"), "why": "The run was ended."}
        _close(connection, {"status": "cancelled"}, at, told, "run = ? AND question IS NOT NULL", run)


def asks(connection: sqlite3.Connection, run: str) -> str | None:
    """The oldest thing that `run` still asks; None if it asks nothing."""
    sql = f"SELECT title FROM tasks WHERE run = ? AND {_OPEN_SQL} AND question IS NOT NULL ORDER BY id LIMIT 1"
    found = connection.execute(sql, (run,)).fetchone()
    return found["title"] if found else None


def _asked(run: str, at: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a question."""
    question = body["question"]
    words = {"status": "pending", "priority": question.get("priority") or "medium", "due_date": question.get("due")}
    words |= {"assignee": question.get("assignee"), "reminder": _first_reminder(at, question.get("remind"))}
    text = {
        "title": body["reason"],
        "description": question.get("description") or question.get("text") or body["reason"],
        "created": at,
    }
    place = {"kind": question["kind"], "run": run, "path": question["path"], "question": codec.encode(question)}
    return text | place | {"remind_every": question.get("remind")} | _columns(words, at, None)


def _first_reminder(at: str, seconds: float | None) -> str | None:
    return isoformat(datetime.fromisoformat(at) + timedelta(seconds=seconds)) if seconds else None


def _next_reminder(row: Row, at: datetime) -> str | None:
    """A hub that was down for long reminds once, not for each time that it missed."""
    return isoformat(at + timedelta(seconds=row["remind_every"])) if row["remind_every"] else None


def _close(
    connection: sqlite3.Connection,
    columns: Mapping[str, Any],
    at: str,
    told: Mapping[str, Any],
    where: str,
    *values: Any,
) -> None:
    closed = {"closed": at, "closed_by": told.get("who"), "why": told.get("why"), "updated": at, "remind_at": None}
    _update(connection, {**columns, **closed}, f"{where} AND {_OPEN_SQL}", *values)


# Rows ---------------------------------------------------------------------------------------------------------------


def _columns(words: Mapping[str, Any], at: str, who: str | None) -> dict[str, Any]:
    """The columns that words of a task fill."""
    columns = {name: words[name] for name in ("title", "description", "assignee", "status") if name in words}
    columns["updated"] = at
    if "priority" in words:
        columns["priority"] = PRIORITIES.index(words["priority"])
    if "due_date" in words:
        told = words["due_date"]
        due = None if told is None else moment(told, end=True)
        columns |= {"due_date": told, "due": due, "late_at": due}
    if "reminder" in words:
        columns["remind_at"] = None if words["reminder"] is None else moment(words["reminder"], end=False)
    if "answer" in words:
        columns["answer"] = codec.encode(words["answer"])
    if "status" in words:
        is_open = words["status"] in OPEN
        columns |= {"closed": None if is_open else at, "closed_by": None if is_open else who}
    return columns


def _inserted(connection: sqlite3.Connection, columns: Mapping[str, Any]) -> Row:
    sql = f"INSERT INTO tasks ({', '.join(columns)}) VALUES ({marks(columns)}) RETURNING *"
    row: Row = connection.execute(sql, tuple(columns.values())).fetchone()
    return row


def _update(connection: sqlite3.Connection, columns: Mapping[str, Any], where: str, *values: Any) -> int:
    names = ", ".join(f"{name} = ?" for name in columns)
    return connection.execute(f"UPDATE tasks SET {names} WHERE {where}", (*columns.values(), *values)).rowcount


def _task(row: Row) -> Task:
    words: dict[str, Any] = {name: row[name] for name in Task.__dataclass_fields__}
    packed = {name: codec.decode(row[name]) for name in ("question", "answer") if row[name] is not None}
    return Task(**words | packed | {"priority": PRIORITIES[row["priority"]]})


def _no_task(identity: int) -> NotFoundError:
    return NotFoundError(f"There is no task {identity}.", way_out="GET /tasks lists those there are.")
