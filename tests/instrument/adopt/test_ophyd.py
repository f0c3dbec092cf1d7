"""ophyd's and ophyd-async's simulated devices: signals, positioners, detectors; no EPICS is needed."""

from typing import Any

import pytest
from ophyd import Component, Device, Signal
from ophyd.sim import SynAxis, SynGauss
from ophyd_async.core import Device as AsyncDevice, StrictEnum, soft_signal_rw
from ophyd_async.sim import SimMotor

from labretto.errors import InvalidError
from labretto.instrument.host import Host

from .conftest import Hosting


class Limited(SynAxis):
    """An axis that says how far it can go, and can be stopped."""

    limits = (-5, 5)
    stopped = False

    def stop(self, *, success: bool = False) -> None:
        self.stopped = True


class Stage(Device):
    """Two axes."""

    x = Component(Limited, egu="mm")
    y = Component(SynAxis, delay=0.05)
    gain = Component(Signal, value=3, doc="Of the amplifier")


async def ended(host: Host, action: str, **parameters: Any) -> Any:
    begun = await host.invoke(action, parameters)
    invocation = await host.wait(begun.id)
    assert invocation.state == "succeeded", invocation.error
    return invocation.result


async def test_signals_of_axes_are_attributes_and_set_waits_until_it_is_there(hosting: Hosting) -> None:
    async with hosting(Stage) as host:
        assert (await host.read("x_position")).unit == "mm"
        await ended(host, "x_set", value=2)
        await ended(host, "y_set", value=3)
        assert (await host.read("x_readback")).value == 2
        assert (await host.read("y_position")).value == 3
        assert host.description.actions["x_set"].effect == "absolute"


async def test_a_soft_signal_can_be_set_and_a_readback_cannot(hosting: Hosting) -> None:
    async with hosting(Stage) as host:
        assert (await host.write("gain", 4.5)).value == 4.5
        assert not host.description.attributes["x_readback"].writable
        assert host.description.attributes["x_unused"].slow


async def test_an_axis_refuses_what_is_beyond_its_limits(hosting: Hosting) -> None:
    async with hosting(Stage) as host:
        with pytest.raises(InvalidError, match="is above 5 mm"):
            await host.invoke("x_set", {"value": 6})
        assert (await host.read("x_position")).value == 0


async def test_a_device_can_be_stopped_if_one_of_its_parts_can(hosting: Hosting) -> None:
    async with hosting(Stage) as host:
        assert (await host.stop())["stopped"]


class Detector(Device):
    """An axis and what is seen there."""

    axis = Component(SynAxis)

    def __init__(self, prefix: str = "", *, name: str, **more: Any) -> None:
        super().__init__(prefix, name=name, **more)
        self.peak = SynGauss("peak", self.axis, self.axis.name, center=0, Imax=10)

    def trigger(self) -> Any:
        return self.peak.trigger()

    def count(self, times: int) -> int:
        """Something of its own."""
        return times


async def test_triggering_a_detector_answers_what_it_saw(hosting: Hosting) -> None:
    async with hosting(Detector) as host:
        assert await ended(host, "trigger") == {"it_axis": 0, "it_axis_setpoint": 0}
        assert await ended(host, "count", times=2) == 2
        assert not {"stage", "describe", "put", "configure"} & set(host.description.actions)


class Colour(StrictEnum):
    RED = "red"
    BLUE = "blue"


class Bench(AsyncDevice):
    """Motors that live in a loop."""

    def __init__(self, name: str = "") -> None:
        self.x = SimMotor(instant=True)
        self.slow = SimMotor(instant=False)
        self.lamp = soft_signal_rw(Colour, Colour.RED)
        self.current = soft_signal_rw(float, 0.0, units="mA")
        super().__init__(name=name)


async def test_devices_of_ophyd_async_are_read_and_set(hosting: Hosting) -> None:
    async with hosting(Bench) as host:
        assert host.description.attributes["current"].schema == {"type": "number", "unit": "mA"}
        assert (await host.write("current", 2)).value == 2.0
        assert host.description.attributes["lamp"].schema["enum"] == ["red", "blue"]
        assert (await host.write("lamp", "blue")).value == "blue"
        assert host.description.actions["x_set"].parameters["value"].schema == {"type": "number", "unit": "mm"}
        await ended(host, "x_set", value=2.5)
        assert (await host.read("x_user_readback")).value == 2.5


async def test_while_a_motor_moves_it_can_be_read_and_cancelled(hosting: Hosting) -> None:
    async with hosting(Bench) as host:
        begun = await host.invoke("slow_set", {"value": 100})
        assert (await host.read("slow_user_readback")).status == "ok"
        host.cancel(begun.id)
        assert (await host.wait(begun.id)).state == "cancelled"


async def test_all_motors_are_stopped(hosting: Hosting) -> None:
    async with hosting(Bench) as host:
        begun = await host.invoke("slow_set", {"value": 100})
        assert (await host.stop())["stopped"]
        assert (await host.wait(begun.id)).state in ("cancelled", "failed")
