"""A step is found again by where it stands in the program, whichever branch is faster."""

import asyncio

import pytest

from labretto.orchestrator.branches import Branches

from .conftest import Hub, Lab, World, python, steps


async def paths_of(body: str) -> list[str]:
    """The paths in an experiment whose `named` stands for a step, in the order in which they are asked for."""
    branches, seen = Branches(), list[str]()

    async def named(name: str = "s", *, turns: int = 0) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        seen.append(branches.current.path(name))

    scope = {"asyncio": asyncio, "named": named}
    exec("async def test():\n" + "\n".join(f"    {line}" for line in body.strip().splitlines()), scope)
    loop = asyncio.get_running_loop()
    branches.root(asyncio.current_task())
    loop.set_task_factory(branches.make_task)
    try:
        await scope["test"]()
    finally:
        loop.set_task_factory(None)
    return seen


async def test_steps_are_counted_by_name_within_their_branch():
    body = """
await named("a")
await named("b")
await named("a")
await asyncio.gather(named("a"), named("a"))
"""
    assert await paths_of(body) == ["a", "b", "a~2", "task/a", "task~2/a"]


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.gather(named(turns={0}), named(turns={1}))",
        "tasks = [asyncio.create_task(named(turns=k)) for k in ({0}, {1})]\nawait asyncio.wait(tasks)",
        "async with asyncio.TaskGroup() as group:\n    [group.create_task(named(turns=k)) for k in ({0}, {1})]",
    ],
    ids=["gather", "create_task", "TaskGroup"],
)
async def test_branches_are_counted_by_their_beginning_and_not_by_their_speed(body: str):
    assert await paths_of(body.format(0, 9)) == ["task/s", "task~2/s"]
    assert await paths_of(body.format(9, 0)) == ["task~2/s", "task/s"]


async def test_branches_of_branches_are_told_apart():
    body = """
async def two():
    await asyncio.gather(named(), named())
await asyncio.gather(two(), two())
"""
    assert sorted(await paths_of(body)) == ["task/task/s", "task/task~2/s", "task~2/task/s", "task~2/task~2/s"]


RACE = python("""
async def branch(name):
    await run.step(name, "burn")
    return await run.step("pump", "count")
await run.lease("rig", "oven", "pump")
slow, fast = await {gather}(branch("rig"), branch("oven"))
await run.ask("Go on?")
run.save(slow=slow, fast=fast)
""")


async def raced(lab: Lab, gather: str) -> dict[str, int]:
    """What each branch is told to have counted, after a crash in which the faster one had been the second to begin."""
    oven, pump = await lab.also("oven"), await lab.also("pump")
    async with lab.hub() as first:
        run = await first.submit(RACE.format(gather=gather), "test")
        await lab.world.comes_to_a_halt()
        await oven.comes_to_a_halt()
        oven.go.set()  # the second branch counts first
        await first.told("step", lambda step: step["action"] == "count" and step["state"] == "succeeded")
        lab.world.go.set()
        await first.comes_to(run, "waiting")
    async with lab.hub() as second:
        await second.comes_to(run, "waiting")
        await second.orchestrator.walker(run).answer("answer", None, who=None, why=None)
        assert await second.ended(run) == "succeeded", second.error(run)
        assert pump.done == ["count", "count"]
        return second.record(run).to_pandas().to_dict("records")[0]


@pytest.mark.parametrize("gather", ["run.gather", "asyncio.gather"])
async def test_after_a_crash_each_parallel_branch_finds_its_own_result(lab: Lab, gather: str):
    assert await raced(lab, gather) == {"slow": 2, "fast": 1}


async def test_numbering_by_arrival_would_have_mixed_them(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    """What engines do that count steps as they come: here, on purpose, to show that the test above can fail."""
    monkeypatch.setattr(Branches, "current", property(lambda branches: branches._root))

    assert await raced(lab, "asyncio.gather") == {"slow": 1, "fast": 2}


async def test_a_failing_branch_lets_the_others_come_to_their_end(hub: Hub, world: World):
    source = python("""
async def moves():
    await run.sleep(0.01)
    await run.step("rig", "move", x=1)
await run.gather(run.step("rig", "fail"), moves())
""")
    run = await hub.submit(source, "test")

    assert await hub.ended(run) == "failed"
    assert "shutter" in hub.error(run)["detail"]
    assert world.done == ["fail", "move 1"]
    paths = [event["path"] for event in hub.events(run) if event["kind"] in ("intended", "slept")]
    assert paths == ["gather[0]/rig.fail", "gather[1]/sleep", "gather[1]/rig.move"]


async def test_what_is_left_of_a_sleep_is_slept_after_a_crash_and_what_is_over_is_not_slept_again(lab: Lab):
    source = python("await run.sleep(0)\nrun.save(y=1)\nawait run.sleep(3600)")
    async with lab.hub() as first:
        run = await first.submit(source, "test")
        await first.told("saved", lambda saved: saved["run"] == run)
        await first.comes_to(run, "running", reason="Waits until")
    async with lab.hub() as second:
        await second.comes_to(run, "running", reason="Waits until")
        until = [event["until"] for event in second.events(run) if event["kind"] == "sleeping"]
        assert len(until) == 2
        assert second.kinds(run).count("slept") == 1
        await second.orchestrator.walker(run).abort("ada")
        assert await second.ended(run) == "aborted"


async def test_a_file_sleeps_as_durably(hub: Hub):
    run = await hub.submit(steps("{wait: 0.01}", "{do: rig.move, with: {x: 1}}"))

    assert await hub.ended(run) == "succeeded"
    assert hub.kinds(run)[2:4] == ["sleeping", "slept"]
    assert hub.orchestrator.journal.row(run).state == "succeeded"
