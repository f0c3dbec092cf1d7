"""One file, one writer: everything acknowledged is there, everything refused is not, whatever happens in between."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

import pytest

from labretto.errors import BusyError, StorageError
from labretto.sqlite import Database, connect

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "notes.db", SCHEMA)
    yield database
    database.close()


def note(database: Database, text: str) -> int:
    return database.write("INSERT INTO notes (text) VALUES (?)", (text,)).result()


def texts(database: Database) -> list[str]:
    return [row["text"] for row in database.read("SELECT text FROM notes ORDER BY number")]


class HeldWriter:
    """Keeps the writer's thread inside a transaction until it is let go, so that others gather behind it."""

    def __init__(self, database: Database) -> None:
        self._inside, self._go = threading.Event(), threading.Event()
        self.transaction = database.transact(self._hold)
        self._inside.wait()

    def _hold(self, _: sqlite3.Connection) -> None:
        self._inside.set()
        self._go.wait()

    def let_go(self) -> None:
        self._go.set()


def test_what_is_acknowledged_is_read_at_once_and_by_the_next_process(tmp_path: Path) -> None:
    database = Database(tmp_path / "new" / "folder" / "notes.db", SCHEMA)
    assert note(database, "one") == 1
    assert texts(database) == ["one"]
    database.close()

    again = Database(tmp_path / "new" / "folder" / "notes.db", SCHEMA)
    assert texts(again) == ["one"]
    again.close()


@pytest.mark.parametrize("name", ["50%25?.db", "a#b.db", "with space.db", "größe.db"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    database = Database(tmp_path / name, SCHEMA)
    note(database, "one")
    assert texts(database) == ["one"]
    database.close()
    assert (tmp_path / name).is_file()


def test_transactions_that_wait_are_committed_together_in_their_order(database: Database) -> None:
    """While the writer is busy a hundred gather; a single commit then answers them all."""
    held = HeldWriter(database)
    futures = [database.write("INSERT INTO notes (text) VALUES (?)", (str(n),)) for n in range(100)]
    before = database.transact(lambda connection: connection.execute("PRAGMA data_version").fetchone()[0])
    commits: list[str] = []
    database._writer.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    held.let_go()

    assert [future.result() for future in [*futures, before]][:100] == list(range(1, 101))
    assert texts(database) == [str(n) for n in range(100)]
    assert len(commits) == 2  # the one that was held, and all the others


def test_nothing_is_acknowledged_before_it_is_committed(database: Database) -> None:
    """Two in one batch: the first has run when the second runs, and its future is still open."""
    held = HeldWriter(database)
    first = database.write("INSERT INTO notes (text) VALUES ('one')")
    seen = database.transact(lambda _: (first.done(), texts(database)))
    held.let_go()

    assert seen.result() == (False, [])
    assert first.result() == 1


def test_many_threads_write_and_read_and_nothing_is_lost(database: Database) -> None:
    def work(worker: int) -> None:
        for n in range(25):
            note(database, f"{worker}/{n}")
            assert f"{worker}/{n}" in texts(database)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts(database)) == 200


class OddError(Exception):
    """Of nobody's tree."""


@pytest.mark.parametrize(
    "error", [OddError("odd"), BusyError("busy"), ZeroDivisionError(), SystemExit(3), KeyboardInterrupt()]
)
def test_what_a_transaction_raises_undoes_only_its_own_statements(database: Database, error: BaseException) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes (text) VALUES ('mine')")
        raise error

    held = HeldWriter(database)
    before = database.write("INSERT INTO notes (text) VALUES ('before')")
    failing = database.transact(fail)
    after = database.write("INSERT INTO notes (text) VALUES ('after')")
    held.let_go()

    assert failing.exception() is error
    assert before.result()
    assert after.result()
    assert texts(database) == ["before", "after"]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("INSERT INTO notes (text) VALUES ('one')", sqlite3.IntegrityError),
        ("INSERT INTO nothing VALUES (1)", sqlite3.OperationalError),
        ("INSERT INTO notes (text) VALUES (?)", sqlite3.ProgrammingError),
    ],
)
def test_a_wrong_statement_is_its_authors_own_error(database: Database, sql: str, kind: type[Exception]) -> None:
    note(database, "one")
    held = HeldWriter(database)
    wrong = database.write(sql)
    right = database.write("INSERT INTO notes (text) VALUES ('two')")
    held.let_go()

    with pytest.raises(kind):
        wrong.result()
    assert right.result() == 2


def test_a_future_cancelled_before_its_turn_is_not_run_and_the_writer_goes_on(database: Database) -> None:
    held = HeldWriter(database)
    cancelled = database.write("INSERT INTO notes (text) VALUES ('cancelled')")
    following = database.write("INSERT INTO notes (text) VALUES ('following')")
    assert cancelled.cancel()
    held.let_go()

    with pytest.raises(CancelledError):
        cancelled.result()
    following.result()
    assert texts(database) == ["following"]


def test_a_batch_of_which_everything_was_cancelled_does_not_end_the_writer(database: Database) -> None:
    held = HeldWriter(database)
    assert database.write("INSERT INTO notes (text) VALUES ('cancelled')").cancel()
    held.let_go()
    held.transaction.result()

    assert note(database, "one") == 1


def test_a_transaction_that_has_begun_cannot_be_cancelled(database: Database) -> None:
    held = HeldWriter(database)
    assert not held.transaction.cancel()
    held.let_go()
    held.transaction.result()


def limit_pages(database: Database, *, spare: int) -> None:
    """A disk with room for `spare` more pages of 4 kB."""

    def limit(connection: sqlite3.Connection) -> None:
        used = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={used + spare}")

    database.transact(limit).result()


def lift_limit(database: Database) -> None:
    database.transact(lambda connection: connection.execute("PRAGMA max_page_count=1000000")).result()


def test_a_full_disk_refuses_what_does_not_fit_and_loses_nothing(database: Database) -> None:
    note(database, "kept")
    limit_pages(database, spare=2)
    with pytest.raises(StorageError, match="full") as refused:
        note(database, "x" * 100_000)
    assert "Free space" in refused.value.way_out
    assert texts(database) == ["kept"]

    lift_limit(database)
    note(database, "y" * 100_000)
    assert len(texts(database)) == 2


def test_on_a_full_disk_every_transaction_knows_whether_it_was_written(database: Database) -> None:
    """One batch of small and large ones: those acknowledged are there, those refused are not."""
    limit_pages(database, spare=4)
    held = HeldWriter(database)
    wanted = {f"{n:03}" + "x" * (20_000 if n % 3 == 1 else 1): None for n in range(30)}
    futures = {text: database.write("INSERT INTO notes (text) VALUES (?)", (text,)) for text in wanted}
    held.let_go()
    wait(futures.values())

    refused = [future.exception() for future in futures.values() if future.exception()]
    assert refused
    assert all(isinstance(error, StorageError) for error in refused)
    assert texts(database) == [text for text, future in futures.items() if not future.exception()]


FULL = """
import resource, sys
from pathlib import Path
from labretto.errors import StorageError
from labretto.sqlite import Database
database = Database(Path(sys.argv[1]), "CREATE TABLE IF NOT EXISTS notes (text TEXT)")
database.write("INSERT INTO notes VALUES ('first')").result()
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
acknowledged = 1
refused = 0
for n in range(100):
    try:
        database.write("INSERT INTO notes VALUES (?)", (f"{n}" + "x" * 10_000,)).result()
        acknowledged += 1
    except StorageError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
database.write("INSERT INTO notes VALUES ('last')").result()
print(acknowledged + 1, refused, flush=True)
"""


def test_a_file_system_that_takes_no_more_refuses_new_work_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """The operating system's own limit, not SQLite's; afterwards the same process goes on."""
    path = tmp_path / "notes.db"
    told = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True).stdout
    acknowledged, refused = map(int, told.split())

    assert refused > 0
    database = Database(path, "CREATE TABLE IF NOT EXISTS notes (text TEXT)")
    rows = [row["text"] for row in database.read("SELECT text FROM notes")]
    database.close()
    assert len(rows) == acknowledged
    assert (rows[0], rows[-1]) == ("first", "last")


KILLED = """
import os, signal, sys
from pathlib import Path
from labretto.sqlite import Database
database = Database(Path(sys.argv[1]), "CREATE TABLE IF NOT EXISTS notes (text TEXT)")
database.write("INSERT INTO notes VALUES ('acknowledged')").result()
def die(connection):
    connection.execute("INSERT INTO notes VALUES ('never acknowledged')")
    os.kill(os.getpid(), signal.SIGKILL)
database.transact(die).result()
"""


def test_a_killed_process_keeps_what_was_acknowledged_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9

    database = Database(path, "CREATE TABLE IF NOT EXISTS notes (text TEXT)")
    assert [row["text"] for row in database.read("SELECT text FROM notes")] == ["acknowledged"]
    database.close()


def test_a_flush_is_asked_of_the_disk_for_its_own_batch_only(database: Database) -> None:
    modes: list[int] = []

    def look(connection: sqlite3.Connection) -> None:
        modes.append(connection.execute("PRAGMA synchronous").fetchone()[0])

    database.transact(look, flush=True).result()
    database.transact(look).result()
    assert modes == [2, 1]  # FULL, NORMAL


def test_all_who_open_a_new_file_at_the_same_moment_get_it(tmp_path: Path) -> None:
    """Worker processes of one server do so."""
    together = threading.Barrier(8)

    def begin(path: Path) -> int:
        together.wait()
        with closing(Database(path, SCHEMA)) as database:
            return len(texts(database))

    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            assert list(pool.map(begin, [tmp_path / f"{number}.db"] * 8)) == [0] * 8


def test_closing_commits_what_waits(tmp_path: Path) -> None:
    database = Database(tmp_path / "notes.db", SCHEMA)
    held = HeldWriter(database)
    futures = [database.write("INSERT INTO notes (text) VALUES (?)", (str(n),)) for n in range(600)]
    closing = threading.Thread(target=database.close)
    closing.start()
    held.let_go()
    closing.join()

    assert [future.result() for future in futures] == list(range(1, 601))


def test_closing_twice_or_from_two_threads_does_nothing_more(tmp_path: Path) -> None:
    database = Database(tmp_path / "notes.db", SCHEMA)
    threads = [threading.Thread(target=database.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()


def test_a_closed_database_refuses_instead_of_waiting_for_ever(database: Database) -> None:
    database.close()
    with pytest.raises(StorageError, match="closed"):
        note(database, "late")
    with pytest.raises(StorageError, match="closed"):
        texts(database)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(StorageError, match="not a database") as refused:
        Database(path, SCHEMA)
    assert "move it away" in refused.value.way_out
    assert path.read_text().startswith("Dear Sir")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        connect(tmp_path / "file" / "notes.db")


def test_a_schema_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Database(tmp_path / "notes.db", "CREATE TABLE")


def test_a_reader_makes_no_file_and_cannot_write(tmp_path: Path, database: Database) -> None:
    with pytest.raises(StorageError):
        connect(tmp_path / "missing.db", read_only=True)
    assert not (tmp_path / "missing.db").exists()
    with pytest.raises(StorageError, match="readonly"):
        database.read("DELETE FROM notes RETURNING number")
