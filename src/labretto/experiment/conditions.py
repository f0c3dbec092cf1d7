"""Conditions of an experiment file, read into `condition`: `{value: "${cv.peak}", above: 0.1}`, `all:`, `any:`."""

from __future__ import annotations

from labretto.experiment.condition import WORDS, Comparison, Condition, Every, Some
from labretto.experiment.document import Node
from labretto.experiment.faults import Faults, listed
from labretto.experiment.reference import Reference
from labretto.experiment.words import kind, mapping_of, refuse_unknown, value_of

_FORM = 'for instance {value: "${x}", above: 0.1}'


def condition_of(node: Node, word: str, path: str, faults: Faults) -> Condition | None:
    """The condition below a word; None if there is none."""
    below = mapping_of(node).get(word)
    return None if below is None else _condition(below, f"{path}.{word}", faults)


def _condition(node: Node, path: str, faults: Faults) -> Condition | None:
    """A list is `all:` of its conditions."""
    if isinstance(node.value, list):
        return Every(_several(node, path, faults))
    words = mapping_of(node)
    for group, make in (("all", Every), ("any", Some)):
        if group in words:
            refuse_unknown(node, (group,), f"an `{group}` condition", path, faults)
            return make(_several(words[group], f"{path}.{group}", faults))
    return _compared(node, path, faults)


def _several(node: Node, path: str, faults: Faults) -> tuple[Condition, ...]:
    if not isinstance(node.value, list) or not node.value:
        faults.add(f"here belongs a list of conditions; here is {kind(node)}", node.where, path, f"- {_FORM}")
        return ()
    found = [_condition(each, f"{path}[{number}]", faults) for number, each in enumerate(node.value)]
    return tuple(each for each in found if each is not None)


def _compared(node: Node, path: str, faults: Faults) -> Condition | None:
    """One value against one or more others: all of them must hold."""
    words = mapping_of(node)
    if "value" not in words:
        faults.add(f"a condition compares a `value`; here is {kind(node)}", node.where, path, _FORM)
        return None
    refuse_unknown(node, ("value", *WORDS), "a condition", path, faults)
    value = value_of(words["value"], f"{path}.value", faults)
    found = [
        Comparison(value, word, value_of(words[word], f"{path}.{word}", faults), node.where, words[word].where)
        for word in WORDS
        if word in words
    ]
    if not found:
        faults.add("this condition compares with nothing", node.where, path, f"add one of {listed(WORDS)}")
        return None
    for each in found:
        if each.word == "one of" and not isinstance(each.to, list | Reference):
            faults.add("`one of` wants a list", each.place, path, "write [ ] around it")
    return found[0] if len(found) == 1 else Every(tuple(found))
