"""Alarms: raised once, over beyond the hysteresis, on the list until somebody has seen them, also after a restart."""

import math
from pathlib import Path
from typing import Any

import pytest

from labretto.errors import ConflictError, InvalidError, NotFoundError
from labretto.instrument.alarms import UNSEEN, Alarm, Alarms
from labretto.instrument.describe import Attribute, Description, describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.instrument.overlay import ALARM_POLL, Overlay
from labretto.instrument.reading import Reading, now
from labretto.lab import AlarmLimit, parse_lab


class Bench:
    """Alarms of one attribute `t` in degC, and what was told."""

    def __init__(self, *limits: dict[str, Any], ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger()
        self.told: list[Alarm] = []
        self.alarms = Alarms(self.ledger, self.told.append)
        plain = tuple(AlarmLimit(**limit).model_dump(exclude_none=True) for limit in limits)
        self.alarms.watch("oven", {"t": Attribute("t", {"unit": "degC"}, poll=1.0, alarms=plain)})

    def see(self, *values: Any) -> list[str]:
        """What is on the list after looks at these values."""
        for value in values:
            self.alarms.see("t", Reading(value, "degC", now()))
        return self.listed

    @property
    def listed(self) -> list[str]:
        return [f"{each.condition}{'' if each.active else ', over'}" for each in self.alarms.listed()]


HOT = {"above": 800.0, "hysteresis": 5.0, "severity": "critical"}


def test_an_alarm_is_raised_once_with_the_reading_that_raised_it() -> None:
    bench = Bench(HOT)
    assert bench.see(799, 800.0, 801.0, 900.0) == ["above 800 degC"]
    (alarm,) = bench.told
    assert (alarm.instrument, alarm.attribute, alarm.severity, alarm.times) == ("oven", "t", "critical", 1)
    assert alarm.reading["value"] == 801.0


def test_it_is_over_beyond_the_hysteresis_and_stays_on_the_list_until_it_was_seen() -> None:
    bench = Bench(HOT)
    assert bench.see(801, 799, 796) == ["above 800 degC"]
    assert bench.see(795) == ["above 800 degC, over"]
    bench.alarms.acknowledge(bench.told[0].id, "Ada")
    assert bench.listed == []


def test_one_that_was_seen_leaves_the_list_when_it_is_over() -> None:
    bench = Bench(HOT)
    bench.see(801)
    seen = bench.alarms.acknowledge(bench.told[0].id, " Ada\nL. ", "I am on my way.")
    assert (seen.by, seen.note, seen.active) == ("Ada L.", "I am on my way.", True)
    assert bench.listed == ["above 800 degC"]
    assert bench.see(20) == []
    assert [each.active for each in bench.told] == [True, True, False]


def test_one_that_comes_again_before_anybody_saw_it_is_the_same_alarm() -> None:
    bench = Bench(HOT)
    assert bench.see(801, 20, 801, 20, 801) == ["above 800 degC"]
    assert {each.id for each in bench.told} == {bench.told[0].id}
    assert bench.alarms.listed()[0].times == 3


def test_one_that_comes_again_after_it_was_seen_and_over_is_a_new_one() -> None:
    bench = Bench(HOT)
    bench.see(801)
    bench.alarms.acknowledge(bench.told[0].id, "Ada")
    bench.see(20, 801)
    assert bench.alarms.listed()[0].id != bench.told[0].id
    assert bench.alarms.listed()[0].acknowledged is None


def test_one_table_may_say_above_and_below_and_an_attribute_several_tables() -> None:
    bench = Bench({"above": 100.0, "below": 10.0}, {"above": 200.0, "severity": "critical"})
    assert bench.see(250) == ["above 200 degC", "above 100 degC"]
    assert bench.see(5) == ["below 10 degC", "above 200 degC, over", "above 100 degC, over"]


@pytest.mark.parametrize(("wrong", "right"), [("open", "closed"), (True, False), (3, 4)])
def test_a_state_that_should_not_be_is_one(wrong: Any, right: Any) -> None:
    bench = Bench({"equals": wrong})
    assert bench.see(right) == []
    assert bench.see(wrong) == [f"is {wrong!r}"]
    assert bench.see(right) == [f"is {wrong!r}, over"]


def test_of_several_numbers_one_is_enough() -> None:
    bench = Bench(HOT)
    assert bench.see([20.0, [30.0, 801.0]]) == ["above 800 degC"]
    assert bench.see([20.0, 30.0]) == ["above 800 degC, over"]


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_value_that_is_none_raises_the_gravest_and_clears_nothing(value: Any) -> None:
    bench = Bench(HOT, {"above": 100.0, "severity": "notice"})
    bench.see(801)
    assert bench.see(value) == [UNSEEN, "above 800 degC", "above 100 degC"]
    assert {each.severity for each in bench.alarms.listed() if each.condition == UNSEEN} == {"critical"}
    assert "above 800 degC" in bench.listed
    assert f"{UNSEEN}, over" in bench.see(801)


def test_what_cannot_be_read_raises_one_and_what_is_only_stale_does_not() -> None:
    bench = Bench(HOT)
    bench.alarms.see("t", Reading(20.0, "degC", now(), "stale", "busy"))
    assert bench.listed == []
    bench.alarms.see("t", Reading(None, "degC", now(), "error", "the thermocouple is broken"))
    assert bench.listed == [UNSEEN]
    assert bench.told[0].reading["detail"] == "the thermocouple is broken"


def test_nobody_acknowledges_what_is_not_there_or_was_seen_already() -> None:
    bench = Bench(HOT)
    with pytest.raises(NotFoundError, match="no alarm"):
        bench.alarms.acknowledge("nothing", "Ada")
    bench.see(801)
    bench.alarms.acknowledge(bench.told[0].id, "Ada")
    with pytest.raises(ConflictError, match="Ada has acknowledged"):
        bench.alarms.acknowledge(bench.told[0].id, "Bob")


def test_the_list_outlives_the_host(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    before = Bench(HOT, ledger=Ledger(path))
    before.see(801)
    before.ledger.close()
    after = Bench(HOT, ledger=Ledger(path))
    assert after.alarms.listed() == before.alarms.listed()
    assert after.see(802) == ["above 800 degC"]
    assert after.told == []
    after.ledger.close()


def test_an_alarm_whose_limit_was_taken_away_is_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    before = Bench(HOT, ledger=Ledger(path))
    before.see(801)
    before.ledger.close()
    after = Bench({"above": 900.0}, ledger=Ledger(path))
    assert after.listed == ["above 800 degC, over"]
    after.ledger.close()


def test_an_alarm_travels_as_json() -> None:
    bench = Bench(HOT)
    bench.see(801)
    (alarm,) = bench.alarms.listed()
    assert Alarm.from_dict(alarm.as_dict()) == alarm


class Oven:
    """An oven."""

    @property
    def t(self) -> float:
        return 900.0


async def test_a_host_looks_by_itself_at_what_has_an_alarm() -> None:
    offer = describe(Oven, name="oven", overlay=Overlay(alarms={"t": [AlarmLimit(**HOT)]}))
    assert offer.description.attributes["t"].poll == ALARM_POLL
    assert Description.from_dict(offer.description.as_dict()) == offer.description
    async with Host(Oven, offer, Ledger()) as host:
        await host.read("t", fresh=True)
        (alarm,) = host.alarms()
        assert host.acknowledge(alarm.id, "Ada").by == "Ada"


def test_an_alarm_of_what_the_driver_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidError, match="does not fit") as caught:
        describe(Oven, name="oven", overlay=Overlay(alarms={"temp": [AlarmLimit(**HOT)]}, dead_band={"x": 1.0}))
    assert "`alarms` names" in str(caught.value.fields["faults"])
    assert "`dead_band` names" in str(caught.value.fields["faults"])


LAB = """
[instruments.oven]
driver = "oven:Oven"
dead_band = { t = 0.5 }
alarms.t = [{ above = 800, severity = "critical" }, { above = 700, hysteresis = 10 }]
alarms.door = { equals = "open" }
"""


def test_a_lab_says_them_one_or_several_for_an_attribute(tmp_path: Path) -> None:
    entry = parse_lab(LAB, tmp_path / "lab.toml").instruments["oven"]
    assert [limit.above for limit in entry.alarms["t"]] == [800, 700]
    assert entry.alarms["door"] == [AlarmLimit(equals="open")]
    assert entry.dead_band == {"t": 0.5}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("{}", "neither above nor below nor equals"),
        ("{ above = 1, below = 2 }", "leave no value without an alarm"),
        ("{ above = 1, severity = 'loud' }", "severity"),
        ("{ above = 1, hysteresis = -1 }", "hysteresis"),
        ("{ abov = 1 }", "abov"),
    ],
)
def test_what_is_no_limit_is_refused_with_its_place(tmp_path: Path, said: str, why: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_lab(f'[instruments.oven]\ndriver = "oven:Oven"\nalarms.t = {said}', tmp_path / "lab.toml")
    assert why in str(caught.value.fields["faults"])
