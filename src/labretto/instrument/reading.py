"""Readings and values with units: what an attribute said, when, and how sure that is.

A `Reading` is one look at one attribute. A `Quantity` is a plain float, and an array a plain array, that remember their
unit on the way from an action's result to a record; arithmetic with them gives plain numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Status = Literal["ok", "stale", "error"]
"""ok: just read. stale: the last one seen, because the driver is busy. error: could not be read, see detail."""


def now() -> datetime:
    """The time, aware, UTC."""
    return datetime.now(UTC)


def isoformat(time: datetime) -> str:
    """`2026-11-21T04:21:35.120345Z`, always with microseconds so that texts sort as times."""
    utc = time if time.tzinfo is UTC else time.astimezone(UTC)
    if utc.microsecond:
        return str(msgspec.to_builtins(utc))  # the same, in a tenth of the time; but it leaves zeros out
    return f"{utc.isoformat(timespec='microseconds')[:26]}Z"


def spoken(time: str) -> str:
    """A time in ISO 8601 for a sentence: `Sun 2026-11-22 02:00:00 CET`, on the clock of this machine."""
    return f"{datetime.fromisoformat(time).astimezone():%a %Y-%m-%d %H:%M:%S %Z}"


@dataclass(frozen=True)
class Reading:
    """One look at one attribute."""

    value: Any
    """What the driver said; None if it said nothing yet."""
    unit: str | None
    """As declared, e.g. "degC"; None for what has no unit."""
    time: datetime
    """When the driver was asked, aware, UTC."""
    status: Status = "ok"
    detail: str | None = None
    """Why the status is not ok."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form that every wire carries."""
        body = {"value": self.value, "unit": self.unit, "time": isoformat(self.time), "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Reading:
        """The reading that `as_dict` wrote."""
        time = datetime.fromisoformat(body["time"])
        return cls(body["value"], body.get("unit"), time, body.get("status", "ok"), body.get("detail"))

    def __str__(self) -> str:
        # An integer is shown whole: the last digits of an encoder's count are not noise.
        value = f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)
        return f"{value}{f' {self.unit}' if self.unit else ''}"

    def __repr__(self) -> str:
        return f"Reading({self}, {self.time:%Y-%m-%d %H:%M:%S}Z, {self.status})"


class Quantity(float):
    """A number that remembers its unit; in every other way a float, and arithmetic gives plain floats."""

    unit: str

    def __new__(cls, value: float, unit: str) -> Quantity:
        """`value` in `unit`."""
        quantity = super().__new__(cls, value)
        quantity.unit = unit
        return quantity

    def __repr__(self) -> str:
        return f"{float(self)!r} {self.unit}"

    def __reduce__(self) -> tuple[type[Quantity], tuple[float, str]]:
        return Quantity, (float(self), self.unit)


def with_units(value: Any, schema: Mapping[str, Any] | None) -> Any:
    """`value` with the units that a JSON schema of ours names at each place; the rest as it was.

    Arrays (numpy) become `labretto.instrument.arrays.UnitArray`, numbers become `Quantity` (integers only where the
    schema says "number": a count stays a count).
    """
    if not isinstance(schema, Mapping):  # none, or `true`, which says nothing
        return value
    if isinstance(value, dict):
        fields, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {key: with_units(item, fields.get(key, others)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return _list_with_units(value, schema)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _array(value, schema)
    return _quantity(value, schema)


def with_dims(value: Any, schema: Mapping[str, Any] | None) -> Any:
    """`value` with the dims and units of its arrays; numbers stay as they are, nothing is copied."""
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, dict):
        fields, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {key: with_dims(item, fields.get(key, others)) for key, item in value.items()}
    if hasattr(value, "dtype") and hasattr(value, "shape") and value.shape != ():
        return _array(value, schema)
    return value


def _list_with_units(value: Sequence[Any], schema: Mapping[str, Any]) -> Any:
    if schema.get("dims"):
        return _array(value, schema)  # an array that came through JSON, or from a host without numpy
    first = schema.get("prefixItems", [])
    rest = schema.get("items")
    return [with_units(item, first[i] if i < len(first) else rest) for i, item in enumerate(value)]


def _array(value: Any, schema: Mapping[str, Any]) -> Any:
    try:
        from labretto.instrument.arrays import UnitArray
    except ImportError:  # an instrument's side without numpy: lists stay lists
        return value
    items = schema.get("items") or {}
    array = UnitArray(value, unit=schema.get("unit") or items.get("unit"), dims=schema.get("dims"))
    return array if array.dtype.kind in "biufc" else value


def _quantity(value: Any, schema: Mapping[str, Any]) -> Any:
    unit = schema.get("unit")
    whole = isinstance(value, int) and not isinstance(value, bool) and schema.get("type") != "integer"
    return Quantity(value, unit) if unit and (whole or isinstance(value, float)) else value
