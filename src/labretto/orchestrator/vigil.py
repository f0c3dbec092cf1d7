"""The vigil: tasks for people where time is running out. Nothing is ended or begun here.

Two things make a task: an action that takes much longer than usual, which its host tells, and a run that the outlook
says will not be finished by its deadline. Each is told once, restarts or not. A task about an action closes itself when
the action ends: nobody shall run to an instrument that is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from labretto.catalog.live import Changes
from labretto.errors import LabError
from labretto.experiment.estimate import spelled
from labretto.instrument.reading import spoken
from labretto.orchestrator.expected import Expected
from labretto.orchestrator.outlook import Outlook
from labretto.orchestrator.task import Task
from labretto.orchestrator.tasks import Tasks

logger = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks at deadlines, if nothing begins or ends meanwhile."""
NOT_MORE_OFTEN_THAN = 5.0
"""Seconds: a look costs a dry run of what goes on."""
WORTH_A_TASK = 30.0
"""Seconds that an action must have taken: nobody can look after one that is over before they have read of it."""


class Vigil:
    """Watches over a lab.

    Args:
        tasks: where people's tasks are put down.
        outlook: says when runs will end.
        changes: what hosts and runs tell.
    """

    def __init__(self, tasks: Tasks, outlook: Outlook, changes: Changes) -> None:
        self._tasks = tasks
        self._outlook = outlook
        self._changes = changes
        self._deadlines = asyncio.Event()
        self._overruns: dict[str, asyncio.Task[None]] = {}
        """Invocation → what watches it until it is over."""

    async def keep(self) -> None:
        """Watch, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_deadlines())
            async for batch in self._changes.subscribe():
                for change in batch.changes:
                    if change.topic == "overrun":
                        self._watch(change.body, group)
                    elif change.topic == "invocation" and change.body["state"] != "running":
                        self._ended(change.body["id"])
                    elif change.topic == "run":
                        self._deadlines.set()

    def _watch(self, body: Mapping[str, Any], group: asyncio.TaskGroup) -> None:
        if body["invocation"] not in self._overruns:
            self._overruns[body["invocation"]] = group.create_task(self._until_ended(body))

    def _ended(self, invocation: str) -> None:
        if watching := self._overruns.pop(invocation, None):
            watching.cancel()

    async def _until_ended(self, body: Mapping[str, Any]) -> None:
        await asyncio.sleep(max(0.0, WORTH_A_TASK - body["seconds"]))
        put_down = asyncio.create_task(self.overrun({**body, "seconds": max(WORTH_A_TASK, body["seconds"])}))
        try:
            await asyncio.shield(put_down)
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if body["invocation"] not in self._overruns:  # it has ended; else the hub leaves, and the task stays
                await self._quietly(self._close(put_down))
            raise
        except LabError as error:
            logger.warning("a task was not put down", extra={"why": str(error)})

    async def _close(self, put_down: asyncio.Task[Task]) -> None:
        task = await put_down
        if self._tasks.find(task.id).is_open:
            await self._tasks.change(task.id, {"status": "completed"}, who=None, why="The action has ended.")

    async def overrun(self, body: Mapping[str, Any]) -> Task:
        """An action takes longer than its usual time by the factor that lab.toml says."""
        what = f"{body['instrument']}.{body['action']}"
        usual, takes = spelled(body["expected_seconds"] or 0.0), spelled(body["seconds"])
        return await self._tasks.create(
            title=f"{what} takes much longer than usual",
            description=f"It runs for {takes} since {spoken(body['started'])}; usually it takes {usual}. "
            "It was not stopped: look at the instrument, then let it go on, cancel it, or stop the instrument.",
            kind="overrun",
            priority="high",
            key=f"overrun {body['invocation']}",
        )

    async def look(self) -> None:
        """Put a task down for each run that will rather not be finished in time."""
        for each in await self._outlook.expected():
            if each.late:
                await self._late(each)

    async def _late(self, run: Expected) -> None:
        end = spoken(run.ends(run.end.p50)) if run.end else "later"
        by = spoken(run.finish_by) if run.finish_by else ""
        await self._tasks.create(
            title=f"Run {run.run} will rather not be finished in time",
            description=f"It is to be finished by {by} and is expected to end at {end}. It was not changed.",
            kind="deadline",
            priority="high",
            due_date=run.finish_by,
            run=run.run,
            key=f"deadline {run.run} {run.finish_by}",
        )

    async def _keep_deadlines(self) -> None:
        while True:
            self._deadlines.clear()
            await self._quietly(self.look())
            await asyncio.sleep(NOT_MORE_OFTEN_THAN)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._deadlines.wait(), LOOK_EVERY)

    async def _quietly(self, work: Any) -> None:
        try:
            await work
        except LabError as error:
            logger.warning("a task was not put down", extra={"why": str(error)})
