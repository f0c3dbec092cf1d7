"""A reading says what was seen, when and how sure that is; units stay with values until somebody calculates."""

import copy
import pickle
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from labretto.instrument import codec
from labretto.instrument.reading import Quantity, Reading, isoformat, now, with_units

AT = datetime(2026, 11, 21, 4, 21, 35, 120_000, UTC)


TIMES = st.timedeltas(timedelta(0), timedelta(days=90_000)).map(lambda since: datetime(1970, 1, 1, tzinfo=UTC) + since)


@given(TIMES)
def test_a_reading_comes_back_from_its_json_form(at: datetime) -> None:
    reading = Reading(21.4, "degC", at, "stale", "ramp keeps the driver busy")

    assert Reading.from_dict(codec.decode_json(codec.encode_json(reading.as_dict()))) == reading


def test_a_reading_in_json_has_four_words_and_a_fifth_if_something_is_wrong() -> None:
    assert Reading(1.5, None, AT).as_dict() == {
        "value": 1.5,
        "unit": None,
        "time": "2026-11-21T04:21:35.120000Z",
        "status": "ok",
    }
    assert Reading(None, None, AT, "error", "no answer").as_dict()["detail"] == "no answer"


@given(st.lists(TIMES, min_size=2))
def test_times_sort_as_texts_as_they_do_as_times(times: list[datetime]) -> None:
    assert sorted(map(isoformat, times)) == [isoformat(time) for time in sorted(times)]


def test_a_time_of_another_zone_is_told_in_utc() -> None:
    assert isoformat(AT.astimezone(timezone(timedelta(hours=9)))) == "2026-11-21T04:21:35.120000Z"


def test_now_is_aware() -> None:
    assert now().utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (21.4, "degC", "21.4 degC"),
        (21.400000001, "degC", "21.4 degC"),
        (123456789, "counts", "123456789 counts"),
        (True, None, "True"),
        (None, "mm", "None mm"),
        ("ready", None, "ready"),
        ([1, 2], "V", "[1, 2] V"),
    ],
)
def test_a_reading_shows_value_and_unit(value: Any, unit: str | None, text: str) -> None:
    assert str(Reading(value, unit, AT)) == text
    assert re.fullmatch(re.escape(f"Reading({text}, 2026-11-21 04:21:35Z, ok)"), repr(Reading(value, unit, AT)))


def test_a_quantity_is_a_float_that_knows_its_unit_until_somebody_calculates() -> None:
    distance = Quantity(5, "mm")

    assert (distance, distance.unit, repr(distance)) == (5.0, "mm", "5.0 mm")
    assert type(distance * 2) is float


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copied_quantity_keeps_its_unit(copied: Any) -> None:
    assert copied(Quantity(5, "mm")).unit == "mm"


MM = {"type": "number", "unit": "mm"}


@pytest.mark.parametrize(
    ("value", "schema", "units"),
    [
        (1.5, MM, "mm"),
        (2, MM, "mm"),
        (2, {"type": "integer", "unit": "counts"}, None),
        (True, MM, None),
        ("far", MM, None),
        (None, MM, None),
        (1.5, {}, None),
        (1.5, None, None),
        ([1.5, 2], {"type": "array", "items": MM}, ["mm", "mm"]),
        ((1.5, 2.0), {"prefixItems": [MM, {"type": "number"}]}, ["mm", None]),
        ({"x": 1.5, "n": 2}, {"properties": {"x": MM}}, {"x": "mm", "n": None}),
        ({"a": 1.5}, {"additionalProperties": MM}, {"a": "mm"}),
        ({"a": 1.5}, {"additionalProperties": True}, {"a": None}),
        ([{"x": 1.5}], {"items": {"properties": {"x": MM}}}, [{"x": "mm"}]),
    ],
)
def test_each_value_gets_the_unit_that_the_schema_names_at_its_place(value: Any, schema: Any, units: Any) -> None:
    assert units_of(with_units(value, schema)) == units


def units_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: units_of(item) for key, item in value.items()}
    return [units_of(item) for item in value] if isinstance(value, list) else getattr(value, "unit", None)


@pytest.mark.parametrize("column", [np.array([1.0, 2.0]), [1.0, 2.0]], ids=["array", "list"])
@pytest.mark.parametrize("place", ["array", "items"])
def test_a_column_of_a_stream_becomes_an_array_with_unit_and_axis(column: Any, place: str) -> None:
    """Also if it came through JSON as a list."""
    items = {"type": "number"} | ({"unit": "A"} if place == "items" else {})
    schema = {"type": "array", "items": items, "dims": ["point"]} | ({"unit": "A"} if place == "array" else {})
    array = with_units({"current": column}, {"properties": {"current": schema}})["current"]

    assert (array.tolist(), array.unit, array.dims) == ([1.0, 2.0], "A", ("point",))


def test_a_column_of_texts_stays_a_list() -> None:
    assert with_units(["a", "b"], {"type": "array", "dims": ["point"]}) == ["a", "b"]
