"""PyMeasure's own drivers, unedited: what their classes say, and what a simulated instrument hears of it."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from pymeasure.instruments import Channel, Instrument
from pymeasure.instruments.keithley import Keithley2400
from pymeasure.instruments.srs import SR830
from pymeasure.instruments.validators import (
    joined_validators,
    modular_range,
    strict_discrete_set,
    strict_range,
    truncated_discrete_set,
)

from labretto.errors import ConflictError, InvalidError, LimitError, NoStopError
from labretto.instrument.adopt import adopt
from labretto.instrument.describe import Description
from labretto.instrument.overlay import Overlay

from .conftest import Hosting

Bus = Callable[[str], dict[str, Any]]


def description(driver: type, overlay: Overlay | None = None) -> Description:
    def make() -> object:
        raise AssertionError("describing a class makes no instrument")

    return adopt(driver, make, name="it", overlay=overlay)[1].description


def schemas(driver: type) -> dict[str, Any]:
    return {name: attribute.schema for name, attribute in description(driver).attributes.items()}


# From the class


def test_limits_choices_and_units_of_the_sr830_are_known_without_one() -> None:
    found = schemas(SR830)

    assert found["sine_voltage"] == {"type": "number", "minimum": 0.004, "maximum": 5.0, "unit": "V"}
    assert found["frequency"]["unit"] == "Hz"
    assert found["harmonic"] == {"type": "integer", "minimum": 1, "maximum": 19998}
    assert found["input_coupling"] == {"type": "string", "enum": ["AC", "DC"]}
    assert found["filter_synchronous"] == {"type": "boolean", "enum": [True, False]}
    assert found["sensitivity"]["enum"][0] == 2e-9
    assert found["x"] == {"type": "number", "unit": "V"}


def test_an_angle_in_degrees_might_be_a_temperature_so_it_gets_no_unit() -> None:
    assert "unit" not in schemas(SR830)["phase"]
    assert "unit" not in schemas(SR830)["theta"]


def test_what_is_measured_cannot_be_set() -> None:
    attributes = description(SR830).attributes
    assert not attributes["x"].writable
    assert attributes["sine_voltage"].writable
    assert "reference sine-wave" in attributes["sine_voltage"].description


def test_a_range_in_a_validator_of_the_drivers_own_is_recognised_by_how_it_acts() -> None:
    assert schemas(Keithley2400)["trigger_input_line"] == {"type": "integer", "minimum": 1, "maximum": 4}


def test_methods_are_actions_and_what_pymeasure_talks_with_is_not_offered() -> None:
    actions = description(Keithley2400).actions

    assert list(actions["ramp_to_current"].parameters) == ["target_current", "steps", "pause"]
    assert actions["ramp_to_current"].parameters["steps"].schema == {"default": 30}
    assert actions["ramp_to_current"].effect == "once"
    assert not {"write", "ask", "read_bytes", "values", "add_child", "wait_for"} & set(actions)


def test_deprecated_properties_are_left_out() -> None:
    with warnings.catch_warnings(record=True) as warned:
        found = schemas(Keithley2400)
    assert "source_delay_auto" not in found
    assert warned == []


def test_what_a_driver_wrote_by_hand_is_read_only_when_asked_for() -> None:
    attributes = description(SR830).attributes
    assert attributes["xy"].slow
    assert not attributes["x"].slow
    assert "dac1" not in attributes  # another name of aux_out_1


class Output(Channel):
    """One of two outputs."""

    voltage = Channel.control("V{ch}?", "V{ch} %g", "Control the voltage in V.", validator=strict_range, values=(0, 10))

    def beep(self, times: int = 1) -> None:
        self.write("BEEP{ch} %d" % times)  # noqa: UP031 - as PyMeasure's drivers are


class Supply(Instrument):
    """A supply with two outputs, and most of what `control` can be told."""

    outputs = Instrument.MultiChannelCreator(Output, [1, 2])
    aux = Instrument.ChannelCreator(Output, "A")
    limit = Instrument.control("L?", "L %g", "Control a limit.", validator=strict_range, values=(0, 5), dynamic=True)
    mode = Instrument.setting("M %s", "Set the mode.", validator=strict_discrete_set, values=["CV", "CC"])
    level = Instrument.control(
        "E?",
        "E %s",
        "Control the level in Volts or Amps.",
        validator=joined_validators(strict_discrete_set, strict_range),
        values=[["MIN", "MAX"], (0, 1)],
    )
    angle = Instrument.control("A?", "A %g", "Control it (float).", validator=modular_range, values=(0, 360))
    gain = Instrument.control("G?", "G %d", "Control it.", truncated_discrete_set, [1, 10, 100])
    counts = Instrument.control("C?", "C %d", "Control it in s.", get_process=lambda v: v * 2)
    free = Instrument.control("F?", "F %s", "Control anything.")

    def __init__(self, adapter: Any, name: str = "Supply", **more: Any) -> None:
        super().__init__(adapter, name, includeSCPI=False, **more)
        self.limit_values = (0, 7)
        self.add_child(Output, "X", prefix="extra_")


class Strong(Supply):
    """The same, for higher voltages."""

    limit_values = (0, 50)


def test_channels_are_reached_by_their_names_in_front() -> None:
    found = description(Supply)
    assert found.attributes["ch_1_voltage"].schema == {"type": "number", "minimum": 0.0, "maximum": 10.0, "unit": "V"}
    assert "aux_voltage" in found.attributes
    assert list(found.actions["ch_2_beep"].parameters) == ["times"]


def test_a_subclass_changes_the_limits_of_a_dynamic_property() -> None:
    assert schemas(Supply)["limit"]["maximum"] == 5
    assert schemas(Strong)["limit"]["maximum"] == 50


def test_what_can_be_set_and_not_read_is_an_action() -> None:
    found = description(Supply)
    assert "mode" not in found.attributes
    assert found.actions["set_mode"].parameters["value"].schema == {"type": "string", "enum": ["CV", "CC"]}
    assert found.actions["set_mode"].effect == "absolute"


def test_of_what_is_not_certain_nothing_is_said() -> None:
    found = schemas(Supply)
    assert found["level"] == {"anyOf": [{"type": "string", "enum": ["MIN", "MAX"]}, found["level"]["anyOf"][1]]}
    assert "unit" not in found["level"]
    assert found["angle"] == {"type": "number"}
    assert found["counts"] == {"type": "integer", "unit": "s"}
    assert found["free"] == {}


def test_a_number_that_would_quietly_be_made_another_one_is_refused() -> None:
    assert schemas(Supply)["gain"] == {"type": "integer", "enum": [1, 10, 100]}


# On the bus


async def test_the_sr830_is_read_and_set_over_the_bus(hosting: Hosting, bus: Bus, heard: list[str]) -> None:
    async with hosting(SR830, **bus("sr830.yaml")) as host:
        x = await host.read("x")
        assert (x.value, x.unit) == (0.0123, "V")

        assert (await host.write("sine_voltage", 0.5)).value == 0.5
        assert (await host.write("input_coupling", "DC")).value == "DC"
        assert (await host.write("sensitivity", 1e-3)).value == 1e-3

    assert {"SLVL0.500", "ICPL 1", "SENS17"} <= set(heard)


@pytest.mark.parametrize(
    ("attribute", "value", "kind"),
    [
        ("sine_voltage", 5.1, LimitError),
        ("sine_voltage", 0, LimitError),
        ("frequency", 1e6, LimitError),
        ("harmonic", 20000, LimitError),
        ("input_coupling", "XX", InvalidError),
        ("sensitivity", 3e-3, InvalidError),
        ("sine_voltage", "loud", InvalidError),
    ],
)
async def test_what_does_not_fit_never_reaches_the_bus(
    hosting: Hosting, bus: Bus, heard: list[str], attribute: str, value: Any, kind: type[Exception]
) -> None:
    async with hosting(SR830, **bus("sr830.yaml")) as host:
        await host.read_all()
        heard.clear()
        with pytest.raises(InvalidError) as refused:
            await host.write(attribute, value)
        assert type(refused.value) is kind
        assert heard == []


async def test_the_refusal_names_value_limit_and_unit(hosting: Hosting, bus: Bus) -> None:
    async with hosting(SR830, **bus("sr830.yaml")) as host:
        with pytest.raises(LimitError, match=r"it\.sine_voltage=5\.1 V is above 5 V\."):
            await host.write("sine_voltage", 5.1)


async def test_an_action_of_the_sr830_reaches_the_bus(hosting: Hosting, bus: Bus, heard: list[str]) -> None:
    async with hosting(SR830, **bus("sr830.yaml")) as host:
        begun = await host.invoke("auto_phase", {})
        assert (await host.wait(begun.id)).state == "succeeded"
    assert "APHS" in heard


async def test_the_keithley_2400_sources_and_measures(hosting: Hosting, bus: Bus, heard: list[str]) -> None:
    async with hosting(Keithley2400, **bus("keithley2400.yaml")) as host:
        assert (await host.write("source_mode", "voltage")).value == "voltage"
        assert (await host.write("source_voltage", 1.5)).value == 1.5
        assert (await host.write("source_enabled", True)).value is True
        assert ((await host.read("current")).value, (await host.read("current")).unit) == (1e-3, "A")
        heard.clear()
        with pytest.raises(LimitError, match="210 V"):
            await host.write("source_voltage", 400)
        assert heard == []


async def test_stopping_the_keithley_2400_is_its_own_shutdown(hosting: Hosting, bus: Bus, heard: list[str]) -> None:
    async with hosting(Keithley2400, **bus("keithley2400.yaml")) as host:
        await host.write("source_mode", "voltage")
        await host.write("source_enabled", True)
        answer = await host.stop()
        assert (answer["stopped"], answer["detail"]) == (True, None)
        assert (await host.read("source_enabled")).value is False
    assert "OUTPUT 0" in heard


async def test_leaving_switches_nothing_off(hosting: Hosting, bus: Bus, heard: list[str]) -> None:
    async with hosting(Keithley2400, **bus("keithley2400.yaml")) as host:
        await host.write("source_enabled", True)
    assert "OUTPUT 0" not in heard


async def test_an_instance_may_have_limits_and_channels_of_its_own(hosting: Hosting, bus: Bus) -> None:
    async with hosting(Supply, **bus("sr830.yaml")) as host:
        assert host.description.attributes["limit"].schema["maximum"] == 7
        assert "extra_X_voltage" in host.description.attributes


# The side table


async def test_a_lock_in_without_a_stop_gets_one_from_its_safe_state(
    hosting: Hosting, bus: Bus, heard: list[str]
) -> None:
    safe = Overlay(safe={"sine_voltage": 0.004, "aux_out_1": 0})
    async with hosting(SR830, safe, **bus("sr830.yaml")) as host:
        assert host.description.stop
        assert (await host.stop())["stopped"]
        assert (await host.read("sine_voltage")).value == 0.004
    assert [command for command in heard if command.startswith(("SLVL0", "AUXV1,"))] == ["SLVL0.004", "AUXV1,0.000000;"]


async def test_without_one_it_says_that_it_cannot_be_stopped(hosting: Hosting, bus: Bus) -> None:
    async with hosting(SR830, **bus("sr830.yaml")) as host:
        with pytest.raises(NoStopError):
            await host.stop()


async def test_a_safe_state_has_to_be_within_limits_too(hosting: Hosting, bus: Bus) -> None:
    with pytest.raises(LimitError, match="sine_voltage"):
        async with hosting(SR830, Overlay(safe={"sine_voltage": 0}), **bus("sr830.yaml")):
            pass


async def test_two_cannot_say_what_is_safe(hosting: Hosting, bus: Bus) -> None:
    with pytest.raises(ConflictError, match="stop"):
        async with hosting(Keithley2400, Overlay(safe={"source_enabled": False}), **bus("keithley2400.yaml")):
            pass


async def test_a_safe_state_can_be_put_in_the_place_of_shutdown(hosting: Hosting, bus: Bus, heard: list[str]) -> None:
    said = Overlay(safe={"source_enabled": False}, hidden=frozenset({"stop"}))
    async with hosting(Keithley2400, said, **bus("keithley2400.yaml")) as host:
        await host.stop()
    assert [command for command in heard if command.startswith("OUTPUT ") or ":LEVEL " in command] == ["OUTPUT 0"]


@pytest.mark.parametrize(
    "overlay",
    [
        Overlay(units={"fase": "deg"}),
        Overlay(slow=frozenset({"fase"})),
        Overlay(poll={"fase": 1}),
        Overlay(measurement="fase"),
        Overlay(safe={"fase": 0}),
        Overlay(descriptions={"fase": "an angle"}),
        Overlay(hidden=frozenset({"fase"})),
    ],
)
async def test_a_misspelled_name_is_refused_with_the_near_one(hosting: Hosting, bus: Bus, overlay: Overlay) -> None:
    with pytest.raises(InvalidError) as refused:
        async with hosting(SR830, overlay, **bus("sr830.yaml")):
            pass
    (fault,) = refused.value.faults
    assert "'fase'" in fault["detail"]
    assert fault["way_out"] == "Did you mean 'phase'?"


async def test_the_side_table_may_name_what_only_the_instance_has(hosting: Hosting, bus: Bus) -> None:
    async with hosting(Supply, Overlay(slow=frozenset({"extra_X_voltage"})), **bus("sr830.yaml")) as host:
        assert host.description.attributes["extra_X_voltage"].slow


def test_nothing_of_pymeasure_is_imported_for_other_drivers() -> None:
    import subprocess

    program = (
        "import sys\n"
        "from labretto.instrument.adopt import adopt\n"
        "from labretto.instrument.simulated.stage import SampleStage\n"
        "adopt(SampleStage, SampleStage, name='stage')\n"
        "ours = {f'labretto.instrument.adopt.{name}' for name in ('face', 'offering', 'plain')}\n"
        "print(({'pymeasure', 'qcodes', 'ophyd', 'ophyd_async', 'pyvisa', 'yaqc'} | ours) & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
