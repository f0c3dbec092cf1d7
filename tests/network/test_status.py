"""When a dead host is started again."""

from labretto.network.status import pause_before


def test_the_first_death_costs_the_shortest_pause() -> None:
    assert pause_before([100.0]) == 0.2


def test_the_pause_doubles_with_each_death_in_a_row() -> None:
    assert [pause_before([10.0 * n for n in range(1, count + 1)]) for count in (1, 2, 3, 4)] == [0.2, 0.4, 0.8, 1.6]


def test_the_pause_never_exceeds_ten_seconds() -> None:
    assert pause_before([29.0 * n for n in range(20)]) == 10.0


def test_five_deaths_within_half_a_minute_are_a_crash_loop() -> None:
    assert pause_before([0.0, 1.0, 2.0, 3.0, 30.0]) is None
    assert pause_before([0.0, 1.0, 2.0, 3.0, 30.1]) == 3.2


def test_a_host_that_lived_long_begins_anew() -> None:
    assert pause_before([0.0, 1.0, 2.0, 3.0, 500.0]) == 0.2
