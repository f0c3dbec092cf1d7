"""The stage moves as a motion controller does."""

import asyncio
import threading
import time
from math import dist

import pytest

from labretto.instrument.describe import describe
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.library import SAMPLES
from labretto.instrument.simulated.motion import travel_time
from labretto.instrument.simulated.stage import SampleStage


@pytest.fixture
def stage(tmp_path):
    return SampleStage(velocity=500, acceleration=5000, bench=str(tmp_path))


@pytest.fixture
def slow(tmp_path):
    return SampleStage(velocity=0.5, acceleration=5000, bench=str(tmp_path))


async def under_way(stage):
    """The running move, once it has begun."""
    move = asyncio.create_task(stage.move(x=100, y=0))
    await asyncio.sleep(0)  # up to its first await: it is on its way
    return move


async def test_a_move_ends_at_its_target(stage):
    await stage.move(x=12.5, y=3)

    assert (stage.x, stage.y, stage.moving) == (12.5, 3, False)


async def test_a_move_to_a_sample_brings_it_under_the_tip(stage):
    assert stage.sample is None

    await stage.move_to("C2")

    assert stage.sample == "C2"
    assert (stage.x, stage.y) == (SAMPLES["C2"].x, SAMPLES["C2"].y)


async def test_home_is_the_origin(stage):
    await stage.move_to("A1")
    await stage.home()

    assert (stage.x, stage.y) == (0, 0)


async def test_the_way_takes_the_time_of_its_distance(slow, tmp_path):
    move = await under_way(slow)
    motion = Bench(tmp_path).motion("stage")

    assert motion.arrives - motion.began == pytest.approx(travel_time(dist(motion.start, motion.target), 0.5, 5000))
    slow.stop()
    with pytest.raises(RuntimeError):
        await move


async def test_the_position_can_be_read_while_it_moves(slow):
    move = await under_way(slow)

    assert 0 <= slow.x < 100
    assert slow.moving
    slow.stop()
    with pytest.raises(RuntimeError):
        await move


async def test_stop_from_another_thread_halts_at_once_and_the_move_says_so(slow):
    move = await under_way(slow)

    threading.Thread(target=slow.stop).start()
    with pytest.raises(RuntimeError, match=r"stage\.move: stopped at x=.* on the way to x=100 mm"):
        await move

    assert not slow.moving
    assert 0 <= slow.x < 100


async def test_a_cancelled_move_halts_the_stage(slow):
    move = await under_way(slow)
    move.cancel()
    with pytest.raises(asyncio.CancelledError):
        await move

    assert not slow.moving


async def test_stop_at_rest_changes_nothing(stage):
    await stage.move_to("B2")
    stage.stop()

    assert stage.sample == "B2"
    await stage.move_to("B3")
    assert stage.sample == "B3"


async def test_a_second_move_meanwhile_is_refused_and_the_first_goes_on(slow):
    move = await under_way(slow)

    with pytest.raises(RuntimeError, match="already on the way"):
        await slow.home()

    assert slow.moving
    slow.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        await move


@pytest.mark.parametrize("target", [{"x": -1, "y": 0}, {"x": 0, "y": 100.5}, {"x": float("nan"), "y": 0}])
async def test_a_target_outside_the_travel_moves_nothing(stage, target, tmp_path):
    with pytest.raises(ValueError, match="nothing moved"):
        await stage.move(**target)

    assert (stage.x, stage.y) == (0, 0)
    assert Bench(tmp_path).physical_log() == []


async def test_an_unknown_sample_is_named_with_those_that_are(stage):
    with pytest.raises(ValueError, match="no sample 'E9'; there are A1, A2"):
        await stage.move_to("E9")


async def test_a_stage_whose_process_was_killed_is_found_where_it_is(stage, tmp_path):
    await stage.move_to("D4")

    again = SampleStage(bench=str(tmp_path))

    assert again.sample == "D4"


async def test_a_motion_goes_on_while_its_process_is_dead(slow, tmp_path):
    """The stage's electronics do not know that a process died."""
    move = await under_way(slow)
    again = SampleStage(velocity=500, acceleration=5000, bench=str(tmp_path))

    assert again.moving
    assert again.x < 100

    await again.move(x=100, y=0)
    assert again.x == 100
    slow.stop()
    with pytest.raises(RuntimeError):
        await move


async def test_a_new_velocity_counts_from_the_next_move(stage, tmp_path):
    stage.velocity = 250
    await stage.move(x=1, y=1)

    assert stage.velocity == 250
    assert Bench(tmp_path).motion("stage").velocity == 250
    with pytest.raises(ValueError, match="velocity"):
        stage.velocity = 0


async def test_each_move_is_witnessed_once(stage, tmp_path):
    await stage.move_to("A2")

    begin, end = Bench(tmp_path).physical_log()
    assert (begin["action"], begin["parameters"]["sample"], begin["phase"]) == ("move_to", "A2", "begin")
    assert (end["phase"], end["outcome"]) == ("end", "done")


async def test_the_witness_tells_of_a_stop(slow, tmp_path):
    move = await under_way(slow)
    slow.stop()
    with pytest.raises(RuntimeError):
        await move

    assert Bench(tmp_path).physical_log()[-1]["outcome"] == "RuntimeError"
    assert time.time() > Bench(tmp_path).motion("stage").arrives


def test_its_description_carries_units_limits_and_effects():
    description = describe(SampleStage, name="stage").description
    move = description.actions["move"]

    assert {action.effect for action in description.actions.values()} == {"absolute"}
    assert move.parameters["x"].schema | {"unit": "mm", "minimum": 0, "maximum": 100} == move.parameters["x"].schema
    assert description.actions["move_to"].parameters["sample"].schema["enum"] == list(SAMPLES)
    assert {name for name, attribute in description.attributes.items() if attribute.writable} == {"velocity"}
    assert description.stop
