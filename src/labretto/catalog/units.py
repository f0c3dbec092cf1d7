"""What a JSON schema says of a value's unit and dimensions, followed member by member.

The keys are "unit" and "dims"; an array without "unit" has that of its items. Values are not checked here: that was
done before anything moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_DIMS = {1: ["point"], 2: ["y", "x"], 3: ["z", "y", "x"]}


def default_dims(ndim: int) -> list[str]:
    """Names of the dimensions of an array whose schema names none."""
    return _DIMS.get(ndim) or [f"axis_{i}" for i in range(ndim)]


@dataclass(frozen=True, slots=True)
class Described:
    """One place in a schema; `schema` is empty where nothing is said."""

    schema: Mapping[str, Any] = field(default_factory=dict)
    root: Mapping[str, Any] = field(default_factory=dict)
    """The whole schema, in which "$ref" is looked up."""

    @property
    def unit(self) -> str | None:
        """The unit here or, for an array, of its items."""
        place: Described = self
        while place.schema:
            if isinstance(unit := place.schema.get("unit"), str):
                return unit
            place = place.item(0)
        return None

    @property
    def dims(self) -> list[str] | None:
        """Names of an array's dimensions, outermost first."""
        dims = self.schema.get("dims")
        return [str(dim) for dim in dims] if isinstance(dims, list | tuple) else None

    def of_array(self, ndim: int) -> dict[str, Any]:
        """The members "unit" and "dims" of a reference to an array of `ndim` dimensions."""
        dims = self.dims
        said = {"dims": dims if dims is not None and len(dims) == ndim else default_dims(ndim)}
        return said if self.unit is None else {"unit": self.unit} | said

    def member(self, name: str) -> Described:
        """The place of an object's member."""
        if not self.schema:
            return NOTHING_SAID
        properties = self.schema.get("properties")
        found = properties.get(name) if isinstance(properties, Mapping) else None
        return self._at(self.schema.get("additionalProperties") if found is None else found)

    def item(self, index: int) -> Described:
        """The place of an array's element."""
        if not self.schema:
            return NOTHING_SAID
        prefix = self.schema.get("prefixItems")
        if isinstance(prefix, list) and index < len(prefix):
            return self._at(prefix[index])
        return self._at(self.schema.get("items"))

    def _at(self, schema: Any) -> Described:
        return Described(_resolved(schema, self.root), self.root) if isinstance(schema, Mapping) else NOTHING_SAID


def described(schema: Mapping[str, Any] | None) -> Described:
    """The first place of `schema`; None says nothing."""
    return Described(_resolved(schema, schema), schema) if schema else NOTHING_SAID


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    if depth > 20:  # a schema that refers to itself says nothing of units
        return {}
    if isinstance(pointer := schema.get("$ref"), str):
        definition = root.get("$defs", {}).get(pointer.rpartition("/")[2])
        if isinstance(definition, Mapping):
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return {**_resolved(definition, root, depth + 1), **beside}
    for option in schema.get("anyOf", ()) if "type" not in schema else ():
        if isinstance(option, Mapping) and option.get("type") != "null":  # Optional[...]: the other one
            beside = {key: value for key, value in schema.items() if key != "anyOf"}
            return {**_resolved(option, root, depth + 1), **beside}
    return schema


NOTHING_SAID = Described()
