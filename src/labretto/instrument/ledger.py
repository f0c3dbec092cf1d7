"""The ledger: what a host remembers of each invocation, so that its outcome is known after any crash.

*Accepted and started* are written before the driver is called, *ended* before the answer leaves. The start of an
action that must happen once is flushed to the disk; the rest survives a killed process, and a power cut may lose the
last ones. What was running when a host died is recorded as interrupted when the next one opens the file; it is never
run again here.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from labretto import sqlite
from labretto.errors import ConflictError, InterruptedActionError, LabError, StorageError
from labretto.instrument import codec
from labretto.instrument.durations import WORTH_KEEPING, Durations
from labretto.instrument.invocation import HARMLESS, Invocation, State, born, new_id
from labretto.instrument.reading import isoformat, now

_SCHEMA = """
CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS invocations (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, parameters BLOB NOT NULL, start BLOB NOT NULL, ending BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS durations (
    action TEXT NOT NULL, place INTEGER NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (action, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS running ON invocations (state) WHERE state = 'running';
"""

KEPT = 100_000
"""Invocations that a ledger keeps; the oldest are forgotten, and asked for they "cannot tell"."""

KEPT_BYTES = 4 * 2**30
"""What the results that a ledger keeps may take together; beyond it the oldest are forgotten in the same way, but never
the last `AT_LEAST`: whoever has just been answered may ask again."""

AT_LEAST = 10

AT_ONCE = 100
"""Invocations that are forgotten together while actions come and go, so that no single one waits long for it."""


class Ledger:
    """What one host remembers, in the SQLite file `path` (None: in memory only, for tests and notebooks).

    Raises:
        StorageError: the file cannot be opened or written; the action asked for has not been started.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.closed = False
        self._connection = sqlite.connect(path) if path else _in_memory()
        self._lock = threading.Lock()
        try:
            self._open()
            # A reader of its own: who asks for an id does not wait while a start is flushed to the disk.
            self._reader = sqlite.connect(path, read_only=True) if path else self._connection
        except LabError:
            self._connection.close()
            raise
        self._reading = threading.Lock() if path else self._lock

    def _open(self) -> None:
        with self._writing():
            self._connection.executescript(_SCHEMA)
        self.birth = self._remember("birth", new_id())
        self._remember("since", isoformat(now()))
        self.lease = int(self._remember("lease", "0"))
        self.held: dict[str, Any] | None = json.loads(self._remember("held", "null"))
        self.alarms: list[dict[str, Any]] = json.loads(self._remember("alarms", "[]"))
        sql = "SELECT COUNT(*), TOTAL(LENGTH(ending)) FROM invocations"
        self._count, self._bytes = map(int, self._connection.execute(sql).fetchone())
        self._interrupt_what_was_running()
        self._forget(max(self._count - KEPT, self._oldest_that_are_too_large()))
        self.durations = Durations()
        for row in self._connection.execute("SELECT action, seconds FROM durations").fetchall():
            self.durations.add(row["action"], row["seconds"])
        self._since = datetime.fromisoformat(self._remember("since", ""))

    def begin(self, invocation: Invocation) -> None:
        """Write *accepted* and *started*. When this returns, the driver may be called.

        Raises:
            StorageError: it cannot be written; nothing was.
            ConflictError: the id is here already.
        """
        start = codec.encode({**invocation.as_dict(), "parameters": None})
        row = (invocation.id, "running", codec.encode_sorted(dict(invocation.parameters)), start)
        with self._writing(flush=invocation.effect not in HARMLESS):
            self._connection.execute("INSERT INTO invocations (id, state, parameters, start) VALUES (?, ?, ?, ?)", row)
            self._count += 1

    def end(self, invocation: Invocation) -> Invocation:
        """Write the end with the result or the error. When this returns, the answer may leave.

        Returns:
            The invocation as it is kept, the result in plain values: the first answer is what every later one will be.

        Raises:
            CannotEncodeError: the result cannot be kept; nothing was written.
            StorageError: the disk does not take it; nothing was written.
        """
        body = invocation.as_dict()
        ending = codec.encode({name: body[name] for name in ("state", "ended", "result", "error")})
        with self._writing():
            sql = "UPDATE invocations SET state = ?, ending = ? WHERE id = ?"
            self._connection.execute(sql, (invocation.state, ending, invocation.id))
            self._bytes += len(ending)
        self._keep_duration(invocation)
        kept = codec.decode(ending)
        return replace(invocation, result=kept["result"], error=kept["error"])

    def _keep_duration(self, invocation: Invocation) -> None:
        if invocation.state != "succeeded" or invocation.started is None or invocation.ended is None:
            return
        seconds = (invocation.ended - invocation.started).total_seconds()
        if seconds < 0.0:  # the clock was set back meanwhile
            return
        place = self.durations.add(invocation.action, seconds)
        if seconds >= WORTH_KEEPING:
            with contextlib.suppress(StorageError), self._writing():  # the end is written: that counts
                row = (invocation.action, place, seconds)
                self._connection.execute("INSERT OR REPLACE INTO durations VALUES (?, ?, ?)", row)

    def forget(self) -> None:
        """Forget the oldest where there are too many; costs little, and nothing in most calls.

        Raises:
            StorageError: the disk does not take it; nothing is forgotten.
        """
        if self.closed:
            return
        if self._count >= KEPT + AT_ONCE:
            self._forget(min(self._count - KEPT, 2 * AT_ONCE))
        if self._bytes > KEPT_BYTES:
            self._forget(self._oldest_that_are_too_large())

    def find(self, identity: str) -> Invocation | None:
        """What is remembered of `identity`; None if nothing is."""
        with self._reading:
            try:
                row = self._reader.execute("SELECT * FROM invocations WHERE id = ?", (identity,)).fetchone()
            except sqlite3.Error as error:
                raise self._storage_error(error) from error
        return _invocation(row) if row else None

    def absent(self, identity: str) -> State:
        """What it means that `identity` is not here: it never arrived, or this ledger is too young to tell."""
        at = born(identity)
        # An id knows its birth to the millisecond only.
        old_enough = at is not None and at >= self._since.replace(microsecond=self._since.microsecond // 1000 * 1000)
        return "not arrived" if old_enough else "cannot tell"

    def keep_lease(self, highest: int, held: Mapping[str, Any] | None) -> None:
        """Keep the highest lease number seen, and who holds the instrument under it (None: nobody); on the disk."""
        told = json.dumps(held)
        with self._writing(flush=True):
            sql = "UPDATE memory SET value = CASE name WHEN 'lease' THEN ? ELSE ? END WHERE name IN ('lease', 'held')"
            self._connection.execute(sql, (str(highest), told))
        self.lease, self.held = highest, json.loads(told)

    def keep_alarms(self, alarms: Sequence[Mapping[str, Any]]) -> None:
        """Keep the list of alarms, in plain values."""
        told = json.dumps(list(alarms))
        with self._writing():
            self._connection.execute("UPDATE memory SET value = ? WHERE name = 'alarms'", (told,))
        self.alarms = json.loads(told)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._reading, self._lock if self._reading is not self._lock else contextlib.nullcontext():
            self.closed = True
            self._reader.close()
            self._connection.close()

    def _remember(self, name: str, value: str) -> str:
        with self._writing():
            self._connection.execute("INSERT OR IGNORE INTO memory VALUES (?, ?)", (name, value))
        return str(self._connection.execute("SELECT value FROM memory WHERE name = ?", (name,)).fetchone()["value"])

    def _interrupt_what_was_running(self) -> None:
        rows = self._connection.execute("SELECT * FROM invocations WHERE state = 'running'").fetchall()
        for invocation in map(_invocation, rows):
            self.interrupt(invocation, "the host died before its end")

    def interrupt(self, invocation: Invocation, why: str) -> None:
        """Record that its end was not seen, unless it is there."""
        name = f"{invocation.instrument}.{invocation.action}"
        error = InterruptedActionError(
            f"{name} began at {invocation.started:%Y-%m-%d %H:%M:%S}Z; {why}.",
            way_out="Look at the instrument and say what happened; a machine may repeat only what is harmless.",
        )
        body = invocation.end("interrupted", now(), error=error.problem()).as_dict()
        ending = codec.encode({name: body[name] for name in ("state", "ended", "result", "error")})
        with self._writing(flush=True):
            sql = "UPDATE invocations SET state = 'interrupted', ending = ? WHERE id = ? AND state = 'running'"
            self._connection.execute(sql, (ending, invocation.id))

    def _oldest_that_are_too_large(self) -> int:
        """How many of the oldest have to be forgotten for the rest to be small enough."""
        left, number = self._bytes, 0
        with self._lock:
            sql = "SELECT LENGTH(ending) AS size FROM invocations WHERE state != 'running' ORDER BY id LIMIT ?"
            sizes = self._connection.execute(sql, (max(0, self._count - AT_LEAST),))
            while left > KEPT_BYTES and (row := sizes.fetchone()):
                left, number = left - row["size"], number + 1
            sizes.close()
        return number

    def _forget(self, number: int) -> None:
        """Forget so many of the oldest that are over."""
        sql = "SELECT id FROM invocations WHERE state != 'running' ORDER BY id LIMIT 1 OFFSET ?"
        with self._lock:
            cut = self._connection.execute(sql, (number - 1,)).fetchone() if number > 0 else None
        if cut is None:
            return
        # An id knows its birth to the millisecond only: the whole one in which the last forgotten id was made counts
        # as forgotten. And what this file did not know before, it does not know because it forgets more.
        since = (born(cut["id"]) or now()) + timedelta(milliseconds=1)
        since = max(since, datetime.fromisoformat(self._remember("since", "")))
        with self._writing():  # both or neither: who is forgotten must not be taken for one who never arrived
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("UPDATE memory SET value = ? WHERE name = 'since'", (isoformat(since),))
            sql = "DELETE FROM invocations WHERE id <= ? AND state != 'running' RETURNING LENGTH(ending) AS size"
            gone = [row["size"] for row in self._connection.execute(sql, (cut["id"],)).fetchall()]
            self._connection.execute("COMMIT")
            self._count -= len(gone)
            self._bytes -= sum(gone)
        self._since = since

    @contextlib.contextmanager
    def _writing(self, *, flush: bool = False) -> Iterator[None]:
        """One commit under the lock; a database error says what it means for the one who asked."""
        with self._lock:
            try:
                self._connection.execute(f"PRAGMA synchronous={'FULL' if flush else 'NORMAL'}")
                yield
            except sqlite3.Error as error:
                if not self.closed and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise self._meaning(error) from error
            except OverflowError as error:  # a value of more than 2 GB, which Python itself does not hand over
                raise _too_large(error) from error

    def _meaning(self, error: sqlite3.Error) -> LabError:
        if isinstance(error, sqlite3.DataError):
            return _too_large(error)
        if isinstance(error, sqlite3.IntegrityError):
            return ConflictError("This invocation id is in the ledger already.", way_out="Ask for it instead.")
        return self._storage_error(error)

    def _storage_error(self, error: sqlite3.Error) -> StorageError:
        return sqlite.storage_error(self.path or Path("the ledger in memory"), error)


def _too_large(error: Exception) -> codec.CannotEncodeError:
    return codec.CannotEncodeError(
        f"It is too large for the ledger ({error}).", way_out="Save it to a file and answer the file's name."
    )


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _invocation(row: Any) -> Invocation:
    body = codec.decode(row["start"]) | {"parameters": codec.decode(row["parameters"])}
    if row["ending"] is not None:
        body |= codec.decode(row["ending"])
    return Invocation.from_dict(body)
