"""JSON Schema in the words of a Thing Description, which has fewer: one type each, `oneOf`, no references.

A consumer such as node-wot reads a value only where its schema says a type, a const, an enum or a `oneOf`; so every
schema made here says one of them. What Thing Descriptions have no word for has the prefix of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.instrument.schema import Schema

PREFIX = "labretto"
"""Of words that are not of the Thing Description's own vocabulary."""

_TYPES = ("null", "boolean", "number", "string", "array", "object")  # an integer is a number too
_SAYS_ENOUGH = frozenset({"type", "const", "enum", "oneOf"})
_OF_OTHERS = frozenset({"$ref", "$defs", "anyOf", "oneOf", "prefixItems", "dims", "example", "examples"})


def data_schema(schema: Mapping[str, Any], definitions: Mapping[str, Schema] | None = None) -> Schema:
    """The schema of a value, for a Thing Description.

    Args:
        schema: JSON Schema of 2020-12 as `labretto.instrument.schema` makes it, or of our OpenAPI document.
        definitions: what a "$ref" in it names, by the last part of the reference.
    """
    if "$ref" in schema:
        # Followed once: an invocation has a problem, which has an invocation.
        return data_schema((definitions or {}).get(schema["$ref"].rpartition("/")[2], {"type": "object"}))
    if isinstance(schema.get("type"), list):
        kinds, rest = schema["type"], {word: value for word, value in schema.items() if word != "type"}
        return data_schema(rest | {"anyOf": [{"type": kind} for kind in kinds]}, definitions)

    def inner(part: Any) -> Any:
        return data_schema(part, definitions) if isinstance(part, Mapping) else part

    plain: Schema = {word: inner_of(word, value, inner) for word, value in schema.items() if word not in _OF_OTHERS}
    if first := schema.get("prefixItems"):
        plain["items"] = [inner(part) for part in first]
    if dims := schema.get("dims"):
        plain |= _array(plain, dims)
    if alternatives := schema.get("anyOf", schema.get("oneOf")):
        plain |= _one_of([inner(part) for part in alternatives])
    return plain if plain.keys() & _SAYS_ENOUGH else plain | _types(_TYPES)


def inner_of(word: str, value: Any, inner: Any) -> Any:
    """What stands under `word`, with the schemas in it made by `inner`."""
    if word == "properties":
        return {name: inner(part) for name, part in value.items()}
    return inner(value) if word in ("items", "additionalProperties") else value


def _array(plain: Schema, dims: list[str]) -> Schema:
    """Nested lists, one for each axis; what is no number (NaN) is null in JSON."""
    item = plain.get("items", {"type": "number"})
    if item.get("type") == "number":
        item = {"oneOf": [item, {"type": "null"}]}
    for _ in dims[1:]:
        item = {"type": "array", "items": item}
    return {"type": "array", "items": item, f"{PREFIX}:dims": list(dims)}


def _one_of(alternatives: list[Schema]) -> Schema:
    """Alternatives of which one fits; where two might, their types alone, and beside them the alternatives."""
    kinds = [_kinds(alternative) for alternative in alternatives]
    every = set().union(*kinds)
    if len(every) == sum(map(len, kinds)):
        return {"oneOf": alternatives}
    return _types([kind for kind in _TYPES if kind in every]) | {"anyOf": alternatives}


def _kinds(schema: Schema) -> set[str]:
    """The types that a value of this schema may have."""
    if "type" in schema:
        return {_wide(schema["type"])}
    if "const" in schema:
        return {_kind(schema["const"])}
    if "enum" in schema:
        return set(map(_kind, schema["enum"]))
    return set().union(*map(_kinds, schema["oneOf"]))


def _wide(kind: str) -> str:
    return "number" if kind == "integer" else kind


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "object")


def _types(kinds: Any) -> Schema:
    return {"oneOf": [{"type": kind} for kind in kinds]}
