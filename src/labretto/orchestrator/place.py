"""Places in the queue: a run that is moved gets one between its new neighbours; theirs stay as they are.

A place is a number, and between two numbers there is mostly another one. Where there is none any more (after some
fifty moves into the same gap) all runs of that priority get new places at the end, in the same order.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any

from labretto.errors import ConflictError, InvalidError
from labretto.sqlite import Row

WHERE = ("first", "last", "before", "after")
"""Where a run can be moved to; the latter two are said of another run."""


def count(connection: sqlite3.Connection, name: str, above: int = 0) -> int:
    """The next number of a counter of the lab, higher than `above`."""
    sql = "UPDATE counters SET value = MAX(value, ?) + 1 WHERE name = ? RETURNING value"
    return int(connection.execute(sql, (above, name)).fetchone()["value"])


def place(connection: sqlite3.Connection, run: str, where: str, of: str | None) -> dict[str, Any]:
    """Priority and place of a run that is moved: it takes the priority of where it comes to stand.

    Raises:
        ConflictError: the run that it is to stand beside does not wait in the queue.
        InvalidError: there is no such `where`.
    """
    sql = "SELECT id, priority, position FROM runs WHERE state = 'queued' ORDER BY priority DESC, position, rowid"
    queued = connection.execute(sql).fetchall()
    own = next((row["priority"] for row in queued if row["id"] == run), 0)
    others = [row for row in queued if row["id"] != run]
    index = _index(others, where, of)
    if not others:
        return {}
    priority = _priority(others, index, own, where)
    before, behind = ([row for row in half if row["priority"] == priority] for half in (others[:index], others[index:]))
    return {"priority": priority, "position": _between(connection, before, behind)}


def _index(others: Sequence[Row], where: str, of: str | None) -> int:
    """How many of the others stand ahead of it."""
    if where not in WHERE:
        raise InvalidError(f"{where[:80]!r} is no place in the queue.", way_out=f"Say one of {', '.join(WHERE)}.")
    if where in ("first", "last"):
        return 0 if where == "first" else len(others)
    index = next((index for index, row in enumerate(others) if row["id"] == of), None)
    if index is None:
        raise ConflictError(
            f"Run {str(of)[:80]} does not wait in the queue; nothing was moved.", way_out="Look at the queue again."
        )
    return index + (where == "after")


def _priority(others: Sequence[Row], index: int, own: int, where: str) -> int:
    if where == "first":
        return max(own, int(others[0]["priority"]))
    if where == "last":
        return min(own, int(others[-1]["priority"]))
    return int(others[index if where == "before" else index - 1]["priority"])


def _between(connection: sqlite3.Connection, before: Sequence[Row], behind: Sequence[Row]) -> float:
    """A place behind the last of `before` and ahead of the first of `behind`, which have one priority."""
    if not behind:
        return count(connection, "position", math.ceil(before[-1]["position"]) if before else 0)
    upper: float = behind[0]["position"]
    if not before:
        return float(math.floor(upper) - 1)
    lower: float = before[-1]["position"]
    middle = (lower + upper) / 2
    return middle if lower < middle < upper else _spread(connection, before, behind)


def _spread(connection: sqlite3.Connection, before: Sequence[Row], behind: Sequence[Row]) -> float:
    """The same, with new places for all of them."""
    position = 0
    for row in [*before, None, *behind]:
        new = count(connection, "position")
        if row is None:
            position = new
        else:
            connection.execute("UPDATE runs SET position = ? WHERE id = ?", (new, row["id"]))
    return position
