"""What is said of an action while it runs: how far it is, that it takes longer than usual, that it does not end.

A watch looks a few times a second, in the front, and touches no hardware: what a driver says of its progress is a plain
attribute of the object or a field of the rows it yields. It tells and ends nothing; an overrun is for people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from labretto.instrument.invocation import Invocation
from labretto.instrument.reading import isoformat, now

LOOK_EVERY = 0.25
"""Seconds between two looks."""

OVERRUN = 3.0
"""Times the usual duration after which an action is told to take too long."""

_OVERRUN_FROM = 1.0
"""Seconds: what ends sooner is no overrun, however quick it usually is."""


class Watch:
    """Looks at one invocation until it is over.

    Args:
        look: answers the invocation, and how far it says it is.
        tell: called with a topic and a body: "progress", "overrun", "overdue".
        factor: times its usual duration after which it takes too long.
    """

    def __init__(
        self,
        look: Callable[[], tuple[Invocation, float | None]],
        tell: Callable[[str, dict[str, Any]], None],
        factor: float = OVERRUN,
    ) -> None:
        self._look = look
        self._tell = tell
        self._factor = factor
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._told: float | None = None
        self._overrun = False
        self._cancelling: dict[str, Any] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._next = self._loop.call_later(LOOK_EVERY, self._tick)

    def now(self) -> Invocation:
        """The invocation with all that is known of it at this moment."""
        invocation, progress = self._look()
        if progress is None and self._cancelling is None:
            return invocation
        return replace(invocation, progress=progress, cancelling=self._cancelling)

    def cancelled_at(self, at: datetime, within: float) -> None:
        """Somebody asked for its end; the first who asks sets the deadline, a sooner one moves it."""
        asked = (self._cancelling or {}).get("asked") or isoformat(at)
        deadline = self._loop.time() + within
        if self._deadline is not None:
            deadline = min(deadline, self._deadline.when())
            self._deadline.cancel()
        within = min(within, (self._cancelling or {}).get("within", within))
        self._cancelling = {"asked": asked, "within": within, "overdue": False}
        self._deadline = self._loop.call_at(deadline, self._overdue)

    def end(self) -> None:
        """It is over."""
        self._next.cancel()
        if self._deadline is not None:
            self._deadline.cancel()

    def _overdue(self) -> None:
        self._cancelling = {**(self._cancelling or {}), "overdue": True}
        self._say("overdue", self.now())

    def _tick(self) -> None:
        invocation = self.now()
        if invocation.progress is not None and invocation.progress != self._told:
            self._told = invocation.progress
            self._say("progress", invocation)
        if not self._overrun and self._too_long(invocation.expected_seconds):
            self._overrun = True
            self._say("overrun", invocation)
        self._next = self._loop.call_later(LOOK_EVERY, self._tick)

    def _too_long(self, expected: float | None) -> bool:
        return expected is not None and self._seconds() > max(self._factor * expected, _OVERRUN_FROM)

    def _seconds(self) -> float:
        return self._loop.time() - self._began

    def _say(self, topic: str, invocation: Invocation) -> None:
        started = invocation.started or now()
        body: dict[str, Any] = {"invocation": invocation.id, "instrument": invocation.instrument}
        body |= {"action": invocation.action, "started": isoformat(started), "seconds": round(self._seconds(), 3)}
        names = ("progress", "expected_seconds", "cancelling")
        self._tell(topic, body | {name: getattr(invocation, name) for name in names})
