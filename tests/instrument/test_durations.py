"""How long an action usually takes is the median of its last ends."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from labretto.instrument.durations import LAST, Durations
from labretto.instrument.invocation import Invocation, State, new_id
from labretto.instrument.ledger import Ledger
from labretto.instrument.reading import now


def test_what_never_ended_has_no_usual_duration() -> None:
    assert Durations().expected("move") is None


def test_one_that_took_very_long_does_not_change_what_is_usual() -> None:
    durations = Durations()
    places = [durations.add("move", seconds) for seconds in (1.0, 2.0, 900.0)]

    assert durations.expected("move") == 2.0
    assert places == [0, 1, 2]


def test_only_the_last_ends_count() -> None:
    durations = Durations()
    places = [durations.add("move", 1.0) for _ in range(LAST)] + [durations.add("move", 5.0) for _ in range(LAST)]

    assert durations.expected("move") == 5.0
    assert max(places) == LAST - 1


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Ledger]]:
    ledgers: list[Ledger] = []

    def open_again() -> Ledger:
        if ledgers:
            ledgers[-1].close()
        ledgers.append(Ledger(tmp_path / "ledger.db"))
        return ledgers[-1]

    yield open_again
    ledgers[-1].close()


def done(ledger: Ledger, action: str, seconds: float, state: State = "succeeded") -> None:
    started = now()
    invocation = Invocation(new_id(), "it", action, {}, "read", "running", started, started)
    ledger.begin(invocation)
    ledger.end(invocation.end(state, started + timedelta(seconds=seconds)))


def test_the_next_process_knows_what_is_usual(opened: Callable[[], Ledger]) -> None:
    ledger = opened()
    for seconds in (3.0, 1.0, 2.0):
        done(ledger, "ramp", seconds)
    done(ledger, "ramp", 100.0, "failed")
    done(ledger, "blink", 0.001)
    assert ledger.durations.expected("blink") == pytest.approx(0.001)

    again = opened()

    assert again.durations.expected("ramp") == 2.0
    assert again.durations.expected("blink") is None  # not worth a write


def test_a_file_keeps_a_bounded_number_of_durations(opened: Callable[[], Ledger]) -> None:
    ledger = opened()
    for _ in range(3 * LAST):
        done(ledger, "ramp", 1.0)

    assert ledger._connection.execute("SELECT COUNT(*) FROM durations").fetchone()[0] == LAST
