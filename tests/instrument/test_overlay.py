"""What the lab says about a driver: kept in its description, obeyed by its host, and refused where it does not fit."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from annotated_types import Interval, Unit

from labretto.errors import ConflictError, InvalidError, LimitError
from labretto.instrument.describe import Description, describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.instrument.overlay import Overlay

Hosting = Callable[..., AbstractAsyncContextManager[tuple[Host, "Oven"]]]


class Oven:
    """An oven that counts how often it is looked at."""

    def __init__(self) -> None:
        self._power = 0.0
        self._open = False
        self._looks = {"temperature": 0, "history": 0}

    @property
    def power(self) -> Annotated[float, Unit("W"), Interval(ge=0, le=500)]:
        """Of the heater."""
        return self._power

    @power.setter
    def power(self, watt: float) -> None:
        if watt == 13:
            raise OSError("13 W it does not like")
        self._power = watt

    @property
    def temperature(self) -> float:
        self._looks["temperature"] += 1
        return 20.0 + self._looks["temperature"]

    @property
    def history(self) -> list[float]:
        self._looks["history"] += 1
        return [20.0]

    @property
    def open(self) -> bool:
        return self._open

    @open.setter
    def open(self, door: bool) -> None:
        self._open = door

    def vent(self) -> None:
        """Let air in."""

    def looks(self) -> dict[str, int]:
        return dict(self._looks)


class WithStop(Oven):
    """One that stops by itself."""

    def stop(self) -> None:
        self._power = 0.0


@pytest.fixture
def hosting(tmp_path: Path) -> Hosting:
    @asynccontextmanager
    async def host(overlay: Overlay) -> AsyncIterator[tuple[Host, Oven]]:
        oven = Oven()
        offer = describe(Oven, name="oven", overlay=overlay)
        async with Host(lambda: oven, offer, Ledger(tmp_path / "ledger.db")) as host:
            yield host, oven

    return host


def test_nothing_is_said_where_nothing_was_said() -> None:
    plain = describe(Oven, name="oven").description.as_dict()
    assert set(plain["attributes"]["power"]) == {"description", "schema", "writable"}


def test_what_was_said_travels_with_the_description() -> None:
    said = Overlay(
        measurement="temperature",
        slow=frozenset({"history"}),
        poll={"power": 5.0},
        descriptions={"vent": "Open the valve.", "temperature": "At the wall."},
        safe={"power": 0},
    )
    described = describe(Oven, name="oven", overlay=said).description

    assert next(iter(described.attributes)) == "temperature"
    assert described.attributes["temperature"].measurement
    assert described.attributes["temperature"].description == "At the wall."
    assert described.actions["vent"].description == "Open the valve."
    assert described.stop
    assert Description.from_dict(described.as_dict()) == described


async def test_what_is_slow_is_read_when_it_is_asked_for_by_name_and_never_else(hosting: Hosting) -> None:
    async with hosting(Overlay(slow=frozenset({"history"}))) as (host, oven):
        seen = (await host.read_all())["history"]
        assert (seen.value, seen.status, oven.looks()["history"]) == (None, "stale", 0)

        assert (await host.read("history")).status == "ok"
        assert (await host.read_all())["history"].value == [20.0]
        assert oven.looks()["history"] == 1


async def test_within_its_poll_time_a_reading_is_good_enough_for_whoever_asks(hosting: Hosting) -> None:
    async with hosting(Overlay(poll={"temperature": 3600.0})) as (host, _):
        first = await host.read("temperature")
        assert (await host.read_all())["temperature"] == first
        assert (await host.read_all())["temperature"] == first
        assert await host.read("temperature") == first
        assert (await host.read("temperature", fresh=True)).value > first.value


async def test_without_one_it_is_read_each_time(hosting: Hosting) -> None:
    async with hosting(Overlay()) as (host, _):
        first = (await host.read_all())["temperature"].value
        assert (await host.read_all())["temperature"].value > first


async def test_stopping_sets_the_safe_state(hosting: Hosting) -> None:
    async with hosting(Overlay(safe={"power": 0, "open": True})) as (host, oven):
        await host.write("power", 200)
        assert (await host.stop())["stopped"]
        assert (oven.power, oven.open) == (0.0, True)


async def test_what_can_be_made_safe_is_though_something_else_cannot(hosting: Hosting) -> None:
    async with hosting(Overlay(safe={"power": 13, "open": True})) as (host, oven):
        answer = await host.stop()
        assert not answer["stopped"]
        assert "13 W it does not like" in answer["detail"]
        assert oven.open


@pytest.mark.parametrize(
    ("safe", "kind"),
    [({"power": 501}, LimitError), ({"power": "low"}, InvalidError), ({"temperature": 20}, InvalidError)],
)
def test_a_safe_state_has_to_be_one_that_can_be_set(safe: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        describe(Oven, name="oven", overlay=Overlay(safe=safe))


def test_a_driver_that_stops_by_itself_needs_no_safe_state_unless_its_stop_is_hidden() -> None:
    with pytest.raises(ConflictError, match="stop"):
        describe(WithStop, name="oven", overlay=Overlay(safe={"power": 0}))

    hidden = Overlay(safe={"power": 0}, hidden=frozenset({"stop"}))
    assert describe(WithStop, name="oven", overlay=hidden).safe == {"power": 0.0}
    assert not describe(WithStop, name="oven", overlay=Overlay(hidden=frozenset({"stop"}))).description.stop


def test_every_name_that_does_not_fit_is_told_at_once() -> None:
    said = Overlay(slow=frozenset({"histroy"}), units={"vent.pressure": "bar"}, effects={"went": "once"})
    with pytest.raises(InvalidError) as refused:
        describe(Oven, name="oven", overlay=said)
    assert {fault["way_out"] for fault in refused.value.faults} >= {"Did you mean 'history'?", "Did you mean 'vent'?"}
    assert len(refused.value.faults) == 3
