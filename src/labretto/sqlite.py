"""One SQLite file: one thread writes, with group commit; many may read.

Writers put a transaction into a queue and get a future; the thread takes all that wait, commits them together and only
then answers. So a hundred small writes cost one commit, and nothing is acknowledged before it is on disk.
What the tables mean is the business of the room that owns the file.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from labretto.errors import LabError, StorageError

T = TypeVar("T")
Row = sqlite3.Row

_TURN_WITHIN = 5.0
"""Seconds to wait for another process that writes the same file."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in WAL mode that answers rows by column name; one thread at a time may use it.

    Raises:
        StorageError: the file cannot be opened, is no database, or cannot be written.
    """
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        # As a URI, because only that can say read-only; quoted, because a folder may be called "50%?".
        address = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    except (sqlite3.Error, OSError) as error:
        raise storage_error(path, error) from error
    connection.row_factory = sqlite3.Row
    try:
        connection.execute(f"PRAGMA busy_timeout={_TURN_WITHIN * 1000:.0f}")
        if not read_only:
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error as error:
        connection.close()
        raise storage_error(path, error) from error
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL; where several processes open a new file at once SQLite itself does not wait for its turn."""
    until = time.monotonic() + _TURN_WITHIN
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return


def _add_missing(connection: sqlite3.Connection, added: Mapping[str, Mapping[str, str]]) -> None:
    """Bring the tables of an older file up to this version."""
    for table, columns in added.items():
        if columns.keys() <= (there := _columns(connection, table)) or not there:
            continue
        connection.execute("BEGIN IMMEDIATE")  # another process may be about to do the same
        for name in columns.keys() - _columns(connection, table):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {columns[name]}")
        connection.execute("COMMIT")


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """Names of a table's columns; empty if there is no such table."""
    return {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}


def storage_error(path: Path, error: Exception) -> StorageError:
    """What a database or system error means to the one who asked for the write."""
    damaged = isinstance(error, sqlite3.Error) and _code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
    return StorageError(
        f"{path} cannot be used: {error}.",
        way_out="It is no database, or damaged: move it away, or put a copy in its place."
        if damaged
        else "Free space or mend the permissions there, then ask again; what was acknowledged is kept.",
    )


_OF_THE_STATEMENT = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)
"""SQLite's codes for what is wrong with a statement or its values; every other code is about the file or the disk."""


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None for an error that Python's own module found."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _told(path: Path, error: BaseException) -> BaseException:
    """The error as its transaction is told: the disk's in the words of the lab, the transaction's own as it is."""
    if isinstance(error, sqlite3.Error) and _code(error) not in (_OF_THE_STATEMENT | {None}):
        return storage_error(path, error)
    return error


@dataclass
class _Transaction:
    run: Callable[[sqlite3.Connection], Any]
    flush: bool
    future: Future[Any] = field(default_factory=Future)


class Database:
    """The file `path` with the tables of `schema` (SQL, every statement `IF NOT EXISTS`).

    `added` has the columns that a table of an older file may lack: table → column → its definition, each NULL or with
    a default. They are put there before anything else is done; a file that has them is left as it is.

    `write` and `transact` may be called from any thread. `read` uses one connection of its own under a lock.
    """

    def __init__(self, path: Path, schema: str, *, added: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.path = path
        self._writer = connect(path)
        try:
            _add_missing(self._writer, added or {})
            self._writer.executescript(schema)
            self._reader = connect(path, read_only=True)
        except (sqlite3.Error, StorageError) as error:
            self._writer.close()
            raise error if isinstance(error, StorageError) else storage_error(path, error) from error
        self.on_commit: Callable[[float, bool], None] = lambda seconds, flush: None
        """Told how long each commit took and whether it was flushed; in the writer's thread, so it must not wait."""
        self._reading = threading.Lock()
        self._closing = threading.Lock()
        self._closed = False
        self._queue: queue.SimpleQueue[_Transaction | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"writer of {path.name}", daemon=True)
        self._thread.start()

    def transact(self, run: Callable[[sqlite3.Connection], T], *, flush: bool = False) -> Future[T]:
        """Run `run(connection)` in the writer's thread inside a transaction; the future resolves after the commit.

        Args:
            run: executes SQL, but no `executescript` and no COMMIT; what it raises undoes its own statements only
                and reaches the future.
            flush: also flush the file to the disk (survives a power cut, not only a killed process).

        Returns:
            What `run` answers. A future cancelled before its turn is not run. `StorageError`: the disk does not take
            it, or the database is closed; nothing of it was written.
        """
        transaction = _Transaction(run, flush)
        with self._closing:  # so that nothing is put behind the end of the queue, where nobody would answer it
            if self._closed:
                transaction.future.set_exception(self._is_closed())
            else:
                self._queue.put(transaction)
        return transaction.future

    def write(self, sql: str, parameters: Sequence[Any] = (), *, flush: bool = False) -> Future[int]:
        """Execute one statement; the future answers the id of the last inserted row."""
        return self.transact(lambda connection: int(connection.execute(sql, parameters).lastrowid or 0), flush=flush)

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows that a query answers, as of the last commit.

        Raises:
            StorageError: the file cannot be read, or the database is closed.
        """
        with self._reading:
            if self._closed:
                raise self._is_closed()
            try:
                return self._reader.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise _told(self.path, error) from error

    def close(self) -> None:
        """Commit what waits, then close; a second call does nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()
        with self._reading:
            self._reader.close()
        self._writer.close()

    def _is_closed(self) -> StorageError:
        return StorageError(f"{self.path} is closed.", way_out="Open it again; what was acknowledged is kept.")

    def _work(self) -> None:
        while batch := self._next_batch():
            self._commit(batch)

    def _next_batch(self) -> list[_Transaction]:
        """All that wait, at least one; empty when the database is closed and nothing waits any more."""
        batch: list[_Transaction] = []
        while not batch:  # a whole batch may have been cancelled
            following = self._queue.get()
            while following is not None:
                if following.future.set_running_or_notify_cancel():
                    batch.append(following)
                if self._queue.empty() or len(batch) >= _BATCH:
                    break
                following = self._queue.get()
            if following is None:
                if batch:
                    self._queue.put(None)  # the end is met again after this last batch; nothing can stand behind it
                return batch
        return batch

    def _commit(self, batch: list[_Transaction]) -> None:
        flush = any(transaction.flush for transaction in batch)
        began = time.perf_counter()
        try:
            self._writer.execute(f"PRAGMA synchronous={'FULL' if flush else 'NORMAL'}")
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [self._run_one(transaction) for transaction in batch]
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            _fail_all(batch, storage_error(self.path, error))
            return
        self.on_commit(time.perf_counter() - began, flush)
        for transaction, (value, error_) in zip(batch, outcomes, strict=True):
            if error_ is not None:
                transaction.future.set_exception(error_)
            else:
                transaction.future.set_result(value)

    def _undo(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # SQLite has undone it by itself, as it may on a full disk
            self._writer.execute("ROLLBACK")

    def _run_one(self, transaction: _Transaction) -> tuple[Any, BaseException | None]:
        """What one transaction answers or raises; raises itself only if the whole batch is lost."""
        self._writer.execute("SAVEPOINT one")
        try:
            value = transaction.run(self._writer)
        except BaseException as error:  # noqa: BLE001 - a transaction may raise anything; the writer's thread lives on
            self._undo_one(error)
            return None, _told(self.path, error)
        self._writer.execute("RELEASE one")
        return value, None

    def _undo_one(self, error: BaseException) -> None:
        if not self._writer.in_transaction and isinstance(error, sqlite3.Error):
            raise error  # SQLite undid the batch, not only the statement: nobody may be told that it was written
        self._writer.execute("ROLLBACK TO one")
        self._writer.execute("RELEASE one")


_BATCH = 256
"""Transactions in one commit; more would make the first of them wait too long."""


def _fail_all(batch: Iterable[_Transaction], error: LabError) -> None:
    for transaction in batch:
        transaction.future.set_exception(error)
