"""What is due is submitted through the queue: in time, once, and as people said for the times that were missed."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labretto.catalog.live import Changes
from labretto.errors import ConflictError, InvalidError, NotFoundError
from labretto.instrument.invocation import new_id
from labretto.orchestrator.journal import Also, SqliteJournal
from labretto.orchestrator.schedules import Schedule, Taken, new_schedule, take
from labretto.orchestrator.table import RunRow
from labretto.orchestrator.task import Wanted
from labretto.orchestrator.timetable import Timetable

NIGHT = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)


class Clinic:
    """A lab at night: a journal on disk, a clock that a test moves, and a queue that takes what is submitted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NIGHT
        self.refuses: Exception | None = None
        self.changes = Changes()
        self.open()

    def open(self) -> None:
        """Begin, or begin again on the same files."""
        self.journal = SqliteJournal(self.folder / "journal.db")
        self.timetable = Timetable(self.journal, self.submit, self.changes, clock=lambda: self.now)

    def reopen(self) -> None:
        self.journal.close()
        self.open()

    async def submit(self, schedule: Schedule, due: datetime, also: Callable[[str], Also]) -> RunRow:
        if self.refuses is not None:
            raise self.refuses
        run = new_id()
        body = {"name": schedule.name, "experiment": {"format": "file"}, "parameters": {}, "due": due.isoformat()}
        await self.journal.append(run, 0, [("submitted", body)], also=also(run))
        return self.journal.row(run)

    async def schedule(self, rule: str = "every day 02:00", **words: Any) -> str:
        said: dict[str, Any] = {"zone": "UTC", "missed": "late", "submission": {}, "who": "ada", "name": "nightly"}
        made = new_schedule(rule=rule, now=self.now, **said | words)
        return (await self.timetable.add(made)).id

    async def at(self, text: str) -> None:
        """Look at the clock at this time of the month."""
        self.now = datetime.fromisoformat(f"2026-11-{text}:00+00:00")
        await self.timetable.look()

    async def finish(self, run: str | None) -> None:
        assert run is not None
        row = self.journal.row(run)
        await self.journal.append(run, row.last, [("finished", {"state": "succeeded", "error": None})])

    @property
    def dues(self) -> list[str]:
        """The due times of the runs, in the order of their submission."""
        return [str(event.body["due"])[8:16] for _, event in self.journal.since(0, 100) if event.kind == "submitted"]

    def word(self, schedule: str) -> str:
        return str(self.journal.schedules.find(schedule).last_word)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Clinic]:
    lab = Clinic(tmp_path)
    yield lab
    lab.journal.close()


async def test_a_run_is_submitted_at_its_time_and_not_before(lab: Clinic):
    nightly = await lab.schedule()

    await lab.at("21T01:59")
    assert lab.dues == []

    await lab.at("21T02:00")
    assert lab.dues == ["21T02:00"]
    found = lab.journal.schedules.find(nightly)
    assert found.due == "2026-11-22T02:00:00.000000Z"
    assert found.last_run == lab.journal.newest(1)[0].id
    assert lab.word(nightly).startswith("2026-11-21 02:00 UTC: submitted in time as run ")


async def test_a_time_brings_one_run_however_often_the_clock_is_looked_at(lab: Clinic):
    await lab.schedule()
    for _ in range(3):
        await lab.at("21T02:00")
        lab.reopen()

    assert lab.dues == ["21T02:00"]


async def test_of_two_who_see_the_same_time_one_submits(lab: Clinic):
    await lab.schedule()
    other = Timetable(lab.journal, lab.submit, lab.changes, clock=lambda: lab.now)
    lab.now = NIGHT + timedelta(hours=1)

    await asyncio.gather(lab.timetable.look(), other.look())

    assert lab.dues == ["21T02:00"]


async def test_the_run_and_the_schedule_s_going_on_are_written_together_or_not_at_all(lab: Clinic):
    nightly = lab.journal.schedules.find(await lab.schedule())
    taken = Taken("once", "2026-11-22T02:00:00.000000Z", "r")
    body = {"name": "x", "experiment": {}, "parameters": {}}

    await lab.journal.append("r", 0, [("submitted", body)], also=lambda c: take(c, nightly, taken))
    with pytest.raises(ConflictError, match="not due any more"):
        await lab.journal.append("s", 0, [("submitted", body)], also=lambda c: take(c, nightly, taken))

    assert [row.id for row in lab.journal.newest(10)] == ["r"]


async def test_a_missed_time_is_made_up_for_once_the_last_of_them(lab: Clinic):
    nightly = await lab.schedule()

    await lab.at("24T09:30")
    await lab.at("24T09:31")

    assert lab.dues == ["24T02:00"]
    assert "submitted late" in lab.word(nightly)
    assert lab.journal.schedules.find(nightly).due == "2026-11-25T02:00:00.000000Z"


async def test_a_missed_time_is_passed_over_if_people_said_so(lab: Clinic):
    nightly = await lab.schedule(missed="skip")

    await lab.at("24T09:30")

    assert lab.dues == []
    assert lab.word(nightly) == "2026-11-24 02:00 UTC: passed over, because the hub did not run then."
    await lab.at("25T02:00")
    assert lab.dues == ["25T02:00"]


async def test_one_run_of_a_schedule_at_a_time(lab: Clinic):
    often = await lab.schedule("every 30 minutes")
    await lab.at("21T01:30")
    first = lab.journal.schedules.find(often).last_run

    await lab.at("21T02:00")
    assert lab.dues == ["21T01:30"]
    assert lab.word(often) == f"2026-11-21 02:00 UTC: passed over, because run {first} is not over; it is queued."

    await lab.finish(first)
    await lab.at("21T02:30")
    assert lab.dues == ["21T01:30", "21T02:30"]


async def test_once_is_once(lab: Clinic):
    once = await lab.schedule("once 2026-11-21 03:00")
    await lab.at("21T03:00")
    await lab.at("22T03:00")

    assert lab.dues == ["21T03:00"]
    assert lab.journal.schedules.find(once).due is None


async def test_what_cannot_be_submitted_is_a_task_for_people_and_the_next_time_is_tried(lab: Clinic):
    nightly = await lab.schedule()
    lab.refuses = InvalidError("stage has no action 'fly'.")
    await lab.at("21T02:00")
    lab.refuses = None
    await lab.at("22T02:00")

    tasks, _ = lab.journal.tasks.listed(Wanted())
    assert [(task.kind, task.title) for task in tasks] == [
        ("schedule", "The schedule 'nightly' could not submit its run")
    ]
    assert "stage has no action 'fly'." in tasks[0].description
    assert lab.dues == ["22T02:00"]
    assert "submitted in time" in lab.word(nightly)


async def test_a_schedule_that_is_held_is_not_due_and_goes_on_after_its_release(lab: Clinic):
    nightly = await lab.schedule()
    await lab.timetable.hold("nightly", True)
    await lab.at("22T02:00")
    assert lab.dues == []

    await lab.timetable.hold(nightly, False)
    await lab.at("22T02:01")
    assert lab.dues == []
    await lab.at("23T02:00")
    assert lab.dues == ["23T02:00"]


async def test_a_schedule_that_was_removed_is_gone_and_its_runs_stay(lab: Clinic):
    nightly = await lab.schedule()
    await lab.at("21T02:00")
    await lab.timetable.remove(nightly)
    await lab.at("22T02:00")

    assert lab.dues == ["21T02:00"]
    with pytest.raises(NotFoundError):
        lab.journal.schedules.find(nightly)


async def test_it_is_told_how_long_to_wait_and_never_longer_than_a_minute(lab: Clinic):
    assert await lab.timetable.look() == 60
    await lab.schedule()
    lab.now = NIGHT + timedelta(minutes=59, seconds=30)

    assert await lab.timetable.look() == 30


async def test_viewers_are_told(lab: Clinic):
    seen = lab.changes.subscribe()
    await lab.schedule()

    batch = await anext(seen)
    assert [(change.topic, change.body["name"]) for change in batch.changes] == [("schedule", "nightly")]


async def test_what_is_over_cannot_be_scheduled(lab: Clinic):
    with pytest.raises(ConflictError, match="is over"):
        await lab.schedule("once 2026-11-20 03:00")
