"""The parameters of an experiment, and the fields of a form: a default, a list of choices, or JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.experiment.document import Node
from labretto.experiment.faults import Faults, did_you_mean, listed, quoted
from labretto.experiment.model import Parameter
from labretto.experiment.question import FIELD_TYPES
from labretto.experiment.reference import Where
from labretto.experiment.words import is_name, kind, refuse_unknown, words_below

SCHEMA_WORDS = (
    *("type", "enum", "default", "unit", "title", "description", "items"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems"),
)
"""The JSON Schema words of a parameter.

No `$ref` (it would fetch) and no `pattern` (it can be made to run for ever).
"""


def parameters_of(node: Node, path: str, faults: Faults) -> dict[str, Parameter]:
    """The parameters below the word `parameters`, whose own path this is."""
    found = {}
    for name, each in words_below(node, "parameters", "a mapping of names", path, faults).items():
        at = f"{path}.{name}"
        where = _place(node, "parameters", name)
        is_name(name, "a parameter", where, at, faults)
        found[name] = _parameter(name, each, where, at, faults)
    return found


def _place(node: Node, word: str, name: str) -> Where:
    below = node.value[word] if isinstance(node.value, dict) else node
    return below.keys[name]


def _parameter(name: str, node: Node, where: Where, path: str, faults: Faults) -> Parameter:
    """A mapping is JSON Schema with `default`, anything else a default; nothing is a required parameter of any kind."""
    if isinstance(node.value, dict):
        refuse_unknown(node, SCHEMA_WORDS, f"the parameter {name}", path, faults)
        schema = node.plain
    else:
        schema = {} if node.value is None else {"default": node.plain}
    if "default" in schema and not {"type", "enum"} & schema.keys():
        schema = {**_type_of(schema["default"]), **schema}
    return Parameter(name, schema, "default" not in schema, schema.get("default"), where)


def _type_of(value: Any) -> dict[str, str]:
    """What a default says about the type; a whole number says no more than `number`."""
    types = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return {"type": types[type(value)]} if type(value) in types else {}


def fields_of(node: Node, path: str, faults: Faults) -> dict[str, dict[str, Any]]:
    """The fields of a form below the word `fields`."""
    found = {}
    for name, each in words_below(node, "fields", "a mapping of names", f"{path}.fields", faults).items():
        at = f"{path}.fields.{name}"
        is_name(name, "a field", _place(node, "fields", name), at, faults)
        found[name] = _field(name, each, at, faults)
    return found


def _field(name: str, node: Node, path: str, faults: Faults) -> dict[str, Any]:
    """A word is a type, a list are choices, a mapping is JSON Schema with a type of ours."""
    if isinstance(node.value, list):
        return {"enum": node.plain}
    if isinstance(node.value, str):
        return dict(_type(node.value, node.where, path, faults))
    if not isinstance(node.value, dict):
        way_out = f"one of {listed(tuple(FIELD_TYPES))}, a list of choices, or a mapping with `type`"
        faults.add(f"the field {name} needs a type; here is {kind(node)}", node.where, path, way_out)
        return {}
    refuse_unknown(node, SCHEMA_WORDS, f"the field {name}", path, faults)
    schema = dict(node.plain)
    word = schema.pop("type", None)
    if isinstance(word, str):
        return {**_type(word, node.value["type"].where, path, faults), **schema}
    return schema if "enum" in schema else {**_type_of(schema.get("default")), **schema}


def _type(word: str, where: Where, path: str, faults: Faults) -> Mapping[str, Any]:
    known = {**FIELD_TYPES, "string": FIELD_TYPES["text"], "array": {"type": "array"}}
    if word not in known:
        way_out = did_you_mean(word, FIELD_TYPES)
        faults.add(f"{quoted(word)} is not a type of field", where, path, way_out)
    return known.get(word, {})
