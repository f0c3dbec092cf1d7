"""How long an action usually takes: the median of its last successful ends, for people who wait and for overruns."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict, deque

LAST = 20
"""Ends of each action that count."""

WORTH_KEEPING = 0.05
"""Seconds from which a duration is worth a write to the disk; shorter ones are known as long as the host lives."""


class Durations:
    """What the ledger knows of durations; any thread may ask and add."""

    def __init__(self) -> None:
        self._last: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=LAST))
        self._median: dict[str, float] = {}
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    def add(self, action: str, seconds: float) -> int:
        """Take the duration of an end; answers the place, below `LAST`, at which it replaces the oldest."""
        with self._lock:
            last = self._last[action]
            last.append(seconds)
            self._median[action] = round(statistics.median(last), 6)
            self._counts[action] += 1
            return (self._counts[action] - 1) % LAST

    def expected(self, action: str) -> float | None:
        """Seconds; None if it never ended here."""
        return self._median.get(action)
