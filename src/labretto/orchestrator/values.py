"""Values between a step's result, the record and the experiment: units kept, arrays stored once and referred to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.instrument import codec
from labretto.instrument.reading import Quantity


def hand_out(value: Any, stored: Any, schema: Mapping[str, Any] | None) -> Any:
    """A step's result as the experiment gets it: numbers and arrays with units, arrays knowing where they are kept.

    Args:
        value: what the instrument answered, or what the record gave back.
        stored: the form that the journal keeps, of the same structure.
        schema: JSON schema of the result in the action's description.
    """
    schema = schema or {}
    if isinstance(value, Mapping) and not isinstance(stored, Mapping):
        return value
    if isinstance(value, Mapping):
        fields = schema.get("properties", {})
        return {key: hand_out(item, stored.get(key), fields.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(stored, list) and len(value) == len(stored):
        return [hand_out(item, kept, schema.get("items")) for item, kept in zip(value, stored, strict=True)]
    if hasattr(value, "dtype") and getattr(value, "shape", ()) != ():
        return _array(value, stored, schema)
    unit = schema.get("unit")
    return Quantity(value, unit) if unit and _is_measured(value, schema) else value


def _is_measured(value: Any, schema: Mapping[str, Any]) -> bool:
    """A number that has a unit; a driver may well answer 0 where 0.0 is meant, and a count stays a count."""
    whole = isinstance(value, int) and not isinstance(value, bool) and schema.get("type") == "number"
    return isinstance(value, float) or whole


def _array(value: Any, stored: Any, schema: Mapping[str, Any]) -> Any:
    from labretto.instrument.arrays import UnitArray

    source = stored if isinstance(stored, Mapping) and "$array" in stored else None
    unit = schema.get("unit") or schema.get("items", {}).get("unit")
    return UnitArray(value, unit=unit, dims=schema.get("dims"), source=source)


def to_keep(row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A saved row as the record takes it: values (what is stored already as a reference), and a schema of the rest."""
    values = {name: _referred(value) for name, value in row.items()}
    return values, {"type": "object", "properties": {name: _described(value) for name, value in values.items()}}


def _referred(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _referred(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_referred(item) for item in value]
    source = getattr(value, "source", None)
    return dict(source) if source is not None else value


def _described(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"properties": {key: _described(item) for key, item in value.items()}}
    words = {"unit": getattr(value, "unit", None), "dims": getattr(value, "dims", None)}
    return {key: word for key, word in words.items() if word}


def plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they arrive at an instrument: no units, no types of Python's own; arrays stay arrays.

    Raises:
        CannotEncodeError: a value that no wire can carry; nothing was sent.
    """
    sent: dict[str, Any] = codec.settled({str(name): _bare(value) for name, value in parameters.items()})
    return sent


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return float(value) if isinstance(value, Quantity) else value
