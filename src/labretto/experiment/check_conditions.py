"""Conditions held against what is known before the run: names, kinds, units, choices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from labretto.experiment.condition import ORDER, Comparison, Condition, Every, Some, is_number, proven
from labretto.experiment.faults import did_you_mean, listed
from labretto.experiment.findings import Finding
from labretto.experiment.fitting import Fitting
from labretto.experiment.reference import Reference, Value, Where
from labretto.experiment.scope import Scope
from labretto.experiment.values import amount, kinds


def check_condition(condition: Condition | None, path: str, scope: Scope, fit: Fitting) -> None:
    """Note what stands against a condition."""
    match condition:
        case Every(conditions):
            for each in conditions:
                check_condition(each, path, scope, fit)
                scope = where_it_holds(each, scope)
        case Some(conditions):
            for each in conditions:
                check_condition(each, path, scope, fit)
        case Comparison():
            _check_comparison(condition, path, scope, fit)


def where_it_holds(condition: Condition | None, scope: Scope) -> Scope:
    """The names under a condition: what is not null there is not missing there."""
    sure = {name: replace(scope[name], absent="") for name in proven(condition) if name in scope}
    return scope.new_child(sure) if sure else scope


def _check_comparison(comparison: Comparison, path: str, scope: Scope, fit: Fitting) -> None:
    sides = [(comparison.value, comparison.where), (comparison.to, comparison.place)]
    found = [fit.shown(value, path, scope) for value, _ in sides]
    findings = [
        each.get(value.path) if isinstance(value, Reference) else None
        for each, (value, _) in zip(found, sides, strict=True)
    ]
    if comparison.word in ORDER:
        for (value, where), each in zip(sides, findings, strict=True):
            _refuse_no_number(value, each, where, comparison, path, fit)
    elif comparison.word in ("equals", "one of") and findings[0] is not None:
        _refuse_impossible(findings[0], comparison, path, fit)
    units = [each.schema.get("unit") for each in findings if each is not None]
    if len(units) == 2 and None not in units and units[0] != units[1]:
        way_out = "compare values of one unit"
        fit.faults.add(
            f"{comparison.value} is in {units[0]}, {comparison.to} in {units[1]}", sides[0][1], path, way_out
        )


def _refuse_no_number(
    value: Value, found: Finding | None, where: Where, comparison: Comparison, path: str, fit: Fitting
) -> None:
    """Above and below want numbers on both sides."""
    way_out = "use `equals`, `is not` or `one of`"
    if isinstance(value, Reference):
        if found is None:
            return
        if found.absent and len(value.path) == 1:
            fit.absent(value, found, path)
        known = found.schema.get("type")
        odd = next((each for each in found.values or () if not is_number(each)), None)
        if isinstance(known, str) and known not in ("number", "integer"):
            fit.faults.add(f"`{comparison.word}` compares numbers; {value} is {kinds(known)}", where, path, way_out)
        elif odd is not None:
            fit.faults.add(
                f"`{comparison.word}` compares numbers; {value} is {amount(odd, None)}", where, path, way_out
            )
    elif not is_number(value):
        fit.faults.add(f"`{comparison.word}` compares numbers; here is {_told(value)}", where, path, way_out)


def _told(value: Value) -> str:
    return "a list or a mapping" if isinstance(value, list | dict) else amount(value, None)


def _refuse_impossible(found: Finding, comparison: Comparison, path: str, fit: Fitting) -> None:
    """A word that can never be the value, because there is a list of those that can."""
    choices = found.schema.get("enum")
    wanted = comparison.to if comparison.word == "one of" else [comparison.to]
    if not isinstance(choices, list) or not isinstance(wanted, list):
        return
    words: Iterable[str] = [str(each) for each in choices]
    for each in wanted:
        if each is not None and not isinstance(each, Reference) and each not in choices:
            near = did_you_mean(str(each), words)
            said = f"{comparison.value} is never {amount(each, None)}, only one of {listed(list(words))}"
            fit.faults.add(said, comparison.place, path, near if near.startswith("did") else "")
