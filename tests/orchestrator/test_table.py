"""The table of runs: what the queue's events make of it, places in it, turns, and files of the first version."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from labretto.errors import ConflictError, InvalidError
from labretto.orchestrator.journal import SqliteJournal
from labretto.orchestrator.order import in_order

LATER = "2026-11-22T02:00:00.000000Z"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with contextlib.closing(SqliteJournal(tmp_path / "journal.db")) as journal:
        yield journal


async def submit(journal: SqliteJournal, run: str, **words: Any) -> None:
    body = {"name": run, "who": "ada", "experiment": {"steps": 1}, "parameters": {}, "versions": {}, **words}
    await journal.append(run, 0, [("submitted", body)])


async def note(journal: SqliteJournal, run: str, kind: str, **body: Any) -> None:
    await journal.append(run, journal.row(run).last, [(kind, body)])


async def move(journal: SqliteJournal, run: str, where: str, of: str | None = None) -> None:
    await note(journal, run, "moved", where=where, of=of)


def line(journal: SqliteJournal) -> str:
    return " ".join(row.id for row in journal.rows(("queued",), limit=None))


async def test_what_a_submission_says_of_its_waiting_stands_in_its_row(journal: SqliteJournal):
    words = {"priority": 3, "not_before": LATER, "labels": ["film", "night"], "instruments": ["stage"], "again": None}
    await submit(journal, "a", **words, held=True, why_held="Held by ada.")

    row = journal.row("a")

    assert (row.priority, row.not_before, row.labels, row.instruments) == (3, LATER, ("film", "night"), ("stage",))
    assert (row.again, row.turn, row.held, row.reason) == (None, 1, True, "Held by ada.")
    assert row.as_dict()["labels"] == ["film", "night"]


async def test_an_edit_changes_what_it_names_and_nothing_else(journal: SqliteJournal):
    await submit(journal, "a", priority=3, labels=["film"])
    await note(journal, "a", "edited", changed={"name": "b", "not_before": LATER, "labels": ["glass"]})

    row = journal.row("a")

    assert (row.name, row.priority, row.not_before, row.labels, row.last) == ("b", 3, LATER, ("glass",), 2)
    assert [found.id for found in journal.newest(9, label="glass")] == ["a"]
    assert journal.newest(9, label="film") == []


async def test_a_run_is_held_and_released(journal: SqliteJournal):
    await submit(journal, "a")
    await note(journal, "a", "held", reason="Held by bob: the lamp is warm.")
    held = journal.row("a")
    await note(journal, "a", "released")

    assert (held.held, held.reason, held.state) == (True, "Held by bob: the lamp is warm.", "queued")
    assert (journal.row("a").held, journal.row("a").reason) == (False, None)


async def test_a_run_is_moved_between_others_to_the_front_and_to_the_end(journal: SqliteJournal):
    for run in "abcd":
        await submit(journal, run)
    for run, where, of, order in (
        ("d", "before", "b", "a d b c"),
        ("a", "after", "b", "d b a c"),
        ("c", "first", None, "c d b a"),
        ("d", "last", None, "c b a d"),
        ("a", "after", "d", "c b d a"),
    ):
        await move(journal, run, where, of)
        assert line(journal) == order
    await submit(journal, "e")
    assert line(journal) == "c b d a e"


async def test_places_of_others_stay_as_they_are(journal: SqliteJournal):
    for run in "abc":
        await submit(journal, run)
    before = {run: journal.row(run).position for run in "ab"}
    await move(journal, "c", "before", "b")

    assert {run: journal.row(run).position for run in "ab"} == before


async def test_a_run_that_is_moved_takes_the_priority_of_where_it_comes_to_stand(journal: SqliteJournal):
    await submit(journal, "urgent", priority=5)
    for run in ("a", "b"):
        await submit(journal, run)
    await submit(journal, "idle", priority=-5)
    await move(journal, "b", "first")
    assert line(journal) == "b urgent a idle"
    await move(journal, "urgent", "last")
    assert line(journal) == "b a idle urgent"
    await move(journal, "urgent", "after", "b")
    assert line(journal) == "b urgent a idle"


async def test_a_gap_can_be_halved_for_ever(journal: SqliteJournal):
    for run in "abc":
        await submit(journal, run)
    for _ in range(40):
        await move(journal, "c", "before", "b")
        await move(journal, "a", "before", "c")
        await move(journal, "b", "before", "c")
        await move(journal, "a", "after", "b")
    assert line(journal) == "b a c"


async def test_beside_one_that_does_not_wait_nothing_can_be_put(journal: SqliteJournal):
    for run in "abc":
        await submit(journal, run)
    await note(journal, "b", "started")
    with pytest.raises(ConflictError, match="Run b does not wait in the queue; nothing was moved"):
        await move(journal, "a", "after", "b")
    with pytest.raises(InvalidError, match="first, last, before, after"):
        await move(journal, "a", "beside", "c")

    assert journal.row("a").last == 1
    assert line(journal) == "a c"


MOVES = st.tuples(
    st.sampled_from("abcde"), st.sampled_from(["first", "last", "before", "after"]), st.sampled_from("abcde")
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(MOVES, max_size=12), priorities=st.lists(st.integers(-1, 1), min_size=5, max_size=5))
async def test_after_any_moves_each_stands_where_it_was_put(tmp_path_factory: Any, moves: Any, priorities: Any):
    with contextlib.closing(SqliteJournal(tmp_path_factory.mktemp("journal") / "journal.db")) as journal:
        for run, priority in zip("abcde", priorities, strict=True):
            await submit(journal, run, priority=priority)
        expected = line(journal).split()
        for run, where, of in moves:
            if run == of:
                continue
            await move(journal, run, where, of)
            expected.remove(run)
            beside = {"first": 0, "last": len(expected)}
            expected.insert(beside[where] if where in beside else expected.index(of) + (where == "after"), run)
            assert line(journal).split() == expected
            assert [row.id for row in in_order(journal.rows(("queued",)))] == expected


async def succeed(journal: SqliteJournal, run: str, state: str = "succeeded") -> None:
    await note(journal, run, "started", lease=1)
    await note(journal, run, "finished", state=state, error=None)


async def test_a_run_that_is_to_be_done_again_is_put_back_at_the_end_with_its_edits(journal: SqliteJournal):
    words = {"labels": ["film"], "instruments": ["stage"], "not_before": LATER, "priority": 2}
    await submit(journal, "a", again=2, **words)
    await submit(journal, "b", priority=2)
    await note(journal, "a", "edited", changed={"parameters": {"x": 2}, "name": "again"})
    await succeed(journal, "a")

    following = journal.row(str(journal.row("a").followed_by))
    (event,) = journal.read(following.id)

    assert line(journal) == f"b {following.id}"
    assert (following.name, following.again, following.turn, following.labels) == ("again", 1, 2, ("film",))
    assert (following.instruments, following.priority, following.not_before) == (("stage",), 2, None)
    assert event.body["parameters"] == {"x": 2}
    assert event.body["turn_of"] == "a"
    assert [row.id for row in journal.newest(1, label="film")] == [following.id]


async def test_turns_end_when_they_are_counted_down(journal: SqliteJournal):
    await submit(journal, "a", again=1)
    await succeed(journal, "a")
    last = str(journal.row("a").followed_by)
    await succeed(journal, last)

    assert journal.row(last).followed_by is None
    assert line(journal) == ""


async def test_turns_without_number_go_on_until_a_person_says_otherwise(journal: SqliteJournal):
    await submit(journal, "a", again=None)
    run = "a"
    for turn in range(2, 5):
        await succeed(journal, run)
        run = str(journal.row(run).followed_by)
        assert (journal.row(run).again, journal.row(run).turn) == (None, turn)
    await note(journal, run, "edited", changed={"again": 0})
    await succeed(journal, run)

    assert line(journal) == ""


@pytest.mark.parametrize("state", ["failed", "aborted"])
async def test_a_turn_that_did_not_succeed_is_the_last(journal: SqliteJournal, state: str):
    await submit(journal, "a", again=None)
    await succeed(journal, "a", state)

    assert line(journal) == ""


async def test_an_end_that_was_not_written_puts_nothing_back(journal: SqliteJournal):
    """End and next turn are one transaction: who is refused has done neither, and who repeats it does it once."""
    await submit(journal, "a", again=None)
    await note(journal, "a", "started", lease=1)
    with pytest.raises(ConflictError):
        await journal.append("a", 1, [("finished", {"state": "succeeded", "error": None})])
    assert line(journal) == ""
    await journal.append("a", 2, [("finished", {"state": "succeeded", "error": None})])
    with pytest.raises(ConflictError):
        await journal.append("a", 2, [("finished", {"state": "succeeded", "error": None})])

    assert len(journal.rows(("queued",))) == 1


OLD = """
CREATE TABLE events (sequence INTEGER PRIMARY KEY, run TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL,
    at TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (run, number));
CREATE TABLE runs (id TEXT PRIMARY KEY, name TEXT NOT NULL, who TEXT, state TEXT NOT NULL, reason TEXT,
    last INTEGER NOT NULL, position INTEGER NOT NULL, submitted TEXT NOT NULL, started TEXT, ended TEXT);
CREATE INDEX runs_by_state ON runs (state, position);
CREATE INDEX runs_by_position ON runs (position);
CREATE TABLE notes (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('lease', 7), ('position', 2), ('owner', 3);
INSERT INTO runs VALUES ('old', 'scan', 'ada', 'succeeded', NULL, 3, 1, '2026-11-20', '2026-11-20', '2026-11-20');
INSERT INTO runs VALUES ('waits', 'scan', 'ada', 'queued', NULL, 1, 2, '2026-11-20', NULL, NULL);
"""


async def test_a_journal_of_the_first_version_is_opened_and_goes_on(tmp_path: Path):
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as old:
        old.executescript(OLD)
    for _ in range(2):  # the second time there is nothing left to add
        with contextlib.closing(SqliteJournal(tmp_path / "journal.db")) as journal:
            row = journal.row("waits")
            assert (row.state, row.priority, row.held, row.labels, row.again) == ("queued", 0, False, (), 0)
            assert await journal.next_lease() > 7
    with contextlib.closing(SqliteJournal(tmp_path / "journal.db")) as journal:
        await submit(journal, "new", priority=1)
        await move(journal, "waits", "before", "new")

        assert line(journal) == "waits new"


async def test_two_that_open_a_journal_of_the_first_version_at_once_both_can(tmp_path: Path):
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as old:
        old.executescript(OLD)
    with contextlib.ExitStack() as both:
        journals = [both.enter_context(contextlib.closing(SqliteJournal(tmp_path / "journal.db"))) for _ in range(2)]
        assert [journal.row("waits").priority for journal in journals] == [0, 0]
