"""A reservoir runs out, once dispensed stays dispensed, and a killed process changes nothing of it."""

import asyncio
import threading

import pytest

from labretto.instrument.describe import describe
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.pump import Delivery, Pump


@pytest.fixture
def pump(tmp_path):
    return Pump(capacity=10, rate=1000, bench=str(tmp_path))


@pytest.fixture
def slow(tmp_path):
    return Pump(capacity=10, rate=0.01, bench=str(tmp_path))


async def flowing(pump):
    """The running delivery, once it has begun."""
    delivery = asyncio.create_task(pump.dispense(volume=5))
    await asyncio.sleep(0)  # up to its first await: liquid flows
    return delivery


async def test_what_is_dispensed_is_missing_in_the_reservoir(pump):
    assert await pump.dispense(volume=4) == pytest.approx(6)
    assert pump.remaining == pytest.approx(6)
    assert not pump.dispensing


async def test_the_reservoir_runs_out_to_the_last_drop_and_then_refuses(pump, tmp_path):
    for volume in (3, 3, 4):
        await pump.dispense(volume=volume)

    with pytest.raises(RuntimeError, match=r"1 mL asked for, 0\.000 mL are left; refill first"):
        await pump.dispense(volume=1)

    assert len(Bench(tmp_path).physical_log()) == 6, "the refused one is no physical act"


async def test_a_refilled_reservoir_is_full(pump):
    await pump.dispense(volume=10)

    assert pump.refill() == pump.capacity == 10


@pytest.mark.parametrize("volume", [0, -1, float("nan")])
async def test_nothing_flows_for_a_volume_that_is_none(pump, volume):
    with pytest.raises(ValueError, match="nothing flowed"):
        await pump.dispense(volume=volume)

    assert pump.remaining == 10


async def test_stop_from_another_thread_keeps_what_is_left(slow):
    delivery = await flowing(slow)

    threading.Thread(target=slow.stop).start()
    with pytest.raises(RuntimeError, match="stopped before 5 mL were out"):
        await delivery

    assert 5 < slow.remaining <= 10
    assert not slow.dispensing


async def test_a_second_delivery_and_a_refill_meanwhile_are_refused(slow):
    delivery = await flowing(slow)

    with pytest.raises(RuntimeError, match="flows already"):
        await slow.dispense(volume=1)
    with pytest.raises(RuntimeError, match="liquid flows"):
        slow.refill()

    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivery
    assert not slow.dispensing


async def test_a_pump_whose_process_was_killed_remembers_what_is_left(pump, tmp_path):
    await pump.dispense(volume=7)

    assert Pump(capacity=10, bench=str(tmp_path)).remaining == pytest.approx(3)


def test_a_delivery_goes_on_while_its_process_is_dead():
    delivery = Delivery(before=10.0, volume=4.0, began=1000.0, rate=2.0)

    assert [delivery.remaining(now) for now in (999.0, 1000.0, 1001.0, 1002.0, 5000.0)] == [10.0, 10.0, 8.0, 6.0, 6.0]


async def test_each_delivery_is_witnessed_once(pump, tmp_path):
    await pump.dispense(volume=1)

    log = [(line["action"], line["phase"], line["parameters"]) for line in Bench(tmp_path).physical_log()]
    assert log == [("dispense", "begin", {"volume": 1}), ("dispense", "end", {"volume": 1})]


def test_dispensing_may_happen_once_and_refilling_any_number_of_times():
    actions = describe(Pump, name="pump").description.actions

    assert {name: action.effect for name, action in actions.items()} == {"dispense": "once", "refill": "absolute"}
    assert actions["dispense"].parameters["volume"].schema["unit"] == "mL"
