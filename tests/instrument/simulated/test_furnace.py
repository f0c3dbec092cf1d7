"""A furnace trails its set point as a first-order process does, and its heat outlives its process."""

import asyncio
import threading
from math import exp

import pytest

from labretto.instrument.describe import describe
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.furnace import Furnace, Program


@pytest.fixture
def fast(tmp_path):
    """A furnace in which an hour passes in 36 ms."""
    return Furnace(time_scale=1e5, bench=str(tmp_path))


@pytest.fixture
def slow(tmp_path):
    return Furnace(time_scale=1.0, bench=str(tmp_path))


async def under_way(furnace):
    ramp = asyncio.create_task(furnace.ramp(to=500, rate=10))
    await asyncio.sleep(0)  # up to its first await: it heats
    return ramp


def program(**changes):
    return Program(
        **{"temperature": 20.0, "setpoint": 20.0, "to": 620.0, "ramp": 3600.0, "lag": 60.0, "began": 0.0, "pace": 1.0}
        | changes
    )


def test_it_trails_a_long_ramp_by_rate_times_lag():
    """10 degC/min with a lag of one minute: 10 degC behind."""
    long_after_the_beginning = 1800.0

    behind = program().setpoint_after(long_after_the_beginning) - program().temperature_after(long_after_the_beginning)

    assert behind == pytest.approx(10.0)


def test_it_follows_a_jump_exponentially():
    jump = program(ramp=0.0)

    assert jump.temperature_after(60.0) == pytest.approx(620 - 600 * exp(-1))
    assert jump.setpoint_after(0.0) == 620


@pytest.mark.parametrize("elapsed", [1.0, 60.0, 3599.0, 3601.0, 3700.0])
def test_its_temperature_obeys_the_equation_of_a_first_order_process(elapsed):
    """lag · dT/dt = set point - T."""
    here, slope = program(), 1e-3
    rise = (here.temperature_after(elapsed + slope) - here.temperature_after(elapsed - slope)) / (2 * slope)

    assert 60.0 * rise == pytest.approx(here.setpoint_after(elapsed) - here.temperature_after(elapsed), rel=1e-3)


def test_it_has_settled_within_the_tolerance():
    assert program().temperature_after(program().settled) == pytest.approx(620 - 0.5)


def test_a_program_at_its_aim_has_settled_at_once():
    assert program(to=20.0, ramp=0.0).settled == 0


async def test_a_ramp_answers_the_temperature_reached(fast):
    assert await fast.ramp(to=650, rate=20) == pytest.approx(650, abs=0.6)
    assert fast.setpoint == 650
    assert not fast.ramping


async def test_it_cools_as_it_heats(fast):
    await fast.ramp(to=300, rate=600)

    assert await fast.ramp(to=100, rate=600) == pytest.approx(100, abs=0.6)


async def test_stop_from_another_thread_switches_the_heater_off(slow):
    ramp = await under_way(slow)

    threading.Thread(target=slow.stop).start()
    with pytest.raises(RuntimeError, match=r"stopped at 20\.0 degC on the way to 500 degC; the heater is off"):
        await ramp

    assert slow.setpoint == 20


async def test_a_cancelled_ramp_switches_the_heater_off(slow):
    ramp = await under_way(slow)
    ramp.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ramp

    assert slow.setpoint == 20


async def test_while_a_ramp_is_under_way_nothing_else_sets_the_temperature(slow):
    ramp = await under_way(slow)

    with pytest.raises(RuntimeError, match="a ramp to 500 degC is under way"):
        slow.setpoint = 30
    with pytest.raises(RuntimeError, match="a ramp to 500 degC is under way"):
        await slow.ramp(to=30)

    slow.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        await ramp


async def test_a_set_point_is_followed_without_waiting(slow):
    slow.setpoint = 400

    assert slow.setpoint == 400
    assert slow.temperature < 100


@pytest.mark.parametrize("to", [1500, 0, float("nan")])
async def test_a_temperature_outside_its_limits_changes_nothing(slow, to, tmp_path):
    with pytest.raises(ValueError, match="outside 20 to 1200 degC; nothing changed"):
        await slow.ramp(to=to, rate=10)

    assert Bench(tmp_path).physical_log() == []


async def test_a_furnace_whose_process_was_killed_is_still_hot(fast, tmp_path):
    await fast.ramp(to=900, rate=600)

    assert Furnace(bench=str(tmp_path)).temperature == pytest.approx(900, abs=0.6)


def test_a_clock_set_back_does_not_heat():
    later = program(began=3600.0)

    assert later.temperature_after(later.elapsed(0.0)) == 20.0


async def test_each_ramp_is_witnessed_once(fast, tmp_path):
    await fast.ramp(to=50, rate=600)

    log = Bench(tmp_path).physical_log()
    assert [(line["action"], line["phase"]) for line in log] == [("ramp", "begin"), ("ramp", "end")]


def test_its_description_carries_units_limits_and_effects():
    description = describe(Furnace, name="furnace").description

    assert description.actions["ramp"].effect == "absolute"
    assert description.actions["ramp"].parameters["to"].schema["maximum"] == 1200
    assert description.attributes["setpoint"].writable
    assert description.attributes["temperature"].unit == "degC"


@pytest.mark.parametrize("setting", [{"lag": 0.0}, {"time_scale": 0.0}])
def test_a_furnace_that_cannot_be_is_refused(setting):
    with pytest.raises(ValueError, match="must be above 0"):
        Furnace(**setting)
