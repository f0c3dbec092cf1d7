"""A description's schemas and our readings in the words of Bluesky's event model. Pure.

A *data key* says what one number of an event is: `source`, `dtype`, `shape`, `units`, and `dims` of an array. The
schema says what is known before anything was read; a value, where there is one, says the rest (an array's shape).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from labretto.errors import DriverError
from labretto.instrument.reading import Reading

DataKey = dict[str, Any]
Readings = dict[str, dict[str, Any]]

_DTYPES = {"number": "number", "integer": "integer", "string": "string", "boolean": "boolean", "array": "array"}
_STALE, _OK = 1, 0


def data_key(schema: Mapping[str, Any], source: str, value: Any = None) -> DataKey:
    """What one value of an event is.

    Args:
        schema: of the value; `{}` says nothing.
        source: where it comes from, such as "http://127.0.0.1:5001/attributes/x".
        value: one that was seen.
    """
    said = _only_type(schema)
    key = {"source": source, "dtype": _dtype(said, value), "shape": _shape(said, value)}
    unit = said.get("unit") or _mapping(said.get("items")).get("unit")
    key |= {"units": unit} if unit else {}
    if key["shape"] and (dims := said.get("dims")) and len(dims) == len(key["shape"]):
        key["dims"] = [str(dim) for dim in dims]
    low, high = (said.get("minimum"), said.get("maximum"))
    return key | ({"limits": {"control": {"low": low, "high": high}}} if low is not None or high is not None else {})


def reading_of(reading: Reading, place: str) -> dict[str, Any]:
    """A reading in Bluesky's form.

    Raises:
        DriverError: it could not be read; None in its place would be taken for data.
    """
    if reading.status == "error":
        raise DriverError(
            f"{place} cannot be read: {reading.detail or 'its driver raised'}.",
            way_out="Mend it, or leave it out: device(..., read=[...]).",
        )
    said = {"value": reading.value, "timestamp": reading.time.timestamp()}
    severity = _STALE if reading.status == "stale" else _OK
    return said | {"alarm_severity": severity} | ({"message": reading.detail} if reading.detail else {})


def reading_at(value: Any, time: datetime) -> dict[str, Any]:
    """A value that was known at `time`."""
    return {"value": value, "timestamp": time.timestamp()}


def results_of(name: str, schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Data key → schema of what an action answers: one of its own, or one for each field of an object."""
    said = _only_type(schema)
    if said.get("type") == "null":
        return {}
    fields = _mapping(said.get("properties"))
    return {f"{name}-{clean(field)}": each for field, each in fields.items()} if fields else {name: said}


def result_values(name: str, result: Any) -> dict[str, Any]:
    """The same for a result: data key → value."""
    if result is None:
        return {}
    if isinstance(result, Mapping):
        return {f"{name}-{clean(str(field))}": value for field, value in result.items()}
    return {name: result}


def clean(name: str) -> str:
    """`name` without what the event model does not take in a key."""
    return name.replace(".", "_").replace("/", "_")


def _only_type(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema, or of a choice with null (`float | None`) the other one."""
    options = [each for each in schema.get("anyOf", ()) if _mapping(each).get("type") != "null"]
    return {**options[0], **{k: v for k, v in schema.items() if k != "anyOf"}} if len(options) == 1 else schema


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _dtype(schema: Mapping[str, Any], value: Any) -> str:
    if isinstance(value, list | tuple) or len(getattr(value, "shape", ())) > 0:
        return "array"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float) and schema.get("type") not in ("number", "integer"):
        return "integer" if isinstance(value, int) else "number"
    if schema.get("dims"):
        return "array"
    return _DTYPES.get(str(schema.get("type")), "string")


def _shape(schema: Mapping[str, Any], value: Any) -> list[int | None]:
    if (shape := getattr(value, "shape", None)) is not None:
        return [int(size) for size in shape]
    if isinstance(value, list | tuple):
        return [len(value)]
    if dims := schema.get("dims"):
        return [None] * len(dims)
    return [None] if schema.get("type") == "array" and value is None else []
