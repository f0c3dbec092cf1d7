"""Values keep their units on the way from a result to a row, and arrays are stored once."""

import numpy as np
import pytest

from labretto.instrument.arrays import UnitArray
from labretto.instrument.codec import CannotEncodeError
from labretto.instrument.reading import Quantity
from labretto.orchestrator.values import hand_out, plain, to_keep

MM = {"type": "number", "unit": "mm"}


@pytest.mark.parametrize("value", [1.5, 0, -3])
def test_a_number_gets_its_unit_also_if_the_driver_answered_a_whole_one(value: float):
    given = hand_out(value, value, MM)

    assert (given, given.unit) == (value, "mm")


@pytest.mark.parametrize(
    ("value", "schema"), [(3, {"type": "integer", "unit": "1"}), (True, MM), ("3", MM), (None, MM)]
)
def test_what_is_no_measured_number_stays_what_it_is(value: object, schema: dict):
    assert hand_out(value, value, schema) is value


def test_units_are_found_in_lists_and_mappings():
    schema = {"properties": {"x": MM, "list": {"items": MM}}}
    given = hand_out({"x": 1.0, "list": [2.0], "other": 3.0}, {"x": 1.0, "list": [2.0], "other": 3.0}, schema)

    assert given["x"].unit == given["list"][0].unit == "mm"
    assert type(given["other"]) is float


def test_an_array_knows_where_it_is_kept_and_a_part_of_it_does_not():
    reference = {"$array": "arrays/0001.npy", "shape": [30], "dtype": "float64"}
    array = hand_out(np.arange(30.0), reference, {"unit": "A", "dims": ["point"]})

    assert to_keep({"i": array, "part": array[:2]})[0]["i"] == reference
    assert isinstance(to_keep({"part": array[:2]})[0]["part"], np.ndarray)
    assert isinstance(to_keep({"twice": array * 2})[0]["twice"], np.ndarray)


def test_what_is_saved_brings_its_units_along():
    row = {
        "x": Quantity(1.0, "mm"),
        "nested": {"v": Quantity(2.0, "V")},
        "image": UnitArray(np.zeros((2, 2)), unit="lx"),
    }
    schema = to_keep(row)[1]["properties"]

    assert schema["x"] == {"unit": "mm"}
    assert schema["nested"]["properties"]["v"] == {"unit": "V"}
    assert schema["image"]["unit"] == "lx"


def test_parameters_are_what_arrives_at_the_instrument():
    sent = plain({"x": Quantity(1.0, "mm"), "k": np.int64(2), "set": {3}, "pair": (1, 2), "a": np.arange(3)})

    assert type(sent["x"]) is float
    assert (sent["x"], sent["k"], sent["set"], sent["pair"]) == (1.0, 2, [3], [1, 2])
    assert sent["a"].tolist() == [0, 1, 2]


def test_what_no_wire_can_carry_is_refused():
    with pytest.raises(CannotEncodeError):
        plain({"x": object()})
