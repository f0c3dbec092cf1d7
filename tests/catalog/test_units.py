import pytest

from labretto.catalog.units import described


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "unit": "V"},
        {"type": "array", "items": {"type": "number", "unit": "V"}},
        {"$ref": "#/$defs/Volt", "$defs": {"Volt": {"type": "number", "unit": "V"}}},
        {"anyOf": [{"type": "number", "unit": "V"}, {"type": "null"}]},
        {"anyOf": [{"type": "null"}, {"type": "number"}], "unit": "V"},
    ],
)
def test_a_unit_is_found_wherever_a_schema_puts_it(schema: dict) -> None:
    assert described(schema).unit == "V"


def test_members_and_items_are_followed() -> None:
    schema = {
        "properties": {"pair": {"prefixItems": [{"unit": "V"}, {"$ref": "#/$defs/Ampere"}]}},
        "$defs": {"Ampere": {"unit": "A"}},
    }

    assert described(schema).member("pair").item(1).unit == "A"
    assert described(schema).member("other").item(1).unit is None


def test_a_schema_that_refers_to_itself_says_nothing() -> None:
    assert described({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}).unit is None


def test_without_names_an_image_has_y_and_x() -> None:
    assert described(None).of_array(2) == {"dims": ["y", "x"]}
    assert described({"unit": "1", "dims": ["a"]}).of_array(2) == {"unit": "1", "dims": ["y", "x"]}
