"""All of a hub that goes by the clock, composed: learning, forecasts, the timetable, the vigil, and their routes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from labretto.orchestrator.durations import Durations
from labretto.orchestrator.foresight import Foresight
from labretto.orchestrator.journal import Journal
from labretto.orchestrator.outlook import Outlook
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.submission import LabInstruments
from labretto.orchestrator.time_api import forecast_routes, schedule_routes, submit_through
from labretto.orchestrator.timetable import Timetable
from labretto.orchestrator.vigil import Vigil

logger = logging.getLogger(__name__)


class Timekeeping:
    """What a hub needs of it before its orchestrator, and after. Closed by `close`.

    Args:
        folder: of the lab; learned durations are kept there.
        journal: where they are learned from.
        instruments: of the lab.
    """

    def __init__(self, folder: Path, journal: Journal, instruments: LabInstruments) -> None:
        self._instruments = instruments
        self._durations = Durations(folder / "durations.db", journal)
        self.foresight = Foresight(self._durations, instruments)
        """For the orchestrator."""

    def close(self) -> None:
        """Give the file back."""
        self._durations.close()

    @contextlib.asynccontextmanager
    async def keeping(self, orchestrator: Orchestrator) -> AsyncIterator[list[APIRouter]]:
        """Learn, submit what is due and watch deadlines while the block runs; answers the routes."""
        outlook = Outlook(orchestrator, self.foresight, self._instruments)
        timetable = Timetable(orchestrator.journal, submit_through(orchestrator), orchestrator.changes)
        vigil = Vigil(orchestrator.journal.tasks, outlook, orchestrator.changes)
        changes = orchestrator.changes
        tasks = [_begun(work) for work in (self._durations.keep_up(changes), timetable.keep(), vigil.keep())]
        try:
            yield [forecast_routes(outlook, self._durations), schedule_routes(orchestrator, timetable)]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(work)
    task.add_done_callback(_stopped)
    return task


def _stopped(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("a part of what goes by the clock stopped", exc_info=error)
