"""Going round the attributes that have a poll period: one look at a time, so whoever asks waits for one at the most.

Runs in the front. A look that takes long is followed by a pause as long as itself: polling never takes more than half
of a driver's time. While the driver cannot be asked, what is told of the attributes says so.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Mapping

from labretto.instrument.readings import HEARTBEAT


class Polling:
    """Looks at attributes by itself until `end`.

    Args:
        periods: attribute → seconds from the beginning of one look to the next.
        look: looks at one; answers when that is done, or cannot be done now.
        silent: told, while a look does not come back, of each attribute.
    """

    def __init__(
        self, periods: Mapping[str, float], look: Callable[[str], Awaitable[None]], silent: Callable[[str], None]
    ) -> None:
        self._periods = periods
        self._look = look
        self._silent = silent
        self._task = asyncio.create_task(self._go_round(), name="polling") if periods else None

    async def end(self) -> None:
        """Look no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_round(self) -> None:
        loop = asyncio.get_running_loop()
        due = [(loop.time() + every, name) for name, every in self._periods.items()]
        heapq.heapify(due)
        while True:
            at, name = due[0]
            await asyncio.sleep(at - loop.time())
            began = loop.time()
            await self._patiently(name)
            took = loop.time() - began
            heapq.heapreplace(due, (max(began + self._periods[name], loop.time() + took), name))

    async def _patiently(self, name: str) -> None:
        """One look; however long it takes, there is a word about all of them in time."""
        looking = asyncio.ensure_future(self._look(name))
        try:
            while not (await asyncio.wait([looking], timeout=HEARTBEAT * min(self._periods.values())))[0]:
                for each in self._periods:
                    self._silent(each)
            await looking
        finally:
            looking.cancel()
