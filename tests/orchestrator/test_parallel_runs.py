"""Runs with nothing in common go at the same time; the others wait, say for what, and all come to their end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from labretto.orchestrator.holding import take_over

from .conftest import Hub, Lab, World, do, python, steps
from .test_worker import interrupted


@pytest.fixture
async def oven(lab: Lab) -> World:
    """The world of a second instrument."""
    return await lab.also("oven")


@pytest.fixture
async def hub(lab: Lab, oven: World) -> AsyncIterator[Hub]:
    async with lab.hub() as hub:
        yield hub


BOTH = steps(do("move", x=1), do("move", on="oven", x=2))


async def test_runs_with_nothing_in_common_act_at_the_same_time(hub: Hub, world: World, oven: World):
    one, two = await hub.submit(steps(do("burn"))), await hub.submit(steps(do("burn", on="oven")))
    await world.comes_to_a_halt()
    await oven.comes_to_a_halt()

    assert {hub.orchestrator.user_of(name) for name in ("rig", "oven")} == {one, two}
    world.go.set()
    assert await hub.ended(one) == "succeeded"
    assert hub.orchestrator.summary(two)["state"] == "running"
    oven.go.set()
    assert await hub.ended(two) == "succeeded"


async def test_a_run_that_needs_what_another_has_waits_says_for_what_and_is_not_overtaken(
    hub: Hub, world: World, oven: World
):
    first = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()
    both, last = await hub.submit(BOTH), await hub.submit(steps(do("move", on="oven", x=9)))

    await hub.comes_to(both, "queued", reason=f'Waits for rig, which run …{first[-8:]} "test" has.')
    await hub.comes_to(last, "queued", reason="Waits for oven, which")
    world.go.set()

    assert [await hub.ended(run) for run in (first, both, last)] == ["succeeded"] * 3
    assert oven.done == ["move 2", "move 9"]


async def test_a_run_one_of_whose_instruments_a_person_has_keeps_no_other_from_going_on(
    hub: Hub, lab: Lab, oven: World
):
    taken = await take_over(lab.instruments.clients["rig"], hub.journal, "Anna")
    both = await hub.submit(BOTH)
    await hub.comes_to(both, "running", reason="Waits for rig, which Anna has taken over.")
    assert await lab.instruments.clients["oven"].lease() is None

    assert await hub.ended(await hub.submit(steps(do("move", on="oven", x=9)))) == "succeeded"
    await lab.instruments.clients["rig"].give_back(taken.number)

    assert await hub.ended(both) == "succeeded"
    assert oven.done == ["move 9", "move 2"]


async def test_python_leases_all_or_nothing_and_more_only_with_everything_given_back(
    hub: Hub, world: World, oven: World, lab: Lab
):
    """Two that ask for the same two in opposite order would each have what the other waits for."""
    source = python("""
first = await run.lease("{0}")
await first.move(1)
await run.lease("{1}")
await run.step("{1}", "move", x=2)
await run.step("{0}", "burn")
""")
    one = await hub.submit(source.format("rig", "oven"), "test")
    two = await hub.submit(source.format("oven", "rig"), "test")
    world.go.set()
    oven.go.set()

    assert [await hub.ended(run) for run in (one, two)] == ["succeeded", "succeeded"]
    assert [event["instruments"] for event in hub.events(one) if event["kind"] == "leased"] == [["rig"], ["oven"]]
    assert [await lab.instruments.clients[name].lease() for name in ("rig", "oven")] == [None, None]


async def test_acting_on_what_was_not_leased_leases_it_when_no_other_step_is_in_flight(
    hub: Hub, world: World, oven: World
):
    source = python("""
burning = asyncio.create_task(run.step("rig", "burn"))
await asyncio.sleep(0)
await run.step("oven", "move", x=1)
await burning
""")
    run = await hub.submit(source, "test")
    await world.comes_to_a_halt()
    await hub.comes_to(run, "running", reason="waits for its own steps to end")
    assert oven.done == []
    world.go.set()

    assert await hub.ended(run) == "succeeded"
    assert oven.done == ["move 1"]


async def test_a_run_that_waits_for_its_instruments_may_be_ended(hub: Hub, world: World):
    first = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()
    second = await hub.submit(python('await run.lease("rig")\nawait run.step("rig", "dose", volume=1)'), "test")
    await hub.comes_to(second, "running", reason=f'Waits for rig, which run …{first[-8:]} "test" has.')

    await hub.orchestrator.walker(second).abort("ada")

    assert await hub.ended(second) == "aborted"
    world.go.set()
    assert await hub.ended(first) == "succeeded"
    assert world.done == ["burn"]


async def test_a_run_that_has_acted_and_waits_for_a_person_leaves_its_instruments_to_people_and_to_no_other_run(
    lab: Lab, oven: World
):
    """It would find its stage where the other run has left it, and not know."""
    run = await interrupted(lab, "burn")
    async with lab.hub() as hub:
        await hub.comes_to(run, "waiting")
        other = await hub.submit(BOTH)
        await hub.comes_to(other, "queued", reason="Waits for rig, which run")
        assert await lab.instruments.clients["rig"].lease() is None

        await hub.orchestrator.walker(run).answer("skip", None, who=None, why=None)
        assert [await hub.ended(each) for each in (run, other)] == ["succeeded", "succeeded"]
        assert oven.done == ["move 2"]


@pytest.mark.parametrize("again", [False, True], ids=["the same hub", "the next hub"])
async def test_a_paused_run_that_has_acted_finds_its_instruments_as_it_left_them(
    lab: Lab, world: World, oven: World, again: bool
):
    source = python('await run.lease("rig", "oven")\nawait run.step("rig", "burn")\nawait run.step("rig", "move", x=1)')
    async with lab.hub(limit=1) as hub:
        run = await hub.submit(source, "test")
        await world.comes_to_a_halt()
        await hub.orchestrator.walker(run).pause(None)
        world.go.set()
        await hub.comes_to(run, "paused")
        if not again:
            await paused_among_others(hub, run, world, oven)
    if again:
        async with lab.hub(limit=1) as hub:
            await paused_among_others(hub, run, world, oven)


async def paused_among_others(hub: Hub, run: str, world: World, oven: World) -> None:
    """Whoever needs none of its instruments goes on; who needs one comes after it."""
    other = await hub.submit(steps(do("move", on="oven", x=5)))
    await hub.comes_to(other, "queued", reason="Waits for oven, which run")
    await hub.orchestrator.walker(run).resume(None)
    assert [await hub.ended(each) for each in (run, other)] == ["succeeded", "succeeded"]
    assert (world.done, oven.done) == (["burn", "move 1"], ["move 5"])


async def test_a_paused_run_that_has_done_nothing_yet_keeps_nothing(hub: Hub, world: World, oven: World):
    source = python('await run.lease("rig")\nawait run.sleep(0.2)\nawait run.step("rig", "move", x=1)')
    run = await hub.submit(source, "test")
    await hub.comes_to(run, "running", reason="Waits until")
    await hub.orchestrator.walker(run).pause(None)
    await hub.comes_to(run, "paused")

    assert await hub.ended(await hub.submit(BOTH)) == "succeeded"
    await hub.orchestrator.walker(run).resume(None)
    assert await hub.ended(run) == "succeeded"
    assert world.done == ["move 1", "move 1"]


@pytest.mark.parametrize(
    ("release", "free"), [("False", ""), ("True", "rig oven"), ('["oven"]', "oven")], ids=["nothing", "all", "oven"]
)
async def test_an_ask_step_keeps_its_instruments_but_those_it_releases(
    lab: Lab, hub: Hub, oven: World, release: str, free: str
):
    source = f"""
import asyncio
from labretto.experiment.question import Question
async def test(run):
    await run.lease("rig", "oven")
    await run.step("rig", "move", x=1)
    await run.ask("Is the sample in place?", release={release})
    await run.step("oven", "move", x=2)
"""
    run = await hub.submit(source, "test")
    await hub.comes_to(run, "waiting")
    others = {name: await hub.submit(steps(do("move", on=name, x=5))) for name in ("rig", "oven")}
    for name in free.split():
        assert await hub.ended(others[name]) == "succeeded"
    for name in {"rig", "oven"} - {*free.split()}:
        await hub.comes_to(others[name], "queued", reason=f"Waits for {name}, which run")

    await hub.orchestrator.walker(run).answer("answer", None, who=None, why=None)

    assert [await hub.ended(each) for each in (run, *others.values())] == ["succeeded"] * 3


async def test_what_a_run_had_when_the_hub_died_is_given_to_nobody_before_it(lab: Lab, oven: World):
    """Also what it leased and has not used yet, and what it keeps while it asks."""
    source = python('await run.lease("rig", "oven")\nawait run.ask("Go on?")\nawait run.step("oven", "move", x=1)')
    async with lab.hub() as first:
        run = await first.submit(source, "test")
        await first.comes_to(run, "waiting")

    async with lab.hub() as second:
        other = await second.submit(BOTH)
        await second.comes_to(other, "queued", reason="Waits for oven, which run")
        await second.orchestrator.walker(run).answer("answer", None, who=None, why=None)
        assert [await second.ended(each) for each in (run, other)] == ["succeeded", "succeeded"]
        assert oven.done == ["move 1", "move 2"]


async def test_where_one_run_may_act_at_a_time_one_acts(lab: Lab, world: World, oven: World):
    async with lab.hub(limit=1) as hub:
        first, second = await hub.submit(steps(do("burn"))), await hub.submit(steps(do("move", on="oven", x=1)))
        await world.comes_to_a_halt()
        await hub.comes_to(second, "queued", reason="Waits for its turn")
        assert oven.done == []
        world.go.set()
        assert [await hub.ended(run) for run in (first, second)] == ["succeeded", "succeeded"]


NAMES = ("rig", "oven", "pump")
wishes = st.lists(st.frozensets(st.sampled_from(NAMES), min_size=1), min_size=1, max_size=3)


@given(st.lists(wishes, min_size=2, max_size=5), st.none() | st.integers(1, 2))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_runs_lease_in_whatever_order_everybody_ends(tmp_path_factory, scripts, limit):
    async def work() -> None:
        lab = Lab(tmp_path_factory.mktemp("lab"))
        await lab.open()
        for name in NAMES[1:]:
            await lab.also(name)
        async with lab.hub(limit=limit) as hub:
            runs = [await hub.submit(_greedy(script), "test") for script in scripts]
            assert {await hub.ended(run) for run in runs} == {"succeeded"}
        await lab.close()

    asyncio.run(work())


def _greedy(script: list[frozenset[str]]) -> str:
    lines = []
    for names in script:
        asked = ", ".join(f'"{name}"' for name in names)
        lines.append(f"await run.lease({asked})")
        acts = ", ".join(f'run.step("{name}", "move", x=1)' for name in names)
        lines.append(f"await asyncio.gather({acts})")
    return python("\n".join(lines))
