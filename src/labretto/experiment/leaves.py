"""The steps of an experiment file that hold no others: `do`, `read`, `set`, `save`, `ask`, `wait`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from labretto.experiment import policies, questions
from labretto.experiment.condition import Condition
from labretto.experiment.document import Node
from labretto.experiment.faults import Faults
from labretto.experiment.model import Ask, Call, Leaf, Read, Save, Wait, Write
from labretto.experiment.policies import policy_of
from labretto.experiment.questions import question_of
from labretto.experiment.reference import Reference
from labretto.experiment.words import duration, is_name, mapping_of, target_of, value_of, values_of

Reader: TypeAlias = Callable[[Node, str | None, Condition | None, str, Faults], Leaf]
"""Reads the step at a node, whose name and `when` are read already."""


def _call(node: Node, name: str | None, when: Condition | None, path: str, faults: Faults) -> Call:
    instrument, action = target_of(node, "do", "instrument.action", path, faults)
    values, places = values_of(node, "with", path, faults)
    return Call(instrument, action, values, node.where, name, places, when, policy_of(node, path, faults))


def _read(node: Node, name: str | None, when: Condition | None, path: str, faults: Faults) -> Read:
    instrument, attribute = target_of(node, "read", "instrument.attribute", path, faults)
    return Read(instrument, attribute, node.where, name, when, policy_of(node, path, faults))


def _write(node: Node, name: str | None, when: Condition | None, path: str, faults: Faults) -> Write:
    instrument, attribute = target_of(node, "set", "instrument.attribute", path, faults)
    to = mapping_of(node).get("to")
    if to is None:
        faults.add("`set` needs `to`, the value", node.where, path, f"add `to:` below `set: {instrument}.{attribute}`")
    value = value_of(to, f"{path}.to", faults) if to is not None else None
    place = to.where if to is not None else None
    return Write(instrument, attribute, value, node.where, name, place, when, policy_of(node, path, faults))


def _save(node: Node, name: str | None, when: Condition | None, path: str, faults: Faults) -> Save:
    row, places = values_of(node, "save", path, faults)
    if not row:
        faults.add("`save` has no column", node.where, path, "add for instance `{x: ${x}}`")
    for column, where in places.items():
        is_name(column, "a column", where, f"{path}.save", faults)
    return Save(row, node.where, name, places, when)


def _ask(node: Node, name: str | None, when: Condition | None, path: str, faults: Faults) -> Ask:
    show, places = values_of(node, "show", path, faults)
    return Ask(question_of(node, path, faults), node.where, name, show, {**node.keys, **places}, when)


def _wait(node: Node, name: str | None, when: Condition | None, path: str, faults: Faults) -> Wait:
    below = mapping_of(node)["wait"]
    seconds = value_of(below, f"{path}.wait", faults) if isinstance(below.value, str) else None
    if not isinstance(seconds, Reference):
        seconds = duration(below, f"{path}.wait", faults)
    return Wait(seconds, node.where, name, below.where, when)


LEAVES: Mapping[str, tuple[tuple[str, ...], Reader]] = {
    "do": (("do", "with", *policies.WORDS), _call),
    "read": (("read", *policies.WORDS), _read),
    "set": (("set", "to", *policies.WORDS), _write),
    "save": (("save",), _save),
    "ask": (questions.WORDS, _ask),
    "wait": (("wait",), _wait),
}
"""The word that makes a step what it is, with the words that may stand beside it; `name` and `when` always may."""
