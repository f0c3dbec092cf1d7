"""An experiment held against the instruments' descriptions before anything moves: all faults at once.

Names, parameters, values with units and limits, references. Every value of a sweep is put in where it is used; what
only a run can know is judged by the schema of the action that will produce it. How a value is compared with a schema
stands in `values`, what a reference can mean in `scope`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from labretto.experiment.faults import EnoughFaultsError, Faults, did_you_mean, listed, quoted
from labretto.experiment.findings import Finding, Findings, candidates, finding, narrow_if_known
from labretto.experiment.model import Call, Experiment, Fault, Parameter, Read, Save, Step, Sweep, Write
from labretto.experiment.reference import Reference, Value, Where, references
from labretto.experiment.scope import Binding, NothingThereError, Scope, has_result
from labretto.experiment.soe import settle
from labretto.experiment.values import HOLE, amount, differences, kinds

MOST_VALUES_TOLD = 5
"""How many values of one sweep are told for one parameter, before the rest is only counted."""

Descriptions = Mapping[str, Mapping[str, Any]]
"""Instrument name to its description in JSON form."""


def check(experiment: Experiment, parameters: Mapping[str, Any], descriptions: Descriptions) -> list[Fault]:
    """Everything that stands against this experiment with these parameters on these instruments.

    They come in the order of the file; first what has no place there, as a value for a parameter. Decoding `soe` is
    done here.
    """
    checker = _Checker(settle(experiment, descriptions), descriptions)
    with contextlib.suppress(EnoughFaultsError):
        checker.steps(checker.experiment.steps, "steps", checker.parameters(parameters))
    return sorted(checker.faults.found, key=lambda fault: (fault.line or 0, fault.column or 0))


def columns(experiment: Experiment, descriptions: Descriptions) -> dict[str, Mapping[str, Any]]:
    """What is known of each saved column, as a schema with its `unit`; a column of which nothing is known is left out.

    A sweep variable has the unit of the parameter or attribute that it is given to.
    """
    checker = _Checker(settle(experiment, descriptions), descriptions)
    with contextlib.suppress(EnoughFaultsError):
        checker.steps(checker.experiment.steps, "steps", checker.parameters({}))
    return checker.columns


class _Checker:
    """One check: what is known beside the faults found so far."""

    def __init__(self, experiment: Experiment, descriptions: Descriptions) -> None:
        self.experiment = experiment
        self.descriptions = descriptions
        self.faults = Faults()
        self.columns: dict[str, Mapping[str, Any]] = {}
        self.used_as: dict[tuple[str, Where], Mapping[str, Any]] = {}
        """What a sweep variable, told by its name and place, is given to."""

    # What the submitter chose

    def parameters(self, given: Mapping[str, Any]) -> Scope:
        declared = self.experiment.parameters
        for name in given:
            if name not in declared:
                way_out = did_you_mean(name, declared) or "this experiment has no parameters"
                self.faults.add(f"there is no parameter {quoted(name)}", None, f"parameters.{name}", way_out)
        values = self.experiment.values(given)
        return Scope({name: self._parameter(each, values) for name, each in declared.items()})

    def _parameter(self, declared: Parameter, values: Mapping[str, Any]) -> Binding:
        """A parameter whose value is at fault counts as not known: the fault is told once, not at each use."""
        path = f"parameters.{declared.name}"
        value = values.get(declared.name, HOLE)
        try:
            found = differences(value, declared.schema, f"parameter {declared.name}")
        except ValueError as error:
            found = [f"parameter {declared.name}: {error}"]
        if value is HOLE and not found:
            found = [f"parameter {declared.name}{_in_unit(declared.schema)} is missing"]
        for sentence in found:
            self.faults.add(sentence, declared.where, path, "give it a value" if value is HOLE else "")
        known = None if found else (value,)
        return Binding("parameter", declared.where, known, declared.schema)

    # The steps, in order; each leaves its name in the scope of its list

    def steps(self, steps: tuple[Step, ...], path: str, scope: Scope) -> None:
        scope = scope.new_child({})
        for number, step in enumerate(steps):
            schema = self._step(step, f"{path}[{number}]", scope)
            if step.name is not None and has_result(step):
                scope[step.name] = Binding("step", step.where, None, schema)

    def _step(self, step: Step, path: str, scope: Scope) -> Mapping[str, Any]:
        """Check one step; answer what is known of its result."""
        match step:
            case Call():
                return self._call(step, path, scope)
            case Read():
                return _schema(self._attribute(step, path) or {})
            case Write():
                return self._write(step, path, scope)
            case Save():
                for column, value in step.row.items():
                    self._column(column, value, f"{path}.save.{column}", scope)
            case Sweep():
                self._sweep(step, path, scope)
        return {}

    def _column(self, column: str, value: Value, path: str, scope: Scope) -> None:
        findings = self._findings(value, path, scope)
        if isinstance(value, Reference) and value.path in findings:
            used_as = self.used_as.get((value.name, scope[value.name].where), {}) if len(value.path) == 1 else {}
            schema = findings[value.path].schema or used_as
            if schema:
                self.columns.setdefault(column, schema)

    def _call(self, step: Call, path: str, scope: Scope) -> Mapping[str, Any]:
        action = self._offered(step, "actions", step.action, path)
        wanted = action.get("parameters", {}) if action is not None else {}
        label = f"{step.instrument}.{step.action}"
        for name, value in step.parameters.items():
            place, at = step.places.get(name, step.where), f"{path}.with.{name}"
            if name in wanted or action is None:
                schema = _schema(wanted.get(name, {}))
                self._value(value, schema, f"{label}: {name}", place, at, scope)
            else:
                way_out = did_you_mean(name, wanted) or "it takes no parameters"
                self.faults.add(f"{label} has no parameter {quoted(name)}", place, at, way_out)
        for name in wanted:
            if name not in step.parameters and wanted[name].get("required", "default" not in _schema(wanted[name])):
                missing = f"{label}: {name}{_in_unit(_schema(wanted[name]))} is missing"
                self.faults.add(missing, step.where, path, self._add_parameter(step, name))
        return _result(action or {})

    def _add_parameter(self, step: Call, name: str) -> str:
        if self.experiment.format == "soe":
            return f'add it to params: {{"{step.name}": {{"{name}": ...}}}}'
        return f"add `with: {{{name}: ...}}`" if not step.parameters else f"add {name} to `with`"

    def _write(self, step: Write, path: str, scope: Scope) -> Mapping[str, Any]:
        attribute = self._attribute(step, path)
        schema = _schema(attribute or {})
        label = f"{step.instrument}.{step.attribute}"
        if attribute is not None and not attribute.get("writable", False):
            writable = [name for name, each in self._all(step.instrument, "attributes").items() if each.get("writable")]
            way_out = f"can be set: {listed(writable)}" if writable else "none of its attributes can be set"
            self.faults.add(f"{label} can be read but not set", step.where, path, way_out)
            schema = {}
        self._value(step.value, schema, label, step.place or step.where, f"{path}.to", scope)
        return schema

    def _attribute(self, step: Read | Write, path: str) -> Mapping[str, Any] | None:
        return self._offered(step, "attributes", step.attribute, path)

    def _all(self, instrument: str, kind: str) -> Mapping[str, Any]:
        offered: Mapping[str, Any] = self.descriptions.get(instrument, {}).get(kind) or {}
        return offered

    def _offered(self, step: Call | Read | Write, kind: str, name: str, path: str) -> Mapping[str, Any] | None:
        """The description of an action or attribute, or None if there is none, which is noted."""
        if step.instrument not in self.descriptions:
            way_out = did_you_mean(step.instrument, self.descriptions) or "this lab has no instruments"
            self.faults.add(f"there is no instrument {quoted(step.instrument)}", step.where, path, way_out)
            return None
        offered = self._all(step.instrument, kind)
        if name in offered:
            found: Mapping[str, Any] = offered[name]
            return found
        other = "attributes" if kind == "actions" else "actions"
        singular = kind.removesuffix("s")
        if name in self._all(step.instrument, other):
            words = "`read` or `set`" if other == "attributes" else "`do`"
            way_out = f"it is an {other.removesuffix('s')}: use {words}"
        else:
            way_out = did_you_mean(name, offered) or f"it has no {kind}"
        self.faults.add(f"{step.instrument} has no {singular} {quoted(name)}", step.where, path, way_out)
        return None

    # Sweeps

    def _sweep(self, step: Sweep, path: str, scope: Scope) -> None:
        lists = {name: self._list(step, name, values, path, scope) for name, values in step.variables.items()}
        lengths = {name: len(values) for name, values in lists.items() if name in step.zipped and values is not None}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            where = step.places.get(next(iter(lengths)), step.where)
            self.faults.add(f"the lists of `zip` differ in length: {told}", where, path, "make them equally long")
        bound = {
            name: Binding("variable", step.places.get(name, step.where), lists[name], self._item_schema(values, scope))
            for name, values in step.variables.items()
        }
        self.steps(step.steps, f"{path}.steps", scope.new_child(bound))

    def _list(self, step: Sweep, name: str, values: Value, path: str, scope: Scope) -> tuple[Any, ...] | None:
        """The values of a variable, or None if they cannot be known, which is noted."""
        where, at = step.places.get(name, step.where), f"{path}.{'zip' if name in step.zipped else 'sweep'}.{name}"
        if not isinstance(values, Reference):
            if isinstance(values, list) and not any(references(values)):
                return tuple(values)
            self.faults.add(
                f"the list of {name} contains a reference",
                where,
                at,
                "refer to a parameter that is a list",
            )
            return None
        found = self._found(values, at, scope)
        if found is None:
            return None
        if found.kind != "parameter":
            way_out = "the length of a sweep must be known before the run: use a list or a parameter"
            self.faults.add(f"the list of {name} comes from {values}, which is not a parameter", where, at, way_out)
            return None
        return self._chosen_list(name, found, values, where, at)

    def _chosen_list(
        self, name: str, found: Finding, values: Reference, where: Where, path: str
    ) -> tuple[Any, ...] | None:
        """The list that a parameter gives, if the parameter is not at fault itself."""
        if found.values is None:
            return None
        (chosen,) = found.values
        if isinstance(chosen, list | tuple) and chosen:
            return tuple(chosen)
        wrong = "empty" if isinstance(chosen, list | tuple) else f"{amount(chosen, None)}, not a list"
        self.faults.add(f"the list of {name}, {values}, is {wrong}", where, path, "give the parameter a list of values")
        return None

    def _item_schema(self, values: Value, scope: Scope) -> Mapping[str, Any]:
        if isinstance(values, Reference) and values.name in scope:
            item = Reference((*values.path, "0"), values.where)
            return narrow_if_known(scope[values.name].schema, item)
        return {}

    # Values

    def _value(
        self, value: Value, schema: Mapping[str, Any], label: str, where: Where, path: str, scope: Scope
    ) -> None:
        """Hold a value against a schema, once for each value that the sweep variables in it can take."""
        findings = self._findings(value, path, scope)
        if isinstance(value, Reference) and value.path in findings and len(value.path) == 1:
            self.used_as.setdefault((value.name, scope[value.name].where), schema)
        try:
            self._each_candidate(value, findings, schema, label, where, path)
        except ValueError as error:
            self.faults.add(f"{label}: {error}", where, path, "the instrument's description is at fault")
        self._kind_of_result(value, findings, schema, label, where, path)

    def _each_candidate(
        self, value: Value, findings: Findings, schema: Mapping[str, Any], label: str, where: Where, path: str
    ) -> None:
        told = 0
        for candidate, origin in candidates(value, findings):
            found = differences(candidate, schema, label)
            if found and told < MOST_VALUES_TOLD:
                self.faults.add(found[0] + origin, where, path) if origin else self._tell(found, where, path)
            told += bool(found)
        if told > MOST_VALUES_TOLD:
            self.faults.add(f"{label}: {told - MOST_VALUES_TOLD} more values of the sweep do not fit", where, path)

    def _tell(self, sentences: list[str], where: Where, path: str) -> None:
        for sentence in sentences:
            self.faults.add(sentence, where, path)

    def _kind_of_result(
        self, value: Value, findings: Findings, schema: Mapping[str, Any], label: str, where: Where, path: str
    ) -> None:
        """A result whose type is known and can never be what is wanted."""
        found = findings.get(value.path) if isinstance(value, Reference) else None
        if found is None or found.values is not None:
            return
        known, wanted = found.schema.get("type"), schema.get("type")
        if not isinstance(known, str) or not isinstance(wanted, str):
            return
        if known != wanted and {known, wanted} != {"integer", "number"}:
            self.faults.add(f"{label}={value} is not {kinds(wanted)} but {kinds(known)}", where, path)

    def _findings(self, value: Value, path: str, scope: Scope) -> Findings:
        """What each reference in a value stands for; those that lead nowhere are noted and left out."""
        found = {reference.path: self._found(reference, path, scope) for reference in references(value)}
        return {key: finding for key, finding in found.items() if finding is not None}

    def _found(self, reference: Reference, path: str, scope: Scope) -> Finding | None:
        try:
            return finding(reference, scope, self.experiment.steps)
        except NothingThereError as error:
            self.faults.add(f"{reference}: {error.detail}", reference.where, path, error.way_out)
            return None


def _schema(described: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = described.get("schema")
    return schema if isinstance(schema, Mapping) else {}


def _result(action: Mapping[str, Any]) -> Mapping[str, Any]:
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


def _in_unit(schema: Mapping[str, Any]) -> str:
    return f" ({schema['unit']})" if schema.get("unit") else ""
