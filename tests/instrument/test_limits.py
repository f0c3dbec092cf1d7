"""What a lab allows is decided at the host, narrower than the driver; what cannot be understood blocks every act."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from annotated_types import Interval, Unit

from labretto.errors import ConflictError, LimitError
from labretto.instrument.describe import describe, effect
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.instrument.limits import Limits, Need, Range, check_rate
from labretto.instrument.limits_file import read_limits
from labretto.instrument.reading import Reading

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
Celsius = Annotated[float, Unit("degC"), Interval(ge=0, le=1200)]
LIMITS = """
[setpoint]
maximum = 800
rate = 10
needs.door = { equals = "closed", age = 60 }

[ramp.to]
minimum = 20
maximum = 2000
[ramp.rate]
maximum = 5
[ramp.needs.door]
equals = "closed"

[gas]
allowed = ["Ar", "N2"]
"""


class Furnace:
    def __init__(self) -> None:
        self._setpoint, self._door, self._gas = 20.0, "closed", "air"
        self._calls: list[Any] = []
        self._gone, self._back = threading.Event(), threading.Event()

    @property
    def setpoint(self) -> Celsius:
        return self._setpoint

    @setpoint.setter
    def setpoint(self, to: Celsius) -> None:
        self._calls.append(to)
        self._setpoint = to

    @property
    def door(self) -> str:
        if self._door == "broken":
            raise OSError("no contact")
        return self._door

    @property
    def gas(self) -> str:
        return self._gas

    @gas.setter
    def gas(self, name: str) -> None:
        self._gas = name

    @effect("absolute")
    def ramp(self, to: Celsius, rate: float = 10.0) -> None:
        self._calls.append((to, rate))

    @effect("read")
    def look(self) -> str:
        return "seen"

    def stop(self) -> None:
        self._calls.append("stop")


def limits_of(tmp_path: Path, text: str, name: str = "limits.toml") -> Limits:
    file = tmp_path / name
    file.write_text(text)
    return read_limits(file)


@pytest.fixture
def furnace() -> Furnace:
    return Furnace()


@pytest.fixture
async def host(furnace: Furnace, tmp_path: Path) -> AsyncIterator[Host]:
    limits = limits_of(tmp_path, LIMITS)
    assert limits.blocked is None
    async with Host(lambda: furnace, describe(Furnace, name="furnace"), Ledger(), limits=limits) as host:
        yield host


async def test_the_description_tells_the_narrower_limits(host: Host) -> None:
    ramp = host.description.actions["ramp"].parameters
    assert host.description.attributes["setpoint"].schema["maximum"] == 800
    assert host.description.attributes["setpoint"].schema["minimum"] == 0
    assert (ramp["to"].schema["minimum"], ramp["to"].schema["maximum"]) == (20, 1200)
    assert host.description.attributes["gas"].schema["enum"] == ["Ar", "N2"]


async def test_a_value_outside_what_the_lab_allows_is_refused_before_the_driver(host: Host, furnace: Furnace) -> None:
    with pytest.raises(LimitError, match=r"furnace.setpoint=900.0 degC is above 800 degC, a limit of this lab"):
        await host.write("setpoint", 900)
    with pytest.raises(LimitError, match=r"furnace.ramp: to=10.0 degC is below 20 degC"):
        await host.invoke("ramp", {"to": 10, "rate": 1})
    with pytest.raises(LimitError, match=r"'air' is none of 'Ar', 'N2'"):
        await host.write("gas", "air")
    assert furnace._calls == []
    assert (await host.write("gas", "Ar")).value == "Ar"


async def test_a_default_that_is_outside_is_refused_as_if_it_were_given(host: Host, furnace: Furnace) -> None:
    with pytest.raises(LimitError, match=r"rate=10.0 is above 5"):
        await host.invoke("ramp", {"to": 100})
    await host.wait((await host.invoke("ramp", {"to": 100, "rate": 5})).id)
    assert furnace._calls == [(100, 5)]


async def test_without_the_needed_state_nothing_is_done(host: Host, furnace: Furnace) -> None:
    furnace._door = "open"
    host._readings.forget()
    with pytest.raises(ConflictError, match=r"door is 'open', which is not 'closed'") as refused:
        await host.invoke("ramp", {"to": 100, "rate": 5})
    assert refused.value.fields["needs"] == "door"
    with pytest.raises(ConflictError, match="setting setpoint was refused"):
        await host.write("setpoint", 21)

    furnace._door = "closed"
    await host.wait((await host.invoke("ramp", {"to": 100, "rate": 5})).id)
    furnace._door = "broken"
    host._readings.forget()
    with pytest.raises(ConflictError, match=r"door cannot be read .*no contact"):
        await host.invoke("ramp", {"to": 100, "rate": 5})
    assert furnace._calls == [(100, 5)]


async def test_a_state_that_was_seen_a_moment_ago_is_looked_at_again_only_if_it_was_wrong(
    host: Host, furnace: Furnace
) -> None:
    await host.read("door")
    furnace._door = "open"
    await host.write("setpoint", 20)  # seen within its 60 s
    assert (await host.read("door")).value == "open"
    with pytest.raises(ConflictError):
        await host.write("setpoint", 20)
    furnace._door = "closed"
    await host.write("setpoint", 20)


async def test_two_with_the_same_id_are_one_also_while_a_state_is_looked_at(host: Host, furnace: Furnace) -> None:
    from labretto.instrument.invocation import new_id

    identity = new_id()
    host._readings.forget()
    asked = [host.invoke("ramp", {"to": 100, "rate": 5}, identity=identity) for _ in range(10)]
    assert {answer.id for answer in await asyncio.gather(*asked)} == {identity}
    await host.wait(identity)
    assert furnace._calls == [(100, 5)]


async def test_a_change_that_is_too_fast_is_refused_and_goes_in_steps(host: Host, furnace: Furnace) -> None:
    with pytest.raises(LimitError, match=r"from 20.0 to 40.0 is too fast: 10 per second is the limit"):
        await host.write("setpoint", 40)
    await host.write("setpoint", 30)
    with pytest.raises(LimitError):
        await host.write("setpoint", 40)
    assert furnace._calls == [30]


@pytest.mark.parametrize(("to", "seconds", "fits"), [(30, 1, True), (30, 0.5, False), (25, 0.5, True), (31, 99, False)])
def test_a_pause_saves_up_no_more_than_one_second_of_change(to: float, seconds: float, fits: bool) -> None:
    if fits:
        check_rate("furnace.setpoint", 10, 20, to, seconds)
    else:
        with pytest.raises(LimitError):
            check_rate("furnace.setpoint", 10, 20, to, seconds)


@pytest.mark.parametrize("before", [None, "off", float("nan")])
def test_from_what_is_no_number_no_change_is_slow_enough(before: Any) -> None:
    with pytest.raises(LimitError):
        check_rate("furnace.setpoint", 10, before, 1.0, 1.0)


BROKEN = {
    "": "no such file",
    "setpoint = [": "invalid",
    "setpoint = 3": "no table",
    "[setpoint]\nmaxmum = 3": "setpoint.maxmum: is not known",
    "[setpoint]\nmaximum = 'hot'": "setpoint.maximum",
    "[setpoint]\nmaximum = nan": "setpoint.maximum",
    "[setpoint]\nminimum = 3\nmaximum = 2": "is above maximum",
    "[setpoint]\nrate = 0": "setpoint.rate",
    "[setpoint.needs.door]\nage = 3": "says one of equals",
    "[setpiont]\nmaximum = 3": "there is no 'setpiont'",
    "[ramp.two]\nmaximum = 3": "there is no 'ramp.two'",
    "[ramp]\nmaximum = 3": "its parameters have ranges",
    "[ramp]\nrate = 3": "has no rate",
    "[door]\nallowed = ['closed']": "cannot be set, so nothing limits it",
    "[setpoint.needs.dore]\nequals = 'closed'": "'dore', which is no attribute",
}


@pytest.mark.parametrize(("text", "why"), BROKEN.items())
async def test_limits_that_cannot_be_understood_block_every_act_and_neither_reading_nor_stopping(
    tmp_path: Path, furnace: Furnace, text: str, why: str
) -> None:
    limits = limits_of(tmp_path, text) if text else read_limits(tmp_path / "gone.toml")
    async with Host(lambda: furnace, describe(Furnace, name="furnace"), Ledger(), limits=limits) as host:
        for refused in (host.write("gas", "Ar"), host.invoke("ramp", {"to": 30}), host.invoke("look", {})):
            with pytest.raises(ConflictError) as said:
                await refused
            assert why in said.value.detail.lower()
        assert why in (host.blocked or "").lower()
        assert (await host.read("setpoint")).value == 20
        assert (await host.stop())["stopped"] is True
    assert furnace._calls == ["stop"]


def test_yaml_and_a_table_of_lab_toml_say_the_same_as_toml(tmp_path: Path) -> None:
    toml = limits_of(tmp_path, "[ramp.to]\nmaximum = 800\n[ramp.needs.door]\nequals = 'closed'")
    yaml = limits_of(tmp_path, "ramp: {to: {maximum: 800}, needs: {door: {equals: closed}}}", "limits.yaml")
    table = read_limits({"ramp.to": {"maximum": 800}, "ramp": {"needs": {"door": {"equals": "closed"}}}})

    assert toml == yaml == table
    assert set(toml.rules) == {"ramp", "ramp.to"}
    assert read_limits(None) == Limits()


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (5, None),
        (11, "is above 10"),
        (np.array([1.0, 11.0]), "is above 10"),
        ([[1, 2], [3, -1]], "is below 0"),
        (float("nan"), "is below 0"),
        ("5", "is below 0"),
        (True, "is below 0"),
        (np.float32(5), None),
    ],
)
def test_every_number_in_a_value_is_held_against_the_range(value: Any, fault: str | None) -> None:
    assert Range(0, 10).against(value) == fault


@pytest.mark.parametrize(
    ("reading", "fault"),
    [
        (Reading("closed", None, NOON), None),
        (Reading("closed", None, NOON, "stale"), None),
        (
            Reading("closed", None, NOON - timedelta(seconds=3), "stale"),
            "was seen 3 s ago, and may be no older than 2 s",
        ),
        (Reading("closed", None, NOON + timedelta(seconds=0.5)), None),
        (
            Reading("closed", None, NOON + timedelta(hours=1)),
            "was seen before the clock was set back, by 3.6e+03 s or more, and its age is not known",
        ),
        (Reading(None, None, NOON), "is not known"),
        (Reading(None, None, NOON, "error", "no contact"), "cannot be read (no contact)"),
        (Reading("open", None, NOON), "is 'open', which is not 'closed'"),
    ],
)
def test_a_needed_state_is_one_that_was_seen_lately(reading: Reading, fault: str | None) -> None:
    assert Need(Range(allowed=["closed"]), age=2).against(reading, NOON) == fault


def test_the_items_of_an_array_are_narrowed() -> None:
    schema = {"type": "array", "items": {"type": "number", "maximum": 3}}
    assert Range(0, 5).narrow(schema)["items"] == {"type": "number", "minimum": 0, "maximum": 3}
