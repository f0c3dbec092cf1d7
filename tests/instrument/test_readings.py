"""Which look says something that has to be told, and which reading answers for a new look."""

import math

import pytest

from labretto.instrument import readings as room
from labretto.instrument.describe import Attribute
from labretto.instrument.reading import Reading, now
from labretto.instrument.readings import HEARTBEAT, Readings


class Clock:
    """The monotonic clock, set by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Bench:
    """Readings of one attribute, and what was told of it."""

    def __init__(self, clock: Clock, **words: object) -> None:
        self.clock = clock
        self.told: list[Reading] = []
        attribute = Attribute("t", {"type": "number"}, **words)  # type: ignore[arg-type]
        self.readings = Readings(lambda: {"t": attribute}, lambda name, reading: self.told.append(reading))

    def look(self, value: object, status: str = "ok") -> Reading:
        reading = Reading(value, None, now(), status)  # type: ignore[arg-type]
        return self.readings.note("t", reading, self.readings.acts)

    @property
    def values(self) -> list[object]:
        return [reading.value for reading in self.told]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    return clock


def test_without_a_dead_band_every_change_is_told_and_nothing_else(clock: Clock) -> None:
    bench = Bench(clock)
    for value in (1.0, 1.0, 2.0, 2.0, 1.0):
        bench.look(value)
    assert bench.values == [1.0, 2.0, 1.0]


def test_what_moves_within_the_dead_band_is_not_told(clock: Clock) -> None:
    bench = Bench(clock, dead_band=0.5)
    for value in (10.0, 10.4, 9.6, 10.5):
        bench.look(value)
    assert bench.values == [10.0]


def test_a_slow_drift_is_told_when_it_has_left_what_was_told_last(clock: Clock) -> None:
    bench = Bench(clock, dead_band=0.5)
    for step in range(11):
        bench.look(step * 0.2)
    assert bench.values == pytest.approx([0.0, 0.6, 1.2, 1.8])


def test_no_number_is_beyond_every_dead_band_once(clock: Clock) -> None:
    bench = Bench(clock, dead_band=1.0)
    for value in (1.0, math.nan, math.nan, 1.0):
        bench.look(value)
    assert [str(value) for value in bench.values] == ["1.0", "nan", "1.0"]


def test_a_change_of_status_is_told_within_the_dead_band_too(clock: Clock) -> None:
    bench = Bench(clock, dead_band=100.0)
    bench.look(1.0)
    bench.look(None, "error")
    bench.look(1.0)
    assert [reading.status for reading in bench.told] == ["ok", "error", "ok"]


def test_a_polled_attribute_gives_a_sign_of_life(clock: Clock) -> None:
    bench = Bench(clock, poll=2.0, dead_band=1.0)
    for _ in range(3 * HEARTBEAT + 1):
        bench.look(5.0)
        clock.now += 2.0
    assert len(bench.told) == 4


def test_what_cannot_be_looked_at_is_told_to_be_stale_as_often_as_there_are_signs_of_life(clock: Clock) -> None:
    bench = Bench(clock, poll=1.0)
    bench.look(5.0)
    for _ in range(2 * HEARTBEAT):
        clock.now += 1.0
        bench.readings.silent("t", "ramp keeps the driver busy")
    bench.look(5.0)

    assert [reading.status for reading in bench.told] == ["ok", "stale", "stale", "ok"]
    assert bench.told[1].value == 5.0
    assert bench.told[1].detail == "ramp keeps the driver busy"
    assert bench.told[1].time == bench.told[0].time


def test_a_reading_answers_until_it_is_as_old_as_the_period(clock: Clock) -> None:
    bench = Bench(clock, poll=2.0)
    seen = bench.look(5.0)
    clock.now += 1.9
    assert bench.readings.recent("t") is seen
    clock.now += 0.2
    assert bench.readings.recent("t") is None


def test_a_reading_from_before_an_act_answers_nobody_after_it(clock: Clock) -> None:
    bench = Bench(clock, poll=60.0)
    bench.look(5.0)
    bench.readings.acted()
    assert bench.readings.recent("t") is None


def test_who_looks_at_all_gets_nothing_from_before_an_act_either(clock: Clock) -> None:
    bench = Bench(clock, poll=60.0)
    seen = bench.look(5.0)
    assert bench.readings.good_enough("t") is seen
    bench.readings.acted()
    assert bench.readings.good_enough("t") is None


def test_what_is_only_kept_is_good_enough_for_who_looks_at_all_and_for_nobody_else(clock: Clock) -> None:
    bench = Bench(clock, keep=4.0)
    seen = bench.look(5.0)
    assert bench.readings.good_enough("t") is seen
    assert bench.readings.recent("t") is None
    clock.now += 4.1
    assert bench.readings.good_enough("t") is None


def test_a_look_that_began_before_an_act_ended_answers_nobody(clock: Clock) -> None:
    bench = Bench(clock, poll=60.0)
    began = bench.readings.acts
    bench.readings.acted()
    bench.readings.note("t", Reading(5.0, None, now()), began)
    assert bench.readings.recent("t") is None
    assert bench.readings.last("t") is not None


def test_an_error_is_no_answer_from_memory(clock: Clock) -> None:
    bench = Bench(clock, poll=60.0)
    bench.look(None, "error")
    assert bench.readings.recent("t") is None


def test_what_is_not_polled_is_always_asked_for(clock: Clock) -> None:
    bench = Bench(clock)
    bench.look(5.0)
    assert bench.readings.recent("t") is None
