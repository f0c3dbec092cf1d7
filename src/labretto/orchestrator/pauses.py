"""How long is still waited for what began before: over a restart, and over a clock that was set meanwhile. Pure.

What was asked for in seconds is waited for by the clock on the wall only because nothing else outlives a hub.
"""

from __future__ import annotations

from datetime import datetime, timedelta


def left_of(seconds: float, since: str, at: datetime) -> float:
    """Of `seconds` that began at `since`, those that are left at `at`: none to all of them.

    Where the clock was set back behind the beginning nobody knows how many have gone; then all of them are left.
    """
    gone = at - datetime.fromisoformat(since)
    return seconds - min(max(gone / timedelta(seconds=1), 0.0), seconds)


def is_within(seconds: float, since: str, at: datetime) -> bool:
    """Less than `seconds` have gone since then, as far as a clock that was set back can tell."""
    return timedelta() <= at - datetime.fromisoformat(since) < timedelta(seconds=seconds)
