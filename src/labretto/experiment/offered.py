"""What the instruments of the lab offer, by their descriptions; what they do not offer is noted as a fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from labretto.experiment.faults import Faults, did_you_mean, quoted
from labretto.experiment.model import Call, Read, Write
from labretto.experiment.reference import Where

Descriptions: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Instrument name to its description in JSON form."""


class Offered:
    """Looks instruments, actions and attributes up."""

    def __init__(self, descriptions: Descriptions, faults: Faults) -> None:
        self.descriptions = descriptions
        self.faults = faults

    def action(self, step: Call, path: str) -> Mapping[str, Any] | None:
        """The description of the action that a step calls, or None if there is none, which is noted."""
        return self._offered(step, "actions", step.action, path)

    def attribute(self, step: Read | Write, path: str) -> Mapping[str, Any] | None:
        """The same for an attribute."""
        return self._offered(step, "attributes", step.attribute, path)

    def all(self, instrument: str, kind: str) -> Mapping[str, Any]:
        """All actions, or all attributes, of an instrument."""
        offered: Mapping[str, Any] = self.descriptions.get(instrument, {}).get(kind) or {}
        return offered

    def instrument(self, name: str, where: Where, path: str) -> bool:
        """Whether there is an instrument of this name; if not, that is noted."""
        known = name in self.descriptions
        if not known:
            way_out = did_you_mean(name, self.descriptions) or "this lab has no instruments"
            self.faults.add(f"there is no instrument {quoted(name)}", where, path, way_out)
        return known

    def _offered(self, step: Call | Read | Write, kind: str, name: str, path: str) -> Mapping[str, Any] | None:
        if not self.instrument(step.instrument, step.where, path):
            return None
        offered = self.all(step.instrument, kind)
        if name in offered:
            found: Mapping[str, Any] = offered[name]
            return found
        other = "attributes" if kind == "actions" else "actions"
        singular = kind.removesuffix("s")
        if name in self.all(step.instrument, other):
            words = "`read` or `set`" if other == "attributes" else "`do`"
            way_out = f"it is an {other.removesuffix('s')}: use {words}"
        else:
            way_out = did_you_mean(name, offered) or f"it has no {kind}"
        self.faults.add(f"{step.instrument} has no {singular} {quoted(name)}", step.where, path, way_out)
        return None


def schema_of(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a parameter or an attribute; empty if nothing is known."""
    schema = described.get("schema")
    return schema if isinstance(schema, Mapping) else {}


def result_of(action: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an action's result.

    A streaming action answers the table of all its rows: a list for each field.
    """
    result, stream = action.get("result"), action.get("stream")
    if isinstance(result, Mapping) and result:
        return result
    if not isinstance(stream, Mapping) or not stream:
        return {}
    columns = {
        name: {"type": "array", **({"unit": field["unit"]} if "unit" in field else {})}
        for name, field in stream.items()
    }
    return {"type": "object", "properties": columns}


def in_unit(schema: Mapping[str, Any]) -> str:
    """` (mm)`, or nothing."""
    return f" ({schema['unit']})" if schema.get("unit") else ""
