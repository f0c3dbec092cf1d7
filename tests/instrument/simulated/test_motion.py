"""A motion is a function of time, checked against the laws of uniform acceleration."""

import pytest
from hypothesis import given, strategies as st

from labretto.instrument.simulated.motion import Motion, distance_covered, travel_time

metre = st.floats(0.001, 1000)
profile = {"distance": metre, "velocity": metre, "acceleration": metre}


def test_a_long_way_takes_its_time_at_full_speed_and_one_ramp_more():
    assert travel_time(100, velocity=20, acceleration=100) == pytest.approx(100 / 20 + 20 / 100)


def test_a_short_way_never_reaches_full_speed():
    assert travel_time(1, velocity=20, acceleration=100) == pytest.approx(2 * (1 / 100) ** 0.5)


@given(**profile)
def test_half_of_the_way_is_covered_in_half_of_the_time(distance, velocity, acceleration):
    half = travel_time(distance, velocity, acceleration) / 2

    assert distance_covered(half, distance, velocity, acceleration) == pytest.approx(distance / 2, rel=1e-6)


@given(**profile, shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_the_way_only_grows_and_never_faster_than_the_velocity(distance, velocity, acceleration, shares):
    whole = travel_time(distance, velocity, acceleration)
    early, late = sorted(share * whole for share in shares)
    way = [distance_covered(t, distance, velocity, acceleration) for t in (early, late)]

    assert -1e-6 * distance <= way[1] - way[0] <= velocity * (late - early) + 1e-6 * distance


def test_a_halted_motion_stays_where_it_was():
    motion = Motion(start=(0.0, 0.0), target=(30.0, 40.0), began=1000.0, velocity=10.0, acceleration=100.0)
    middle = (motion.began + motion.arrives) / 2

    halted = motion.halted(middle)

    assert halted.position(middle + 60) == pytest.approx((15.0, 20.0))
    assert halted.arrives <= middle


def test_a_clock_set_back_leaves_a_resting_stage_at_rest():
    resting = Motion((3.0, 4.0), (3.0, 4.0), began=1000.0, velocity=10.0, acceleration=100.0)

    assert resting.position(0.0) == (3.0, 4.0)
