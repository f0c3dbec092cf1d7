"""What the host remembers: after any crash, any question about an id has a true answer."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labretto.errors import ConflictError, StorageError
from labretto.instrument import ledger as ledger_room
from labretto.instrument.codec import CannotEncodeError
from labretto.instrument.invocation import Invocation, new_id
from labretto.instrument.ledger import Ledger
from labretto.instrument.reading import now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Ledger]]:
    """Opens the same ledger as often as asked; all are closed at the end."""
    ledgers: list[Ledger] = []

    def reopen() -> Ledger:
        for ledger in ledgers:
            ledger.close()
        ledgers.append(Ledger(path))
        return ledgers[-1]

    yield reopen
    for ledger in ledgers:
        ledger.close()


def started(identity: str | None = None, **words: Any) -> Invocation:
    at = now()
    plain = Invocation(identity or new_id(), "stage", "move", {"to": 5.0}, "once", "running", at, at, actor="anna")
    return replace(plain, **words)


def test_what_began_and_ended_is_remembered_by_the_next_process(opened: Callable[[], Ledger]) -> None:
    ledger, invocation = opened(), started()
    ledger.begin(invocation)
    assert ledger.find(invocation.id) == invocation

    ended = ledger.end(invocation.end("succeeded", now(), result={"x": np.array([1.0, np.nan])}))
    found = opened().find(invocation.id)

    assert found is not None
    assert replace(found, result=None) == replace(ended, result=None)
    np.testing.assert_array_equal(found.result["x"], [1.0, np.nan])


def test_the_first_answer_is_what_every_later_answer_will_be(opened: Callable[[], Ledger]) -> None:
    """A set became a list when it was kept; so the caller who waited gets a list too."""
    ledger, invocation = opened(), started()
    ledger.begin(invocation)
    first = ledger.end(invocation.end("succeeded", now(), result={"found": {7}}))

    assert first.result == {"found": [7]}
    assert ledger.find(invocation.id) == first


def test_what_ran_when_the_process_died_is_interrupted(opened: Callable[[], Ledger]) -> None:
    first, invocation = opened(), started()
    first.begin(invocation)
    found = opened().find(invocation.id)

    assert found is not None
    assert found.state == "interrupted"
    assert found.error is not None
    assert found.error["type"].endswith("InterruptedActionError")
    assert "stage.move began at" in found.error["detail"]
    assert found.ended is not None


DIES = """
import os, signal, sys
from pathlib import Path
from labretto.instrument.invocation import Invocation, new_id
from labretto.instrument.ledger import Ledger
from labretto.instrument.reading import now
ledger = Ledger(Path(sys.argv[1]))
invocation = Invocation(sys.argv[2], "stage", "move", {}, sys.argv[4], "running", now(), now())
if sys.argv[3] == "before begin":
    os.kill(os.getpid(), signal.SIGKILL)
ledger.begin(invocation)
if sys.argv[3] == "before end":
    os.kill(os.getpid(), signal.SIGKILL)
ledger.end(invocation.end("succeeded", now(), result=5.0))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("effect", ["once", "read"])
@pytest.mark.parametrize(
    ("moment", "state"),
    [("before begin", "not arrived"), ("before end", "interrupted"), ("after end", "succeeded")],
)
def test_a_process_killed_at_any_point_of_the_ledger_leaves_a_true_answer(
    path: Path, opened: Callable[[], Ledger], effect: str, moment: str, state: str
) -> None:
    Ledger(path).close()
    identity = new_id()
    process = subprocess.run([sys.executable, "-c", DIES, str(path), identity, moment, effect], check=False)
    assert process.returncode == -signal.SIGKILL

    ledger = opened()
    found = ledger.find(identity)
    assert (found.state if found else ledger.absent(identity)) == state


def test_an_id_that_never_came_has_not_arrived(opened: Callable[[], Ledger]) -> None:
    assert opened().absent(new_id()) == "not arrived"


def test_an_id_older_than_the_ledger_cannot_be_told(opened: Callable[[], Ledger]) -> None:
    """The file may have been lost: then the id may have arrived at its predecessor."""
    assert opened().absent(id_born(-timedelta(seconds=1))) == "cannot tell"


@pytest.mark.parametrize("identity", ["00000000-0000-4000-8000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff"])
def test_an_id_that_does_not_say_its_birth_cannot_be_told(opened: Callable[[], Ledger], identity: str) -> None:
    assert opened().absent(identity) == "cannot tell"


def test_an_id_made_in_the_millisecond_of_the_ledgers_birth_counts_as_younger(path: Path) -> None:
    """A client that asks at once must not be told that nobody knows."""
    for _ in range(50):
        ledger = Ledger()
        assert ledger.absent(new_id()) == "not arrived"
        ledger.close()


def id_born(after_now: timedelta, tail: int = 0) -> str:
    milliseconds = int((now() + after_now).timestamp() * 1000)
    text = f"{milliseconds:012x}7000b000{tail:012x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def remember(ledger: Ledger, identity: str) -> str:
    invocation = started(identity)
    ledger.begin(invocation)
    ledger.end(invocation.end("succeeded", now()))
    return identity


def test_the_oldest_are_forgotten_at_opening_and_then_cannot_be_told(
    opened: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not "not arrived", at once and for ever: that would send what was done already a second time."""
    monkeypatch.setattr(ledger_room, "KEPT", 3)
    ledger = opened()
    ids = [remember(ledger, id_born(timedelta(seconds=n + 1))) for n in range(5)]
    for _ in range(2):
        ledger = opened()
        assert [ledger.find(identity) is not None for identity in ids] == [False, False, True, True, True]
        assert [ledger.absent(identity) for identity in ids[:2]] == ["cannot tell"] * 2
    assert ledger.absent(id_born(timedelta(seconds=3))) == "not arrived"


def test_the_oldest_are_forgotten_while_actions_come_and_go_a_few_at_a_time(
    opened: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_room, "KEPT", 10)
    monkeypatch.setattr(ledger_room, "AT_ONCE", 5)
    ledger = opened()
    running = started()
    ledger.begin(running)
    ids = []
    for _ in range(40):
        invocation = started()
        ids.append(invocation.id)
        ledger.begin(invocation)
        ledger.end(invocation.end("succeeded", now()))
        ledger.forget()
        assert sum(ledger.find(identity) is not None for identity in ids) <= 15

    assert ledger.find(running.id) is not None
    assert ledger.find(ids[0]) is None
    assert ledger.absent(ids[0]) == "cannot tell"
    assert ledger.find(ids[-1]) is not None
    assert ledger.absent(new_id()) == "not arrived"


def test_results_that_are_too_large_together_are_forgotten_the_oldest_first_but_not_the_last(
    opened: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_room, "KEPT_BYTES", 100_000)
    monkeypatch.setattr(ledger_room, "AT_LEAST", 2)
    ledger, asked = opened(), []
    for n, size in enumerate((60_000, 30_000, 30_000, 500_000, 500_000)):
        asked.append(started(id_born(timedelta(seconds=n + 1))))
        ledger.begin(asked[-1])
        ledger.end(asked[-1].end("succeeded", now(), result="x" * size))
        ledger.forget()

    assert [ledger.find(each.id) is not None for each in asked] == [False, False, False, True, True]
    assert ledger.absent(asked[0].id) == "cannot tell"
    assert [opened().find(each.id) is not None for each in asked] == [False, False, False, True, True]


def test_an_id_of_the_same_millisecond_as_the_last_forgotten_cannot_be_told(
    opened: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_room, "KEPT", 1)
    ledger = opened()
    same = id_born(timedelta(seconds=1))
    ids = [remember(ledger, f"{same[:24]}{n:012x}") for n in range(3)]

    assert [opened().absent(identity) for identity in ids[:2]] == ["cannot tell"] * 2


def test_forgetting_never_makes_the_ledger_know_more(
    opened: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose clock is an hour late leaves old ids; what was before this file stays unknown."""
    monkeypatch.setattr(ledger_room, "KEPT", 1)
    ledger = opened()
    for n in range(3):
        remember(ledger, id_born(-timedelta(hours=1), n))

    assert opened().absent(id_born(-timedelta(minutes=30))) == "cannot tell"


def test_what_was_interrupted_is_forgotten_in_its_turn_only(
    opened: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_room, "KEPT", 2)
    ledger, invocation = opened(), started(id_born(timedelta(seconds=9)))
    ledger.begin(invocation)
    for n in range(3):
        remember(ledger, id_born(timedelta(seconds=n)))

    found = opened().find(invocation.id)
    assert found is not None
    assert found.state == "interrupted"


def test_the_birth_of_a_ledger_is_its_own_and_stays(opened: Callable[[], Ledger], tmp_path: Path) -> None:
    birth = opened().birth
    other = Ledger(tmp_path / "other.db")
    other.close()

    assert opened().birth == birth
    assert other.birth != birth


def test_the_highest_lease_and_its_holder_are_remembered_by_the_next_process(opened: Callable[[], Ledger]) -> None:
    ledger = opened()
    assert (ledger.lease, ledger.held) == (0, None)
    ledger.keep_lease(17, {"holder": "Ada"})
    assert (ledger.lease, ledger.held) == (17, {"holder": "Ada"})
    again = opened()
    assert (again.lease, again.held) == (17, {"holder": "Ada"})
    again.keep_lease(17, None)
    assert (opened().lease, opened().held) == (17, None)


def test_a_clock_that_was_set_back_while_an_action_ran_teaches_no_duration(opened: Callable[[], Ledger]) -> None:
    ledger, invocation = opened(), started()
    ledger.begin(invocation)
    ledger.end(invocation.end("succeeded", now() - timedelta(hours=1)))
    assert ledger.durations.expected("move") is None


def test_the_same_id_cannot_begin_twice(opened: Callable[[], Ledger]) -> None:
    ledger, invocation = opened(), started()
    ledger.begin(invocation)
    with pytest.raises(ConflictError, match="already"):
        ledger.begin(invocation)


def test_the_start_of_what_must_happen_once_is_flushed_to_the_disk_and_nothing_else(
    opened: Callable[[], Ledger],
) -> None:
    ledger = opened()
    modes: list[str] = []
    ledger._connection.set_trace_callback(lambda sql: modes.append(sql) if "synchronous" in sql else None)
    for effect in ("once", "checkable", "absolute", "read"):
        invocation = started(effect=effect)
        ledger.begin(invocation)
        ledger.end(invocation.end("succeeded", now()))

    assert [mode.rpartition("=")[2] for mode in modes] == ["FULL", "NORMAL"] * 2 + ["NORMAL"] * 4


def fill(ledger: Ledger, spare: int = 0) -> None:
    """A disk with room for `spare` more pages."""
    used = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count={used + spare}")


def test_a_full_disk_refuses_a_start_and_forgets_nothing(opened: Callable[[], Ledger]) -> None:
    ledger, before = opened(), started()
    ledger.begin(before)
    fill(ledger)
    large = started(parameters={"recipe": "x" * 50_000})
    with pytest.raises(StorageError, match="full"):
        ledger.begin(large)

    assert ledger.find(large.id) is None
    assert ledger.find(before.id) == before


def test_a_full_disk_refuses_an_end_and_takes_it_later(opened: Callable[[], Ledger]) -> None:
    ledger, invocation = opened(), started()
    ledger.begin(invocation)
    fill(ledger)
    end = invocation.end("succeeded", now(), result="x" * 50_000)
    with pytest.raises(StorageError):
        ledger.end(end)
    assert ledger.find(invocation.id) == invocation

    ledger._connection.execute("PRAGMA max_page_count=100000")
    assert ledger.end(end) == ledger.find(invocation.id) == end


def test_a_result_that_no_ledger_can_hold_is_told_from_a_full_disk(opened: Callable[[], Ledger]) -> None:
    """Trying again would never help."""
    ledger, invocation = opened(), started()
    ledger.begin(invocation)
    ledger._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)

    with pytest.raises(CannotEncodeError, match="too large") as refused:
        ledger.end(invocation.end("succeeded", now(), result="x" * 20_000))
    assert "file" in refused.value.way_out


def test_parameters_and_results_that_cannot_be_kept_are_refused(opened: Callable[[], Ledger]) -> None:
    ledger, invocation = opened(), started()
    with pytest.raises(CannotEncodeError):
        ledger.begin(started(parameters={"port": object()}))
    ledger.begin(invocation)
    with pytest.raises(CannotEncodeError):
        ledger.end(invocation.end("succeeded", now(), result=object()))
    assert ledger.find(invocation.id) == invocation


def test_who_asks_for_an_id_does_not_wait_for_a_start_being_written(opened: Callable[[], Ledger]) -> None:
    ledger, invocation = opened(), started()
    ledger.begin(invocation)
    with ledger._writing():
        found: list[Invocation | None] = []
        asking = threading.Thread(target=lambda: found.append(ledger.find(invocation.id)))
        asking.start()
        asking.join(timeout=10)
        assert found == [invocation]


def test_a_ledger_in_memory_keeps_the_same_promises_until_it_is_closed() -> None:
    ledger, invocation = Ledger(), started()
    ledger.begin(invocation)
    assert ledger.find(invocation.id) == invocation
    assert ledger.absent(new_id()) == "not arrived"
    ledger.close()
    ledger.close()
    with pytest.raises(StorageError, match="closed"):
        ledger.find(invocation.id)
    with pytest.raises(StorageError, match="closed"):
        ledger.begin(started())


def test_a_file_that_is_no_ledger_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(StorageError, match="not a database"):
        Ledger(path)
    assert path.read_text().startswith("Dear Sir")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(StorageError):
            Ledger(path)
    finally:
        path.parent.chmod(0o700)
