"""Experiments in Python: as durable as files, and never able to harm the hub."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from labretto.errors import InvalidError
from labretto.orchestrator.journal import SqliteJournal

from .conftest import Hub, Lab, World, python, tasks_left


class _Gate:
    blocked = threading.Event()
    go = threading.Event()


@pytest.fixture
def gate() -> Iterator[type[_Gate]]:
    """Reached from an experiment as `labretto_test_gate`."""
    import sys

    _Gate.blocked.clear()
    _Gate.go.clear()
    sys.modules["labretto_test_gate"] = _Gate  # type: ignore[assignment]
    yield _Gate
    _Gate.go.set()
    del sys.modules["labretto_test_gate"]


async def test_control_flow_is_the_experiments_own_and_units_come_along(hub: Hub, world: World):
    run = await hub.does(
        python("""
rig = await run.lease("rig")
for k in range(n):
    await rig.move(k)
    run.save(k=k, x=await rig.x.get())
"""),
        "test",
        n=3,
    )

    assert world.done == ["move 0", "move 1", "move 2"]
    data = hub.record(run).to_xarray()
    assert data["x"].values.tolist() == [0, 1, 2]
    assert data["x"].attrs["units"] == "mm"


async def test_a_failed_step_can_be_caught(hub: Hub, world: World):
    source = python("""
try:
    await run.step("rig", "fail")
except Exception as error:
    run.save(what=str(error))
await run.step("rig", "move", x=1)
""")
    run = await hub.submit(source, "test")

    assert await hub.ended(run) == "succeeded"
    assert world.done == ["fail", "move 1"]
    assert "shutter" in hub.record(run).to_pandas()["what"][0]


async def test_an_error_of_the_experiment_fails_the_run_with_its_line_in_the_record(hub: Hub):
    run = await hub.does(python("x = 1 / 0"), "test")

    error = hub.record(run).manifest["error"]
    assert error["detail"] == "The experiment raised ZeroDivisionError: division by zero (in test, at `x = 1 / 0`)"
    assert error["traceback"].count("  File ") == 1, "frames of ours tell the author nothing"
    assert "    x = 1 / 0" in error["traceback"]


@pytest.mark.parametrize("raised", ["sys.exit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"])
async def test_what_ends_a_program_ends_only_the_run(hub: Hub, raised: str):
    run = await hub.submit(python(raised), "test")

    assert await hub.ended(run) == "failed"
    assert await hub.ended(await hub.submit(python("pass"), "test")) == "succeeded"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("import no_such_module", "no_such_module"),
        ("sys.exit(1)", "SystemExit"),
        ("def broken(:", "line 2"),
        ("raise RuntimeError('no')", "RuntimeError: no"),
    ],
)
async def test_a_source_that_cannot_be_loaded_is_refused_at_once(hub: Hub, head: str, said: str):
    with pytest.raises(InvalidError, match=said):
        await hub.submit(python("pass", head), "test")

    assert hub.journal.newest(1) == []


@pytest.mark.parametrize(
    ("signature", "given", "said"),
    [
        ("run, n: int", {}, "'n' is missing"),
        ("run, n: int", {"n": "many"}, "valid integer"),
        ("run", {"m": 1}, "no parameter 'm'"),
        ("run, n: Undefined", {"n": 1}, "Undefined"),
        ("run, n: asyncio.Event", {"n": 1}, "annotation cannot be used"),
    ],
)
async def test_parameters_that_do_not_fit_are_refused_at_once(hub: Hub, signature: str, given: dict, said: str):
    source = f"from __future__ import annotations\nimport asyncio\nasync def test({signature}): pass\n"
    with pytest.raises(InvalidError, match=said):
        await hub.submit(source, "test", **given)


async def test_code_that_blocks_does_not_hold_up_the_hub(hub: Hub, gate):
    run = await hub.submit(
        python("labretto_test_gate.blocked.set()\nlabretto_test_gate.go.wait(20)", "import labretto_test_gate"), "test"
    )
    assert await asyncio.to_thread(gate.blocked.wait, 20)
    assert hub.orchestrator.summary(run)["state"] == "running"
    gate.go.set()

    assert await hub.ended(run) == "succeeded"


async def test_an_abort_cannot_be_swallowed_by_a_broad_except(hub: Hub, world: World):
    source = python("""
while True:
    try:
        await run.step("rig", "burn")
    except Exception:
        pass
""")
    run = await hub.submit(source, "test")
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).abort("ada")
    world.go.set()

    assert await hub.ended(run) == "aborted"
    assert world.done == ["burn"]


async def test_what_an_experiment_began_and_did_not_wait_for_is_followed_to_its_end(hub: Hub, world: World):
    source = python("""
begun = asyncio.ensure_future(run.step("rig", "burn"))
await asyncio.wait([begun], timeout=0.5)
""")
    run = await hub.submit(source, "test")
    await world.comes_to_a_halt()
    world.go.set()

    assert await hub.ended(run) == "succeeded"
    assert hub.kinds(run) == ["submitted", "started", "intended", "ended", "finished"]


async def test_a_branch_that_asks_a_person_does_not_hold_up_a_run_that_failed(hub: Hub):
    source = python('await asyncio.gather(run.ask("Really?"), run.step("rig", "fail"))')
    run = await hub.submit(source, "test")

    assert await hub.ended(run) == "failed"
    assert hub.orchestrator.summary(run)["question"] is None


async def test_a_person_is_asked_once_also_over_a_restart(lab: Lab, world: World):
    source = python("""
answer = await run.ask("Which film?", ["A", "B"])
await run.step("rig", "burn")
run.save(film=answer, more=await run.ask("How thick?"))
""")
    async with lab.hub() as first:
        run = await first.submit(source, "test")
        await first.comes_to(run, "waiting", reason="Which film?")

    async with lab.hub() as second:
        told = await second.comes_to(run, "waiting", reason="Which film?")
        assert told["question"]["choices"] == ["A", "B", "abort"]
        await second.orchestrator.walker(run).answer("B", None, who="ada", why=None)
        await world.comes_to_a_halt()

    world.go.set()
    async with lab.hub() as third:
        await third.comes_to(run, "waiting", reason="How thick?")
        await third.orchestrator.walker(run).answer("answer", 1.5, who="ada", why=None)
        assert await third.ended(run) == "succeeded"
        assert third.record(run).to_pandas().to_dict("records") == [{"film": "B", "more": 1.5}]
        assert third.kinds(run).count("waiting") == 2
        assert world.done == ["burn"]


async def test_a_torn_down_hub_leaves_no_experiment_running(lab: Lab, world: World):
    source = python("""
for k in range(1000000):
    try:
        await run.step("rig", "move", x=k % 100)
    except Exception:
        pass
""")
    async with lab.hub() as hub:
        run = await hub.submit(source, "test")
        await hub.comes_to(run, "running")
        while "move 3" not in world.done:
            await hub.orchestrator.changes.wait(hub.orchestrator.changes.sequence)
    thread = next((t for t in threading.enumerate() if t.name == f"experiment {run}"), None)
    if thread:
        await asyncio.to_thread(thread.join, 20)
        assert not thread.is_alive()
    assert tasks_left() == []


async def test_an_experiment_that_asks_for_something_else_after_a_crash_is_stopped_and_both_are_named(lab: Lab, gate):
    gate.speed = 1
    source = python(
        'await run.step("rig", "move", x=labretto_test_gate.speed)\nawait run.step("rig", "burn")',
        "import labretto_test_gate",
    )
    async with lab.hub() as first:
        run = await first.submit(source, "test")
        await lab.world.comes_to_a_halt()
    gate.speed = 2
    lab.world.go.set()

    async with lab.hub() as second:
        assert await second.ended(run) == "failed"
        assert "rig.move(x=1)" in second.error(run)["detail"]
        assert "rig.move(x=2)" in second.error(run)["detail"]
        assert lab.world.done == ["move 1", "burn"]


async def test_an_experiment_whose_run_another_hub_took_over_ends_here_whatever_it_catches(lab: Lab, world: World):
    source = python("""
while True:
    try:
        await run.step("rig", "burn")
    except Exception:
        pass
""")
    async with lab.hub() as hub:
        run = await hub.submit(source, "test")
        await world.comes_to_a_halt()
        with contextlib.closing(SqliteJournal(lab.folder / "journal.db")) as other:
            await other.append(run, 3, [("pausing", {"who": "another hub"})])
        thread = next(thread for thread in threading.enumerate() if thread.name == f"experiment {run}")
        world.go.set()
        await asyncio.to_thread(thread.join, 20)

        assert not thread.is_alive()
        assert world.done == ["burn"]
        assert len(hub.events(run)) == 4


async def test_types_of_pythons_own_are_kept_as_they_are_sent(hub: Hub):
    source = python("""
import numpy as np
await run.step("rig", "dose", volume=np.float32(0.5))
run.save(a=np.int64(3), b=float("nan"), c=b"x", t=(1, 2))
""")
    run = await hub.submit(source, "test")

    assert await hub.ended(run) == "succeeded"
    assert hub.events(run)[2]["parameters"] == {"volume": 0.5}
    assert hub.record(run).steps[0].parameters == {"volume": 0.5}
    assert hub.events(run)[4]["row"]["a"] == 3


async def test_what_cannot_be_sent_or_kept_is_refused_before_anything_moves(hub: Hub, world: World):
    run = await hub.does(python('await run.step("rig", "dose", volume=object())'), "test")

    assert "object" in hub.error(run)["detail"]
    assert world.done == []
