"""What people do about tasks, and what the clock does where they do not.

A task that a run waits for is closed by answering the run: its journal decides, the task follows. Any other task is a
row that is changed. Deadlines and reminders are moments in the table; one timer waits for the next of them, so that a
thousand runs that wait for people cost nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from labretto.catalog.live import Changes
from labretto.errors import ConflictError, LabError
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.answering import late_answer
from labretto.orchestrator.brought import keep_file
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.task import Task
from labretto.orchestrator.tasks import Tasks

logger = logging.getLogger(__name__)

_LOOK_AT_LEAST_EVERY = 3600.0
"""Seconds; so long may a clock that was set go unnoticed."""
_TRY_AGAIN_AFTER = 60.0
"""Seconds after which a question that could not be closed is tried again."""

CLOSING = ("status", "choice", "answer")
"""Words that say what came of a task."""


class People:
    """The tasks of a lab as people meet them. Use `async with`.

    Args:
        orchestrator: whose runs ask.
    """

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._changes: Changes = orchestrator.changes
        self._look = asyncio.Event()
        self.tasks: Tasks = orchestrator.journal.tasks
        self.tasks.listen(self._on_change)

    async def __aenter__(self) -> People:
        self._timer = asyncio.get_running_loop().create_task(self._keep_time())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        await asyncio.gather(self._timer, return_exceptions=True)

    def _on_change(self, changed: Sequence[Task]) -> None:
        for task in changed:
            self._changes.publish("task", task.as_dict())
        self._look.set()

    # What people do ---------------------------------------------------------------------------------------------

    async def change(self, identity: int, changes: Mapping[str, Any], *, who: str | None, why: str | None) -> Task:
        """Change a task, or close it; what a run asks is answered by that, and the run goes on.

        Args:
            changes: words of `Tasks.create`, and "answer" and "choice".

        Raises:
            NotFoundError: there is none of this number.
            InvalidError: the answer does not fit the form; nothing was written.
            ConflictError: the task is a run's question, and this is not how it ends.
        """
        task = self.tasks.find(identity)
        if task.question is None:
            said = {name: value for name, value in changes.items() if name != "choice"}
            return await self.tasks.change(identity, said, who=who, why=why)
        _refuse_other_words(task, changes)
        kept = {name: value for name, value in changes.items() if name not in ("title", "description", *CLOSING)}
        if task.is_open and _closes(changes):
            await self._answer(task, changes, kept, who, why)
            return self.tasks.find(identity)
        if task.is_open and "status" in changes:
            kept["status"] = changes["status"]
        return await self.tasks.change(identity, kept, who=who, why=None) if kept else task

    async def _answer(
        self, task: Task, changes: Mapping[str, Any], kept: Mapping[str, Any], who: str | None, why: str | None
    ) -> None:
        walker = self._orchestrator.walker(str(task.run))
        choice, value = changes.get("choice"), changes.get("answer")
        await walker.answer(choice, value, who=who, why=why, path=task.path, task=kept)

    async def remove(self, identity: int) -> None:
        """Take a task off the list.

        Raises:
            ConflictError: a run waits for it.
        """
        task = self.tasks.find(identity)
        if task.holds_a_run:
            raise _run_waits(task, "be deleted")
        self._changes.publish("task", (await self.tasks.remove(identity)).as_dict() | {"removed": True})

    async def bring(self, identity: int, name: str, content: AsyncIterable[bytes]) -> str:
        """Keep a file that belongs to the answer of a run's question; answers its place in the run's record.

        Raises:
            ConflictError: no run waits for this task.
            StorageError: the disk does not take it.
        """
        task = self.tasks.find(identity)
        if not task.holds_a_run:
            raise ConflictError(
                f"No run waits for task {identity}; a file is kept only in a run's record.",
                way_out="Send it while the question is open.",
            )
        return await keep_file(self._orchestrator.catalog.find(str(task.run)), name, content)

    # What the clock does ----------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        while True:
            try:
                await self._wait_for_the_next_moment()
                await self._remind(now())
                await self._close_late(now())
            except LabError:
                logger.exception("deadlines and reminders could not be looked after; trying again")
                await asyncio.sleep(_TRY_AGAIN_AFTER)

    async def _wait_for_the_next_moment(self) -> None:
        self._look.clear()
        moment = self.tasks.next_moment()
        left = (datetime.fromisoformat(moment) - now()).total_seconds() if moment else _LOOK_AT_LEAST_EVERY
        if left > 0:
            # Not wait_for: in Python 3.11 it may swallow a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_AT_LEAST_EVERY)):
                    await self._look.wait()

    async def _remind(self, at: datetime) -> None:
        for task in await self.tasks.take_reminders(at):
            self._changes.publish("reminder", {**task.as_dict(), "at": isoformat(at)})

    async def _close_late(self, at: datetime) -> None:
        for task in self.tasks.late(at):
            answer = late_answer(task.question or {})
            again = None if answer is None else await self._answer_late(task, *answer)
            if answer is None:
                self._changes.publish("task", task.as_dict())  # it is overdue from now on
            await self.tasks.note_late(task.id, again)

    async def _answer_late(self, task: Task, choice: str, value: Any) -> datetime | None:
        """When to try again, if the run cannot be answered now."""
        why = "Nobody answered in time."
        try:
            walker = self._orchestrator.walker(str(task.run))
            await walker.answer(choice, value, who=None, why=why, path=task.path, by_clock=True)
        except ConflictError as error:  # somebody answered at this moment, or the run's record cannot be opened now
            logger.info("a late question was not closed", extra={"task": task.id, "why": error.detail})
            return now() + timedelta(seconds=_TRY_AGAIN_AFTER)
        return None


def _closes(changes: Mapping[str, Any]) -> bool:
    return (
        changes.get("status") == "completed"
        or changes.get("choice") is not None
        or (changes.get("answer") is not None and changes.get("status") in (None, "completed"))
    )


def _refuse_other_words(task: Task, changes: Mapping[str, Any]) -> None:
    """A run's question stays what the run asked, and ends by an answer."""
    for name in ("title", "description"):
        if name in changes and changes[name] != getattr(task, name):
            raise ConflictError(
                f"Task {task.id} is what run {task.run} asks; its {name} stays as it was asked.",
                way_out="Change its assignee, priority, due_date or reminder, or answer it.",
            )
    if task.is_open and changes.get("status") == "cancelled" and changes.get("choice") is None:
        raise _run_waits(task, "be cancelled")
    if not task.is_open and (
        changes.get("status", task.status) != task.status
        or changes.get("choice") not in (None, task.choice)
        or changes.get("answer") not in (None, task.answer)
    ):
        raise ConflictError(
            f"Task {task.id} was {task.status} by {task.closed_by or 'nobody'} at {task.closed}, and run {task.run} "
            "has gone on with that.",
            way_out="Put down a new task with POST /tasks.",
        )


def _run_waits(task: Task, what: str) -> ConflictError:
    return ConflictError(
        f"Task {task.id} cannot {what}: run {task.run} waits for its answer.",
        way_out=f"Answer it, or end the run: POST /tasks/{task.id}/answer with the choice 'abort'.",
        run=task.run,
    )
