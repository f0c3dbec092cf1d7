"""The document that people and generators read."""

from typing import Any

import jsonschema
import pytest

from labretto.network.openapi import example, in_words

SCHEMAS: list[dict[str, Any]] = [
    {"type": "number"},
    {"type": "number", "minimum": 0, "maximum": 100},
    {"type": "number", "exclusiveMinimum": 0},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-3},
    {"type": "integer", "minimum": 3},
    {"type": "integer", "maximum": -3},
    {"type": "integer", "minimum": 1, "maximum": 2},
    {"type": "number", "default": 7.5},
    {"enum": ["slow", "fast"]},
    {"const": 5},
    {"type": "string"},
    {"type": "string", "minLength": 7},
    {"type": "boolean"},
    {"type": "null"},
    {"type": "array", "items": {"type": "number", "minimum": 2}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3},
    {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
    {"anyOf": [{"type": "number"}, {"type": "null"}]},
    {},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_an_example_fits_its_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(example(schema), schema)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"unit": "mm", "minimum": 0, "maximum": 100}, "mm, 0 to 100"),
        ({"unit": "degC"}, "degC"),
        ({"minimum": 2}, "from 2"),
        ({"maximum": 5, "unit": "V"}, "V, up to 5"),
        ({"exclusiveMinimum": 0}, "above 0"),
        ({"exclusiveMinimum": 0, "maximum": 1}, "above 0, up to 1"),
        ({"exclusiveMaximum": 1}, "below 1"),
        ({}, ""),
    ],
)
def test_unit_and_limits_are_said_in_words(schema: dict[str, Any], words: str) -> None:
    assert in_words(schema) == words
