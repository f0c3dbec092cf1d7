"""The record of each run: opened when it begins, brought up to its journal, closed when it is over, also after a crash.

The journal comes first. A record that a full disk or a crash left behind is made whole from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from labretto.catalog.events import EventLog
from labretto.catalog.finish import finalise
from labretto.catalog.history import fold
from labretto.catalog.live import Changes
from labretto.catalog.search import Index
from labretto.catalog.store import Catalog, RecordWriter
from labretto.errors import LabError, NotFoundError, StorageError
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.engine import OVER, RunState
from labretto.orchestrator.journal import Journal
from labretto.orchestrator.runlog import RETRY_WRITING_AFTER
from labretto.orchestrator.submission import LabInstruments
from labretto.orchestrator.table import RunRow

logger = logging.getLogger(__name__)

LATELY = 100
"""Runs that are looked for in the index at the start: so many may have ended without a record before a crash."""
OPEN = ("running", "waiting", "paused")
"""Words of runs that have begun and are not over."""


class Records:
    """The records of a lab's runs.

    Args:
        journal: what they follow.
        catalog, index: where they go.
        instruments: whose descriptions they keep.
        changes: where viewers are told.
    """

    def __init__(
        self, *, journal: Journal, catalog: Catalog, index: Index, instruments: LabInstruments, changes: Changes
    ) -> None:
        self._journal = journal
        self._catalog = catalog
        self._index = index
        self._instruments = instruments
        self._changes = changes
        self._closing: set[asyncio.Task[None]] = set()

    async def opened(self, run: str) -> tuple[RunState, RecordWriter]:
        """A run as its journal tells it, and its record, which follows the journal; when the disk takes that."""
        while True:
            events = [event.as_dict() for event in self._journal.read(run)]
            try:
                state = RunState.replay(run, events)
                return state, self._record(events, state.word)
            except StorageError as error:
                logger.warning("a record cannot be opened", extra={"run": run, "why": error.detail})
                self._changes.publish("run", self._journal.row(run).as_dict() | {"reason": str(error)})
            await asyncio.sleep(RETRY_WRITING_AFTER)

    def say(self, run: str, word: str) -> None:
        """Let the run be found by the word that it has now."""
        self._index.say(run, word).add_done_callback(warn)

    async def changed(self, row: RunRow) -> None:
        """Let a run be found by the labels that it has now; the record of one that is over says them too."""
        if row.state in OVER:
            self.close_apart(row.id)
        labelled = self._index.label(row.id, row.labels)
        labelled.add_done_callback(warn)
        await asyncio.wait([asyncio.wrap_future(labelled)])

    def close_apart(self, run: str) -> None:
        """Close the record of a run that is over, beside everything else."""
        task = asyncio.ensure_future(self._close(run))
        self._closing.add(task)
        task.add_done_callback(self._closed)

    async def close_left_open(self) -> None:
        """Close the records of runs that ended just before a crash; of the last ones also those that never began."""
        found = [each["id"] for word in OPEN for each in self._index.search(state=word, limit=10_000)]
        lately = [row.id for row in self._journal.newest(LATELY, states=tuple(OVER))]
        found += self._index.unknown(lately)
        for run in found:
            if self._is_over(run):
                await self._close(run)

    async def wait(self) -> None:
        """Return when nothing is being closed. The threads cannot be cancelled; the next hub must not meet them."""
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _record(self, events: Sequence[Mapping[str, Any]], word: str) -> RecordWriter:
        """The record of a run whose state is `word`, with its manifest, followed up to the journal's last event."""
        first = events[0]
        begun = next((event["at"] for event in events if event["kind"] == "started"), None) or isoformat(now())
        told = fold(event for event in events if event["kind"] in ("submitted", "edited"))
        words = {name: first[name] for name in ("who", "versions")}
        words |= {name: getattr(told, name) for name in ("name", "experiment", "parameters", "labels", "edits")}
        times = {"submitted": first["at"], "started": begun, "state": word if word in OPEN else "running"}
        manifest = {"id": first["run"], **times, **words, "instruments": self._instruments.descriptions()}
        record = self._catalog.begin(first["run"], manifest)
        try:
            for event in events[record.last_number :]:
                record.event(event)
        except BaseException:
            record.close()
            raise
        self._index.upsert(manifest).add_done_callback(warn)
        return record

    async def _close(self, run: str) -> None:
        """Close it; where the disk is full it stays as readable as it is, and the next start tries again."""
        try:
            manifest = await asyncio.to_thread(self._close_now, run)
            await asyncio.wrap_future(self._index.upsert(manifest))
        except (LabError, OSError) as error:
            logger.warning("a record could not be closed", extra={"run": run, "why": str(error)})
        else:
            self._changes.publish("record", {"run": run})

    def _close_now(self, run: str) -> Mapping[str, Any]:
        """Bring the record up to its journal, if a full disk or a crash left it behind, and close it."""
        if self._recorded(run) < self._journal.row(run).last:
            events = [event.as_dict() for event in self._journal.read(run)]
            self._record(events, self._journal.row(run).state).close()
        return finalise(self._catalog.find(run))

    def _recorded(self, run: str) -> int:
        """Number of the last event that the record holds."""
        try:
            with contextlib.closing(EventLog(self._catalog.find(run))) as log:
                return log.last_number
        except NotFoundError:
            return 0

    def _is_over(self, run: str) -> bool:
        try:
            return self._journal.row(run).state in OVER
        except NotFoundError:  # a record from another lab
            return False

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a record could not be closed", exc_info=error)


def warn(written: Future[Any]) -> None:
    """What to do with a write that nobody waits for."""
    if not written.cancelled() and (error := written.exception()):
        logger.warning("a record's place in the index was not written", extra={"why": str(error)})
