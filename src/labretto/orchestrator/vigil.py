"""The vigil: tasks for people where time is running out. Nothing is ended or begun here.

Two things make a task: an action that takes much longer than usual, which its host tells, and a run that the outlook
says will not be finished by its deadline. Each is told once, restarts or not.
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
from labretto.orchestrator.expected import Expected
from labretto.orchestrator.outlook import Outlook
from labretto.orchestrator.tasks import Tasks

logger = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks at deadlines, if nothing begins or ends meanwhile."""
NOT_MORE_OFTEN_THAN = 5.0
"""Seconds: a look costs a dry run of what goes on."""


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

    async def keep(self) -> None:
        """Watch, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_deadlines())
            async for batch in self._changes.subscribe():
                for change in batch.changes:
                    if change.topic == "overrun":
                        await self._quietly(self.overrun(change.body))
                    elif change.topic == "run":
                        self._deadlines.set()

    async def overrun(self, body: Mapping[str, Any]) -> None:
        """An action takes longer than its usual time by the factor that lab.toml says."""
        what = f"{body['instrument']}.{body['action']}"
        usual, takes = spelled(body["expected_seconds"] or 0.0), spelled(body["seconds"])
        await self._tasks.create(
            title=f"{what} takes much longer than usual",
            description=f"It runs for {takes} since {body['started']}; usually it takes {usual}. It was not stopped: "
            "look at the instrument, then let it go on, cancel it, or stop the instrument.",
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
        end = run.ends(run.end.p50) if run.end else "later"
        await self._tasks.create(
            title=f"Run {run.run} will rather not be finished in time",
            description=f"It is to be finished by {run.finish_by} and is expected to end at {end}. It was not changed.",
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
