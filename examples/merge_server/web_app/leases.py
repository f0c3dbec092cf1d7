"""Leases: which names are in use now, and until when.

A lease is a row with an end time in one SQLite file that all worker processes share. Nothing is held in memory, so a
worker that is killed releases nothing early and nothing for ever. What HTTP makes of it stands in `main`.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labretto.sqlite import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS lease (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- only ever rises: an old holder can be told from the present one
    name TEXT NOT NULL UNIQUE,
    seconds REAL NOT NULL,
    ends REAL NOT NULL  -- Unix time
)
"""


@dataclass(frozen=True)
class Lease:
    """The right to use a name alone."""

    number: int
    """Higher than that of every lease before it."""
    left: float
    """Seconds until it ends by itself."""


class Leases:
    """All leases of one resource; any number of processes may open the same file.

    Args:
        file: where they stand.
        seconds: how long a new one lasts.
        clock: Unix time.
    """

    def __init__(self, file: Path, seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(file, SCHEMA)
        self._seconds = seconds
        self._clock = clock

    async def take(self, name: str) -> tuple[bool, Lease]:
        """Whether `name` was free and is now ours; and its lease, ours or the other's.

        Raises:
            StorageError: the file cannot be written; nothing was taken.
        """
        return await asyncio.wrap_future(self._database.transact(lambda connection: self._take(connection, name)))

    def close(self) -> None:
        """Let the file go; leases stay."""
        self._database.close()

    def _take(self, connection: sqlite3.Connection, name: str) -> tuple[bool, Lease]:
        # The time is looked up here, where no other process can write: they take their turns in its order.
        now = self._clock()
        connection.execute("DELETE FROM lease WHERE ends <= ?", [now])
        # A lease with more time left than it was given was taken before somebody set the clock back: it begins anew.
        connection.execute("UPDATE lease SET ends = ? + seconds WHERE ends > ? + seconds", [now, now])
        taken = connection.execute(
            "INSERT INTO lease (name, seconds, ends) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [name, self._seconds, now + self._seconds],
        ).rowcount
        row = connection.execute("SELECT number, ends FROM lease WHERE name = ?", [name]).fetchone()
        return bool(taken), Lease(row["number"], row["ends"] - now)
