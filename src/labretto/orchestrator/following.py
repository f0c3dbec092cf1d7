"""The journal followed from a place on: what was written before, then what comes, each event once, none left out.

The journal is durable, so who was away for a week misses nothing: it says the sequence number it saw last. Nobody is
waited for: a follower asks for the next events when it has done with those before, and a change of the live stream only
tells it that there may be some.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from labretto.catalog.live import Changes
from labretto.orchestrator.journal import Event, Journal

PIECE = 500
"""Events that are read at once."""
LOOK_EVERY = 15.0
"""Seconds after which it looks, whether it was told of something or not."""

_SAY_NOTHING = frozenset({"readings", "instrument", "progress", "lease", "invocation"})
"""Topics of changes that are no sign of an event in the journal."""

Piece = list[tuple[int, Event]]


async def follow(
    journal: Journal, changes: Changes, after: int, *, idle: float = LOOK_EVERY, together: float = 0.0
) -> AsyncGenerator[Piece, None]:
    """Pieces of the events after the sequence number `after`, in order, without end.

    A piece is empty when there was nothing for `idle` seconds. It ends when the change stream is closed.

    Args:
        journal, changes: of the hub.
        after: 0 for everything.
        idle: seconds.
        together: seconds for which events are gathered before they are read, by one who is in no hurry.

    Raises:
        StorageError: the journal cannot be read now.
    """
    while True:
        place = changes.sequence  # before looking: what is written after the look is told after it too
        if piece := await asyncio.to_thread(journal.since, after, PIECE):
            after = piece[-1][0]
            yield piece
            await asyncio.sleep(together)
        elif not await _told(changes, place, idle):
            if changes.closed:
                return
            yield []


async def _told(changes: Changes, place: int, within: float) -> bool:
    """Whether something that may be in the journal was told within so many seconds."""
    try:
        async with asyncio.timeout(within):
            while (batch := await changes.wait(place)) is not None:
                place = batch.sequence
                if batch.missed or any(change.topic not in _SAY_NOTHING for change in batch.changes):
                    return True
    except TimeoutError:
        pass
    return False
