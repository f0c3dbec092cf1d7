"""One SQLite file: one thread writes, with group commit; many may read.

Writers put a transaction into a queue and get a future; the thread takes all that wait, commits them together and only
then answers. So a hundred small writes cost one commit, and nothing is acknowledged before it is on disk.
What the tables mean is the business of the room that owns the file.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from labretto.errors import LabError, StorageError

T = TypeVar("T")
Row = sqlite3.Row


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in WAL mode that answers rows by column name; one thread at a time may use it."""
    try:
        if read_only:
            connection = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA busy_timeout=5000")
    except (sqlite3.Error, OSError) as error:
        raise storage_error(path, error) from error
    connection.row_factory = sqlite3.Row
    return connection


def storage_error(path: Path, error: Exception) -> StorageError:
    """What a database or system error means to the one who asked for the write."""
    return StorageError(
        f"{path} cannot be used: {error}.",
        way_out="Free space or mend the permissions there, then ask again; what was acknowledged is kept.",
    )


@dataclass
class _Transaction:
    run: Callable[[sqlite3.Connection], Any]
    flush: bool
    future: Future[Any] = field(default_factory=Future)


class Database:
    """The file `path` with the tables of `schema` (SQL, every statement `IF NOT EXISTS`).

    `write` and `transact` may be called from any thread. `read` uses one connection of its own under a lock.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._writer = connect(path)
        try:
            self._writer.executescript(schema)
        except sqlite3.Error as error:
            raise storage_error(path, error) from error
        self._reader = connect(path, read_only=True)
        self._reading = threading.Lock()
        self._queue: queue.SimpleQueue[_Transaction | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"writer of {path.name}", daemon=True)
        self._thread.start()

    def transact(self, run: Callable[[sqlite3.Connection], T], *, flush: bool = False) -> Future[T]:
        """Run `run(connection)` in the writer's thread inside a transaction; the future resolves after the commit.

        Args:
            run: executes SQL; what it raises undoes its own statements only and reaches the future.
            flush: also flush the file to the disk (survives a power cut, not only a killed process).
        """
        transaction = _Transaction(run, flush)
        self._queue.put(transaction)
        return transaction.future

    def write(self, sql: str, parameters: Sequence[Any] = (), *, flush: bool = False) -> Future[int]:
        """Execute one statement; the future answers the id of the last inserted row."""
        return self.transact(lambda connection: int(connection.execute(sql, parameters).lastrowid or 0), flush=flush)

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows that a query answers, as of the last commit."""
        with self._reading:
            return self._reader.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Commit what waits, then close; a second call does nothing."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
            self._reader.close()
            self._writer.close()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            open_ = True
            while not self._queue.empty() and len(batch) < 256:
                following = self._queue.get()
                if following is None:
                    open_ = False
                    break
                batch.append(following)
            self._commit(batch)
            if not open_:
                return

    def _commit(self, batch: list[_Transaction]) -> None:
        flush = any(transaction.flush for transaction in batch)
        try:
            self._writer.execute(f"PRAGMA synchronous={'FULL' if flush else 'NORMAL'}")
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [self._run_one(transaction) for transaction in batch]
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            _fail_all(batch, storage_error(self.path, error))
            return
        for transaction, (value, error_) in zip(batch, outcomes, strict=True):
            if error_ is not None:
                transaction.future.set_exception(error_)
            else:
                transaction.future.set_result(value)

    def _run_one(self, transaction: _Transaction) -> tuple[Any, Exception | None]:
        self._writer.execute("SAVEPOINT one")
        try:
            value = transaction.run(self._writer)
        except (LabError, sqlite3.IntegrityError, ValueError, KeyError, TypeError) as error:
            self._writer.execute("ROLLBACK TO one")
            return None, error
        finally:
            if self._writer.in_transaction:
                self._writer.execute("RELEASE one")
        return value, None


def _fail_all(batch: Iterable[_Transaction], error: LabError) -> None:
    for transaction in batch:
        transaction.future.set_exception(error)
