"""How many rows of one measurement the front has not told yet; who makes them waits where there are too many.

A generator can yield faster than anybody listens. The result loses nothing, viewers may lose frames; what must not
happen is that rows pile up in memory between the driver's thread and the front.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

MOST = 256
"""Rows that may wait for the front."""

_LOOK_AGAIN_AFTER = 1.0
"""Seconds after which a driver that waits looks whether the front is there still."""


class Backlog:
    """Rows on their way to the front.

    Args:
        alive: the front is there still.
        most: rows that may wait.
    """

    def __init__(self, alive: Callable[[], bool], most: int = MOST) -> None:
        self.unread = 0
        self._alive = alive
        self._most = most
        self._lock = threading.Lock()
        self._wake: Callable[[], None] | None = None

    def put(self) -> None:
        """One more is on its way."""
        with self._lock:
            self.unread += 1

    def took(self) -> None:
        """One was told. Called in the front."""
        with self._lock:
            self.unread -= 1
            wake, self._wake = (self._wake, None) if self.unread <= self._most // 2 else (None, self._wake)
        if wake:
            wake()

    async def room(self) -> None:
        """Return when the next row may follow. Called where the driver is called."""
        while self.unread >= self._most and self._alive():
            ready, loop = asyncio.Event(), asyncio.get_running_loop()

            def wake(ready: asyncio.Event = ready, loop: asyncio.AbstractEventLoop = loop) -> None:
                with contextlib.suppress(RuntimeError):  # it is closed: nobody waits there any more
                    loop.call_soon_threadsafe(ready.set)

            with self._lock:
                if self.unread < self._most:
                    return
                self._wake = wake
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ready.wait(), _LOOK_AGAIN_AFTER)
