"""While a run acts nobody else does; a person may take an instrument over, and the run waits and says who has it."""

import asyncio

import pytest

from labretto.errors import ForbiddenError, LeaseError
from labretto.network.client import Instrument
from labretto.orchestrator.holding import number_of, person, take_over

from .conftest import Hub, Lab, World, do, steps

TWO = steps(do("burn"), do("dose", volume=1))


@pytest.fixture
def rig(lab: Lab) -> Instrument:
    """A notebook that somebody forgot."""
    return lab.instruments.clients["rig"]


async def test_during_a_run_a_forgotten_notebook_cannot_act_and_after_it_it_can(
    hub: Hub, world: World, rig: Instrument
):
    run = await hub.submit(TWO)
    await world.comes_to_a_halt()
    lease = await rig.lease()
    assert lease is not None
    assert lease.holder == f"run {run}"

    with pytest.raises(LeaseError, match=f"run {run} has rig since"):
        await rig.invoke("dose", {"volume": 9})
    with pytest.raises(LeaseError):
        await rig.write("x", 3.0)
    assert (await rig.read("x")).value == 0.0
    world.go.set()

    assert await hub.ended(run) == "succeeded"
    assert await rig.lease() is None
    await rig.invoke("dose", {"volume": 9})
    assert world.done == ["burn", "dose 1", "dose 9"]


async def test_a_run_under_which_an_instrument_is_taken_over_waits_says_who_has_it_and_goes_on(
    hub: Hub, world: World, rig: Instrument
):
    run = await hub.submit(TWO)
    await world.comes_to_a_halt()

    taken = await take_over(rig, hub.journal, "Ada")
    world.go.set()  # what runs goes on to its end
    await hub.comes_to(run, "running", reason="Waits for rig, which Ada has taken over.")
    await rig.invoke("dose", {"volume": 9}, lease=await number_of(rig, "Ada"))
    await rig.give_back(taken.number)

    assert await hub.ended(run) == "succeeded"
    assert world.done == ["burn", "dose 9", "dose 1"]
    leases = [event["lease"] for event in hub.events(run) if event["kind"] in ("started", "resumed")]
    assert leases == sorted(leases)
    assert leases[-1] > taken.number


async def test_a_run_whose_instrument_a_person_has_waits_before_its_first_step_and_may_be_ended(
    hub: Hub, world: World, rig: Instrument
):
    await take_over(rig, hub.journal, None)
    run = await hub.submit(TWO)
    await hub.comes_to(run, "running", reason="Waits for rig, which a person at the hub has taken over.")

    await hub.orchestrator.walker(run).abort("ada")

    assert await hub.ended(run) == "aborted"
    assert world.done == []


async def test_after_a_crash_a_run_goes_on_under_a_higher_number(lab: Lab, world: World, rig: Instrument):
    async with lab.hub() as first:
        run = await first.submit(TWO)
        await world.comes_to_a_halt()
    before = await rig.lease()
    assert before is not None

    async with lab.hub() as second:
        await second.comes_to(run, "running")
        world.go.set()
        assert await second.ended(run) == "succeeded"
        with pytest.raises(LeaseError, match=f"Lease {before.number} on rig is over"):
            await rig.invoke("dose", {"volume": 9}, lease=before.number)

    assert await rig.lease() is None
    assert world.done == ["burn", "dose 1"]


async def test_while_a_run_waits_for_a_person_that_person_may_act(hub: Hub, world: World, rig: Instrument):
    run = await hub.submit(steps(do("soak"), do("dose", volume=1)))
    await world.comes_to_a_halt()
    await rig.stop()
    await hub.comes_to(run, "waiting")

    await rig.invoke("dose", {"volume": 9})
    await hub.orchestrator.walker(run).answer("skip", None, who="ada", why=None)

    assert await hub.ended(run) == "succeeded"
    assert world.done == ["soak", "stop", "dose 9", "dose 1"]


async def test_a_counter_that_was_lost_rises_above_what_hosts_have_seen(hub: Hub, world: World, rig: Instrument):
    await rig.give_back((await rig.take("another lab", 1000)).number)

    assert await hub.ended(await hub.submit(steps(do("dose", volume=1)))) == "succeeded"
    assert await hub.journal.next_lease() > 1001


async def test_what_a_run_left_behind_is_given_back_by_the_next_hub(lab: Lab, rig: Instrument):
    async with lab.hub() as first:
        run = await first.does(steps(do("dose", volume=1)))
        left = await rig.take(f"run {run}")
    told = asyncio.Event()
    rig.listen(lambda topic, body: told.set() if topic == "lease" and body["number"] is None else None)

    async with lab.hub():
        await asyncio.wait_for(told.wait(), 10)

    assert await rig.lease() is None
    with pytest.raises(LeaseError):
        await rig.write("x", 1.0, lease=left.number - 1)


async def test_a_lease_left_by_a_run_of_this_lab_does_not_keep_the_next_one_waiting(hub: Hub, rig: Instrument):
    run = await hub.does(steps(do("dose", volume=1)))
    await rig.take(f"run {run}", 100)

    assert await hub.ended(await hub.submit(steps(do("dose", volume=2)))) == "succeeded"


async def test_a_host_that_cannot_be_told_at_the_end_is_told_later(hub: Hub, lab: Lab, world: World, rig: Instrument):
    run = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()
    walker = hub.orchestrator.walker(run)
    await lab.unplug()
    await walker.let_go()
    await lab.plug_in()
    world.go.set()

    assert await hub.ended(run) == "succeeded"
    assert await rig.lease() is None


def test_nobody_is_called_like_a_run():
    assert person(None) == "a person at the hub"
    with pytest.raises(ForbiddenError):
        person("run 7")
