"""What an instrument's description does not say, and will be missed at night: units, effects, a way to stop it.

Pure: a description in, findings out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from labretto.instrument.describe import Action, Description
from labretto.network.doctor.finding import Finding, note, ok
from labretto.network.doctor.units import odd

Schema = Mapping[str, Any]


def check_description(description: Description, undeclared: Collection[str]) -> Iterator[Finding]:
    """Everything that a description tells.

    Args:
        description: of one instrument.
        undeclared: its actions whose effect nobody declared.
    """
    name = description.name
    yield from check_units(description)
    if undeclared:
        detail = f"Nobody declared an effect for {_listed(sorted(undeclared))}: they count as once."
        way_out = f"Declare it with @effect or in [instruments.{name}.effects], else a run asks after a crash."
        yield note(f"{name}.effects", detail, way_out)
    if not description.stop:
        detail = f"{description.title} has no stop(): the stop button cannot reach it."
        yield note(
            f"{name}.stop", detail, "Give the driver a stop(), or say safe values in lab.toml; else pull a plug."
        )


def check_units(description: Description) -> Iterator[Finding]:
    """Units that are odd, and numbers without one."""
    name, places = description.name, list(_numbers(description))
    strange = [f"{place}: {words}" for place, unit in places if unit is not None and (words := odd(unit))]
    for words in strange:
        yield note(f"{name}.units", f"The unit of {words}.", "Correct it where it is declared.")
    bare = [place for place, unit in places if unit is None]
    if bare:
        way_out = f'Add Unit("mm") to its annotation, or a line in [instruments.{name}.units]; "1" for a pure number.'
        yield note(f"{name}.units", f"{_listed(bare)} {'has' if len(bare) == 1 else 'have'} no unit.", way_out)
    if not strange and not bare:
        yield ok(f"{name}.units", f"Every number has a known unit ({len(places)} looked at).")


def _numbers(description: Description) -> Iterator[tuple[str, Any]]:
    """Place and unit (None: none) of every number that an instrument takes or gives."""
    for attribute in description.attributes.values():
        yield from _units(attribute.schema, attribute.name)
    for action in description.actions.values():
        yield from _units_of_action(action)


def _units_of_action(action: Action) -> Iterator[tuple[str, Any]]:
    for name, parameter in action.parameters.items():
        yield from _units(parameter.schema, f"{action.name}({name})")
    if action.stream is None:
        yield from _units(action.result, f"{action.name}'s result")
    for column, schema in (action.stream or {}).items():
        yield from _units(schema, f"{action.name}'s {column}")


def _units(schema: Schema, place: str) -> Iterator[tuple[str, Any]]:
    """Whether a place holds a number, looked for in members, items and alternatives.

    A choice of values is none, and an integer without a unit is a count.
    """
    root = schema.get("$defs", {})

    def look(schema: Schema, place: str, unit: Any, depth: int) -> Iterator[tuple[str, Any]]:
        if depth > 8 or "enum" in schema or "const" in schema:
            return
        unit = schema.get("unit", unit)
        if pointer := schema.get("$ref"):
            yield from look(root.get(str(pointer).rpartition("/")[2], {}), place, unit, depth + 1)
        if schema.get("type") == "number" or "unit" in schema:
            yield place, unit
            return
        for member, inner in schema.get("properties", {}).items():
            yield from look(inner, f"{place}.{member}", unit, depth + 1)
        for inner in _alternatives(schema):
            found = list(look(inner, place, unit, depth + 1))
            yield from found
            if found:
                return

    yield from look(schema, place, None, 0)


def _alternatives(schema: Schema) -> list[Schema]:
    items = schema.get("items")
    several = [*schema.get("anyOf", ()), *schema.get("prefixItems", ()), items]
    return [each for each in several if isinstance(each, Mapping)]


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
