"""Experiment files with branches, conditions, loops and clean-up: done for real, and cut off at every event."""

import asyncio
from typing import Any

import pytest

from labretto.experiment.load import load
from labretto.orchestrator.engine import RunState

from .conftest import Hub, Lab, World

BRANCHES = """\
name: two at a time
experiments:
  go:
    parameters: {to: {type: number, unit: mm}}
    steps: [{do: rig.move, name: at, with: {x: "${to}"}}]
    result: {at: "${at}"}
steps:
- parallel:
    left:
    - {do: rig.dose, name: left, with: {volume: 1}}
    - {do: rig.dose, name: left_again, with: {volume: 2}}
    right:
    - {do: other.dose, name: right, with: {volume: 10}}
    - {do: other.dose, name: right_again, with: {volume: 20}}
- repeat: 4
  until: {value: "${there.at}", at least: 3}
  steps:
  - {do: rig.dose, name: step, with: {volume: 0.5}}
  - {experiment: go, name: there, with: {to: 3}}
- when: {value: "${right}", above: "${left}"}
  steps: [{do: rig.dose, with: {volume: 100}}]
  else: [{do: rig.dose, with: {volume: 200}}]
- {save: {l: "${left}", l2: "${left_again}", r: "${right}", r2: "${right_again}"}}
finally:
- {do: rig.move, with: {x: 0}}
"""

RIG = ["dose 1", "dose 2", "dose 0.5", "move 3", "dose 100", "move 0"]
OTHER = ["dose 10", "dose 20"]
PATHS = {
    *("parallel/left/left", "parallel/left/left_again", "parallel/right/right", "parallel/right/right_again"),
    *("repeat[0]/step", "repeat[0]/there/at", "when/rig.dose", "finally/rig.move"),
}
ROW = {"l": 1.0, "l2": 2.0, "r": 10.0, "r2": 20.0}


def results(hub: Hub, run: str) -> dict[str, Any]:
    """Path → result, of every step that ended."""
    return {event["path"]: event["result"] for event in hub.events(run) if event["kind"] == "ended"}


async def test_branches_loops_conditions_calls_and_clean_up_are_done_for_real(lab: Lab, world: World):
    other = await lab.also("other")
    async with lab.hub() as hub:
        run = await hub.does(BRANCHES)

        assert hub.orchestrator.summary(run)["state"] == "succeeded"
        assert (world.done, other.done) == (RIG, OTHER)
        assert set(results(hub, run)) == PATHS
        assert hub.record(run).to_pandas().iloc[0][list(ROW)].to_dict() == ROW


EVENTS = 20
"""As many as the run has when nothing cuts it off."""


@pytest.mark.parametrize("written", [True, False], ids=["after it is written", "before it is written"])
@pytest.mark.parametrize("number", range(2, EVENTS + 1))
async def test_cut_off_at_any_event_each_branch_finds_its_own_results_again(lab: Lab, number: int, written: bool):
    """Steps are known by their paths: what one branch did is never taken for what the other did."""
    other = await lab.also("other")
    async with lab.hub(number, written=written) as first:
        run = await first.submit(BRANCHES)
        await asyncio.wait_for(first.journal.dead.wait(), 20)

    async with lab.hub() as second:
        assert await second.ended(run) == "succeeded"
        assert (lab.world.done, other.done) == (RIG, OTHER)
        assert set(results(second, run)) == PATHS
        assert second.record(run).to_pandas().iloc[0][list(ROW)].to_dict() == ROW


async def test_the_number_of_events_is_that_of_the_test(lab: Lab):
    await lab.also("other")
    async with lab.hub() as hub:
        assert len(hub.events(await hub.does(BRANCHES))) == EVENTS


CLEAN_UP = """\
steps:
- steps:
  - {do: rig.move, with: {x: 5}}
  - {do: rig.burn}
  - {do: rig.move, with: {x: 6}}
  finally:
  - {do: rig.dose, with: {volume: 1}}
finally:
- {do: rig.dose, with: {volume: 2}}
"""


async def test_an_aborted_run_cleans_up_block_by_block(hub: Hub, world: World):
    run = await hub.submit(CLEAN_UP)
    await world.comes_to_a_halt()
    aborting = asyncio.create_task(hub.orchestrator.walker(run).abort("ada"))
    world.go.set()
    await aborting

    assert await hub.ended(run) == "aborted"
    assert world.done == ["move 5", "burn", "dose 1", "dose 2"]


ABORTED_EVENTS = range(7, 13)
"""Those after the abort."""


@pytest.mark.parametrize("number", ABORTED_EVENTS)
async def test_a_clean_up_that_is_cut_off_goes_on_where_it_was(lab: Lab, number: int):
    """The blocks that were entered are found again, and nothing of their clean-up is done twice."""
    async with lab.hub(number) as first:
        run = await first.submit(CLEAN_UP)
        await lab.world.comes_to_a_halt()
        aborting = asyncio.create_task(first.orchestrator.walker(run).abort("ada"))
        lab.world.go.set()
        await asyncio.wait_for(first.journal.dead.wait(), 20)
        aborting.cancel()
        await asyncio.gather(aborting, return_exceptions=True)

    async with lab.hub() as second:
        assert await second.ended(run) == "aborted"
        assert lab.world.done == ["move 5", "burn", "dose 1", "dose 2"]


async def test_a_step_is_tried_again_and_then_its_failure_is_passed_over(hub: Hub, world: World):
    run = await hub.does("""\
steps:
- {do: rig.fail, name: f, retry: {attempts: 3, first: 1 ms}, on failure: go on}
- {save: {f: "${f}"}}
- {do: rig.dose, with: {volume: 1}, when: {value: "${f}", equals: null}}
""")
    assert hub.orchestrator.summary(run)["state"] == "succeeded"
    assert world.done == ["fail", "fail", "fail", "dose 1"]


async def test_a_failure_in_one_turn_leaves_the_others_alone(hub: Hub, world: World):
    run = await hub.does("""\
steps:
- sweep: {volume: [1, 2]}
  steps:
  - on failure: go on
    steps: [{do: rig.dose, with: {volume: "${volume}"}}, {do: rig.fail}, {do: rig.move, with: {x: 1}}]
    finally: [{set: rig.x, to: "${volume}"}]
""")
    assert hub.orchestrator.summary(run)["state"] == "succeeded"
    assert world.done == ["dose 1", "fail", "set 1", "dose 2", "fail", "set 2"]


async def test_an_answer_decides_what_is_done(hub: Hub, world: World):
    run = await hub.submit("""\
parameters: {sample: A1}
steps:
- ask: How much?
  name: answer
  show: {sample: "${sample}"}
  fields: {volume: {type: number, unit: mL, minimum: 0, maximum: 5}, sure: [yes, no]}
- {do: rig.dose, with: {volume: "${answer.volume}"}, when: {value: "${answer.sure}", equals: yes}}
""")
    waiting = await hub.comes_to(run, "waiting")
    assert waiting["question"]["show"] == {"sample": "A1"}
    await hub.orchestrator.walker(run).answer("answer", {"volume": 3, "sure": "yes"}, who="ada", why=None)

    assert await hub.ended(run) == "succeeded"
    assert world.done == ["dose 3"]


async def test_the_number_of_steps_is_told_with_the_submission(hub: Hub):
    run = await hub.does("steps: [{read: rig.x}, {wait: 1 ms}, {repeat: 2, steps: [{save: {a: 1}}]}]")

    state = RunState.replay(run, hub.events(run))
    assert (state.done, state.experiment["steps"]) == (4, 4)


async def test_the_record_keeps_the_whole_text(hub: Hub):
    run = await hub.does(BRANCHES.replace("other.", "rig."))

    kept = hub.events(run)[0]["experiment"]
    assert load(kept["source"]).experiments["go"].result
