"""The halt: no run takes another step until somebody resets it, also after a restart of the hub.

Stopping the drivers is the caller's part; here is only the word. It counts at once, and no disk holds it up; a disk
that does not take it is asked again until it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from labretto.catalog.live import Changes
from labretto.errors import StorageError
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.journal import Journal
from labretto.orchestrator.runlog import RETRY_WRITING_AFTER

logger = logging.getLogger(__name__)


class Halt:
    """Whether the lab is halted.

    Args:
        journal: keeps it.
        changes: where viewers are told.
        changed: called after every word.
    """

    def __init__(self, journal: Journal, changes: Changes, changed: Callable[[], None]) -> None:
        self._journal = journal
        self._changes = changes
        self._changed = changed
        self._halted: dict[str, Any] | None = None
        self._keeping: asyncio.Task[None] | None = None

    def remember(self) -> None:
        """Take up what was said before the hub was started."""
        self._halted = self._journal.noted("halt")

    @property
    def is_on(self) -> bool:
        """Between a halt and its reset."""
        return self._halted is not None

    @property
    def words(self) -> Mapping[str, Any]:
        """Whether, by whom, when, and what came of it at each instrument."""
        return self._halted or {"halted": False}

    def halt(self, by: str | None) -> None:
        """Let no run take another step."""
        self._set({"halted": True, "by": by})

    def stopped(self, outcomes: Sequence[Mapping[str, Any]]) -> None:
        """Keep and tell what came of the halt at each instrument."""
        if self._halted is not None:
            self._halted = {**self._halted, "stopped": list(outcomes)}
            self._changes.publish("halt", dict(self._halted))
            self._note()

    def reset(self, by: str | None) -> None:
        """Let runs go on."""
        self._set({"halted": False, "by": by})

    def _set(self, words: dict[str, Any]) -> None:
        words["at"] = isoformat(now())
        self._halted = words if words["halted"] else None
        self._changes.publish("halt", dict(words))
        self._changed()
        self._note()

    def _note(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        self._keeping = asyncio.ensure_future(self._keep(self._halted, self._journal.note("halt", self._halted)))

    async def _keep(self, words: Mapping[str, Any] | None, written: Future[int]) -> None:
        while True:
            try:
                await asyncio.shield(asyncio.wrap_future(written))
            except StorageError as error:
                logger.warning("the halt is not on the disk; trying again", extra={"why": error.detail})
                await asyncio.sleep(RETRY_WRITING_AFTER)
                written = self._journal.note("halt", words)
            else:
                return

    async def kept(self, within: float) -> bool:
        """Whether the last word is on the disk, and would outlive the hub; waits so many seconds for that."""
        if self._keeping is not None:
            await asyncio.wait({self._keeping}, timeout=within)
        return self._keeping is None or self._keeping.done()

    async def close(self) -> None:
        """Ask the disk no more."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
