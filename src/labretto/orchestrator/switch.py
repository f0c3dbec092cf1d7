"""The switch of the whole queue: while it is off, what runs runs to its end, and nothing begins.

It stays as it was left over any restart. Where `lab.toml` says `autostart = false` every start of the hub begins with
it off: after a power cut at night nothing moves before somebody has looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from labretto.catalog.live import Changes
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.journal import Journal

_NOTE = "queue"


class Switch:
    """Whether runs begin.

    Args:
        journal: remembers it.
        changes: where viewers are told.
        autostart: False: off at every start of the hub.
    """

    def __init__(self, journal: Journal, changes: Changes, *, autostart: bool) -> None:
        self._journal = journal
        self._changes = changes
        self._words: Mapping[str, Any] = journal.noted(_NOTE) or {"stopped": False}
        if not autostart and not self.stopped:
            self._words = {"stopped": True, "by": None, "at": isoformat(now()), "at_start": True}

    @property
    def stopped(self) -> bool:
        """Nothing begins."""
        return bool(self._words["stopped"])

    @property
    def words(self) -> Mapping[str, Any]:
        """`stopped`, and by whom and when it was switched last."""
        return self._words

    @property
    def why(self) -> str | None:
        """Why nothing begins, in one sentence; None if runs begin."""
        if not self.stopped:
            return None
        if self._words.get("at_start"):
            return "The queue stands since the hub was started, as lab.toml says (autostart = false)."
        return f"The queue was stopped by {self._words.get('by') or 'a person'}."

    async def turn(self, by: str | None, *, stopped: bool) -> None:
        """Stop or start the queue; when this returns it is on the disk."""
        words = {"stopped": stopped, "by": by, "at": isoformat(now())}
        await asyncio.wrap_future(self._journal.note(_NOTE, words))
        self._words = words
        self._changes.publish("queue", dict(words))
