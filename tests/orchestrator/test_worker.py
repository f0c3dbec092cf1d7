"""A run, step by step: done, refused, failed, interrupted, taken up again; with a real host."""

import asyncio

import numpy as np
import pytest

from labretto.errors import ConflictError
from labretto.instrument.ledger import Ledger
from labretto.instrument.limits_file import read_limits

from .conftest import Hub, Lab, Rig, World, copy_database, do, steps

SCAN = steps(
    do("move", x=3),
    "{read: rig.x, name: x}",
    do("dose", volume=2, name="dose"),
    '{save: {x: "${x}", volume: "${dose}"}}',
)


async def test_a_run_does_its_steps_in_order_and_leaves_rows_with_units(hub: Hub, world: World):
    run = await hub.does(SCAN)

    assert world.done == ["move 3", "dose 2"]
    assert hub.kinds(run) == ["submitted", "started"] + ["intended", "ended"] * 3 + ["saved", "finished"]
    data = hub.record(run).to_xarray()
    assert float(data["x"][0]) == 3.0
    assert data["x"].attrs["units"] == "mm"


async def test_a_driver_that_raises_fails_the_run_with_its_own_words_and_traceback(hub: Hub):
    run = await hub.does(steps(do("fail"), do("move", x=1)))

    assert hub.kinds(run)[-2:] == ["ended", "finished"]
    assert "the shutter is stuck" in hub.error(run)["detail"]
    assert "ValueError" in hub.error(run)["traceback"]


async def test_an_attribute_whose_driver_raises_is_a_failed_step(hub: Hub, world: World):
    world.done.append("cut")
    run = await hub.does(steps("{read: rig.broken}"))

    ended = hub.events(run)[-2]
    assert (ended["kind"], ended["state"]) == ("ended", "failed")
    assert "no carrier" in hub.error(run)["detail"]


async def test_a_value_beyond_its_limits_in_mid_run_is_refused_by_the_host_and_named(hub: Hub, world: World):
    run = await hub.does(
        steps("{set: rig.x, to: 90}", do("dose", volume=150, name="d"), '{do: rig.move, with: {x: "${d}"}}')
    )

    assert world.done == ["set 90", "dose 150"]
    assert hub.error(run)["status"] == 422
    assert "100" in hub.error(run)["detail"]


async def test_a_busy_instrument_is_waited_for_and_said_so(hub: Hub, lab: Lab, world: World):
    somebody = asyncio.create_task(lab.instruments.clients["rig"].invoke("burn", {}))
    await world.comes_to_a_halt()
    run = await hub.submit(steps(do("move", x=1)))
    await hub.comes_to(run, "running", reason="is busy: burn")

    world.go.set()

    assert await hub.ended(run) == "succeeded"
    await somebody


async def test_a_run_waits_for_a_reading_and_never_takes_one_from_before(hub: Hub, lab: Lab, world: World):
    """Who looks at a busy instrument is shown its last reading, marked stale; a record has no place for such a mark."""
    somebody = asyncio.create_task(lab.instruments.clients["rig"].invoke("burn", {}))
    await world.comes_to_a_halt()
    world.at = 7.0
    run = await hub.submit(steps("{read: rig.x, name: x}", '{save: {x: "${x}"}}'))
    await hub.comes_to(run, "running", reason="rig.x cannot be read now: burn keeps the driver busy")

    world.go.set()

    assert await hub.ended(run) == "succeeded"
    assert [row["x"]["$value"] for row in hub.record(run).rows] == [7.0]
    await somebody


async def test_an_array_is_stored_once_and_a_saved_row_refers_to_it(hub: Hub):
    run = await hub.does(steps(do("picture", size=8, name="p"), '{save: {image: "${p}"}}'))

    ended, saved = hub.events(run)[3], hub.events(run)[4]
    assert saved["row"]["image"] == ended["result"]
    assert ended["result"]["unit"] == "lx"
    assert hub.record(run).to_xarray()["image"].shape == (1, 8, 8)


async def test_a_curve_is_in_the_record_while_it_is_measured(hub: Hub, world: World):
    world.done.append("hold")
    run = await hub.submit(steps(do("curve", points=40)))
    await world.comes_to_a_halt()
    await until_streamed(hub, run, 2)
    world.go.set()

    assert await hub.ended(run) == "succeeded"
    stream = hub.record(run).stream("rig.curve")
    assert stream["potential"].size == 40
    assert stream.units == {"potential": "V", "current": "A"}


async def until_streamed(hub: Hub, run: str, points: int) -> None:
    """Return when so many points of its curve have been told to viewers, which happens after they are on file."""
    after, seen = hub.orchestrator.changes.sequence - 1000, 0
    async with asyncio.timeout(20):
        while seen < points:
            batch = await hub.orchestrator.changes.wait(after)
            assert batch is not None
            after, seen = batch.sequence, seen + sum(curve.length for curve in batch.curves)


async def test_what_json_cannot_say_comes_through_as_it_was(hub: Hub):
    run = await hub.does(
        steps(
            do("odd", name="odd"), '{save: {n: "${odd.nan}", raw: "${odd.raw}", w: "${odd.when}", k: "${odd.whole}"}}'
        )
    )

    odd = (
        hub.record(run).result("rig.odd") if "rig.odd" in hub.events(run)[2]["path"] else hub.record(run).result("odd")
    )
    assert np.isnan(odd["nan"])
    assert odd["raw"] == b"\x00\xff"
    assert odd["when"].year == 2026
    assert (odd["whole"], odd["part"]) == (7, 0.5)


# After a crash ------------------------------------------------------------------------------------------------------

EVENTS_OF_SCAN = 10


@pytest.mark.parametrize("written", [True, False], ids=["after it is written", "before it is written"])
@pytest.mark.parametrize("number", range(1, EVENTS_OF_SCAN + 1))
async def test_a_hub_that_dies_at_any_event_loses_nothing_and_repeats_nothing(lab: Lab, number: int, written: bool):
    """The host lives. What was done is adopted, what never arrived is sent."""
    async with lab.hub(number, written=written) as first:
        submitting = asyncio.create_task(first.submit(SCAN))
        await asyncio.wait_for(first.journal.dead.wait(), 20)
        submitting.cancel()
        await asyncio.gather(submitting, return_exceptions=True)

    async with lab.hub() as second:
        rows = second.journal.newest(5)
        if number == 1 and not written:
            assert rows == []
            return
        assert await second.ended(rows[0].id) == "succeeded"
        assert lab.world.done == ["move 3", "dose 2"]
        assert second.record(rows[0].id).to_pandas()["volume"].tolist() == [2.0]
        assert second.kinds(rows[0].id).count("ended") == 3
        numbers = [event["number"] for event in second.events(rows[0].id)]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_a_power_cut_leaves_the_intent_of_what_must_happen_once(lab: Lab, world: World):
    """What was written and not flushed is gone; the action began all the same, and is not begun again."""
    async with lab.hub() as first:
        first.journal.flushed = lab.folder / "flushed.db"
        run = await first.submit(steps(do("burn")))
        await world.comes_to_a_halt()
        await lab.kill_host()
    for file in lab.folder.glob("journal.db*"):
        file.unlink()
    copy_database(lab.folder / "flushed.db", lab.folder / "journal.db")
    await lab.start_host()

    async with lab.hub() as second:
        await second.comes_to(run, "waiting", reason="its end was not seen")
    world.go.set()
    assert world.done == ["burn"]


async def test_a_host_with_another_ledger_cannot_tell_however_old_that_is(lab: Lab, world: World):
    """A spare machine in its place: its ledger is older than the request, and was not there when it was sent."""
    Ledger(lab.folder / "spare.db").close()
    async with lab.hub() as first:
        run = await first.submit(steps(do("burn")))
        await world.comes_to_a_halt()
    await lab.unplug()
    await lab.start_host("spare.db")

    async with lab.hub() as second:
        told = await second.comes_to(run, "waiting")
        assert "another than the one it had when this was sent" in told["reason"]
        assert world.done == ["burn"]
        world.go.set()
        await second.orchestrator.walker(run).answer("repeat", None, who="ada", why="it did not fire")
        assert await second.ended(run) == "succeeded"
    assert world.done == ["burn", "burn"]


async def test_a_step_that_still_runs_when_the_hub_is_back_is_adopted(lab: Lab, world: World):
    async with lab.hub() as first:
        run = await first.submit(steps(do("burn")))
        await world.comes_to_a_halt()

    async with lab.hub() as second:
        world.go.set()
        assert await second.ended(run) == "succeeded"
        assert world.done == ["burn"]
        assert second.record(run).steps[0].origin == "adopted"


async def test_a_step_that_ended_while_the_hub_was_away_is_adopted_with_its_curve(lab: Lab, world: World):
    world.done.append("hold")
    async with lab.hub() as first:
        run = await first.submit(steps(do("curve", points=40, name="cv"), '{save: {i: "${cv.current}"}}'))
        await world.comes_to_a_halt()
    world.go.set()

    async with lab.hub() as second:
        assert await second.ended(run) == "succeeded"
        assert world.done.count("curve") == 1
        record = second.record(run)
        assert record.step("cv").origin == "adopted"
        assert record.stream("cv")["current"].size == 40
        assert record.to_xarray()["i"].attrs["units"] == "A"


async def interrupted(lab: Lab, action: str) -> str:
    """A run whose hub and host died while `action` ran; both are there again."""
    async with lab.hub() as first:
        run = await first.submit(steps(do(action, name="it"), '{save: {result: "${it}"}}'))
        await lab.world.comes_to_a_halt()
        await lab.kill_host()
    lab.world.go.set()
    await lab.start_host()
    return run


async def test_an_interrupted_step_that_can_be_checked_and_happened_is_taken_over_with_what_the_check_says(lab: Lab):
    lab.world.says = ("done", 5.0)
    run = await interrupted(lab, "shut")

    async with lab.hub() as second:
        assert await second.ended(run) == "succeeded"
        ended = next(event for event in second.events(run) if event["kind"] == "ended")
        assert (ended["origin"], ended["result"]) == ("checked", 5.0)
        assert second.record(run).rows[0]["result"] == 5.0
    assert lab.world.done == ["shut", "check"]


async def test_an_interrupted_step_that_did_not_happen_by_its_check_is_repeated(lab: Lab):
    lab.world.says = "not done"
    run = await interrupted(lab, "shut")

    async with lab.hub() as second:
        assert await second.ended(run) == "succeeded"
        assert "its check says that it did not happen" in str(second.events(run))
    assert lab.world.done == ["shut", "check", "shut"]


@pytest.mark.parametrize("says", ["partly", "perhaps"])
async def test_a_person_is_asked_where_the_check_does_not_know(lab: Lab, says: str):
    lab.world.says = says
    run = await interrupted(lab, "shut")

    async with lab.hub() as second:
        waits = await second.comes_to(run, "waiting")
        assert "shut" in waits["question"]["text"]
        await second.orchestrator.walker(run).answer("happened", 2.0, who="ada", why="I saw it")
        assert await second.ended(run) == "succeeded"
    assert lab.world.done == ["shut", "check"]


@pytest.mark.parametrize("action", ["stare", "settle"])
async def test_an_interrupted_step_that_is_harmless_is_repeated_without_asking(lab: Lab, action: str):
    run = await interrupted(lab, action)

    async with lab.hub() as second:
        assert await second.ended(run) == "succeeded"
        assert lab.world.done == [action, action]
        assert "interrupted" in second.kinds(run)
        assert second.record(run).step("it").attempt == 2


async def test_an_interrupted_step_that_must_happen_once_is_a_question(lab: Lab):
    run = await interrupted(lab, "burn")

    async with lab.hub() as second:
        waiting = await second.comes_to(run, "waiting")
        assert "rig.burn" in waiting["question"]["text"]
        assert waiting["question"]["choices"] == ["happened", "repeat", "undone", "skip", "abort"]
        assert lab.world.done == ["burn"]


@pytest.mark.parametrize(
    ("choice", "done", "state", "result"),
    [
        ("happened", ["burn"], "succeeded", 7.5),
        ("repeat", ["burn", "burn"], "succeeded", 1.0),
        ("undone", ["burn", "burn"], "succeeded", 1.0),
        ("skip", ["burn"], "succeeded", None),
        ("abort", ["burn"], "aborted", "no row"),
    ],
)
async def test_a_person_says_what_became_of_it(lab: Lab, choice: str, done: list[str], state: str, result: object):
    run = await interrupted(lab, "burn")

    async with lab.hub() as second:
        await second.comes_to(run, "waiting")
        await second.orchestrator.walker(run).answer(choice, 7.5, who="ada", why="I looked")

        assert await second.ended(run) == state
        assert lab.world.done == done
        saved = [event["row"]["result"] for event in second.events(run) if event["kind"] == "saved"]
        assert (saved or ["no row"]) == [result]
        settled = next(event for event in second.events(run) if event["kind"] == "settled")
        assert (settled["who"], settled["why"], settled["choice"]) == ("ada", "I looked", choice)


@pytest.mark.parametrize("number", [5, 6, 7, 8])
async def test_a_question_survives_the_hub_and_is_asked_and_answered_once(lab: Lab, number: int):
    """Events: 3 intended, 4 resumed, 5 interrupted, 6 waiting, 7 settled, 8 ended."""
    run = await interrupted(lab, "burn")
    async with lab.hub(number) as second:
        if number > 6:
            await second.comes_to(run, "waiting")
            answering = asyncio.create_task(second.orchestrator.walker(run).answer("happened", 2, who=None, why=None))
        await asyncio.wait_for(second.journal.dead.wait(), 20)
        if number > 6:
            answering.cancel()

    async with lab.hub() as third:
        if number < 7:
            await third.comes_to(run, "waiting")
            await third.orchestrator.walker(run).answer("happened", 2, who=None, why=None)
        assert await third.ended(run) == "succeeded"
        assert lab.world.done == ["burn"]
        assert third.kinds(run).count("settled") == 1


async def test_a_host_lost_in_mid_step_is_waited_for_and_its_step_adopted(hub: Hub, lab: Lab, world: World):
    run = await hub.submit(steps(do("burn"), do("move", x=1)))
    await world.comes_to_a_halt()
    await lab.unplug()
    await hub.comes_to(run, "running", reason="rig does not answer")
    world.go.set()

    await lab.plug_in()

    assert await hub.ended(run) == "succeeded"
    assert world.done == ["burn", "move 1"]


async def test_a_partial_curve_is_kept_when_its_host_dies(hub: Hub, lab: Lab, world: World):
    world.done.append("hold")
    run = await hub.submit(steps(do("curve", points=40)))
    await world.comes_to_a_halt()
    await until_streamed(hub, run, 2)
    await lab.kill_host()
    await hub.comes_to(run, "running", reason="rig does not answer")

    assert hub.record(run).stream("rig.curve")["potential"].tolist() == [0.0, 0.1]
    world.go.set()
    await lab.start_host()

    assert await hub.ended(run) == "succeeded"
    assert world.done.count("curve") == 2
    assert hub.record(run).stream("rig.curve")["potential"].size == 40


# Standing still -----------------------------------------------------------------------------------------------------


async def test_a_paused_run_ends_its_step_and_begins_no_other(hub: Hub, world: World):
    run = await hub.submit(steps(do("burn"), do("move", x=1)))
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).pause("ada")
    world.go.set()

    assert (await hub.comes_to(run, "paused"))["reason"] == "Paused by a person."
    assert world.done == ["burn"]
    await hub.orchestrator.walker(run).resume("ada")

    assert await hub.ended(run) == "succeeded"
    assert world.done == ["burn", "move 1"]


async def test_a_pause_survives_the_hub(lab: Lab, world: World):
    async with lab.hub() as first:
        run = await first.submit(steps(do("burn"), do("move", x=1)))
        await world.comes_to_a_halt()
        await first.orchestrator.walker(run).pause("ada")
        world.go.set()
        await first.comes_to(run, "paused")

    async with lab.hub() as second:
        assert (await second.comes_to(run, "paused"))["reason"] == "Paused by a person."
        assert world.done == ["burn"]
        await second.orchestrator.walker(run).resume("ada")
        assert await second.ended(run) == "succeeded"
        assert world.done == ["burn", "move 1"]


@pytest.mark.parametrize("word", ["abort", "pause", "resume"])
async def test_no_word_of_a_person_leads_out_of_an_end_however_close_it_comes(hub: Hub, world: World, word: str):
    """Between the end in the journal and the end of its task a run can still be found by who wants to abort it."""
    run = await hub.submit(steps(do("soak")))
    await world.comes_to_a_halt()
    walker = hub.orchestrator.walker(run)
    await walker.abort("ada")
    assert await hub.ended(run) == "aborted"

    with pytest.raises(ConflictError, match="is aborted; nothing was changed"):
        await getattr(walker, word)("ada")

    assert hub.kinds(run)[-1] == "finished"
    assert hub.orchestrator.journal.row(run).state == "aborted"


async def test_an_abort_cancels_what_can_be_cancelled(hub: Hub, world: World):
    run = await hub.submit(steps(do("soak"), do("move", x=1)))
    await world.comes_to_a_halt()

    await hub.orchestrator.walker(run).abort("ada")

    assert await hub.ended(run) == "aborted"
    assert world.done == ["soak"]
    assert hub.record(run).steps[0].state == "cancelled"


class Guarded(Rig):
    """One with a door, which takes until the test lets it go on to be seen shut."""

    @property
    def door(self) -> str:
        if "shut the door" not in self._world.done:
            return "open"
        self._world.blocked.set()
        assert self._world.go.wait(20)
        return "closed"


async def test_an_abort_that_overtakes_the_action_reaches_it_all_the_same(lab: Lab, hub: Hub):
    """Its host looks at the door still, and does not know of the action when it is asked to cancel it."""
    needs = {"soak": {"needs": {"door": {"equals": "closed", "age": 60}}}}
    world = await lab.also("oven", Guarded, limits=read_limits(needs))
    world.done.append("shut the door")
    run = await hub.submit(steps(do("soak", on="oven")))
    await world.comes_to_a_halt()

    aborting = asyncio.create_task(hub.orchestrator.walker(run).abort("ada"))
    await hub.told("run", lambda body: body["id"] == run and "aborting" in hub.kinds(run))
    await lab.instruments.clients["oven"].health()  # what asked before is answered
    world.go.set()

    assert await hub.ended(run) == "aborted"
    await aborting


async def test_an_abort_waits_for_the_end_of_what_cannot_be_cancelled(hub: Hub, world: World):
    run = await hub.submit(steps(do("burn"), do("move", x=1)))
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).abort("ada")
    assert hub.orchestrator.summary(run)["state"] == "running"
    world.go.set()

    assert await hub.ended(run) == "aborted"
    assert world.done == ["burn"]
    assert hub.record(run).steps[0].state == "succeeded"


async def test_an_abort_whose_hub_dies_still_finds_out_what_the_hardware_did(lab: Lab, world: World):
    async with lab.hub() as first:
        run = await first.submit(steps(do("burn"), do("move", x=1)))
        await world.comes_to_a_halt()
        await first.orchestrator.walker(run).abort("ada")
    world.go.set()

    async with lab.hub() as second:
        assert await second.ended(run) == "aborted"
        assert second.record(run).steps[0].state == "succeeded"
        assert world.done == ["burn"]


async def test_an_abort_ends_the_waiting_for_a_host_that_does_not_come_back(hub: Hub, lab: Lab, world: World):
    run = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()
    await lab.unplug()
    await hub.comes_to(run, "running", reason="rig does not answer")

    await hub.orchestrator.walker(run).abort("ada")

    assert await hub.ended(run) == "aborted"
    assert "rig does not answer" in hub.error(run)["detail"]


async def test_an_abort_of_a_run_that_waits_leaves_no_question_and_needs_no_turn(lab: Lab, world: World):
    oven = await lab.also("oven")
    run = await interrupted(lab, "burn")
    async with lab.hub(limit=1) as second:
        await second.comes_to(run, "waiting")
        other = await second.submit(steps(do("settle", on="oven")))
        await oven.comes_to_a_halt()

        await second.orchestrator.walker(run).abort("ada")

        assert await second.ended(run) == "aborted"
        assert second.orchestrator.summary(run)["question"] is None
        assert second.orchestrator.summary(other)["state"] == "running"
        oven.go.set()
        assert await second.ended(other) == "succeeded"


async def test_a_halt_lets_no_step_begin_and_a_reset_goes_on(hub: Hub, world: World):
    run = await hub.submit(steps(do("burn"), do("move", x=1)))
    await world.comes_to_a_halt()
    hub.orchestrator.halt("ada")
    world.go.set()

    assert (await hub.comes_to(run, "paused"))["reason"] == "The lab was halted."
    assert world.done == ["burn"]
    hub.orchestrator.reset("ada")

    assert await hub.ended(run) == "succeeded"


async def test_a_step_that_a_stop_cut_off_is_a_question_after_the_reset(hub: Hub, lab: Lab, world: World):
    run = await hub.submit(steps(do("soak"), do("move", x=1)))
    await world.comes_to_a_halt()
    hub.orchestrator.halt("ada")
    await lab.instruments.clients["rig"].stop()
    await hub.comes_to(run, "paused")
    hub.orchestrator.reset("ada")

    waiting = await hub.comes_to(run, "waiting")
    assert "stopped before its end" in waiting["reason"]
    await hub.orchestrator.walker(run).answer("skip", None, who="ada", why=None)
    assert await hub.ended(run) == "succeeded"


async def test_of_two_answers_at_once_one_counts_and_the_other_is_refused(lab: Lab):
    run = await interrupted(lab, "burn")
    async with lab.hub() as second:
        await second.comes_to(run, "waiting")
        walker = second.orchestrator.walker(run)
        answers = await asyncio.gather(
            *(walker.answer(choice, None, who=None, why=None) for choice in ("skip", "abort")), return_exceptions=True
        )

        assert await second.ended(run) == "succeeded"
        assert [type(answer).__name__ for answer in answers] == ["NoneType", "ConflictError"]
        assert second.kinds(run).count("settled") == 1
