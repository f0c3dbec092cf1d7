"""What failed is tried again where its policy says so, what takes too long is ended, nothing is repeated in part."""

import pytest
from hypothesis import given, strategies as st

from labretto.errors import (
    CancelledError,
    DriverError,
    FailedError,
    InvalidError,
    LimitError,
    TimedOutError,
    UnreachableError,
)
from labretto.experiment.policy import Retry
from labretto.orchestrator import worker
from labretto.orchestrator.engine import RunState
from labretto.orchestrator.retry import next_attempt

from .conftest import Hub, Lab, World, python, steps

QUICK = "{attempts: 3, first: 1 ms}"


@given(st.integers(1, 20), st.integers(1, 20), st.floats(0, 100), st.floats(1, 10), st.floats(0, 100))
def test_there_are_as_many_attempts_as_allowed_and_the_pauses_grow_up_to_the_longest(
    failures: int, attempts: int, first: float, factor: float, longest: float
):
    retry = Retry(attempts, first, factor, longest)
    pause = next_attempt(DriverError("stuck").problem(), "once", failures, retry)

    assert (pause is None) == (failures >= attempts)
    if pause is not None:
        assert pause == min(first * factor ** (failures - 1), longest)


@pytest.mark.parametrize(
    ("error", "once", "absolute"),
    [
        (DriverError("stuck"), True, True),
        (UnreachableError("the serial line is off"), True, True),
        (LimitError("the door is open"), True, True),
        (InvalidError("x is no number"), False, False),
        (CancelledError("stopped"), False, True),
        (TimedOutError("too long", over=True), False, True),
        (TimedOutError("too long", over=False), False, False),
        (FailedError("something that is no answer of an instrument"), False, True),
    ],
)
def test_what_is_wrong_is_not_tried_again_and_what_happened_in_part_only_where_that_is_harmless(error, once, absolute):
    for effect, again in (("once", once), ("checkable", once), ("absolute", absolute), ("read", absolute)):
        assert (next_attempt(error.problem(), effect, 1, Retry()) is not None) == again


def test_without_a_policy_once_is_all():
    assert next_attempt(DriverError("stuck").problem(), "read", 1, None) is None


async def test_a_failed_step_is_tried_again_and_each_attempt_stands_in_the_journal(hub: Hub, world: World):
    flaky = f"{{do: rig.flaky, with: {{fails: 2}}, name: it, retry: {QUICK}}}"
    run = await hub.does(steps(flaky, '{save: {y: "${it}"}}'))

    assert world.done == ["flaky"] * 3
    told = [event.get("attempt") or event.get("state") for event in hub.events(run)[2:8]]
    assert told == [1, "failed", 2, "failed", 3, "succeeded"]
    state = RunState.replay(run, hub.events(run))
    assert (state.word, state.done, state.experiment["steps"]) == ("succeeded", 2, 2)
    assert hub.record(run).step("it").attempt == 3


async def test_when_the_last_attempt_failed_so_does_the_run(hub: Hub, world: World):
    run = await hub.does(steps(f"{{do: rig.flaky, with: {{fails: 9}}, retry: {QUICK}}}"))

    assert (hub.orchestrator.summary(run)["state"], world.done) == ("failed", ["flaky"] * 3)
    assert "shutter" in hub.error(run)["detail"]


async def test_attempts_are_counted_over_a_crash(lab: Lab, world: World):
    """The hub dies while it waits to try again."""
    source = steps("{do: rig.flaky, with: {fails: 1}, retry: {attempts: 2, first: 1 h}}")
    async with lab.hub() as first:
        run = await first.submit(source)
        await first.comes_to(run, "running", reason="it is tried again")
    async with lab.hub() as second:
        await second.comes_to(run, "running", reason="it is tried again")
        assert world.done == ["flaky"]
        await second.orchestrator.walker(run).abort("ada")
        assert await second.ended(run) == "aborted"


@pytest.mark.parametrize(
    ("choice", "state", "done"),
    [("repeat", "succeeded", 2), ("skip", "succeeded", 1), ("fail", "failed", 1), ("abort", "aborted", 1)],
)
async def test_a_person_decides_what_a_failure_means_where_the_policy_is_to_ask(
    hub: Hub, world: World, choice: str, state: str, done: int
):
    run = await hub.submit(steps("{do: rig.flaky, with: {fails: 1}, on failure: ask}", "{save: {y: 1}}"))
    asked = await hub.comes_to(run, "waiting", reason="shutter")
    assert asked["question"]["choices"] == ["repeat", "skip", "happened", "fail", "abort"]

    await hub.orchestrator.walker(run).answer(choice, None, who="ada", why=None)

    assert await hub.ended(run) == state
    assert world.done == ["flaky"] * done


async def test_an_action_that_takes_too_long_is_cancelled_and_has_failed(hub: Hub, world: World):
    run = await hub.does(steps("{do: rig.soak, timeout: 10 ms}", "{do: rig.move, with: {x: 1}}"))

    assert hub.orchestrator.summary(run)["state"] == "failed"
    assert "did not end within 0.01 s; it was cancelled" in hub.error(run)["detail"]
    assert hub.error(run)["over"] is True
    assert world.done == ["soak"]


async def test_one_that_ignores_being_cancelled_has_failed_too_and_it_is_said_that_it_may_still_act(
    hub: Hub, world: World, monkeypatch
):
    monkeypatch.setattr(worker, "END_WITHIN", 0.01)
    run = await hub.does(steps(f"{{do: rig.settle, timeout: 10 ms, retry: {QUICK}}}"))

    assert hub.orchestrator.summary(run)["state"] == "failed"
    assert "may still act" in hub.error(run)["detail"]
    assert world.done == ["settle"]


async def test_what_is_harmless_is_tried_again_after_it_took_too_long(hub: Hub, world: World):
    run = await hub.does(steps(f"{{do: rig.warm, timeout: 200 ms, retry: {QUICK}}}"))

    assert (hub.orchestrator.summary(run)["state"], world.done) == ("succeeded", ["warm", "warm"])


async def test_python_says_how_its_steps_are_done_for_a_block_and_the_branches_begun_in_it(hub: Hub, world: World):
    source = python("""
rig = await run.lease("rig")
with run.policy(attempts=3, first=0.001):
    await asyncio.gather(rig.flaky(2))
with run.policy(on_failure="go on"):
    run.save(nothing=await rig.fail())
await rig.fail()
""")
    run = await hub.does(source, "test")

    assert hub.orchestrator.summary(run)["state"] == "failed"
    assert world.done == ["flaky"] * 3 + ["fail"] * 2
    assert hub.record(run).rows[0]["nothing"] is None
