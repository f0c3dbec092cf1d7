"""What is typed into a field means: table by table, in the browser that runs the module."""

from typing import Any

import pytest
from playwright.sync_api import Page

MILLIMETRE = {"type": "number", "unit": "mm", "minimum": 0, "maximum": 100}
RATE = {"type": "number", "unit": "V/s", "exclusiveMinimum": 0, "exclusiveMaximum": 10}
COUNT = {"type": "integer", "minimum": 1}
SAMPLE = {"enum": ["A1", "A2"], "type": "string"}
OPTIONAL = {"anyOf": [{"type": "number", "maximum": 5}, {"type": "null"}], "default": None}
REFERENCE = {"$ref": "#/$defs/Mode", "$defs": {"Mode": {"enum": [1, 2], "type": "integer"}}}

MEANINGS: list[tuple[dict[str, Any], bool, Any, dict[str, Any]]] = [
    (MILLIMETRE, True, "12.5", {"value": 12.5}),
    (MILLIMETRE, True, " 12,5 ", {"value": 12.5}),
    (MILLIMETRE, True, "1e2", {"value": 100}),
    (MILLIMETRE, True, "-1", {"fault": "x must be at least 0 mm."}),
    (MILLIMETRE, True, "100.1", {"fault": "x must be at most 100 mm."}),
    (MILLIMETRE, True, "far", {"fault": "x must be a number."}),
    (MILLIMETRE, True, "", {"fault": "x is needed."}),
    (MILLIMETRE, False, "", {}),
    (RATE, True, "0", {"fault": "x must be above 0 V/s."}),
    (RATE, True, "10", {"fault": "x must be below 10 V/s."}),
    (COUNT, True, "1.5", {"fault": "x must be a whole number."}),
    (COUNT, True, "3", {"value": 3}),
    (SAMPLE, True, "A2", {"value": "A2"}),
    (OPTIONAL, False, "", {}),
    (OPTIONAL, True, "", {"value": None}),
    (OPTIONAL, False, "6", {"fault": "x must be at most 5."}),
    (REFERENCE, True, "2", {"value": 2}),
    ({"type": "boolean"}, True, False, {"value": False}),
    ({"type": "string", "maxLength": 2}, True, "abc", {"fault": "x has at most 2 characters."}),
    ({"type": "array", "items": {"type": "number"}}, True, "[1, 2]", {"value": [1, 2]}),
    ({"type": "array"}, True, "1, 2", {"fault": "x is not JSON; write for instance [1, 2, 3]."}),
    ({}, True, "free text", {"value": "free text"}),
]

LIMITS = [
    (MILLIMETRE, "0 to 100 mm"),
    (RATE, "above 0 to below 10 V/s"),
    (COUNT, "at least 1"),
    (OPTIONAL, "at most 5"),
    ({"type": "number", "unit": "degC"}, ""),
]

NUMBERS = [
    (0, "A", "0 A"),
    (1.25e-6, "A", "1.25 µA"),
    (0.0979, "V", "97.9 mV"),
    (12.345678, "mm", "12.3457 mm"),
    (-40.0, "degC", "−40 °C"),
    (True, None, "yes"),
    (None, "V", "–"),
    ("A1", None, "A1"),
    (6.02e23, None, "6.02·10²³"),
]


@pytest.fixture
def module(page: Page) -> Any:
    """Call a function of one of the page's modules."""

    def call(name: str, function: str, *arguments: Any) -> Any:
        script = "async ([name, f, args]) => (await import(`/static/${name}.js`))[f](...args)"
        return page.evaluate(script, [name, function, arguments])

    return call


def test_what_is_typed_means_a_value_or_a_fault_that_names_the_limit(module: Any) -> None:
    found = [module("forms", "meaning", "x", schema, required, text) for schema, required, text, _ in MEANINGS]

    assert found == [meant for *_, meant in MEANINGS]


def test_limits_are_said_with_their_unit(module: Any) -> None:
    assert [module("forms", "limits", schema) for schema, _ in LIMITS] == [words for _, words in LIMITS]


def test_numbers_are_printed_with_the_prefix_that_makes_them_short(module: Any) -> None:
    assert [module("words", "quantity", value, unit) for value, unit, _ in NUMBERS] == [words for *_, words in NUMBERS]
