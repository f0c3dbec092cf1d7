"""A task as data: its words, its dates, and which tasks a list shows. Where they are kept is in `tasks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, time
from typing import Any, Literal

from labretto.errors import InvalidError
from labretto.instrument.reading import isoformat, now

Status = Literal["pending", "in_progress", "completed", "cancelled"]
Priority = Literal["low", "medium", "high", "urgent"]

OPEN: tuple[Status, ...] = ("pending", "in_progress")
"""Words of tasks that somebody still has to do."""

PRIORITIES: tuple[Priority, ...] = ("low", "medium", "high", "urgent")

SORTS = ("id", "title", "status", "priority", "due_date", "assignee", "created", "updated")


@dataclass(frozen=True)
class Task:
    """One thing that a person has to do."""

    id: int
    title: str
    description: str
    status: Status
    priority: Priority
    due_date: str | None
    """As it was said: a date, or a time in ISO 8601."""
    due: str | None
    """The moment that it means; UTC. A date is over at its end, in the lab's own time."""
    assignee: str | None
    created: str
    updated: str
    kind: str = "task"
    """task: somebody put it down; ask: a step of a run; interrupted: a step with an unknown end; others as they say."""
    run: str | None = None
    path: str | None = None
    """The step of the run."""
    question: Mapping[str, Any] | None = field(default=None, repr=False)
    """What the run asks: its text, choices, the schema of the answer."""
    remind_at: str | None = None
    remind_every: float | None = None
    """Seconds from one reminder to the next; None: there is one at most."""
    choice: str | None = None
    answer: Any = None
    closed: str | None = None
    closed_by: str | None = None
    why: str | None = None

    @property
    def is_open(self) -> bool:
        """Somebody still has to do it."""
        return self.status in OPEN

    @property
    def holds_a_run(self) -> bool:
        """A run goes on only when it is answered."""
        return self.is_open and self.question is not None

    def overdue(self, at: datetime) -> bool:
        """Nobody did it in time."""
        return self.is_open and self.due is not None and self.due < isoformat(at)

    def as_dict(self, at: datetime | None = None) -> dict[str, Any]:
        """JSON of it, as `/tasks` answers it."""
        words = asdict(replace(self, question=None))
        question = self.question or {}
        del words["question"], words["due"], words["remind_at"]
        words |= {"reminder": self.remind_at, "overdue": self.overdue(at or now())}
        asked = {"form": question.get("schema"), "late": question.get("late")}
        return words | asked | {"choices": question.get("choices"), "meanings": question.get("meanings")}


def moment(text: str, *, end: bool) -> str:
    """The instant that a date or a time means, as UTC text; a date alone is its first or its last moment.

    Raises:
        InvalidError: it is neither.
    """
    try:
        if "T" not in text and " " not in text.strip() and len(text.strip()) <= 10:
            told = datetime.combine(date.fromisoformat(text.strip()), time.max if end else time.min)
        else:
            told = datetime.fromisoformat(text.strip())
        return isoformat(told if told.tzinfo else told.astimezone())
    except (ValueError, OverflowError) as error:
        raise InvalidError(
            f"{text[:80]!r} is no date.", way_out="Write 2026-12-01, or 2026-12-01T14:30:00+01:00."
        ) from error


@dataclass(frozen=True)
class Wanted:
    """Which tasks a list shows, and in what order."""

    status: Sequence[Status] = ()
    priority: Sequence[Priority] = ()
    assignee: str | None = None
    text: str | None = None
    due_before: str | None = None
    due_after: str | None = None
    run: str | None = None
    sort: str = "id"
    """A word of `SORTS`; with a minus before it, downwards."""
    limit: int = 100
    offset: int = 0

    def where(self) -> tuple[str, list[Any]]:
        """The condition in SQL, and its values. Only question marks are put into the text."""
        found: list[tuple[str, list[Any]]] = []
        if self.status:
            found.append((f"status IN ({marks(self.status)})", list(self.status)))
        if self.priority:
            ranks = [PRIORITIES.index(each) for each in self.priority]
            found.append((f"priority IN ({marks(ranks)})", ranks))
        for name, value in (("assignee", self.assignee), ("run", self.run)):
            if value is not None:
                found.append((f"{name} = ?", [value]))
        if self.text:
            like = "%" + "".join(f"\\{each}" if each in "%_\\" else each for each in self.text) + "%"
            found.append(("(title LIKE ? ESCAPE '\\' OR description LIKE ? ESCAPE '\\')", [like, like]))
        if self.due_before is not None:
            found.append(("due < ?", [moment(self.due_before, end=False)]))
        if self.due_after is not None:
            found.append(("due > ?", [moment(self.due_after, end=True)]))
        condition = " AND ".join(each for each, _ in found) or "TRUE"
        return condition, [value for _, values in found for value in values]

    def order(self) -> str:
        """The order in SQL; what has no date or assignee comes last.

        Raises:
            InvalidError: there is no such order.
        """
        name = self.sort.removeprefix("-")
        if name not in SORTS:
            raise InvalidError(f"sort={self.sort[:80]!r} is not known.", way_out=f"Sort by one of {', '.join(SORTS)}.")
        column = "due" if name == "due_date" else name
        down = " DESC" if self.sort.startswith("-") else ""
        return f"{column} IS NULL, {column}{down}, id{down}"


def marks(values: Sequence[Any] | Mapping[str, Any]) -> str:
    """As many question marks as there are values."""
    return ", ".join("?" * len(values))
