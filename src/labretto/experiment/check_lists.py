"""The lists that loops go through, as far as they are known before the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.experiment.findings import Finding, narrow_if_known
from labretto.experiment.fitting import Fitting
from labretto.experiment.model import ForEach, Sweep
from labretto.experiment.reference import Reference, Value, Where, references
from labretto.experiment.scope import Scope
from labretto.experiment.values import amount, kinds


def swept(step: Sweep, name: str, path: str, scope: Scope, fit: Fitting) -> tuple[Any, ...] | None:
    """The values of a variable of a sweep, or None if they cannot be known, which is noted."""
    values, where = step.variables[name], step.places.get(name, step.where)
    at = f"{path}.{'zip' if name in step.zipped else 'sweep'}.{name}"
    if not isinstance(values, Reference):
        if isinstance(values, list) and not any(references(values)):
            return tuple(values)
        way_out = "refer to a parameter that is a list, or use `for each`"
        fit.faults.add(f"the list of {name} contains a reference", where, at, way_out)
        return None
    found = fit.found(values, at, scope)
    if found is None:
        return None
    if found.kind == "step":
        way_out = "the length of a sweep must be known before the run: use a parameter, or `for each`"
        fit.faults.add(f"the list of {name} comes from {values}, which is not a parameter", where, at, way_out)
        return None
    return _chosen(name, found, values, where, at, fit)


def _chosen(
    name: str, found: Finding, values: Reference, where: Where, path: str, fit: Fitting
) -> tuple[Any, ...] | None:
    """The list that a parameter gives, if the parameter is not at fault itself."""
    if found.values is None:
        return None
    for chosen in found.values:
        if not isinstance(chosen, list | tuple) or not chosen:
            wrong = "empty" if isinstance(chosen, list | tuple) else f"{amount(chosen, None)}, not a list"
            way_out = "give the parameter a list of values"
            fit.faults.add(f"the list of {name}, {values}, is {wrong}", where, path, way_out)
            return None
    return tuple(value for chosen in found.values for value in chosen)


def gone_through(step: ForEach, path: str, scope: Scope, fit: Fitting) -> tuple[Any, ...] | None:
    """The values of a `for each`; None if only the run knows them."""
    at = f"{path}.for each.{step.variable}"
    if isinstance(step.values, Reference):
        found = fit.found(step.values, at, scope)
        if found is None:
            return None
        _refuse_no_list(step, step.values, found, at, fit)
        return _chosen(step.variable, found, step.values, step.place, at, fit)
    if any(references(step.values)):
        fit.value(step.values, {}, step.variable, step.place, at, scope)
        return None
    return tuple(step.values) if isinstance(step.values, list) else None


def _refuse_no_list(step: ForEach, values: Reference, found: Finding, path: str, fit: Fitting) -> None:
    if found.absent:
        fit.absent(values, found, path)
    kind = found.schema.get("type")
    if found.values is None and isinstance(kind, str) and kind != "array":
        fit.faults.add(f"`for each` wants a list; {values} is {kinds(kind)}", step.place, path)


def item_schema(values: Value, scope: Scope) -> Mapping[str, Any]:
    """What is known of each value of a list."""
    if isinstance(values, Reference) and values.name in scope:
        item = Reference((*values.path, "0"), values.where)
        return narrow_if_known(scope[values.name].schema, item)
    return {}
