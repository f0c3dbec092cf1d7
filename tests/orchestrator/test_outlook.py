"""Forecasts of a lab: kept with each run, told anew while it goes on, held against what happened; tasks in time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from labretto.errors import InvalidError
from labretto.instrument.reading import now
from labretto.orchestrator import durations
from labretto.orchestrator.durations import Durations
from labretto.orchestrator.foresight import Foresight
from labretto.orchestrator.outlook import Outlook
from labretto.orchestrator.queue import Submission
from labretto.orchestrator.task import Task, Wanted
from labretto.orchestrator.vigil import Vigil

from .conftest import Hub, Lab, World, do, steps

MOVE = steps(do("move", x=1))
BURN = steps(do("burn"))
PYTHON = "async def wait(run): run.save(x=1)"


@dataclass
class Ahead:
    """A hub that looks ahead, and a clock that a test may put forward."""

    hub: Hub
    outlook: Outlook
    vigil: Vigil
    durations: Durations
    later: timedelta = timedelta()

    def clock(self) -> datetime:
        return now() + self.later

    def tasks(self) -> list[Task]:
        return list(self.hub.journal.tasks.listed(Wanted())[0])


@pytest.fixture
async def ahead(hub: Hub, lab: Lab) -> AsyncIterator[Ahead]:
    known = Durations(lab.folder / "durations.db", hub.journal)
    foresight = Foresight(known, lab.instruments)
    hub.orchestrator.foresight = foresight
    later = timedelta()
    outlook = Outlook(hub.orchestrator, foresight, lab.instruments, clock=lambda: found.clock())
    vigil = Vigil(hub.journal.tasks, outlook, hub.orchestrator.changes)
    found = Ahead(hub, outlook, vigil, known, later)
    yield found
    known.close()


async def test_the_forecast_made_at_the_submission_is_kept_in_the_journal_and_the_record(ahead: Ahead):
    await ahead.hub.does(MOVE)
    await ahead.durations.catch_up()
    run = await ahead.hub.does(MOVE)

    told = await ahead.outlook.of_run(run)

    assert told["foreseen"] == ahead.hub.events(run)[0]["forecast"]
    assert told["foreseen"]["basis"][0]["source"] == "same parameters"
    assert told["compared"]["verdict"] in ("as foreseen", "longer", "shorter")
    assert told["compared"]["instruments"]["rig"]["happened"]["steps"] == 1


async def test_before_a_submission_it_is_told_what_would_be_and_nothing_is_submitted(ahead: Ahead):
    told = await ahead.outlook.of_submission(Submission(MOVE))

    assert told["forecast"]["steps"] == 1
    assert told["expected"]["begin"] is not None
    assert ahead.hub.journal.newest(10) == []


async def test_what_can_never_run_has_no_forecast_but_faults(ahead: Ahead):
    with pytest.raises(InvalidError, match="cannot run"):
        await ahead.outlook.of_submission(Submission(steps(do("move", x=1000))))


async def test_of_a_python_experiment_the_time_is_known_once_it_has_run(ahead: Ahead):
    nobody = await ahead.outlook.of_submission(Submission(PYTHON, function="wait"))
    await ahead.hub.does(PYTHON, "wait")
    await ahead.durations.catch_up()
    known = await ahead.outlook.of_submission(Submission(PYTHON, function="wait"))

    assert nobody["forecast"]["seconds"] is None
    assert known["forecast"]["basis"][0]["source"] == "earlier runs"
    assert known["expected"]["end"] is not None


async def test_of_a_run_that_goes_on_only_what_is_left_is_expected(ahead: Ahead, world: World):
    run = await ahead.hub.submit(steps(do("burn"), "{wait: 30}"))
    await world.comes_to_a_halt()

    (expected,) = await ahead.outlook.expected()

    assert expected.run == run
    assert expected.end is not None
    assert expected.end.p50 == pytest.approx(30)
    await ahead.hub.orchestrator.walker(run).abort(None)
    world.go.set()
    await ahead.hub.ended(run)


async def test_a_run_that_will_rather_not_meet_its_deadline_is_a_task_once(ahead: Ahead, world: World):
    blocked = await ahead.hub.submit(BURN)
    await world.comes_to_a_halt()
    by = now() + timedelta(minutes=1)
    words = {"terms": {"finish_by": by.isoformat()}}
    late = (await ahead.hub.orchestrator.submit(Submission(steps("{wait: 90}"), **words))).id
    soon = (await ahead.hub.orchestrator.submit(Submission(steps("{wait: 20}"), **words))).id

    await ahead.vigil.look()
    await ahead.vigil.look()

    assert [(task.kind, task.run) for task in ahead.tasks()] == [("deadline", late)]
    assert "is expected to end at" in ahead.tasks()[0].description
    for run in (late, soon, blocked):
        if ahead.hub.journal.row(run).state == "queued":
            await ahead.hub.orchestrator.remove(run, None)
        else:
            await ahead.hub.orchestrator.walker(run).abort(None)
    world.go.set()
    for run in (late, soon, blocked):
        await ahead.hub.ended(run)


async def test_an_action_that_takes_much_longer_than_usual_is_a_task_and_is_not_stopped(ahead: Ahead):
    body = {"invocation": "i", "instrument": "rig", "action": "burn", "started": "2026-11-21T04:00:00.000000Z"}

    for seconds in (31.0, 45.0):
        await ahead.vigil.overrun(body | {"seconds": seconds, "expected_seconds": 10.0})

    (task,) = ahead.tasks()
    assert (task.kind, task.title, task.priority) == ("overrun", "rig.burn takes much longer than usual", "high")
    assert "It runs for 31 s" in task.description
    assert "usually it takes 10 s" in task.description


async def test_what_a_host_tells_of_an_overrun_becomes_a_task(ahead: Ahead):
    put_down = asyncio.Event()
    ahead.hub.journal.tasks.listen(lambda _: put_down.set())
    watching = asyncio.ensure_future(ahead.vigil.keep())
    await asyncio.sleep(0)
    body = {"invocation": "i", "instrument": "rig", "action": "burn", "started": "2026-11-21T04:00:00.000000Z"}

    ahead.hub.orchestrator.changes.publish("overrun", body | {"seconds": 31.0, "expected_seconds": 10.0})
    await asyncio.wait_for(put_down.wait(), 4)

    assert [task.kind for task in ahead.tasks()] == ["overrun"]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_task_about_an_action_closes_itself_when_the_action_ends(ahead: Ahead):
    """One that is over within seconds makes none: nobody could look after it."""
    changed = asyncio.Queue[Task]()
    ahead.hub.journal.tasks.listen(lambda tasks: [changed.put_nowait(task) for task in tasks])
    watching = asyncio.ensure_future(ahead.vigil.keep())
    await asyncio.sleep(0)
    publish = ahead.hub.orchestrator.changes.publish
    body = {"instrument": "rig", "action": "burn", "started": "2026-11-21T04:00:00.000000Z", "expected_seconds": 0.1}

    publish("overrun", body | {"invocation": "short", "seconds": 1.0})
    publish("invocation", {"id": "short", "state": "succeeded"})
    publish("overrun", body | {"invocation": "long", "seconds": 31.0})
    first = await asyncio.wait_for(changed.get(), 4)
    publish("invocation", {"id": "long", "state": "failed"})
    second = await asyncio.wait_for(changed.get(), 4)

    assert (first.id, first.status) == (second.id, "pending")
    assert (second.status, second.closed_by, second.why) == ("completed", None, "The action has ended.")
    assert len(ahead.tasks()) == 1
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_durations_are_learned_by_themselves_when_a_run_has_ended(ahead: Ahead, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(durations, "LEARN_AFTER", 0.0)
    learned = asyncio.Event()
    fold = Durations.catch_up

    async def catch_up(self: Durations) -> None:
        await fold(self)
        learned.set()

    monkeypatch.setattr(Durations, "catch_up", catch_up)
    learning = asyncio.ensure_future(ahead.durations.keep_up(ahead.hub.orchestrator.changes))
    await asyncio.wait_for(learned.wait(), 4)  # what an earlier process left
    learned.clear()

    await ahead.hub.does(MOVE)
    await asyncio.wait_for(learned.wait(), 4)

    assert [row["what"] for row in ahead.durations.table()] == ["rig.move"]
    learning.cancel()
    await asyncio.gather(learning, return_exceptions=True)
