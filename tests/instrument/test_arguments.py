"""What does not fit is refused before anything moves, all faults at once, in the words of the lab."""

from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import pydantic
import pytest
from annotated_types import Interval, Len, Unit
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from labretto.errors import InvalidError, LimitError
from labretto.instrument.arguments import check_arguments, check_value
from labretto.instrument.describe import describe

Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=100)]


class Window(TypedDict, total=False):
    low: Millimetre
    high: Millimetre


def refuse_odd(value: Any) -> Any:
    raise TypeError("odd")


class Driver:
    def move(self, to: Millimetre, speed: Annotated[float, Unit("mm/s"), Interval(gt=0, lt=10)] = 1.0) -> None: ...

    def visit(self, places: Annotated[list[Millimetre], Len(1, 3)]) -> None: ...

    def play(self, samples: npt.NDArray[np.float32], gate: npt.NDArray[Any] | None = None) -> None: ...

    def choose(self, mode: Literal["fast", "slow"]) -> None: ...

    def look(self, window: Window) -> None: ...

    def odd(
        self, value: Annotated[str, Interval(ge=3)], other: Annotated[int, pydantic.AfterValidator(refuse_odd)] = 0
    ): ...

    def rest(self) -> None: ...


OFFER = describe(Driver, name="stage")


def check(action: str, **given: Any) -> dict[str, Any]:
    return check_arguments(OFFER.description.actions[action], OFFER.arguments[action], given, "stage")


def test_what_fits_is_what_the_driver_is_called_with() -> None:
    assert check("move", to=5) == {"to": 5.0}
    assert check("visit", places=[0, 100]) == {"places": [0.0, 100.0]}
    assert check("rest") == {}
    assert check("look", window={"low": 1}) == {"window": {"low": 1.0}}


@pytest.mark.parametrize(
    ("action", "given", "said", "way_out"),
    [
        ("move", {"to": 150}, "stage.move: to=150 mm is above 100 mm.", "Give a value of at most 100 mm."),
        ("move", {"to": -1}, "stage.move: to=-1 mm is below 0 mm.", "Give a value of at least 0 mm."),
        ("move", {"to": 1, "speed": 10}, "stage.move: speed=10 mm/s is not below 10 mm/s.", "Give a value below"),
        ("move", {"to": 1, "speed": 0}, "stage.move: speed=0 mm/s is not above 0 mm/s.", "Give a value above 0 mm/s."),
        ("visit", {"places": [1, 101]}, "stage.visit: places[1]=101 is above 100.", "Give a value of at most 100."),
        ("move", {"to": float("nan")}, "stage.move: to=nan mm is no number; the limit is 100 mm.", "Give a value"),
        ("move", {"to": float("inf")}, "stage.move: to=inf mm is above", "Give a value"),
    ],
)
def test_a_value_outside_its_limits_is_refused_naming_value_limit_and_unit(
    action: str, given: dict[str, Any], said: str, way_out: str
) -> None:
    with pytest.raises(LimitError) as refused:
        check(action, **given)
    assert refused.value.detail.startswith(said)
    assert refused.value.way_out.startswith(way_out)


@pytest.mark.parametrize(
    ("action", "given", "said"),
    [
        ("move", {}, "stage.move needs the parameter 'to' (number, mm)."),
        ("move", {"to": 1, "sped": 2}, "stage.move has no parameter 'sped'; it has to, speed."),
        ("rest", {"now": True}, "stage.rest has no parameter 'now'; it has none."),
        ("move", {"to": "far"}, "stage.move: to='far' does not fit: input should be a valid number"),
        ("move", {"to": None}, "stage.move: to=None does not fit"),
        ("choose", {"mode": "best"}, "stage.choose: mode='best' does not fit: input should be 'fast' or 'slow'."),
        ("visit", {"places": []}, "stage.visit: places=[] does not fit: list should have at least 1 item"),
        ("look", {"window": {"middle": "x", "low": "y"}}, "stage.look: window="),
        ("play", {"samples": "abc"}, "stage.play: samples='abc' does not fit: value error, it is no array of numbers."),
        ("play", {"samples": [[1], [2, 3]]}, "stage.play: samples=[[1], [2, 3]] does not fit"),
        ("odd", {"value": "x"}, "stage.odd: value='x' cannot be checked"),
        ("odd", {"value": "x", "other": 3}, "stage.odd cannot be called: 2 faults; nothing moved."),
    ],
)
def test_what_does_not_fit_is_refused_saying_what_came_and_what_is_wanted(
    action: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        check(action, **given)
    assert refused.value.detail.startswith(said)


def test_all_faults_are_told_at_once_in_the_order_in_which_they_were_given() -> None:
    with pytest.raises(InvalidError, match="3 faults; nothing moved") as refused:
        check("move", speed="x", sped=2)

    assert [fault["detail"].split(" does")[0] for fault in refused.value.faults] == [
        "stage.move has no parameter 'sped'; it has to, speed.",
        "stage.move needs the parameter 'to' (number, mm).",
        "stage.move: speed='x'",
    ]
    assert type(refused.value) is InvalidError


def test_several_values_outside_their_limits_are_a_limit_error_still() -> None:
    with pytest.raises(LimitError, match="2 faults"):
        check("move", to=101, speed=11)


def test_lists_of_numbers_become_the_array_that_the_driver_expects() -> None:
    """JSON has no arrays and no NaN: lists and null arrive."""
    samples = check("play", samples=[1, None, 2.5])["samples"]

    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, np.float32([1, np.nan, 2.5]))
    assert check("play", samples=[[True], [False]])["samples"].shape == (2, 1)
    assert check("play", samples=[], gate=None)["gate"] is None
    assert check("play", samples=[], gate=[1, 2])["gate"].dtype.kind == "i"


def test_a_long_value_is_named_in_short() -> None:
    with pytest.raises(InvalidError) as refused:
        check("choose", mode=list(range(1_000_000)))
    assert len(refused.value.detail) < 300


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=4)
    | arrays.arrays(st.sampled_from(["f8", "i4", "?"]), st.sampled_from([(), (1,), (2,), (2, 2)])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
PLACES = [(name, parameter) for name, parameters in OFFER.arguments.items() for parameter in parameters]


@given(st.sampled_from(PLACES), ANYTHING)
@settings(max_examples=200)
def test_whatever_comes_fits_or_is_refused(place: tuple[str, str], value: Any) -> None:
    action, parameter = place
    try:
        check_value(OFFER.arguments[action][parameter], value, "stage", "mm")
    except InvalidError as error:
        assert error.detail  # noqa: PT017 - both ways are right; any other error is not


@given(st.floats())
def test_a_number_is_accepted_exactly_within_its_limits(value: float) -> None:
    try:
        accepted = check("move", to=value)["to"]
    except LimitError:
        assert not 0 <= value <= 100
    else:
        assert accepted == value
        assert 0 <= value <= 100
