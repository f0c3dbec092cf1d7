"""How often a client may act: a bucket of tickets that fills again at a steady pace, for each client its own."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_CLIENTS = 4096
"""Buckets that are kept; the one that was not used for longest goes first."""


class Pace:
    """Buckets by client.

    Args:
        burst: acts that a client who was quiet may do at once.
        per_second: how many come back each second.
        clock: seconds that only rise.
    """

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Take a ticket: 0.0; or, where there is none, the seconds until there is one."""
        left = self._left(client)
        if left < 1:
            return (1 - left) / self._per_second
        self._buckets[client] = (left - 1, self._clock())
        self._buckets.move_to_end(client)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0

    def exhausted(self, client: str) -> bool:
        """There is no ticket now; none is taken."""
        return self._left(client) < 1

    def _left(self, client: str) -> float:
        left, when = self._buckets.get(client, (self._burst, 0.0))
        return min(self._burst, left + (self._clock() - when) * self._per_second)
