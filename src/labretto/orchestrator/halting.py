"""The halt: no run takes another step until somebody resets it, also after a restart of the hub.

Stopping the drivers is the caller's part; here is only the word, which no disk may hold up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labretto.catalog.live import Changes
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.journal import Journal
from labretto.orchestrator.records import warn


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
            self._halted["stopped"] = list(outcomes)
            self._changes.publish("halt", dict(self._halted))

    def reset(self, by: str | None) -> None:
        """Let runs go on."""
        self._set({"halted": False, "by": by})

    def _set(self, words: dict[str, Any]) -> None:
        words["at"] = isoformat(now())
        self._halted = words if words["halted"] else None
        self._changes.publish("halt", dict(words))
        self._changed()
        self._journal.note("halt", self._halted).add_done_callback(warn)  # not waited for
