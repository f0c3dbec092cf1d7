"""The timetable: waits for what is due and submits it through the ordinary queue.

One run of a schedule at a time: a time that comes while the run before is not over is passed over. A time that was
missed because the hub did not run is made up for once, or passed over, as the schedule says; of several missed times
only the last counts. Whatever became of a time is said in the schedule, and what went wrong is a task for people.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

from labretto.catalog.live import Changes
from labretto.errors import ConflictError, LabError, NotFoundError, StorageError
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.engine import OVER
from labretto.orchestrator.journal import Also, Journal
from labretto.orchestrator.schedules import Schedule, Taken, take
from labretto.orchestrator.table import RunRow

logger = logging.getLogger(__name__)

PUNCTUAL = timedelta(seconds=60)
"""What is submitted so long after its time is not late."""
LOOK_EVERY = 60.0
"""Seconds after which the clock is looked at again in any case: it may have been put forward, or the machine slept."""


class Submit(Protocol):
    """How a run is submitted."""

    def __call__(self, schedule: Schedule, due: datetime, also: Callable[[str], Also]) -> Awaitable[RunRow]:
        """Submit a schedule's run; `also(run)` is written in the same transaction."""


class Timetable:
    """Submits what is due.

    Args:
        journal: where schedules, runs and tasks are.
        submit: puts a run into the queue.
        changes: where viewers are told (topic "schedule").
        clock: tells the time.
    """

    def __init__(
        self, journal: Journal, submit: Submit, changes: Changes, *, clock: Callable[[], datetime] = now
    ) -> None:
        self._journal = journal
        self._submit = submit
        self._changes = changes
        self._clock = clock
        self._changed = asyncio.Event()

    # What people may do -------------------------------------------------------------------------------------------

    async def add(self, schedule: Schedule) -> Schedule:
        """Keep a new schedule."""
        return self._tell((await self._journal.schedules.add(schedule)).id)

    async def remove(self, identity: str) -> None:
        """Forget a schedule; its runs stay."""
        schedule = self._journal.schedules.find(identity)
        await self._journal.schedules.remove(schedule.id)
        self._changes.publish("schedule", {"id": schedule.id, "removed": True})

    async def hold(self, identity: str, held: bool) -> Schedule:
        """Keep a schedule from becoming due; released, it goes on with the next time after now."""
        schedule = self._journal.schedules.find(identity)
        due = schedule.due if held else schedule.after(self._clock())
        await self._journal.schedules.hold(schedule.id, held, due)
        return self._tell(schedule.id)

    def _tell(self, identity: str) -> Schedule:
        schedule = self._journal.schedules.find(identity)
        self._changes.publish("schedule", schedule.as_dict())
        self._changed.set()
        return schedule

    # Waiting ------------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Submit what is due, for ever."""
        while True:
            self._changed.clear()
            try:
                wait = await self.look()
            except LabError as error:
                logger.warning("the timetable cannot be looked at", extra={"why": str(error)})
                wait = LOOK_EVERY
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)

    async def look(self) -> float:
        """Submit what is due now; answers the seconds after which to look again."""
        for schedule in self._journal.schedules.due(self._clock()):
            await self._at_its_time(schedule)
        moment = self._journal.schedules.next_moment()
        left = LOOK_EVERY if moment is None else (datetime.fromisoformat(moment) - self._clock()).total_seconds()
        return min(max(left, 0.0), LOOK_EVERY)

    async def _at_its_time(self, schedule: Schedule) -> None:
        at = self._clock()
        due = _latest(schedule, at)
        following = schedule.after(at)
        if why := self._why_not(schedule, due, at):
            await self._journal.schedules.pass_over(schedule, Taken(f"{_told(due)}: {why}", following))
        else:
            await self._begin(schedule, due, following, "late" if at - due > PUNCTUAL else "in time")
        with contextlib.suppress(NotFoundError):  # a person has removed it meanwhile
            self._tell(schedule.id)

    def _why_not(self, schedule: Schedule, due: datetime, at: datetime) -> str | None:
        if at - due > PUNCTUAL and schedule.missed == "skip":
            return "passed over, because the hub did not run then."
        if schedule.last_run is not None:
            with contextlib.suppress(NotFoundError):
                if (state := self._journal.row(schedule.last_run).state) not in OVER:
                    return f"passed over, because run {schedule.last_run} is not over; it is {state}."
        return None

    async def _begin(self, schedule: Schedule, due: datetime, following: str | None, how: str) -> None:
        def also(run: str) -> Also:
            taken = Taken(f"{_told(due)}: submitted {how} as run {run}.", following, run)
            return lambda connection: take(connection, schedule, taken)

        try:
            await self._submit(schedule, due, also)
        except StorageError:
            raise  # it stays due, and is tried again
        except ConflictError as error:
            logger.warning("a due time was not taken", extra={"schedule": schedule.id, "why": error.detail})
        except LabError as error:
            await self._failed(schedule, due, following, error)

    async def _failed(self, schedule: Schedule, due: datetime, following: str | None, error: LabError) -> None:
        """It could not be submitted: the next time may bring more luck, and people are told."""
        taken = Taken(f"{_told(due)}: could not be submitted: {error.detail}", following)
        await self._journal.schedules.pass_over(schedule, taken)
        task: dict[str, Any] = {"title": f"The schedule {schedule.name!r} could not submit its run"}
        task |= {"description": f"It was due at {_told(due)}. {error}", "kind": "schedule", "priority": "high"}
        await self._journal.tasks.create(**task, key=f"schedule {schedule.id} {isoformat(due)}")


def _latest(schedule: Schedule, at: datetime) -> datetime:
    """The last time until now at which it was due, which is what counts of all that were missed."""
    first = datetime.fromisoformat(schedule.due or isoformat(at))
    return max(first, schedule.parsed.last_until(at) or first)


def _told(due: datetime) -> str:
    return f"{due:%Y-%m-%d %H:%M} UTC"
