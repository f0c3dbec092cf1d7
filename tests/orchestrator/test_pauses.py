"""What is still waited for, over restarts and over a clock that was set back."""

from datetime import UTC, datetime, timedelta

import pytest

from labretto.instrument.reading import isoformat
from labretto.orchestrator.pauses import is_within, left_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(("later", "left"), [(0, 30), (10, 20), (30, 0), (3600, 0)])
def test_what_has_gone_is_not_waited_for_again(later: float, left: float):
    assert left_of(30, isoformat(NOON), NOON + timedelta(seconds=later)) == left


def test_a_clock_that_was_set_back_makes_nobody_wait_longer_than_was_asked_for():
    assert left_of(30, isoformat(NOON), NOON - timedelta(hours=1)) == 30


@pytest.mark.parametrize(("later", "within"), [(0, True), (1.9, True), (2, False), (-3600, False)])
def test_a_moment_is_over_also_where_the_clock_was_set_back(later: float, within: bool):
    assert is_within(2, isoformat(NOON), NOON + timedelta(seconds=later)) == within
