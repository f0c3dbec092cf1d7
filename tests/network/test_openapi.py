"""The document that people and generators read."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from labretto.instrument.host import Host
from labretto.network import http
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


# The document as a whole ---------------------------------------------------------------------------------------------


@pytest.fixture
async def document(host: Host) -> dict[str, Any]:
    """Of the rig."""
    return http.build_app(host).openapi()


def within(part: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from within(inner)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        yield from ((f"{method} {path}", each) for method, each in methods.items() if method != "parameters")


async def test_it_fits_the_schema_of_openapi(document: dict[str, Any]) -> None:
    found = jsonschema.Draft202012Validator(OPENAPI_31).iter_errors(document)

    assert [f"{each.json_path}: {each.message[:200]}" for each in found] == []


async def test_every_schema_in_it_is_one(document: dict[str, Any]) -> None:
    schemas = [part["schema"] for part in within(document) if "schema" in part]

    for schema in [*schemas, *document["components"]["schemas"].values()]:
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_every_reference_in_it_leads_somewhere(document: dict[str, Any]) -> None:
    references = {part["$ref"] for part in within(document) if isinstance(part.get("$ref"), str)}

    assert references
    assert references <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


async def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = Counter(each["operationId"] for _, each in operations(document))

    assert [name for name, count in names.items() if count > 1] == []


async def test_every_body_has_an_example_that_fits(document: dict[str, Any]) -> None:
    asked = [each["requestBody"]["content"] for _, each in operations(document) if "requestBody" in each]
    bodies = [content["application/json"] for content in asked]

    assert bodies
    for body in bodies:
        jsonschema.validate(body["example"], body["schema"], jsonschema.Draft202012Validator)


async def test_units_and_limits_are_in_it(document: dict[str, Any]) -> None:
    move = document["paths"]["/actions/move"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    to = move["properties"]["to"]

    assert (to["unit"], to["minimum"], to["maximum"]) == ("mm", 0, 100)
    assert to["description"] == "mm, 0 to 100"


@pytest.mark.parametrize("path", ["/", "/health", "/attributes", "/lease", "/thing-description", "/schemas/move"])
async def test_answers_have_the_type_that_it_promises(host: Host, document: dict[str, Any], path: str) -> None:
    promised = document["paths"].get(path) or document["paths"]["/schemas/{action}"]

    async with http.serve(host) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get(path)).headers["content-type"] in promised["get"]["responses"]["200"]["content"]
