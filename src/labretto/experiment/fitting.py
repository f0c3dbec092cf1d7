"""Values of an experiment held against schemas, with what is known before the run put in for their references.

Every value of a loop variable is put in where it is used; what only the run can know is judged by the schema of the
step that will produce it. How a value is compared with a schema stands in `values`, what a reference means in `scope`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labretto.experiment.faults import Faults
from labretto.experiment.findings import Finding, Findings, candidates, finding
from labretto.experiment.model import Step
from labretto.experiment.reference import Reference, Value, Where, references
from labretto.experiment.scope import NothingThereError, Scope
from labretto.experiment.values import differences, kinds

MOST_VALUES_TOLD = 5
"""How many values of one sweep are told for one parameter, before the rest is only counted."""


class Fitting:
    """Holds values against schemas in one experiment, and notes what does not fit.

    Args:
        faults: where it is noted.
        steps: of the experiment, to say what a name that is not known would have been.
    """

    def __init__(self, faults: Faults, steps: Sequence[Step]) -> None:
        self.faults = faults
        self.steps = steps
        self.used_as: dict[tuple[str, Where], Mapping[str, Any]] = {}
        """What a loop variable, told by its name and place, is given to."""

    def value(
        self, value: Value, schema: Mapping[str, Any], label: str, where: Where, path: str, scope: Scope
    ) -> Findings:
        """Hold a value against a schema, once for each value that the loop variables in it can take."""
        findings = self.findings(value, path, scope)
        if isinstance(value, Reference) and value.path in findings and len(value.path) == 1:
            self.used_as.setdefault((value.name, scope[value.name].where), schema)
        self._refuse_absent(value, findings, path)
        try:
            self._each_candidate(value, findings, schema, label, where, path)
        except ValueError as error:
            self.faults.add(f"{label}: {error}", where, path, "the instrument's description is at fault")
        self._kind_of_result(value, findings, schema, label, where, path)
        return findings

    def _refuse_absent(self, value: Value, findings: Findings, path: str) -> None:
        """A result that may be missing does not fit where something is needed."""
        for each in references(value):
            if each.path in findings and findings[each.path].absent:
                self.absent(each, findings[each.path], path)

    def absent(self, reference: Reference, found: Finding, path: str) -> None:
        """Note that something may be missing here."""
        way_out = f'use it under `when: {{value: "${{{reference.name}}}", is not: null}}`'
        self.faults.add(f"{reference} may be missing: {found.absent}", reference.where, path, way_out)

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

    def findings(self, value: Value, path: str, scope: Scope) -> Findings:
        """What each reference in a value stands for; those that lead nowhere are noted and left out."""
        found = {reference.path: self.found(reference, path, scope) for reference in references(value)}
        return {key: finding for key, finding in found.items() if finding is not None}

    def shown(self, value: Value, path: str, scope: Scope) -> Findings:
        """What a value that fits everywhere stands for: it may be missing, but no part of it may be asked for then."""
        findings = self.findings(value, path, scope)
        for each in references(value):
            if len(each.path) > 1 and each.path in findings and findings[each.path].absent:
                self.absent(each, findings[each.path], path)
        return findings

    def found(self, reference: Reference, path: str, scope: Scope) -> Finding | None:
        """What a reference stands for; None if it leads nowhere, which is noted."""
        try:
            return finding(reference, scope, self.steps)
        except NothingThereError as error:
            self.faults.add(f"{reference}: {error.detail}", reference.where, path, error.way_out)
            return None
