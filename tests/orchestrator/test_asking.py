"""What people are asked and what comes of their answers: forms from annotations, several questions, deadlines."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from labretto.errors import ConflictError, InvalidError
from labretto.instrument.reading import now
from labretto.orchestrator.people import People
from labretto.orchestrator.task import Wanted

from .conftest import Hub, Lab, World, do, steps

SOURCE = """
import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal
from annotated_types import Interval, Unit
import labretto

Milligram = Annotated[float, Unit("mg"), Interval(gt=0)]

@dataclass
class Film:
    mass: Milligram
    colour: Literal["clear", "hazy"]
    cracked: bool = False
    note: str = ""

@labretto.experiment
async def weigh(run):
    mass = await run.ask("Weigh the film", answer=Milligram, assignee="ada", priority="high", description="3 x.")
    run.save(mass=mass, unit=mass.unit)

@labretto.experiment
async def look(run):
    film = await run.ask("Look at it", answer=Film)
    run.save(kind=type(film).__name__, mass=film.mass, unit=film.mass.unit, colour=film.colour, cracked=film.cracked)

@labretto.experiment
async def photograph(run):
    photo = await run.ask("A photo", answer=labretto.File)
    run.save(photo=photo, size=len(photo.read_bytes()))

@labretto.experiment
async def confirm(run):
    run.save(answer=await run.ask("Load the film"))

@labretto.experiment
async def late(run, late: str):
    try:
        run.save(answer=await run.ask("Now?", answer=int, deadline=0.01, late=late, default=7))
    except labretto.FailedError as error:
        run.save(answer=error.detail)

@labretto.experiment
async def unfit(run, what: str):
    if what == "default":
        await run.ask("How many?", answer=int, deadline=1, late="default", default="seven")
    elif what == "both":
        await run.ask("How many?", ["1"], answer=int)
    else:
        await run.ask("How many?", priority="huge")
"""


@pytest.fixture
async def people(hub: Hub) -> AsyncIterator[People]:
    async with People(hub.orchestrator) as people:
        yield people


def open_tasks(hub: Hub) -> list[Any]:
    return hub.journal.tasks.listed(Wanted(status=("pending", "in_progress")))[0]


async def asked(hub: Hub, function: str, **parameters: Any) -> tuple[str, Any]:
    """A run that has come to its question, and the task that it is."""
    run = await hub.submit(SOURCE, function, **parameters)
    await hub.comes_to(run, "waiting")
    (task,) = open_tasks(hub)
    return run, task


async def told(hub: Hub, topic: str, wanted: Callable[[Any], bool] = lambda body: True) -> Any:
    """The body of the first change of a topic that is wanted, also of one that was told already."""
    after = 0
    while True:
        batch = await hub.orchestrator.changes.wait(after)
        assert batch is not None
        for change in batch.changes:
            if change.topic == topic and wanted(change.body):
                return change.body
        after = batch.sequence


async def test_a_number_is_asked_for_with_its_unit_and_its_limits_and_is_saved_with_the_unit(hub: Hub, people: People):
    run, task = await asked(hub, "weigh")

    assert task.question["schema"] == {"type": "number", "exclusiveMinimum": 0, "unit": "mg"}
    assert (task.title, task.description) == ("Weigh the film", "3 x.")
    assert (task.assignee, task.priority, task.kind, task.run, task.path) == ("ada", "high", "ask", run, "ask")

    closed = await people.change(task.id, {"answer": 12.5}, who="ada", why="scales")

    assert (closed.status, closed.answer, closed.closed_by, closed.why) == ("completed", 12.5, "ada", "scales")
    assert await hub.ended(run) == "succeeded"
    assert list(hub.record(run).rows) == [{"mass": {"$value": 12.5, "unit": "mg"}, "unit": "mg"}]
    (settled,) = (event for event in hub.events(run) if event["kind"] == "settled")
    assert (settled["who"], settled["why"], settled["value"]) == ("ada", "scales", 12.5)


async def test_a_dataclass_is_a_form_with_a_fault_at_each_field_and_comes_back_as_one(hub: Hub, people: People):
    run, task = await asked(hub, "look")
    form = task.question["schema"]
    assert form["required"] == ["mass", "colour"]
    assert form["properties"]["colour"]["enum"] == ["clear", "hazy"]

    with pytest.raises(InvalidError) as refused:
        await people.change(task.id, {"answer": {"mass": -1, "colour": "red", "weight": 2}}, who=None, why=None)

    assert {fault["field"] for fault in refused.value.faults} == {"mass", "colour", "weight"}
    assert "mg" in next(fault["detail"] for fault in refused.value.faults if fault["field"] == "mass")
    assert people.tasks.find(task.id) == task
    with pytest.raises(InvalidError, match="mass: it is needed"):
        await people.change(task.id, {"answer": {"colour": "hazy"}}, who=None, why=None)

    await people.change(task.id, {"answer": {"mass": 3, "colour": "hazy"}}, who=None, why=None)

    assert await hub.ended(run) == "succeeded"
    assert list(hub.record(run).rows) == [
        {"kind": "Film", "mass": {"$value": 3.0, "unit": "mg"}, "unit": "mg", "colour": "hazy", "cracked": False}
    ]


async def test_a_file_is_kept_in_the_record_and_its_place_is_the_answer(hub: Hub, people: People):
    run, task = await asked(hub, "photograph")

    async def content() -> AsyncIterator[bytes]:
        yield b"\x89PNG"
        yield b"..."

    with pytest.raises(InvalidError, match="no file of this name has been sent"):
        await people.change(task.id, {"answer": "files/other.png"}, who=None, why=None)
    places = [await people.bring(task.id, name, content()) for name in ("../../a photo.png", "a photo.png")]
    assert places == ["files/a_photo.png", "files/a_photo-2.png"]

    await people.change(task.id, {"answer": places[0]}, who=None, why=None)

    assert await hub.ended(run) == "succeeded"
    assert list(hub.record(run).rows) == [{"photo": "files/a_photo.png", "size": 7}]
    assert (hub.orchestrator.catalog.find(run) / places[0]).read_bytes() == b"\x89PNG..."
    with pytest.raises(ConflictError, match="No run waits"):
        await people.bring(task.id, "late.png", content())


async def test_a_file_that_is_too_large_is_refused_and_leaves_nothing(
    hub: Hub, people: People, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("labretto.orchestrator.brought.FILE_LIMIT", 3)
    run, task = await asked(hub, "photograph")

    async def content() -> AsyncIterator[bytes]:
        yield b"four"

    with pytest.raises(InvalidError, match="larger than 3 bytes"):
        await people.bring(task.id, "x", content())

    folder: Path = hub.orchestrator.catalog.find(run) / "files"
    assert list(folder.iterdir()) == []


async def test_what_only_has_to_be_done_is_closed_without_a_value(hub: Hub, people: People):
    run, task = await asked(hub, "confirm")

    await people.change(task.id, {"status": "completed"}, who="ada", why=None)

    assert await hub.ended(run) == "succeeded"
    assert list(hub.record(run).rows) == [{"answer": None}]


async def test_a_runs_question_ends_by_an_answer_only(hub: Hub, people: People):
    run, task = await asked(hub, "confirm")

    with pytest.raises(ConflictError, match="waits for its answer"):
        await people.remove(task.id)
    with pytest.raises(ConflictError, match="cannot be cancelled"):
        await people.change(task.id, {"status": "cancelled"}, who=None, why=None)
    with pytest.raises(ConflictError, match="stays as it was asked"):
        await people.change(task.id, {"title": "Do nothing"}, who=None, why=None)
    begun = await people.change(task.id, {"status": "in_progress", "assignee": "grace"}, who=None, why=None)
    assert (begun.status, begun.assignee, begun.is_open) == ("in_progress", "grace", True)
    assert hub.orchestrator.summary(run)["state"] == "waiting"

    ended = await people.change(task.id, {"choice": "abort"}, who="ada", why="no film")

    assert (ended.status, ended.closed_by) == ("cancelled", "ada")
    assert await hub.ended(run) == "aborted"
    with pytest.raises(ConflictError, match="has gone on with that"):
        await people.change(task.id, {"status": "pending"}, who=None, why=None)
    assert await people.remove(task.id) is None


@pytest.mark.parametrize(("late", "answer"), [("fail", "Nobody answered in time: Now?"), ("default", 7)])
async def test_a_question_without_an_answer_in_time_is_what_it_says(hub: Hub, people: People, late: str, answer: Any):
    run = await hub.submit(SOURCE, "late", late=late)

    assert await hub.ended(run) == "succeeded"
    assert list(hub.record(run).rows) == [{"answer": answer}]
    (task,) = hub.journal.tasks.of_run(run)
    assert (task.status, task.closed_by, task.why) == ("completed", None, "Nobody answered in time.")


async def test_a_deadline_passes_while_no_hub_runs_and_is_seen_by_the_next(lab: Lab):
    async with lab.hub() as first:
        run, _ = await asked(first, "late", late="fail")
    async with lab.hub() as second, People(second.orchestrator):
        assert await second.ended(run) == "succeeded"
        assert list(second.record(run).rows) == [{"answer": "Nobody answered in time: Now?"}]


async def test_a_late_question_that_may_wait_is_told_to_be_overdue_once(hub: Hub, people: People):
    run = await hub.submit(SOURCE, "late", late="mark")
    await told(hub, "task", lambda task: task["overdue"])
    (task,) = open_tasks(hub)
    assert task.overdue(now())
    await people.change(task.id, {"answer": 3}, who=None, why=None)
    assert await hub.ended(run) == "succeeded"


async def test_a_reminder_is_told_once_also_over_a_restart(lab: Lab):
    async with lab.hub() as first, People(first.orchestrator) as people:
        task = await people.tasks.create(
            title="Order argon", description="Two bottles", reminder="2026-01-01T08:00:00Z"
        )
        assert (await told(first, "reminder"))["id"] == task.id
    async with lab.hub() as second, People(second.orchestrator) as people:
        assert people.tasks.next_moment() is None
        assert people.tasks.find(task.id).title == "Order argon"


@pytest.mark.parametrize(
    ("what", "words"), [("default", "not a whole number"), ("both", "one of the two"), ("", "huge")]
)
async def test_a_question_that_nobody_could_answer_rightly_is_not_asked(hub: Hub, what: str, words: str):
    run = await hub.does(SOURCE, "unfit", what=what)

    assert words in str(hub.error(run))
    assert open_tasks(hub) == []


PARALLEL = """
name: two branches
steps:
  - parallel:
      left:
        - {ask: "Left?", name: left, choices: [yes, no]}
        - {save: {left: "${left}"}}
      right:
        - {ask: "Right?", name: right, choices: [yes, no]}
        - {do: rig.move, with: {x: 3}}
        - {ask: "Right again?", name: again, choices: [yes, no]}
"""


async def test_branches_ask_at_the_same_time_and_each_gets_its_own_answer_also_after_a_crash(lab: Lab, world: World):
    async with lab.hub() as first, People(first.orchestrator) as people:
        run = await first.submit(PARALLEL)
        for title in ("Left?", "Right?"):
            await told(first, "task", lambda task, title=title: task["title"] == title)
        asked_ = {task.title: task for task in open_tasks(first)}
        assert len(first.orchestrator.summary(run)["questions"]) == 2
        with pytest.raises(ConflictError, match="asks 2 things"):
            await first.orchestrator.walker(run).answer("yes", None, who=None, why=None)
        await people.change(asked_["Right?"].id, {"answer": "no"}, who=None, why=None)
    async with lab.hub() as second, People(second.orchestrator) as people:
        after = second.orchestrator.changes.sequence
        while "Right again?" not in {task.title for task in open_tasks(second)}:
            batch = await second.orchestrator.changes.wait(after)
            assert batch is not None
            after = batch.sequence
        assert world.done == ["move 3"]
        left, again = sorted(open_tasks(second), key=lambda task: task.title)
        assert second.orchestrator.summary(run)["reason"] == "Left?"
        await people.change(left.id, {"answer": "yes"}, who=None, why=None)
        await people.change(again.id, {"answer": "no"}, who=None, why=None)

        assert await second.ended(run) == "succeeded"
        assert list(second.record(run).rows) == [{"left": "yes"}]


async def test_a_value_entered_for_an_interrupted_step_must_be_what_the_action_answers(lab: Lab):
    from .test_worker import interrupted

    run = await interrupted(lab, "burn")
    async with lab.hub() as hub, People(hub.orchestrator) as people:
        await hub.comes_to(run, "waiting")
        (task,) = open_tasks(hub)
        assert (task.kind, task.priority) == ("interrupted", "high")
        with pytest.raises(InvalidError) as refused:
            await people.change(task.id, {"choice": "happened", "answer": "a lot"}, who=None, why=None)
        assert "is not a number" in refused.value.faults[0]["detail"]
        with pytest.raises(InvalidError, match="which of the choices"):
            await people.change(task.id, {"status": "completed"}, who=None, why=None)

        await people.change(task.id, {"choice": "happened", "answer": 2.5}, who=None, why=None)

        assert await hub.ended(run) == "succeeded"


async def test_the_end_of_a_run_takes_its_questions_off_the_list(hub: Hub, people: People):
    run, task = await asked(hub, "confirm")

    await hub.orchestrator.walker(run).abort("ada")

    assert await hub.ended(run) == "aborted"
    closed = people.tasks.find(task.id)
    assert (closed.status, closed.closed_by, closed.why) == ("cancelled", "ada", "The run was ended.")


async def test_a_task_about_a_run_that_waits_for_nobody_is_put_down_once(hub: Hub, people: People):
    run = await hub.does(steps(do("move", x=1)))
    words = {"title": "It took long", "description": "Twice as long as usual", "kind": "overrun", "run": run}

    first, second = [await people.tasks.create(**words, key=f"overrun {run}") for _ in range(2)]

    assert first.id == second.id
    assert await people.remove(first.id) is None
