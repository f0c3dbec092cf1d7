"""The journal: appended to in order or not at all."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from labretto.errors import ConflictError, InvalidError, NotFoundError, StorageError
from labretto.orchestrator.engine import RunState
from labretto.orchestrator.journal import SqliteJournal

from .test_engine import journals

SUBMITTED = ("submitted", {"name": "n", "who": "ada", "experiment": {}, "parameters": {}})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with contextlib.closing(SqliteJournal(tmp_path / "journal.db")) as journal:
        yield journal


async def test_who_owns_the_journal_last_is_its_only_writer(tmp_path: Path) -> None:
    """A hub that was revived writes nothing more, whatever number it expects."""
    path = tmp_path / "journal.db"
    with contextlib.closing(SqliteJournal(path)) as old, contextlib.closing(SqliteJournal(path)) as new:
        await old.own()
        await old.append("a", 0, [("submitted", {"name": "a"})])
        await new.own()

        with pytest.raises(ConflictError, match="Another hub has taken this journal over"):
            await old.append("a", 1, [("started", {})])
        (event,) = await new.append("a", 1, [("started", {})])

    assert event.number == 2


async def test_events_are_numbered_from_one_and_read_back_as_they_were(journal: SqliteJournal):
    await journal.append("r", 0, [SUBMITTED, ("started", {"lease": 1})])
    written = await journal.append("r", 2, [("saved", {"path": "s", "row": {"x": float("inf"), "raw": b"\x00"}})])

    assert [event.number for event in journal.read("r")] == [1, 2, 3]
    assert journal.read("r", 2) == written


async def test_who_expects_another_number_is_refused_and_writes_nothing(journal: SqliteJournal):
    await journal.append("r", 0, [SUBMITTED])
    for expected in (0, 2, -1):
        with pytest.raises(ConflictError, match="another process wrote into it"):
            await journal.append("r", expected, [("started", {"lease": 1})])

    assert len(journal.read("r")) == 1
    assert journal.row("r").last == 1


async def test_of_two_writers_on_one_file_one_wins_each_number(tmp_path: Path, journal: SqliteJournal):
    await journal.append("r", 0, [SUBMITTED])
    with contextlib.closing(SqliteJournal(tmp_path / "journal.db")) as other:
        both = [each.append("r", 1, [("started", {"lease": 1})]) for each in (journal, other)]
        outcomes = await asyncio.gather(*both, return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "list"]
    assert len(journal.read("r")) == 2


async def test_lease_numbers_rise_over_writers_and_restarts(tmp_path: Path, journal: SqliteJournal):
    numbers = [await journal.next_lease()]
    with contextlib.closing(SqliteJournal(tmp_path / "journal.db")) as other:
        numbers += [await other.next_lease(), await journal.next_lease()]

    assert numbers == [1, 2, 3]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=journals())
async def test_the_table_of_runs_is_what_the_events_say(tmp_path_factory: Any, events: list[dict[str, Any]]):
    with contextlib.closing(SqliteJournal(tmp_path_factory.mktemp("journal") / "journal.db")) as journal:
        for event in events:
            body = {key: value for key, value in event.items() if key not in ("run", "number", "kind", "at")}
            await journal.append("r", event["number"] - 1, [(event["kind"], body)])
            state = RunState.replay("r", [each.as_dict() for each in journal.read("r")])
            row = journal.row("r")
            told = (row.name, row.who, row.state, row.reason, row.last, row.submitted, row.started, row.ended)
            folded = (state.name, state.who, state.word, state.reason, state.number)
            assert told == (*folded, state.submitted, state.started, state.ended)
            tasks = [task for task in journal.tasks.of_run("r") if task.holds_a_run]
            assert [(task.path, task.title) for task in tasks] == [
                (path, question["reason"]) for path, question in state.questions.items()
            ]


async def test_a_full_disk_refuses_and_loses_nothing(journal: SqliteJournal, files_at_most):
    await journal.append("r", 0, [SUBMITTED])
    with files_at_most(100), pytest.raises(StorageError, match="Free space"):
        await journal.append("r", 1, [("saved", {"path": "s", "row": {"text": "x" * 10_000}})])

    assert journal.row("r").last == 1
    await journal.append("r", 1, [("started", {"lease": 1})])
    assert [event.kind for event in journal.read("r")] == ["submitted", "started"]


async def test_rows_come_in_queue_order_by_state_and_all_of_them_if_asked(journal: SqliteJournal):
    for number in range(120):
        await journal.append(f"r{number}", 0, [SUBMITTED])
    await journal.append("r3", 1, [("started", {"lease": 1})])

    assert [row.id for row in journal.rows(("queued",), limit=4)] == ["r0", "r1", "r2", "r4"]
    assert len(journal.rows()) == 100
    assert len(journal.rows(limit=None)) == 120
    assert [row.id for row in journal.newest(2)] == ["r119", "r118"]
    assert [row.id for row in journal.newest(2, before="r118")] == ["r117", "r116"]
    assert [row.id for row in journal.newest(2, states=("running", "failed"))] == ["r3"]
    assert journal.newest(2, before="nobody") == []


async def test_a_run_with_odd_characters_is_only_not_found(journal: SqliteJournal):
    for name in ("", "\x00", "'; DROP TABLE runs; --", "../..", "\N{SNOWMAN}" * 1000):
        with pytest.raises(NotFoundError):
            journal.row(name)
        assert journal.read(name) == []


async def test_what_cannot_be_kept_is_refused_and_writes_nothing(journal: SqliteJournal):
    with pytest.raises(InvalidError):
        await journal.append("r", 0, [("submitted", {**SUBMITTED[1], "parameters": {"x": object()}})])

    assert journal.newest(1) == []


async def test_a_note_outlives_its_writer(tmp_path: Path, journal: SqliteJournal):
    assert journal.noted("halt") is None
    await asyncio.wrap_future(journal.note("halt", {"by": "ada"}))
    with contextlib.closing(SqliteJournal(tmp_path / "journal.db")) as other:
        assert other.noted("halt") == {"by": "ada"}
