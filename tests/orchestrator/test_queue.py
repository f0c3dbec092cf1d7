"""The queue: what waits, what goes on, what is refused, and what a full disk does to it."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from labretto.catalog.events import read_events
from labretto.catalog.read import open_record
from labretto.catalog.store import Catalog
from labretto.errors import ConflictError, InvalidError, NotFoundError, StorageError, UnreachableError
from labretto.orchestrator import halting, standing
from labretto.orchestrator.submission import Submission

from .conftest import Hub, Lab, World, do, steps, tasks_left
from .test_worker import interrupted

MOVE = steps(do("move", x=1))


async def test_what_cannot_run_is_refused_with_all_its_faults_and_nothing_is_kept(hub: Hub):
    with pytest.raises(InvalidError) as refused:
        await hub.submit(steps(do("move", x=150), "{do: rig.fly}", "{do: nobody.act}"))

    assert [fault["line"] for fault in refused.value.faults] == [3, 4, 5]
    assert hub.journal.newest(10) == []


async def test_an_instrument_that_is_down_is_named_at_the_submission(hub: Hub):
    with pytest.raises(UnreachableError, match="absent is down; nothing was submitted"):
        await hub.submit(steps("{do: absent.act}"))


async def test_runs_are_done_one_by_one_in_the_order_of_their_submission(hub: Hub, world: World):
    runs = [await hub.submit(steps(do("move", x=k))) for k in range(4)]
    for run in runs:
        assert await hub.ended(run) == "succeeded"

    assert world.done == ["move 0", "move 1", "move 2", "move 3"]


async def test_the_queue_goes_on_while_one_run_waits_for_a_person(lab: Lab):
    await lab.also("oven")
    run = await interrupted(lab, "burn")
    async with lab.hub() as hub:
        await hub.comes_to(run, "waiting")
        other = await hub.does(steps(do("move", on="oven", x=1)))
        assert hub.orchestrator.summary(other)["state"] == "succeeded"

        await hub.orchestrator.walker(run).answer("skip", None, who=None, why=None)
        assert await hub.ended(run) == "succeeded"


async def test_an_answered_run_waits_for_its_turn_where_others_act_and_says_so(lab: Lab, world: World):
    oven = await lab.also("oven")
    run = await interrupted(lab, "burn")
    async with lab.hub(limit=1) as hub:
        await hub.comes_to(run, "waiting")
        other = await hub.submit(steps(do("settle", on="oven")))
        await oven.comes_to_a_halt()
        await hub.orchestrator.walker(run).answer("repeat", None, who=None, why=None)
        await hub.comes_to(run, "running", reason="Waits for its turn")
        assert world.done == ["burn"]

        oven.go.set()
        assert await hub.ended(other) == "succeeded"
        assert await hub.ended(run) == "succeeded"
        assert world.done == ["burn", "burn"]


async def test_a_run_whose_instrument_does_not_come_back_gives_way(hub: Hub, lab: Lab, world: World, monkeypatch):
    monkeypatch.setattr(standing, "GIVE_WAY_AFTER", 0.01)
    run = await hub.submit(steps(do("burn"), do("move", x=1)))
    await world.comes_to_a_halt()
    await lab.unplug()
    await hub.comes_to(run, "running", reason="rig does not answer")

    other = await hub.does("async def other(run): run.save(y=1)", "other")

    assert hub.orchestrator.summary(other)["state"] == "succeeded"
    world.go.set()
    await lab.plug_in()
    assert await hub.ended(run) == "succeeded"
    assert world.done == ["burn", "move 1"]


async def test_a_queued_run_can_be_taken_out_and_leaves_a_record_that_says_so(hub: Hub, world: World):
    first = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()
    second = await hub.submit(MOVE)
    waiting = asyncio.create_task(hub.ended(second))

    await hub.orchestrator.remove(second, "ada")

    assert await waiting == "aborted"
    world.go.set()
    await hub.ended(first)
    await told_of_record(hub, second)
    assert hub.record(second).manifest["error"]["who"] == "ada"
    assert world.done == ["burn"]


async def told_of_record(hub: Hub, run: str) -> None:
    """Return when a record is closed."""
    after = hub.orchestrator.changes.sequence - 1000
    async with asyncio.timeout(20):
        while True:
            batch = await hub.orchestrator.changes.wait(after)
            assert batch is not None
            after = batch.sequence
            if any(change.topic == "record" and change.body["run"] == run for change in batch.changes):
                return


async def test_a_hub_that_dies_when_a_run_was_taken_out_leaves_its_record_to_the_next(lab: Lab):
    async with lab.hub(dies_after=2) as first:
        await first.orchestrator.switch.turn("ada", stopped=True)
        run = await first.submit(MOVE)
        removing = asyncio.create_task(first.orchestrator.remove(run, "ada"))
        await asyncio.wait_for(first.journal.dead.wait(), 20)
        removing.cancel()
        await asyncio.gather(removing, return_exceptions=True)

    async with lab.hub() as second:
        await told_of_record(second, run)
        assert second.record(run).manifest["error"]["who"] == "ada"
        assert [found["id"] for found in second.orchestrator.index.search(state="aborted")] == [run]


async def test_a_run_that_has_begun_cannot_be_taken_out(hub: Hub, world: World):
    run = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()

    with pytest.raises(ConflictError, match="has begun or is over"):
        await hub.orchestrator.remove(run, None)

    world.go.set()
    assert await hub.ended(run) == "succeeded"


async def test_taking_out_and_beginning_at_once_end_in_one_of_both(hub: Hub, world: World):
    """Whoever is first has it; never is a removed run done."""
    for number in range(10):
        run = await hub.submit(steps(do("dose", volume=number)))
        removal = await asyncio.gather(hub.orchestrator.remove(run, None), return_exceptions=True)
        state = await hub.ended(run)
        assert (state == "aborted") == (removal == [None])
        assert (f"dose {number}" in world.done) == (state == "succeeded")


async def test_many_wait_for_one_end_and_all_are_told(hub: Hub, world: World):
    run = await hub.submit(steps(do("burn")))
    waiting = [asyncio.create_task(hub.ended(run)) for _ in range(20)]
    await world.comes_to_a_halt()
    world.go.set()

    assert await asyncio.gather(*waiting) == ["succeeded"] * 20
    assert await hub.ended(run) == "succeeded"


async def test_the_end_of_an_unknown_run_is_not_waited_for(hub: Hub):
    with pytest.raises(NotFoundError, match="no run"):
        await hub.orchestrator.ended("../../etc/passwd\x00")


async def test_a_hub_that_closes_lets_go_of_those_who_wait(lab: Lab, world: World):
    async with lab.hub() as hub:
        run = await hub.submit(steps(do("burn")))
        await world.comes_to_a_halt()
        waiting = asyncio.create_task(hub.ended(run))
        await asyncio.sleep(0)

    assert await waiting == "running"
    assert tasks_left() == []


async def test_a_halt_outlives_the_hub(lab: Lab, world: World):
    async with lab.hub() as hub:
        hub.orchestrator.halt("ada")

    async with lab.hub() as hub:
        assert hub.orchestrator.halted
        run = await hub.submit(MOVE)
        await hub.comes_to(run, "paused", reason="halted")
        assert world.done == []
        hub.orchestrator.reset("ada")
        assert await hub.ended(run) == "succeeded"

    async with lab.hub() as hub:
        assert not hub.orchestrator.halted


async def test_a_halt_that_the_disk_did_not_take_counts_and_is_written_as_soon_as_there_is_room(
    lab: Lab, files_at_most, monkeypatch
):
    monkeypatch.setattr(halting, "RETRY_WRITING_AFTER", 0.01)
    async with lab.hub() as hub:
        await hub.does(MOVE)
        with files_at_most(1000):
            hub.orchestrator.halt("ada")
            assert hub.orchestrator.halted
            assert await hub.orchestrator.halt_kept(0.05) is False
        assert await hub.orchestrator.halt_kept(20) is True

    async with lab.hub() as hub:
        assert hub.orchestrator.halted


async def test_what_came_of_a_halt_is_known_after_a_restart(lab: Lab):
    async with lab.hub() as hub:
        hub.orchestrator.halt("ada")
        hub.orchestrator.stopped([{"instrument": "rig", "stopped": False, "detail": "no answer"}])

    async with lab.hub() as hub:
        assert hub.orchestrator.halt_words["stopped"] == [
            {"instrument": "rig", "stopped": False, "detail": "no answer"}
        ]


async def test_every_word_about_a_run_tells_its_submitter_and_its_progress(hub: Hub):
    first = hub.orchestrator.changes.sequence
    run = await hub.does(steps(do("move", x=1), "{read: rig.x}"))

    batch = hub.orchestrator.changes.batch(first)
    assert batch is not None
    told = [change.body for change in batch.changes if change.topic == "run"]
    assert [body["state"] for body in told] == ["queued", "running", "succeeded"]
    assert {body["who"] for body in told} == {"ada"}
    assert (told[-1]["steps_done"], told[-1]["steps_total"]) == (2, 2)
    assert all(body["submitted"] for body in told)
    assert told[-1]["ended"]
    assert told[-1]["id"] == run


# A full disk --------------------------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_new_runs_and_loses_none(hub: Hub, files_at_most):
    await hub.does(MOVE)
    with files_at_most(1000), pytest.raises(StorageError):
        await hub.submit(MOVE)

    assert len(hub.journal.newest(10)) == 1
    assert hub.kinds(await hub.does(MOVE))[-1] == "finished"


async def test_a_run_stands_still_while_the_disk_is_full_and_then_goes_on(tmp_path: Path, files_at_most):
    lab = Lab(tmp_path, ledgers=False)
    await lab.open()
    async with lab.hub() as hub:
        run = await hub.submit(steps(do("burn"), do("dose", volume=1), "{save: {y: 1}}"))
        await lab.world.comes_to_a_halt()
        with files_at_most(1000):
            lab.world.go.set()
            told = await hub.comes_to(run, "running", reason="cannot be")
            assert "Free space" in told["reason"]

        assert await hub.ended(run) == "succeeded"
        assert lab.world.done == ["burn", "dose 1"]
        assert hub.record(run).state == "succeeded"
        assert [event["number"] for event in read_events(hub.record(run).folder)] == list(range(1, 9))
    await lab.close()


async def test_a_record_that_fell_behind_its_journal_catches_up(hub: Hub, lab: Lab, world: World):
    run = await hub.submit(steps(do("burn"), do("move", x=1)))
    await world.comes_to_a_halt()
    events = Catalog(lab.folder / "records").find(run) / "events.jsonl"
    assert events.read_bytes().count(b"\n") == 3
    await asyncio.to_thread(world.go.set)
    await hub.ended(run)

    lines = [json.loads(line) for line in events.read_bytes().splitlines()]
    assert [line["number"] for line in lines] == list(range(1, 8))


async def test_a_record_that_a_crash_cut_off_is_made_whole_from_the_journal(lab: Lab):
    async with lab.hub() as first:
        run = await first.does(steps(do("move", x=1), "{save: {y: 1}}"))
    folder = Catalog(lab.folder / "records").find(run)
    whole = (folder / "events.jsonl").read_bytes()
    (folder / "events.jsonl").write_bytes(whole[: len(whole) // 2])
    for made in ("data.parquet", "record.h5"):
        (folder / made).unlink(missing_ok=True)
    manifest = json.loads((folder / "run.json").read_bytes()) | {"state": "running"}
    del manifest["finalised"]
    (folder / "run.json").write_text(json.dumps(manifest))

    async with lab.hub() as second:
        with contextlib.suppress(AssertionError):
            await asyncio.wrap_future(second.orchestrator.index.upsert(manifest))
    async with lab.hub() as third:
        await told_of_record(third, run)

    assert (folder / "events.jsonl").read_bytes() == whole
    assert open_record(folder).to_pandas()["y"].tolist() == [1]


async def test_a_run_whose_record_cannot_be_made_fails_and_the_queue_goes_on(hub: Hub, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("no such thing")

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "begin", broken)
        run = await hub.submit(MOVE)
        assert await hub.ended(run) == "failed"
    assert "no such thing" in hub.error(run)["detail"]
    assert hub.kinds(await hub.does(MOVE))[-1] == "finished"


async def test_a_revived_hub_cannot_write_into_a_run_that_was_taken_over(lab: Lab, world: World):
    """Nor act: its lease number is lower than the one its successor has shown."""
    async with lab.hub() as old:
        run = await old.submit(steps(do("burn"), do("move", x=1)))
        await world.comes_to_a_halt()
        async with lab.hub() as new:
            world.go.set()
            assert await new.ended(run) == "succeeded"
            kinds = new.kinds(run)
        assert new.kinds is not None
        assert old.kinds(run) == kinds
    assert world.done.count("burn") == 1
    assert world.done.count("move 1") == 1


async def test_the_name_of_a_submission_wins_over_the_experiments(hub: Hub):
    row = await hub.orchestrator.submit(Submission(MOVE, name="Tuesday"))

    assert row.name == "Tuesday"
    assert hub.orchestrator.journal.row(row.id).submitted == row.submitted
