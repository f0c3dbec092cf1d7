"""What people may do to runs that wait: order, hold, edit, time, labels, turns, and the switch of the whole queue."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labretto.errors import ConflictError, InvalidError, NotFoundError
from labretto.instrument.reading import isoformat
from labretto.orchestrator.line import Edit, Line
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.submission import Submission

from .conftest import Hub, Lab, World, do, steps
from .test_queue import told_of_record

SCAN = "name: scan\nparameters:\n  x: {default: 1, minimum: 0, maximum: 100}\nsteps:\n  - " + do("move", x='"${x}"')
PYTHON = "async def moved(run, x: float):\n    (rig,) = await run.lease('rig'),\n    await rig.move(x=x)\n"


async def submit(hub: Hub, experiment: str = SCAN, *, terms: dict[str, Any] | None = None, **parameters: Any) -> str:
    words = {"who": "ada", "terms": terms or {}}
    return (await hub.orchestrator.submit(Submission(experiment, parameters, **words))).id  # type: ignore[arg-type]


@pytest.fixture
def line(hub: Hub) -> Line:
    return Line(hub.orchestrator)


async def busy(hub: Hub, world: World) -> str:
    """A run that has the rig until the test lets it go."""
    run = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()
    return run


async def all_end(hub: Hub, world: World, *runs: str) -> None:
    world.go.set()
    for run in runs:
        assert await hub.ended(run) == "succeeded"


async def test_runs_are_done_by_priority_then_in_their_order(hub: Hub, world: World):
    first = await busy(hub, world)
    runs = [await submit(hub, x=k, terms={"priority": p}) for k, p in enumerate([0, 5, 0, -1, 5])]

    await all_end(hub, world, first, *runs)

    assert world.done == ["burn", "move 1", "move 4", "move 0", "move 2", "move 3"]


async def test_a_run_is_done_where_it_was_moved_to_also_by_the_next_hub(lab: Lab, world: World):
    async with lab.hub() as hub:
        line = Line(hub.orchestrator)
        await hub.orchestrator.switch.turn("ada", stopped=True)
        a, b, c = [await submit(hub, x=k) for k in range(3)]
        await line.move(c, "first", None, "ada")
        await line.move(a, "after", b, "bob")
    async with lab.hub() as hub:
        await hub.orchestrator.switch.turn("ada", stopped=False)
        hub.orchestrator.wake()
        for run in (a, b, c):
            await hub.ended(run)

        assert world.done == ["move 2", "move 1", "move 0"]
        assert [(e["kind"], e.get("who")) for e in hub.events(a)[1:2]] == [("moved", "bob")]


async def test_a_run_that_is_held_does_not_begin_before_it_is_released(hub: Hub, line: Line, world: World):
    await hub.orchestrator.switch.turn(None, stopped=True)
    run = await submit(hub, x=1)
    summary = await line.hold(run, "bob", "the lamp is warm")
    await hub.orchestrator.switch.turn(None, stopped=False)
    hub.orchestrator.wake()
    await hub.ended(await submit(hub, x=2))

    assert summary["reason"] == "Held by bob: the lamp is warm"
    assert world.done == ["move 2"]
    await line.release(run, "ada")
    assert await hub.ended(run) == "succeeded"
    with pytest.raises(ConflictError, match="does not wait any more"):
        await line.hold(run, "bob")


async def test_a_run_may_be_held_from_its_submission_on(hub: Hub, line: Line):
    run = await submit(hub, terms={"held": True})

    assert hub.orchestrator.summary(run)["reason"] == "Held by ada."
    with pytest.raises(ConflictError, match="is not held"):
        await line.release((await submit(hub, terms={"not_before": later(hours=1)})), "ada")
    await line.release(run, "ada")
    assert await hub.ended(run) == "succeeded"


def later(**by: float) -> str:
    return isoformat(datetime.now(UTC) + timedelta(**by))


async def test_a_run_begins_when_its_time_has_come_and_says_so_before(hub: Hub, line: Line, world: World):
    run = await submit(hub, x=1, terms={"not_before": later(hours=1)})
    await hub.comes_to(run, "queued", reason="It is not to begin before")
    await hub.ended(await submit(hub, x=2))
    assert world.done == ["move 2"]

    await line.edit(run, Edit({"not_before": later(milliseconds=50)}))

    assert await hub.ended(run) == "succeeded"


async def test_parameters_are_changed_before_the_run_begins_and_its_record_says_who_did_it(
    hub: Hub, line: Line, world: World
):
    first = await busy(hub, world)
    run = await submit(hub, x=1)
    summary = await line.edit(run, Edit({"parameters": {"x": 7}, "name": "seven", "labels": ["film"]}, who="bob"))
    closed = asyncio.create_task(told_of_record(hub, run))

    await all_end(hub, world, first, run)
    await closed

    assert (summary["name"], summary["labels"]) == ("seven", ["film"])
    assert world.done == ["burn", "move 7"]
    manifest = hub.record(run).manifest
    assert (manifest["name"], manifest["parameters"], manifest["labels"]) == ("seven", {"x": 7}, ["film"])
    (edit,) = manifest["edits"]
    assert (edit["who"], edit["changed"]["parameters"]) == ("bob", {"x": 7})
    assert [found["id"] for found in hub.orchestrator.index.search(label="film")] == [run]


async def test_a_python_experiment_is_changed_as_well(hub: Hub, line: Line, world: World):
    row = await hub.orchestrator.submit(Submission(PYTHON, {"x": 1}, "moved", terms={"held": True}))
    with pytest.raises(InvalidError):
        await line.edit(row.id, Edit({"parameters": {"x": "far"}}))
    await line.edit(row.id, Edit({"parameters": {"x": 3}}))
    await line.release(row.id, None)

    assert await hub.ended(row.id) == "succeeded"
    assert world.done == ["move 3"]


async def test_an_edit_that_cannot_be_is_refused_with_all_faults_and_changes_nothing(hub: Hub, line: Line):
    run = await submit(hub, terms={"held": True})
    with pytest.raises(InvalidError) as refused:
        await line.edit(run, Edit({"parameters": {"x": 150, "y": 1}, "priority": "high", "labels": 7}))

    details = " ".join(fault["detail"] for fault in refused.value.faults)
    assert len(refused.value.faults) >= 4
    assert all(word in details for word in ("150", "y", "priority", "labels"))
    assert hub.kinds(run) == ["submitted"]


@pytest.mark.parametrize("changes", [{}, {"parameters": 3}, {"state": "succeeded"}, {"parameters": None}])
async def test_an_edit_that_says_nothing_or_nonsense_is_refused(hub: Hub, line: Line, changes: dict[str, Any]):
    run = await submit(hub, terms={"held": True})
    with pytest.raises(InvalidError):
        await line.edit(run, Edit(changes))

    assert hub.kinds(run) == ["submitted"]


async def test_of_two_who_edit_what_they_saw_the_second_is_told(hub: Hub, line: Line):
    run = await submit(hub, terms={"held": True})
    seen = hub.journal.row(run).last
    edits = [line.edit(run, Edit({"priority": p}, who, seen)) for p, who in ((1, "ada"), (2, "bob"))]

    outcomes = await asyncio.gather(*edits, return_exceptions=True)

    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, ConflictError)]
    assert "changed meanwhile" in refused.detail
    assert hub.kinds(run) == ["submitted", "edited"]


async def test_what_has_begun_keeps_its_parameters_but_takes_labels(hub: Hub, line: Line, world: World):
    run = await busy(hub, world)
    with pytest.raises(ConflictError, match="running: parameters, priority can no more be changed"):
        await line.edit(run, Edit({"parameters": {"x": 1}, "priority": 1}))
    with pytest.raises(ConflictError, match="does not wait any more"):
        await line.move(run, "first", None, None)
    await line.edit(run, Edit({"labels": ["hot"]}, "bob"))

    assert [found["id"] for found in hub.orchestrator.index.search(label="hot")] == [run]
    await all_end(hub, world, run)


async def test_labels_are_given_after_the_end_and_stand_in_the_record(hub: Hub, line: Line):
    await told_of_record(hub, run := await submit(hub))
    closed = hub.orchestrator.changes.subscribe()
    await line.edit(run, Edit({"labels": ["best"]}, "bob"))
    async with asyncio.timeout(20):
        while not any(change.topic == "record" for change in (await anext(closed)).changes):
            pass

    assert hub.record(run).manifest["labels"] == ["best"]
    assert [found["id"] for found in hub.orchestrator.index.search(label="best")] == [run]
    with pytest.raises(ConflictError, match="succeeded: again can no more be changed"):
        await line.edit(run, Edit({"again": 1}))


async def test_a_run_is_done_again_as_often_as_was_said_each_turn_with_its_own_record(hub: Hub, world: World):
    run = await submit(hub, x=1, terms={"again": 2, "labels": ["night"]})
    turns = [run]
    for _ in range(2):
        assert await hub.ended(turns[-1]) == "succeeded"
        turns.append(str(hub.journal.row(turns[-1]).followed_by))
    assert await hub.ended(turns[-1]) == "succeeded"

    assert world.done == ["move 1"] * 3
    assert hub.journal.row(turns[-1]).followed_by is None
    assert [hub.journal.row(turn).turn for turn in turns] == [1, 2, 3]
    assert len({str(hub.orchestrator.catalog.find(turn)) for turn in turns}) == 3


async def test_a_loop_without_number_ends_when_a_person_says_so_while_a_turn_runs(hub: Hub, line: Line, world: World):
    run = await busy(hub, world)
    await line.edit(run, Edit({"again": None}))
    await hub.orchestrator.switch.turn(None, stopped=True)
    await all_end(hub, world, run)
    following = str(hub.journal.row(run).followed_by)
    assert hub.journal.row(following).again is None
    world.go.clear()
    world.blocked.clear()
    await hub.orchestrator.switch.turn(None, stopped=False)
    hub.orchestrator.wake()
    await world.comes_to_a_halt()
    await line.edit(following, Edit({"again": 0}))
    await all_end(hub, world, following)

    assert hub.journal.row(following).followed_by is None
    assert world.done == ["burn", "burn"]


@pytest.mark.parametrize("written", [True, False])
async def test_a_crash_at_the_end_of_a_turn_loses_and_doubles_nothing(lab: Lab, world: World, written: bool):
    """The end and the next turn are one transaction: either both are on the disk, or the end is found again."""
    async with lab.hub(dies_after=5, written=written) as hub:  # submitted, started, intended, ended, finished
        run = await submit(hub, x=1, terms={"again": 1})
        await asyncio.wait_for(hub.journal.dead.wait(), 20)
    async with lab.hub() as hub:
        assert await hub.ended(run) == "succeeded"
        following = str(hub.journal.row(run).followed_by)
        assert await hub.ended(following) == "succeeded"

        assert world.done == ["move 1", "move 1"]
        assert len(hub.journal.newest(10)) == 2


async def test_a_run_of_before_is_submitted_again_with_other_parameters(hub: Hub, line: Line, world: World):
    run = await submit(hub, x=1, terms={"labels": ["film"], "priority": 3})
    await hub.ended(run)
    row = await hub.orchestrator.submit(line.copy(run, {"parameters": {"x": 2}, "name": "second"}, "bob"))

    assert await hub.ended(row.id) == "succeeded"
    assert world.done == ["move 1", "move 2"]
    assert (row.name, row.who, row.labels, row.priority) == ("second", "bob", ("film",), 0)
    assert hub.events(row.id)[0]["copy_of"] == run
    with pytest.raises(NotFoundError):
        line.copy("nobody", {}, None)


async def test_a_queue_that_was_stopped_lets_runs_end_and_begins_none_over_restarts(lab: Lab, world: World):
    async with lab.hub() as hub:
        run = await busy(hub, world)
        await hub.orchestrator.switch.turn("ada", stopped=True)
        waits = await submit(hub, x=1)
        await all_end(hub, world, run)
        await hub.comes_to(waits, "queued", reason="The queue was stopped by ada.")
    async with lab.hub() as hub:
        await hub.comes_to(waits, "queued", reason="The queue was stopped by ada.")
        assert world.done == ["burn"]
        await hub.orchestrator.switch.turn("bob", stopped=False)
        hub.orchestrator.wake()
        assert await hub.ended(waits) == "succeeded"


async def test_without_autostart_nothing_begins_before_somebody_has_started_the_queue(hub: Hub, lab: Lab, world: World):
    orchestrator = hub.orchestrator
    parts = {"journal": hub.journal, "catalog": orchestrator.catalog, "index": orchestrator.index}
    others = {"instruments": lab.instruments, "changes": orchestrator.changes, "autostart": False}
    async with Orchestrator(**parts, **others) as second:  # type: ignore[arg-type]
        run = (await second.submit(Submission(SCAN))).id
        await Hub(second, hub.journal).comes_to(run, "queued", reason="autostart = false")
        await second.switch.turn("ada", stopped=False)
        second.wake()
        assert (await asyncio.wait_for(second.ended(run), 20)).state == "succeeded"

    assert world.done == ["move 1"]
