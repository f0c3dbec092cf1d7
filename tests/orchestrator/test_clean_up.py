"""However a run ends, it cleans up: after success, failure and abort; a second abort ends that too."""

import pytest

from labretto.errors import ConflictError, NotFoundError
from labretto.orchestrator import worker

from .conftest import Hub, Lab, World, do, python, steps

PYTHON = """
try:
    await run.step("rig", "{0}")
    await run.step("rig", "move", x=1)
finally:
    await run.step("rig", "{1}")
    await run.step("rig", "move", x=0)
"""


def file(action: str, clean_up: str) -> str:
    first = steps(do(action), do("move", x=1))
    return f"{first}finally:\n  - {do(clean_up)}\n  - {do('move', x=0)}\n"


def both(action: str, clean_up: str = "count") -> list[tuple[str, str | None]]:
    return [(file(action, clean_up), None), (python(PYTHON.format(action, clean_up)), "test")]


KINDS = ["file", "python"]


@pytest.fixture
def patiently(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who aborts twice means it."""
    monkeypatch.setattr(worker, "SAME_WORD_WITHIN", 0.0)


@pytest.mark.parametrize(("source", "function"), both("count"), ids=KINDS)
async def test_after_success(hub: Hub, world: World, source: str, function: str | None):
    run = await hub.submit(source, function)

    assert await hub.ended(run) == "succeeded"
    assert world.done == ["count", "move 1", "count", "move 0"]


@pytest.mark.parametrize(("source", "function"), both("fail"), ids=KINDS)
async def test_after_a_failure_which_is_what_is_told(hub: Hub, world: World, source: str, function: str | None):
    run = await hub.submit(source, function)

    assert await hub.ended(run) == "failed"
    assert "shutter" in hub.error(run)["detail"]
    assert world.done == ["fail", "count", "move 0"]


@pytest.mark.parametrize(("source", "function"), both("burn"), ids=KINDS)
async def test_after_an_abort_when_what_ran_has_ended(hub: Hub, world: World, source: str, function: str | None):
    run = await hub.submit(source, function)
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).abort("ada")
    await hub.orchestrator.walker(run).abort("ada")  # impatience does not spare the clean-up
    assert world.done == ["burn"]
    world.go.set()

    assert await hub.ended(run) == "aborted"
    assert world.done == ["burn", "count", "move 0"]


@pytest.mark.parametrize(("source", "function"), both("soak"), ids=KINDS)
async def test_after_an_abort_that_cancelled_what_ran(hub: Hub, world: World, source: str, function: str | None):
    run = await hub.submit(source, function)
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).abort("ada")

    assert await hub.ended(run) == "aborted"
    assert world.done == ["soak", "count", "move 0"]


@pytest.mark.usefixtures("patiently")
@pytest.mark.parametrize(("source", "function"), both("soak", "burn"), ids=KINDS)
async def test_a_second_abort_ends_the_clean_up_too(hub: Hub, world: World, source: str, function: str | None):
    run = await hub.submit(source, function)
    await world.comes_to_a_halt()
    world.blocked.clear()
    await hub.orchestrator.walker(run).abort("ada")
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).abort("ada")
    world.go.set()

    assert await hub.ended(run) == "aborted"
    assert world.done == ["soak", "burn"]


async def test_a_first_abort_during_the_clean_up_of_a_file_lets_it_go_on(hub: Hub, world: World):
    run = await hub.submit(file("count", "burn"))
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).abort("ada")
    world.go.set()
    await hub.ended(run)

    assert world.done == ["count", "move 1", "burn", "move 0"]


@pytest.mark.parametrize(("source", "function"), both("soak", "burn"), ids=KINDS)
async def test_a_clean_up_that_a_crash_cut_off_is_gone_on_with(
    lab: Lab, world: World, source: str, function: str | None
):
    async with lab.hub() as first:
        run = await first.submit(source, function)
        await world.comes_to_a_halt()
        world.blocked.clear()
        await first.orchestrator.walker(run).abort("ada")
        await world.comes_to_a_halt()
    world.go.set()

    async with lab.hub() as second:
        assert await second.ended(run) == "aborted"
        assert world.done == ["soak", "burn", "move 0"]


async def test_the_clean_up_of_parallel_branches_is_done_in_each_and_once(hub: Hub, world: World):
    source = python("""
async def branch(number, work):
    try:
        await work
        await run.step("rig", "move", x=99)
    finally:
        await run.step("rig", "move", x=number)
async def forgotten():
    await asyncio.sleep(0.01)
    await run.step("rig", "move", x=98)
left = asyncio.create_task(forgotten())
try:
    async with asyncio.TaskGroup() as group:
        group.create_task(branch(1, run.step("rig", "soak")))
        group.create_task(branch(2, run.sleep(3600)))
        await run.gather(branch(3, run.sleep(3600)), branch(4, run.ask("?")))
    await run.step("rig", "move", x=97)
finally:
    await run.step("rig", "move", x=5)
""")
    run = await hub.submit(source, "test")
    await world.comes_to_a_halt()
    await hub.comes_to(run, "waiting")
    await hub.orchestrator.walker(run).abort("ada")

    assert await hub.ended(run) == "aborted"
    done = [each for each in world.done if each not in ("soak", "move 98")]
    assert sorted(done[:4]) == ["move 1", "move 2", "move 3", "move 4"]
    assert done[4:] == ["move 5"]


async def test_an_error_of_the_clean_up_is_told_beside_the_abort(hub: Hub, world: World):
    source = python('try:\n    await run.step("rig", "soak")\nfinally:\n    1 / 0')
    run = await hub.submit(source, "test")
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).abort("ada")

    assert await hub.ended(run) == "aborted"
    assert "ZeroDivisionError" in hub.error(run)["detail"]


@pytest.mark.usefixtures("patiently")
async def test_whoever_catches_everything_is_ended_all_the_same(hub: Hub, world: World):
    source = python("""
while True:
    try:
        await run.step("rig", "soak")
    except BaseException:
        pass
""")
    run = await hub.submit(source, "test")
    await world.comes_to_a_halt()
    walker = hub.orchestrator.walker(run)
    world.blocked.clear()
    await walker.abort("ada")
    await world.comes_to_a_halt()  # it takes itself to be cleaning up
    await walker.abort("ada")
    assert await hub.ended(run) == "aborted"


@pytest.mark.usefixtures("patiently")
async def test_code_that_blocks_for_ever_is_left_behind_by_a_second_abort(hub: Hub):
    run = await hub.submit(python("run.save(y=1)\nthreading.Event().wait(20)"), "test")
    await hub.told("saved", lambda saved: saved["run"] == run)
    await hub.orchestrator.walker(run).abort("ada")
    await hub.orchestrator.walker(run).abort("ada")

    assert await hub.ended(run) == "aborted"


async def test_two_clicks_on_abort_spare_no_clean_up(hub: Hub, world: World):
    run = await hub.submit(file("soak", "burn"))
    await world.comes_to_a_halt()
    world.blocked.clear()
    await hub.orchestrator.walker(run).abort("ada")
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).abort("ada")
    world.go.set()

    assert await hub.ended(run) == "aborted"
    assert world.done == ["soak", "burn", "move 0"]


# One action ---------------------------------------------------------------------------------------------------------


async def test_one_action_is_cancelled_and_a_person_says_what_became_of_it(hub: Hub, world: World):
    run = await hub.submit(steps(do("soak"), do("move", x=1)))
    await world.comes_to_a_halt()

    told = await hub.orchestrator.walker(run).cancel(None, "ada")

    assert told.state == "cancelled"
    assert "was stopped before its end" in (await hub.comes_to(run, "waiting"))["reason"]
    assert [event["who"] for event in hub.events(run) if event["kind"] == "cancelling"] == ["ada"]
    await hub.orchestrator.walker(run).answer("skip", None, who="ada", why=None)
    assert await hub.ended(run) == "succeeded"
    assert world.done == ["soak", "move 1"]


async def test_of_several_actions_the_one_that_is_named_is_cancelled(hub: Hub, lab: Lab, world: World):
    oven = await lab.also("oven")
    source = python(
        'await run.lease("rig", "oven")\nawait run.gather(run.step("rig", "soak"), run.step("oven", "soak"))'
    )
    run = await hub.submit(source, "test")
    await world.comes_to_a_halt()
    await oven.comes_to_a_halt()
    walker = hub.orchestrator.walker(run)
    with pytest.raises(ConflictError, match="2 steps") as refused:
        await walker.cancel(None, "ada")
    assert "gather[1]/oven.soak" in refused.value.way_out
    with pytest.raises(NotFoundError, match="not in flight"):
        await walker.cancel("rig.soak", "ada")

    await walker.cancel("gather[1]/oven.soak", "ada")

    asked = await hub.comes_to(run, "waiting")
    assert asked["question"]["path"] == "gather[1]/oven.soak"
    assert [step.path for step in walker.in_flight()] == ["gather[0]/rig.soak"]
    await walker.abort("ada")
    assert await hub.ended(run) == "aborted"


async def test_what_blocks_in_its_driver_says_that_it_cannot_be_cancelled_and_goes_on(hub: Hub, world: World):
    run = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()

    with pytest.raises(ConflictError, match="blocks in its driver"):
        await hub.orchestrator.walker(run).cancel(None, "ada")

    world.go.set()
    assert await hub.ended(run) == "succeeded"
