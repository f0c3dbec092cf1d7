"""`soe` and `params`: the experiments of the HELAO tutorial, read into the same model.

`soe` lists `server/action_n`, `params` gives each `action_n` its parameters, often as JSON text ("[5, 5, 5]"). Which
action is meant and which texts are to be decoded depends on the instruments' descriptions, so it is settled by
`settle`, once they are known.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from labretto.experiment.document import Node
from labretto.experiment.faults import Faults, quoted
from labretto.experiment.model import Call, Experiment, Read
from labretto.experiment.reference import Value, Where
from labretto.experiment.values import may_be_text

_ENTRY = re.compile(r"([^\s/.~\[\]{}$]+)/([^\s/.~\[\]{}$]{1,100})")
_LONGEST_JSON = 100_000


def read_steps(root: Node, faults: Faults) -> tuple[Call, ...]:
    """The steps of a mapping with `soe`. Other words beside it are left alone, as the original does."""
    words = root.value if isinstance(root.value, dict) else {}
    listed = words["soe"]
    if not isinstance(listed.value, list) or not listed.value:
        faults.add('`soe` is a list such as ["motor/move_1"]', listed.where, "soe", "give it at least one entry")
        return ()
    params = _params(words.get("params"), faults)
    found = [_call(each, params, f"soe[{number}]", faults) for number, each in enumerate(listed.value)]
    return tuple(call for call in found if call is not None)


def _params(node: Node | None, faults: Faults) -> dict[str, Node]:
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        faults.add('`params` is a mapping such as {"move_1": {"loc": "[5, 5, 5]"}}', node.where, "params")
        return {}
    return node.value


def _call(node: Node, params: dict[str, Node], path: str, faults: Faults) -> Call | None:
    entry = _ENTRY.fullmatch(node.value) if isinstance(node.value, str) else None
    if entry is None:
        faults.add(f"{quoted(str(node.plain))} is not `server/action_n`", node.where, path, "for instance motor/move_1")
        return None
    instrument, name = entry.groups()
    given = params.get(name, Node({}, node.where))
    if not isinstance(given.value, dict):
        faults.add(f"params.{name} is not a mapping of parameters", given.where, f"params.{name}")
        return None
    places: dict[str, Where] = dict(given.keys)
    return Call(instrument, candidates(name)[0], given.plain, node.where, name, places)


def candidates(name: str) -> tuple[str, ...]:
    """The actions that `action_n` can mean, most likely first.

    Without its last `_<digits>`, whole, and cut at the first `_` as the original does.
    """
    return tuple(dict.fromkeys((re.sub(r"(?<=.)_[0-9]+\Z", "", name), name, name.partition("_")[0] or name)))


def settle(experiment: Experiment, descriptions: Mapping[str, Mapping[str, Any]]) -> Experiment:
    """The experiment with its actions and its values decoded by the descriptions.

    A description may have the word "compat": an old name → the attribute or action that it means now. One from a file
    is answered as it is; twice is as once.
    """
    if experiment.format != "soe":
        return experiment
    steps = (_settled(step, descriptions) if isinstance(step, Call) else step for step in experiment.steps)
    return dataclasses.replace(experiment, steps=tuple(steps))


def _settled(call: Call, descriptions: Mapping[str, Mapping[str, Any]]) -> Call | Read:
    described = descriptions.get(call.instrument, {})
    actions, old = described.get("actions", {}), described.get("compat", {})
    names = candidates(call.name or call.action)
    action = next((old.get(each, each) for each in names if each in old or each in actions), call.action)
    if action in described.get("attributes", {}) and action not in actions:
        return Read(call.instrument, action, call.where, call.name)
    known = actions.get(action, {}).get("parameters", {})
    values = {name: decoded(value, known.get(name, {}).get("schema", {})) for name, value in call.parameters.items()}
    return dataclasses.replace(call, action=action, parameters=values)


def decoded(value: Value, schema: Mapping[str, Any]) -> Value:
    """JSON text as the value it stands for, where no text is wanted; text that is not JSON is left for `check`.

    And a number as text, where only text is wanted: the original sends each value as text in a query.
    """
    if type(value) in (int, float) and schema.get("type") == "string":
        return json.dumps(value)
    if not isinstance(value, str) or may_be_text(schema) or len(value) > _LONGEST_JSON:
        return value
    try:
        found: Value = json.loads(value, parse_constant=_not_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return value
    return found


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _not_finite(text)


def _not_finite(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a finite number")
