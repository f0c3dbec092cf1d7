"""Whether a value is what a JSON Schema says, told in a person's words and with the unit.

`jsonschema` (Draft 2020-12) judges, the sentences are ours. A `HOLE` stands for a part that is known only when the
experiment runs: it fits everywhere. It is imported when first needed: who only reads an experiment does not need it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from labretto.experiment.faults import did_you_mean, listed

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator


class _Hole:
    def __repr__(self) -> str:
        return "…"


HOLE = _Hole()
"""A value that is not known yet."""


def may_be_text(schema: Mapping[str, Any]) -> bool:
    """Whether a string can be meant: the schema says so, or says nothing about the type."""
    branches = [branch for word in ("anyOf", "oneOf") for branch in schema.get(word, ())]
    if branches:
        return any(may_be_text(branch) for branch in branches)
    if "type" not in schema:
        return "enum" not in schema or any(isinstance(each, str) for each in schema["enum"])
    types = schema["type"]
    return "string" in types if isinstance(types, list) else types == "string"


def differences(value: Any, schema: Mapping[str, Any], name: str) -> list[str]:
    """What stands against a value, one sentence each: `x=150 mm is above 100 mm`; empty if it fits.

    Raises:
        ValueError: if the schema itself cannot be used, with the reason.
    """
    validator = _validator(json.dumps(schema, sort_keys=True, default=str))
    try:
        return [_sentence(error, name, schema.get("unit")) for error in validator.iter_errors(value)]
    except Exception as error:
        raise ValueError(f"its schema cannot be used: {error}") from error


@functools.lru_cache(maxsize=1024)
def _validator(schema: str) -> Validator:
    """Raises ValueError if the schema is none. Nothing is ever fetched for a `$ref`."""
    import jsonschema
    import referencing

    loaded = json.loads(schema)
    try:
        jsonschema.Draft202012Validator.check_schema(loaded)
    except jsonschema.SchemaError as error:
        place = ".".join(str(part) for part in error.absolute_path)
        raise ValueError(f"its schema cannot be used: {place + ': ' if place else ''}{error.message}") from error
    validator: Validator = _with_holes()(loaded, registry=referencing.Registry())
    return validator


@functools.cache
def _with_holes() -> type[Validator]:
    import jsonschema

    words = jsonschema.Draft202012Validator.VALIDATORS
    tolerant: type[Validator] = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        jsonschema.Draft202012Validator, {word: _tolerant(word, judge) for word, judge in words.items()}
    )
    return tolerant


_WHOLE = frozenset({"enum", "const", "uniqueItems", "contains", "not", "if", "oneOf"})
"""Words that compare a value as a whole: a hole anywhere in it leaves them undecided."""


def _tolerant(word: str, judge: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def tolerant(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        if value is HOLE or (word in _WHOLE and _has_hole(value)):
            return
        yield from judge(validator, wanted, value, schema) or ()

    return tolerant


def _has_hole(value: Any) -> bool:
    if isinstance(value, list | dict):
        return any(_has_hole(part) for part in (value.values() if isinstance(value, dict) else value))
    return value is HOLE


def _sentence(error: ValidationError, name: str, outer_unit: str | None) -> str:
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    unit = schema.get("unit", outer_unit)
    tell = _TOLD.get(str(error.validator))
    said = tell(error.validator_value, error.instance, unit) if tell else error.message[:200]
    return f"{name}{place}={amount(error.instance, unit)} {said}"


def amount(value: Any, unit: str | None) -> str:
    """A value as a person writes it, cut to a readable length, with the unit after a number."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    text = json.dumps(int(value) if whole else value, ensure_ascii=False, default=repr)
    text = text if len(text) <= 60 else text[:59] + "…"
    return f"{text} {unit}" if unit and isinstance(value, int | float) and not isinstance(value, bool) else text


_KINDS = {
    "number": "a number",
    "integer": "a whole number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def kinds(types: str | list[str]) -> str:
    """`a number or a list`."""
    return " or ".join(_KINDS.get(each, each) for each in ([types] if isinstance(types, str) else types))


def _not_of_kind(types: str | list[str], value: Any, unit: str | None) -> str:
    numeric = bool({"number", "integer"} & {*([types] if isinstance(types, str) else types)})
    return f"is not {kinds(types)}" + (f" in {unit}" if unit and numeric else "")


def _none_of(choices: list[Any], value: Any, unit: str | None) -> str:
    words = [each if isinstance(each, str) else amount(each, unit) for each in choices]
    near = did_you_mean(value, words) if isinstance(value, str) else ""
    return f"is none of {listed(words)}" + (f"; {near}" if near.startswith("did") else "")


def _too_few(what: str) -> Callable[[Any, Any, str | None], str]:
    return lambda limit, value, unit: f"has {len(value)} {what}, fewer than {limit}"


def _too_many(what: str) -> Callable[[Any, Any, str | None], str]:
    return lambda limit, value, unit: f"has {len(value)} {what}, more than {limit}"


_TOLD: dict[str, Callable[[Any, Any, str | None], str]] = {
    "type": _not_of_kind,
    "enum": _none_of,
    "const": lambda wanted, value, unit: f"is not {amount(wanted, unit)}",
    "minimum": lambda limit, value, unit: f"is below {amount(limit, unit)}",
    "maximum": lambda limit, value, unit: f"is above {amount(limit, unit)}",
    "exclusiveMinimum": lambda limit, value, unit: f"is not above {amount(limit, unit)}",
    "exclusiveMaximum": lambda limit, value, unit: f"is not below {amount(limit, unit)}",
    "multipleOf": lambda step, value, unit: f"is not a multiple of {amount(step, unit)}",
    "minItems": _too_few("values"),
    "maxItems": _too_many("values"),
    "minLength": _too_few("characters"),
    "maxLength": _too_many("characters"),
    "required": lambda names, value, unit: f"lacks {listed([name for name in names if name not in value])}",
    "pattern": lambda pattern, value, unit: f"does not look like {pattern}",
    "uniqueItems": lambda wanted, value, unit: "has a value twice",
    "anyOf": lambda branches, value, unit: f"is not {' or '.join(_branch(each, unit) for each in branches)}",
}


def _branch(schema: Any, unit: str | None) -> str:
    """One alternative of an `anyOf`, shortly."""
    if not isinstance(schema, Mapping):
        return "what is wanted"
    limits = [
        f"{word} {amount(schema[key], schema.get('unit', unit))}" for key, word in _LIMITS.items() if key in schema
    ]
    return " ".join([kinds(schema["type"]) if "type" in schema else "what is wanted", *limits])


_LIMITS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}
