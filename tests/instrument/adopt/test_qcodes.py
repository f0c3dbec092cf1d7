"""QCoDeS's own drivers, unedited, over the simulations that QCoDeS ships."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from qcodes import validators
from qcodes.instrument import Instrument, InstrumentChannel
from qcodes.instrument_drivers.Lakeshore import LakeshoreModel336
from qcodes.instrument_drivers.yokogawa import YokogawaGS200
from qcodes.parameters import ArrayParameter

from labretto.errors import DriverError, InvalidError, LimitError
from labretto.instrument.host import Host
from labretto.instrument.overlay import Overlay

from .conftest import Hosting


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """QCoDeS keeps instruments by name for the life of the process."""
    yield
    assert Instrument._all_instruments == {}


@pytest.fixture
async def lakeshore(hosting: Hosting) -> AsyncIterator[Host]:
    settings = {"address": "GPIB::2::INSTR", "pyvisa_sim_file": "lakeshore_model336.yaml"}
    async with hosting(LakeshoreModel336, **settings) as host:
        yield host


def schema(host: Host, attribute: str) -> dict[str, Any]:
    return dict(host.description.attributes[attribute].schema)


async def test_parameters_of_channels_are_attributes_with_unit_and_label(lakeshore: Host) -> None:
    temperature = lakeshore.description.attributes["A_temperature"]

    assert (temperature.unit, temperature.description, temperature.writable) == ("K", "Temperature", False)
    assert (await lakeshore.read("A_temperature")).value == 100.0
    assert lakeshore.description.description == "QCoDeS driver for Lakeshore Model 336 Temperature Controller."


async def test_validators_are_limits_and_mappings_are_choices(lakeshore: Host) -> None:
    assert schema(lakeshore, "output_1_setpoint") == {"type": "number", "minimum": -273.15, "maximum": 400.0}
    assert schema(lakeshore, "output_1_output_max_user_current")["unit"] == "A"
    assert schema(lakeshore, "output_1_mode")["enum"] == ["off", "closed_loop", "zone", "open_loop"]


async def test_a_setpoint_is_set_and_one_beyond_its_limits_never_reaches_the_bus(
    lakeshore: Host, heard: list[str]
) -> None:
    assert (await lakeshore.write("output_1_setpoint", 77)).value == 77.0
    heard.clear()
    with pytest.raises(LimitError, match=r"output_1_setpoint=500 is above 400"):
        await lakeshore.write("output_1_setpoint", 500)
    with pytest.raises(InvalidError):
        await lakeshore.write("output_1_mode", "warm")
    assert heard == []


async def test_its_methods_are_actions_and_those_of_qcodes_are_not(lakeshore: Host) -> None:
    actions = lakeshore.description.actions
    assert list(actions["output_1_set_range_from_temperature"].parameters) == ["temperature"]
    assert not {"snapshot", "ask", "write", "get_idn", "add_parameter"} & set(actions)


async def test_a_source_of_another_maker(hosting: Hosting, heard: list[str]) -> None:
    settings = {"address": "GPIB::1::INSTR", "pyvisa_sim_file": "Yokogawa_GS200.yaml"}
    async with hosting(YokogawaGS200, **settings) as host:
        assert schema(host, "voltage_range")["enum"] == [0.01, 0.1, 1.0, 10.0, 30.0]
        assert (await host.write("output", "on")).value == "on"
        heard.clear()
        with pytest.raises(LimitError, match="30 V"):
            await host.write("voltage_limit", 31)
        assert heard == []


async def test_the_side_table_is_held_against_the_instrument_that_was_made(hosting: Hosting) -> None:
    settings = {"address": "GPIB::2::INSTR", "pyvisa_sim_file": "lakeshore_model336.yaml"}
    said = Overlay(units={"A_temprature": "K"})
    with pytest.raises(InvalidError) as refused:
        async with hosting(LakeshoreModel336, said, **settings):
            pass
    assert refused.value.faults[0]["way_out"] == "Did you mean 'A_temperature'?"


class Trace(ArrayParameter):
    """A curve."""

    def get_raw(self) -> Any:
        return [1.0, 2.0]


class Gate(InstrumentChannel):
    """One of two gates."""

    def __init__(self, parent: Instrument, name: str) -> None:
        super().__init__(parent, name)
        self.add_parameter(
            "voltage", get_cmd=None, set_cmd=None, initial_value=0.0, unit="V", vals=validators.Numbers(-2, 2)
        )


class Bench(Instrument):
    """An instrument of one's own, with what the shipped ones do not show."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        kept: dict[str, Any] = {"get_cmd": None, "set_cmd": None}
        self.add_parameter("steps", vals=validators.Multiples(5, min_value=0, max_value=50), initial_value=0, **kept)
        self.add_parameter("word", vals=validators.Strings(1, 3), initial_value="abc", **kept)
        self.add_parameter(
            "level",
            vals=validators.MultiType(validators.Numbers(0, 1), validators.Enum("auto")),
            initial_value=1,
            **kept,
        )
        self.add_parameter("impedance", get_cmd=lambda: 50 + 2j, unit="Ohm")
        self.add_parameter("command", get_cmd=False, set_cmd=lambda value: None, vals=validators.Ints(1, 9))
        self.add_parameter("dull", get_cmd=lambda: 1, snapshot_value=False)
        self.add_parameter("trace", Trace, shape=(2,))
        self.add_parameter("odd", vals=validators.PermissiveMultiples(0.25), initial_value=0, **kept)
        self.add_function("jump", call_cmd=lambda to: to + 1, args=[validators.Numbers(0, 3)])
        self.add_submodule("left", Gate(self, "left"))

    def get_idn(self) -> dict[str, str | None]:
        return {"vendor": None, "model": None, "serial": None, "firmware": None}

    def sweep(self, to: float) -> float:
        """Sweep."""
        return to


async def test_all_kinds_of_parameters(hosting: Hosting) -> None:
    async with hosting(Bench) as host:
        assert schema(host, "steps") == {"type": "integer", "minimum": 0, "maximum": 50, "multipleOf": 5}
        assert schema(host, "word") == {"type": "string", "minLength": 1, "maxLength": 3}
        assert schema(host, "level")["anyOf"][1] == {"const": "auto", "type": "string"}
        assert schema(host, "left_voltage")["unit"] == "V"
        assert (await host.read("impedance")).value == {"real": 50.0, "imag": 2.0}
        assert host.description.attributes["trace"].slow
        assert host.description.attributes["dull"].slow
        assert list((await host.read("trace")).value) == [1.0, 2.0]


async def test_a_validator_that_is_not_known_here_is_asked_itself(hosting: Hosting) -> None:
    async with hosting(Bench) as host:
        assert (await host.write("odd", 0.75)).value == 0.75
        with pytest.raises(InvalidError, match="multiple"):
            await host.write("odd", 0.8)


async def test_functions_methods_and_what_can_only_be_set_are_actions(hosting: Hosting) -> None:
    async with hosting(Bench) as host:
        for action, parameters, result in (
            ("jump", {"argument_1": 2}, 3),
            ("sweep", {"to": 1.5}, 1.5),
            ("set_command", {"value": 3}, None),
        ):
            begun = await host.invoke(action, parameters)
            ended = await host.wait(begun.id)
            assert (ended.state, ended.result) == ("succeeded", result)
        with pytest.raises(LimitError):
            await host.invoke("jump", {"argument_1": 4})
        with pytest.raises(LimitError):
            await host.invoke("set_command", {"value": 10})
        assert "get_idn" not in host.description.actions


class Stubborn(Instrument):
    """Its parameters cannot be described."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.add_parameter("odd", get_cmd=None)

    @property
    def parameters(self) -> Any:
        if "odd" in vars(self).get("_kept", {}):
            raise RuntimeError("it does not tell")
        return self._kept

    @parameters.setter
    def parameters(self, kept: Any) -> None:
        self._kept = kept


async def test_a_driver_that_cannot_be_adopted_is_let_go(hosting: Hosting) -> None:
    with pytest.raises(DriverError, match="it does not tell"):
        async with hosting(Stubborn):
            pass
