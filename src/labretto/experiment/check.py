"""An experiment held against the instruments' descriptions before anything moves: all faults at once.

Names, parameters, values with units and limits, references, conditions, calls of experiments within the experiment.
Here is which step knows which names; how values are judged stands in `fitting`, conditions in `check_conditions`, what
instruments offer in `offered`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labretto.experiment.check_conditions import check_condition, where_it_holds
from labretto.experiment.check_lists import gone_through, item_schema, swept
from labretto.experiment.faults import EnoughFaultsError, Faults, did_you_mean, listed, quoted
from labretto.experiment.findings import candidates
from labretto.experiment.fitting import Fitting
from labretto.experiment.model import (
    Ask,
    Block,
    Call,
    Experiment,
    Fault,
    ForEach,
    Parallel,
    Parameter,
    Read,
    Repeat,
    Save,
    Step,
    SubExperiment,
    Sweep,
    Wait,
    Within,
    Write,
)
from labretto.experiment.offered import Descriptions, Offered, in_unit, result_of, schema_of
from labretto.experiment.placing import in_their_files
from labretto.experiment.policy import PLAIN
from labretto.experiment.reference import Reference, Value, Where, references
from labretto.experiment.scope import Binding, Scope, has_result, open_lists
from labretto.experiment.soe import settle
from labretto.experiment.turns import MOST_TURNS
from labretto.experiment.values import HOLE, differences

MOST_STEPS = 100_000
"""Steps that one check looks at; experiments that call experiments that call experiments can be very many."""


def check(experiment: Experiment, parameters: Mapping[str, Any], descriptions: Descriptions) -> list[Fault]:
    """Everything that stands against this experiment with these parameters on these instruments.

    They come in the order of the file; first what has no place there, as a value for a parameter. Decoding `soe` is
    done here.
    """
    known = _checked(experiment, parameters, descriptions)
    found = sorted(known.faults.found, key=lambda fault: (fault.line or 0, fault.column or 0))
    return in_their_files(found, experiment.source)


def columns(experiment: Experiment, descriptions: Descriptions) -> dict[str, Mapping[str, Any]]:
    """What is known of each saved column, as a schema with its `unit`; a column of which nothing is known is left out.

    A sweep variable has the unit of the parameter or attribute that it is given to.
    """
    return _checked(experiment, {}, descriptions).columns


@dataclass
class _Known:
    """What one check knows and has found; shared by the experiment and those within it."""

    experiments: Mapping[str, SubExperiment]
    descriptions: Descriptions
    soe: bool
    faults: Faults = field(default_factory=Faults)
    columns: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    called: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Result schemas of calls that were looked at, by what they were called with."""
    steps: int = 0


def _checked(experiment: Experiment, parameters: Mapping[str, Any], descriptions: Descriptions) -> _Known:
    experiment = settle(experiment, descriptions)
    known = _Known(experiment.experiments, descriptions, experiment.format == "soe")
    with contextlib.suppress(EnoughFaultsError):
        checker = _Checker(known, experiment.steps)
        scope = checker.chosen(experiment, parameters)
        checker.steps(experiment.steps, "steps", scope)
        checker.steps(experiment.clean_up, "finally", scope)
        _check_uncalled(known)
    return known


def _check_uncalled(known: _Known) -> None:
    """Experiments that nobody calls are looked at too, with parameters of which nothing but the kind is known."""
    for name, part in known.experiments.items():
        if not any(called == name for called, _ in known.called):
            scope = Scope({each.name: Binding("parameter", each.where, None, each.schema) for each in _declared(part)})
            _check_part(part, scope, known)


def _declared(part: SubExperiment) -> Sequence[Parameter]:
    return tuple(part.parameters.values())


def _check_part(part: SubExperiment, scope: Scope, known: _Known) -> Mapping[str, Any]:
    """The body of an experiment within; answers the schema of its result."""
    path = f"experiments.{part.name}"
    checker = _Checker(known, part.steps)
    given = checker.steps(part.steps, f"{path}.steps", scope)
    checker.steps(part.clean_up, f"{path}.finally", scope)
    if not part.result:
        return {"type": "null"}
    inner = scope.new_child(given)
    found = {name: checker.kept(value, f"{path}.result.{name}", inner) for name, value in part.result.items()}
    return {"type": "object", "properties": found, "additionalProperties": False}


class _Checker:
    """One list of steps after the other, with the names that are known there."""

    def __init__(self, known: _Known, steps: Sequence[Step]) -> None:
        self.known = known
        self.faults = known.faults
        self.offered = Offered(known.descriptions, known.faults)
        self.fit = Fitting(known.faults, steps)

    # What the submitter chose

    def chosen(self, experiment: Experiment, given: Mapping[str, Any]) -> Scope:
        declared = experiment.parameters
        for name in given:
            if name not in declared:
                way_out = did_you_mean(name, declared) or "this experiment has no parameters"
                self.faults.add(f"there is no parameter {quoted(name)}", None, f"parameters.{name}", way_out)
        values = experiment.values(given)
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
            found = [f"parameter {declared.name}{in_unit(declared.schema)} is missing"]
        for sentence in found:
            self.faults.add(sentence, declared.where, path, "give it a value" if value is HOLE else "")
        known = None if found else (value,)
        return Binding("parameter", declared.where, known, declared.schema)

    # Lists of steps, in order; each step leaves its names for those after it

    def steps(self, steps: Sequence[Step], path: str, scope: Scope) -> dict[str, Binding]:
        """Check one list; answer the names that are given in it."""
        given: dict[str, Binding] = {}
        scope = scope.new_child(given)
        for number, step in enumerate(steps):
            self.known.steps += 1
            if self.known.steps > MOST_STEPS:
                self.faults.add(f"there are more than {MOST_STEPS} steps to look at", step.where, path, "split it")
                raise EnoughFaultsError
            scope.update(self._step(step, f"{path}[{number}]", scope))
        return given

    def _step(self, step: Step, path: str, scope: Scope) -> dict[str, Binding]:
        check_condition(step.when, f"{path}.when", scope, self.fit)
        inner = where_it_holds(step.when, scope)
        match step:
            case Block() | Parallel() | Sweep() | ForEach() | Repeat():
                given = self._block(step, path, inner, scope)
                self.steps(step.clean_up, f"{path}.finally", scope)
                return given if open_lists(step) else {}
        schema = self._alone(step, path, inner)
        if step.name is None or not has_result(step):
            return {}
        return {step.name: Binding("step", step.where, None, schema, absent=_why_absent(step))}

    def _block(
        self, step: Block | Parallel | Sweep | ForEach | Repeat, path: str, inner: Scope, scope: Scope
    ) -> dict[str, Binding]:
        """The inner lists of a block; answers the names given in them."""
        match step:
            case Block():
                self.steps(step.otherwise, f"{path}.else", scope)
                return self.steps(step.steps, f"{path}.steps", inner)
            case Parallel():
                branches = (self.steps(each, f"{path}.parallel.{name}", inner) for name, each in step.branches.items())
                return {name: binding for branch in branches for name, binding in branch.items()}
            case Sweep():
                self._sweep(step, path, inner)
            case ForEach():
                self._for_each(step, path, inner)
            case Repeat():
                self._repeat(step, path, inner)
        return {}

    def _alone(self, step: Step, path: str, scope: Scope) -> Mapping[str, Any]:
        """Check one step that holds no others; answer what is known of its result."""
        match step:
            case Call():
                return self._call(step, path, scope)
            case Read():
                return schema_of(self.offered.attribute(step, path) or {})
            case Write():
                return self._write(step, path, scope)
            case Ask():
                return self._ask(step, path, scope)
            case Within():
                return self._within(step, path, scope)
            case Save():
                for column, value in step.row.items():
                    schema = self.kept(value, f"{path}.save.{column}", scope)
                    if schema:
                        self.known.columns.setdefault(column, schema)
            case Wait(seconds, where, place=place):
                wanted = {"type": "number", "minimum": 0, "unit": "s"}
                self.fit.value(seconds, wanted, "wait", place or where, f"{path}.wait", scope)
        return {}

    def kept(self, value: Value, path: str, scope: Scope) -> Mapping[str, Any]:
        """A value that is put away as it is; answers what is known of it."""
        findings = self.fit.shown(value, path, scope)
        if not isinstance(value, Reference) or value.path not in findings:
            return {}
        alone = len(value.path) == 1
        used_as = self.fit.used_as.get((value.name, scope[value.name].where), {}) if alone else {}
        return findings[value.path].schema or used_as

    # Instruments

    def _call(self, step: Call, path: str, scope: Scope) -> Mapping[str, Any]:
        action = self.offered.action(step, path)
        wanted = action.get("parameters", {}) if action is not None else {}
        label = f"{step.instrument}.{step.action}"
        for name, value in step.parameters.items():
            place, at = step.places.get(name, step.where), f"{path}.with.{name}"
            if name in wanted or action is None:
                schema = schema_of(wanted.get(name, {}))
                self.fit.value(value, schema, f"{label}: {name}", place, at, scope)
            else:
                way_out = did_you_mean(name, wanted) or "it takes no parameters"
                self.faults.add(f"{label} has no parameter {quoted(name)}", place, at, way_out)
        for name in wanted:
            if name not in step.parameters and wanted[name].get("required", "default" not in schema_of(wanted[name])):
                missing = f"{label}: {name}{in_unit(schema_of(wanted[name]))} is missing"
                self.faults.add(missing, step.where, path, self._add_parameter(step, name))
        return result_of(action or {})

    def _add_parameter(self, step: Call | Within, name: str) -> str:
        if self.known.soe:
            return f'add it to params: {{"{step.name}": {{"{name}": ...}}}}'
        return f"add `with: {{{name}: ...}}`" if not step.parameters else f"add {name} to `with`"

    def _write(self, step: Write, path: str, scope: Scope) -> Mapping[str, Any]:
        attribute = self.offered.attribute(step, path)
        schema = schema_of(attribute or {})
        label = f"{step.instrument}.{step.attribute}"
        if attribute is not None and not attribute.get("writable", False):
            every = self.offered.all(step.instrument, "attributes")
            writable = [name for name, each in every.items() if each.get("writable")]
            way_out = f"can be set: {listed(writable)}" if writable else "none of its attributes can be set"
            self.faults.add(f"{label} can be read but not set", step.where, path, way_out)
            schema = {}
        self.fit.value(step.value, schema, label, step.place or step.where, f"{path}.to", scope)
        return schema

    # People

    def _ask(self, step: Ask, path: str, scope: Scope) -> Mapping[str, Any]:
        question = step.question
        for name, value in step.show.items():
            self.fit.shown(value, f"{path}.show.{name}", scope)
        for name in question.release if isinstance(question.release, tuple) else ():
            self.offered.instrument(name, step.places.get("release", step.where), f"{path}.release")
        for name, schema in question.fields.items():
            self._field(name, schema, step.places.get("fields", step.where), f"{path}.fields.{name}")
        if question.late == "default" and question.schema is not None:
            with contextlib.suppress(ValueError):  # told at the field
                for sentence in differences(question.default, question.schema, "default"):
                    self.faults.add(sentence, step.places.get("default", step.where), f"{path}.default")
        return question.schema or {}

    def _field(self, name: str, schema: Mapping[str, Any], where: Where, path: str) -> None:
        try:
            for sentence in differences(schema.get("default", HOLE), schema, f"{name}.default"):
                self.faults.add(sentence, where, path)
        except ValueError as error:
            self.faults.add(f"the field {name}: {error}", where, path)

    # Experiments within

    def _within(self, step: Within, path: str, scope: Scope) -> Mapping[str, Any]:
        called = self.known.experiments[step.experiment]
        for name in step.parameters:
            if name not in called.parameters:
                way_out = did_you_mean(name, called.parameters) or "it takes no parameters"
                place = step.places.get(name, step.where)
                self.faults.add(f"{called.name} has no parameter {quoted(name)}", place, f"{path}.with.{name}", way_out)
        inner = Scope({each.name: self._argument(step, each, path, scope) for each in called.parameters.values()})
        key = (step.experiment, repr({name: (each.values, each.schema) for name, each in inner.items()}))
        if key not in self.known.called:
            self.known.called[key] = {}
            self.known.called[key] = _check_part(called, inner, self.known)
        return self.known.called[key]

    def _argument(self, step: Within, wanted: Parameter, path: str, scope: Scope) -> Binding:
        """A parameter of an experiment within, with what it is called with."""
        if wanted.name not in step.parameters:
            if wanted.required:
                missing = f"{step.experiment}: {wanted.name}{in_unit(wanted.schema)} is missing"
                self.faults.add(missing, step.where, path, self._add_parameter(step, wanted.name))
            return Binding("parameter", wanted.where, None if wanted.required else (wanted.default,), wanted.schema)
        value, place = step.parameters[wanted.name], step.places.get(wanted.name, step.where)
        label = f"{step.experiment}: {wanted.name}"
        before = len(self.faults.found)
        findings = self.fit.value(value, wanted.schema, label, place, f"{path}.with.{wanted.name}", scope)
        sure = len(self.faults.found) == before and len(findings) == len({each.path for each in references(value)})
        if not sure or any(each.values is None for each in findings.values()):
            own = findings[value.path].schema if isinstance(value, Reference) and value.path in findings else {}
            return Binding("parameter", wanted.where, None, wanted.schema or own)
        values = tuple(candidate for candidate, _ in candidates(value, findings))
        several = any(each.kind == "variable" for each in findings.values())
        return Binding("variable" if several else "parameter", wanted.where, values, wanted.schema)

    # Loops

    def _sweep(self, step: Sweep, path: str, scope: Scope) -> None:
        lists = {name: swept(step, name, path, scope, self.fit) for name in step.variables}
        lengths = {name: len(values) for name, values in lists.items() if name in step.zipped and values is not None}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            where = step.places.get(next(iter(lengths)), step.where)
            self.faults.add(f"the lists of `zip` differ in length: {told}", where, path, "make them equally long")
        bound = {
            name: Binding("variable", step.places.get(name, step.where), lists[name], item_schema(values, scope))
            for name, values in step.variables.items()
        }
        self.steps(step.steps, f"{path}.steps", scope.new_child(bound))

    def _for_each(self, step: ForEach, path: str, scope: Scope) -> None:
        """Like a sweep over one variable, but the list may be, or contain, what only the run knows."""
        known = gone_through(step, path, scope, self.fit)
        bound = Binding("variable", step.place, known, item_schema(step.values, scope))
        self.steps(step.steps, f"{path}.steps", scope.new_child({step.variable: bound}))

    def _repeat(self, step: Repeat, path: str, scope: Scope) -> None:
        wanted = {"type": "integer", "minimum": 0, "maximum": MOST_TURNS}
        self.fit.value(step.times, wanted, "repeat", step.place or step.where, f"{path}.repeat", scope)
        given = self.steps(step.steps, f"{path}.steps", scope)
        check_condition(step.until, f"{path}.until", scope.new_child(given), self.fit)


def _why_absent(step: Step) -> str:
    """Why a step may leave nothing behind; empty if it always leaves its result."""
    if step.when is not None:
        return f"line {step.where.line} is passed over if its `when` does not hold"
    policy = getattr(step, "policy", PLAIN)
    if "go on" in (policy.on_failure, getattr(step, "on_failure", "fail")):
        return f"line {step.where.line} may fail, and its failure is passed over"
    return ""
