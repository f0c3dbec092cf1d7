"""What a run decided and what came of it, written: first into the journal, then folded, recorded and told.

The order is the promise: what viewers and the record know, the journal knew before. A disk that does not take it holds
the run up and nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from labretto.catalog.live import Changes
from labretto.catalog.store import RecordWriter
from labretto.errors import ConflictError, LabError, StorageError
from labretto.orchestrator.engine import RunState, state_after
from labretto.orchestrator.journal import Entry, Journal

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_WRITING_AFTER = 1.0
"""Seconds between attempts to write what the disk does not take; the run stands still meanwhile and says why."""


class RunLog:
    """The writing of one run.

    Args:
        state: the run, folded from its journal; kept up to date here.
        journal, record: where it is written.
        changes: where viewers are told.
        on_word: told the run's word when it changes while the run goes on.
    """

    def __init__(
        self,
        state: RunState,
        *,
        journal: Journal,
        record: RecordWriter,
        changes: Changes,
        on_word: Callable[[str], None],
    ) -> None:
        self.state = state
        self.record = record
        self.changes = changes
        self.full: str | None = None
        """What the disk says as long as it does not take what must be written."""
        self.lost = False
        """Another process writes into this run: it is done there."""
        self.trouble: Callable[[], str | None] = lambda: None
        """Answers why it stands still now, if something outside holds it up."""
        self.appending = asyncio.Lock()
        """Held by who looks at the state and writes what follows from it; then `write` is for him."""
        self._journal = journal
        self._on_word = on_word

    async def append(self, *entries: Entry, flush: bool = False) -> None:
        """Append to the journal, then fold, record and tell; where the disk is full, try until it takes it.

        Raises:
            ConflictError: another process writes into this run.
        """
        async with self.appending:
            await self.write(*entries, flush=flush)

    async def write(self, *entries: Entry, flush: bool = False) -> None:
        """`append` for one who holds the lock."""
        try:
            events = await self._until_written(
                lambda: self._journal.append(self.state.id, self.state.number, entries, flush=flush)
            )
        except ConflictError:  # the run is another's now: no step of it may begin here
            self.lost = True
            raise
        for event in events:
            flat = event.as_dict()
            self.state.apply(flat)
            self._to_record(flat)
            self._tell(flat)

    async def keeping(self, put: Callable[[], T]) -> T:
        """Store arrays without holding up others; where the disk is full, try until it takes them."""
        return await self._until_written(lambda: asyncio.to_thread(put))

    def tell_run(self) -> None:
        """Tell viewers how the run is."""
        self.changes.publish("run", self.summary())

    def summary(self) -> dict[str, Any]:
        """What a list of runs shows of it."""
        state = self.state
        names = ("id", "name", "who", "submitted", "started", "ended", "question", "number", "error")
        words = {name: getattr(state, name) for name in names}
        words |= {"pausing": state.pausing, "aborting": state.aborting}
        words["questions"] = list(state.questions.values())
        words |= {"state": state.word, "reason": self.full or self.trouble() or state.reason}
        return words | {"steps_done": state.done, "steps_total": state.experiment.get("steps")}

    async def _until_written(self, write: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                written = await write()
            except StorageError as error:
                logger.warning("the disk does not take it", extra={"run": self.state.id, "why": error.detail})
                self.full = str(error)
                self.tell_run()
                await asyncio.sleep(RETRY_WRITING_AFTER)
            else:
                if self.full:
                    self.full = None
                    self.tell_run()
                return written

    def _to_record(self, event: Mapping[str, Any]) -> None:
        """The record follows the journal; if it fell behind (full disk), it catches up here."""
        try:
            if self.record.last_number < event["number"] - 1:
                for missing in self._journal.read(self.state.id, self.record.last_number):
                    self.record.event(missing.as_dict())
            self.record.event(event)
        except LabError as error:
            logger.warning("the record fell behind its journal", extra={"run": self.state.id, "why": error.detail})

    def _tell(self, event: Mapping[str, Any]) -> None:
        if event["kind"] in ("intended", "ended", "interrupted"):
            step = self.state.steps[event["path"]]
            names = ("path", "instrument", "action", "state", "attempt", "error")
            words = {name: getattr(step, name) for name in names}
            self.changes.publish("step", {"run": self.state.id, **words, "at": event["at"], **_times(event)})
        elif event["kind"] == "saved":
            self.changes.publish("saved", {"run": self.state.id, "path": event["path"], "row": event["row"]})
        elif event["kind"] in ("waiting", "settled", "aborting", "finished"):
            self._journal.tasks.tell(self.state.id, event["at"])
        if event["kind"] in ("pausing", "resuming"):
            self.tell_run()
        elif state_after(event["kind"], event):
            self.tell_run()
            if event["kind"] not in ("started", "finished"):  # its record is opened and closed with these words
                self._on_word(self.state.word)


def _times(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("parameters", "started", "ended", "origin") if name in body}
