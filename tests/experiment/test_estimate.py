"""How long something takes, as far as it is known."""

import pytest
from hypothesis import given, strategies as st

from labretto.experiment.estimate import Row, declared, learned, spelled, spread

seconds = st.floats(min_value=0.001, max_value=1e5)


def known(*ends: float, pool: str = "p"):
    estimate = learned(ends, "action", pool)
    assert estimate is not None
    return estimate


def test_nothing_is_learned_from_nothing():
    assert learned([], "action", "p") is None


def test_one_action_that_hung_for_an_hour_does_not_move_what_is_learned_from_twenty():
    assert known(*[2.0] * 19, 3600.0).mean == pytest.approx(2.0)


def test_a_single_end_is_doubted_by_half():
    once = known(10.0)

    assert once.n == 1
    assert once.spread.p10 < 6 < 14 < once.spread.p90


def test_what_was_declared_is_believed():
    assert declared(5).spread.as_dict() == {"p10": 5, "p50": 5, "p90": 5}


@given(st.lists(seconds, min_size=1, max_size=40))
def test_the_quantiles_are_in_order_and_never_below_zero(ends: list[float]):
    found = known(*ends).spread

    assert 0 <= found.p10 <= found.p50 <= found.p90


def test_differences_from_time_to_time_even_out_over_many_steps():
    many, one = Row(), Row()
    estimate = known(*[1.0, 3.0] * 10)
    one.add(estimate)
    for _ in range(100):
        many.add(estimate)

    assert many.mean == pytest.approx(200)
    assert many.variance / many.mean**2 < one.variance / one.mean**2 / 10


def test_the_doubt_of_a_mean_known_from_few_ends_does_not_even_out():
    few = Row()
    for _ in range(10_000):
        few.add(known(1.0, 2.0, 3.0))

    doubt = few.variance**0.5 / few.mean
    assert doubt == pytest.approx((1 / 3) ** 0.5 / 2, rel=0.01)


@given(st.lists(st.tuples(seconds, st.sampled_from("abc")), min_size=1, max_size=20), st.integers(2, 9))
def test_a_row_that_is_made_longer_is_the_row_done_so_many_times(parts: list[tuple[float, str]], times: int):
    pools = {name: known(mean, 2 * mean, 3 * mean, pool=name) for mean, name in parts}
    once, often = Row(), Row()
    for _, name in parts:
        once.add(pools[name])
    for _ in range(times):
        for _, name in parts:
            often.add(pools[name])

    longer = once.longer(times)

    assert (longer.mean, longer.variance) == (pytest.approx(often.mean), pytest.approx(often.variance))


def test_what_takes_no_time_has_no_spread():
    assert spread(0.0, 0.0).as_dict() == {"p10": 0, "p50": 0, "p90": 0}


@pytest.mark.parametrize(
    ("of", "said"),
    [(0.25, "0.25 s"), (61, "61 s"), (700, "12 min"), (13_200, "3 h 40 min"), (187_200, "2 d 4 h"), (0, "0 s")],
)
def test_a_duration_is_told_as_people_tell_it(of: float, said: str):
    assert spelled(of) == said
