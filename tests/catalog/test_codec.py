import json
import math
from datetime import UTC, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays

from labretto.catalog.codec import decode, dumps, encode, is_reference
from labretto.catalog.units import described
from labretto.errors import InvalidError

LONDON, TOKYO = timezone(timedelta(0)), timezone(timedelta(hours=9))
SINGLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.sampled_from([UTC, LONDON, TOKYO]) | st.none())
    | st.dates()
)
KEYS = st.text() | st.sampled_from(["$number", "$bytes", "$time", "$value", "$array", "unit"])
VALUES = st.recursive(
    SINGLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.dictionaries(st.integers() | st.text(), inner, max_size=3)
    ),
    max_leaves=12,
)
SHORT = arrays.arrays(
    arrays.boolean_dtypes() | arrays.integer_dtypes() | arrays.floating_dtypes() | arrays.complex_number_dtypes(),
    arrays.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=4),
)


@given(VALUES)
def test_every_value_comes_back_from_strict_json(value: Any) -> None:
    assert same(decode(strict(encode(value))), value)


@given(VALUES)
def test_encoding_what_is_stored_changes_nothing(value: Any) -> None:
    once = encode(value)

    assert encode(once) == once


@given(SHORT)
def test_short_arrays_stand_in_the_event_and_come_back_with_type_and_shape(array: np.ndarray) -> None:
    back = decode(strict(encode(array)))

    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(VALUES)
def test_an_event_line_is_strict_json_whatever_stands_in_it(value: Any) -> None:
    line = dumps({"number": 1, "result": value})

    assert b"\n" not in line
    json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize("kind", ["float32", "float64", "int8", "uint64", "bool", "complex64", "longdouble"])
def test_numpy_scalars_become_numbers(kind: str) -> None:
    value = decode(strict(encode({"x": np.ones((), kind)[()]})))["x"]

    assert value == 1
    assert type(value) in {int, float, bool, complex}


def test_a_number_takes_its_unit_along_if_asked() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "number", "unit": "mm"}, "n": {"type": "integer"}}}

    assert encode({"x": 1.5, "n": 2}, described(schema), quantities=True) == {
        "x": {"$value": 1.5, "unit": "mm"},
        "n": 2,
    }
    assert encode({"x": 1.5}, described(schema)) == {"x": 1.5}


def test_an_array_takes_unit_and_dims_of_its_schema_along() -> None:
    schema = {"type": "array", "items": {"type": "number", "unit": "V"}, "dims": ["cycle"]}

    stored = encode(np.array([1.0, math.nan]), described(schema))

    assert stored["unit"] == "V"
    assert stored["dims"] == ["cycle"]
    assert stored["$value"] == [1.0, {"$number": "nan"}]


def test_arrays_of_objects_are_lists() -> None:
    assert encode(np.array([1, "a", None], dtype=object)) == [1, "a", None]


@pytest.mark.parametrize("value", [object(), {1, 2}, lambda: 1, type])
def test_what_cannot_be_kept_is_refused_by_its_type(value: object) -> None:
    with pytest.raises(InvalidError, match=r"of type \S+ cannot be kept"):
        encode({"deep": [value]})


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(InvalidError, match="holding itself"):
        dumps({"number": 1, "result": endless})


@pytest.mark.parametrize("stored", [{"$array": "x"}, {"$number": "1"}, {"$value": 1}, {"$bytes": "?"}, {"$time": 3}])
def test_an_object_that_only_resembles_a_mark_is_an_object(stored: dict[str, Any]) -> None:
    assert decode(stored) == stored
    assert not is_reference(stored)


def strict(stored: Any) -> Any:
    """Through JSON that knows no NaN."""
    return json.loads(json.dumps(stored, allow_nan=False), parse_constant=pytest.fail)


def same(back: Any, value: Any) -> bool:
    if isinstance(value, dict):
        return back.keys() == value.keys() and all(same(back[key], value[key]) for key in value)
    if isinstance(value, list):
        return len(back) == len(value) and all(map(same, back, value))
    if isinstance(value, complex):
        return same(back.real, value.real) and same(back.imag, value.imag)
    if isinstance(value, float) and math.isnan(value):
        return math.isnan(back)
    return type(back) is type(value) and back == value
