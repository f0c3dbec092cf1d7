"""The steps of an experiment file: located values to the frozen steps of `model`.

Only the form is judged here: words, names, references that can be read. What they mean is judged in `check`.
A new kind of step is one entry in `KINDS` and one function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from labretto.experiment.document import Node
from labretto.experiment.faults import Faults, did_you_mean, listed, quoted
from labretto.experiment.model import Call, Read, Save, Step, Sweep, Write
from labretto.experiment.reference import Reference, Value, Where

NAME = re.compile(r"[^\W\d][\w-]{0,99}")
"""No dot, slash, bracket or tilde: they have a meaning in references, in paths and in the record's columns."""
_TARGET = re.compile(r"[^\s./~\[\]{}$]+(?:\.[^\s./~\[\]{}$]+)+")
_PART = re.compile(r"[^\s.{}$]+")


def read_steps(node: Node, path: str, faults: Faults, taken: Iterable[tuple[str, Where]] = ()) -> tuple[Step, ...]:
    """The steps of one list.

    `taken` are names of the same scope that are given already: the variables of the sweep around it.
    """
    if not isinstance(node.value, list):
        faults.add(f"`steps` is a list of steps; here is {kind(node)}", node.where, path, "begin each step with `- `")
        return ()
    if not node.value:
        faults.add("there is no step in this list", node.where, path, "add a step, for instance `- read: stage.x`")
    found = [_step(each, f"{path}[{number}]", faults) for number, each in enumerate(node.value)]
    steps = tuple(step for step in found if step is not None)
    _refuse_repeated_names(steps, path, faults, dict(taken))
    return steps


def _refuse_repeated_names(steps: Iterable[Step], path: str, faults: Faults, taken: dict[str, Where]) -> None:
    for step in steps:
        if step.name is None:
            continue
        if step.name in taken:
            first = taken[step.name].line
            faults.add(
                f"the name {step.name} is given already in line {first}", step.where, path, "choose another name"
            )
        taken.setdefault(step.name, step.where)


def _step(node: Node, path: str, faults: Faults) -> Step | None:
    if not isinstance(node.value, dict):
        faults.add(f"a step is a mapping, for instance `do: stage.move`; here is {kind(node)}", node.where, path)
        return None
    given = [word for word in KINDS if word in node.value]
    if not given:
        unknown = next((word for word in node.value if word not in _STEP_WORDS), "")
        way_out = did_you_mean(unknown, KINDS) if unknown else f"give one of {', '.join(KINDS)}"
        where = node.keys.get(unknown, node.where)
        faults.add(f"{quoted(unknown)} is not a step" if unknown else "this step does nothing", where, path, way_out)
        return None
    words, read = KINDS[given[0]]
    for other in given[1:]:
        if other not in words:
            way_out = "write two steps, each with its own `- `"
            faults.add(f"one step cannot be `{given[0]}` and `{other}`", node.keys[other], path, way_out)
    refuse_unknown(node, (*words, *given), f"a `{given[0]}` step", path, faults)
    return read(node, _name(node, path, faults), path, faults)


def _call(node: Node, name: str | None, path: str, faults: Faults) -> Call:
    instrument, action = _target(node, "do", "instrument.action", path, faults)
    values, places = _mapping(node, "with", path, faults)
    return Call(instrument, action, values, node.where, name, places)


def _read(node: Node, name: str | None, path: str, faults: Faults) -> Read:
    instrument, attribute = _target(node, "read", "instrument.attribute", path, faults)
    return Read(instrument, attribute, node.where, name)


def _write(node: Node, name: str | None, path: str, faults: Faults) -> Write:
    instrument, attribute = _target(node, "set", "instrument.attribute", path, faults)
    to = _mapping_of(node).get("to")
    if to is None:
        faults.add("`set` needs `to`, the value", node.where, path, f"add `to:` below `set: {instrument}.{attribute}`")
    value = _value(to, f"{path}.to", faults) if to is not None else None
    return Write(instrument, attribute, value, node.where, name, to.where if to is not None else None)


def _save(node: Node, name: str | None, path: str, faults: Faults) -> Save:
    row, places = _mapping(node, "save", path, faults)
    if not row:
        faults.add("`save` has no column", node.where, path, "add for instance `{x: ${x}}`")
    for column, where in places.items():
        is_name(column, "a column", where, f"{path}.save", faults)
    return Save(row, node.where, name, places)


def _sweep(node: Node, name: str | None, path: str, faults: Faults) -> Sweep:
    grid, grid_places = _lists(node, "sweep", path, faults)
    zipped, zip_places = _lists(node, "zip", path, faults)
    for variable in grid.keys() & zipped.keys():
        faults.add(f"{variable} is in `sweep` and in `zip`", zip_places[variable], path, "keep one of them")
    if not grid and not zipped:
        faults.add("a sweep has no variable", node.where, path, "add for instance `sweep: {x: [0, 1, 2]}`")
    places = {**grid_places, **zip_places}
    inner = _mapping_of(node).get("steps")
    if inner is None:
        faults.add("a sweep needs `steps`", node.where, path, "add `steps:` with a list of steps")
    steps = read_steps(inner, f"{path}.steps", faults, places.items()) if inner is not None else ()
    return Sweep(grid, zipped, steps, node.where, name, places)


KINDS: dict[str, tuple[tuple[str, ...], Callable[[Node, str | None, str, Faults], Step]]] = {
    "do": (("do", "with", "name"), _call),
    "read": (("read", "name"), _read),
    "set": (("set", "to", "name"), _write),
    "save": (("save", "name"), _save),
    "sweep": (("sweep", "zip", "steps", "name"), _sweep),
    "zip": (("sweep", "zip", "steps", "name"), _sweep),
}
"""The word that makes a step what it is, with the words that may stand beside it."""

_STEP_WORDS = frozenset(word for words, _ in KINDS.values() for word in words)


def _lists(node: Node, word: str, path: str, faults: Faults) -> tuple[dict[str, Value], dict[str, Where]]:
    """The variables of a sweep; each is a list or a reference to one."""
    found, places = _mapping(node, word, path, faults)
    for variable, values in found.items():
        at = f"{path}.{word}.{variable}"
        is_name(variable, "a variable", places[variable], f"{path}.{word}", faults)
        if not isinstance(values, list | Reference):
            at = f"{path}.{word}.{variable}"
            faults.add(
                f"{variable} needs a list of values; here is one value", places[variable], at, "write [ ] around it"
            )
        elif isinstance(values, list) and not values:
            faults.add(
                f"the list of {variable} is empty", places[variable], f"{path}.{word}.{variable}", "give it a value"
            )
    return found, places


def _mapping(node: Node, word: str, path: str, faults: Faults) -> tuple[dict[str, Value], dict[str, Where]]:
    """The values below a word, and where their names stand."""
    below = _mapping_of(node).get(word)
    if below is None or below.value is None:
        return {}, {}
    if not isinstance(below.value, dict):
        faults.add(f"`{word}` is a mapping of names to values; here is {kind(below)}", below.where, f"{path}.{word}")
        return {}, {}
    values = {name: _value(each, f"{path}.{word}.{name}", faults) for name, each in below.value.items()}
    return values, dict(below.keys)


def _value(node: Node, path: str, faults: Faults) -> Value:
    if isinstance(node.value, list):
        return [_value(each, f"{path}[{number}]", faults) for number, each in enumerate(node.value)]
    if isinstance(node.value, dict):
        return {key: _value(each, f"{path}.{key}", faults) for key, each in node.value.items()}
    return _reference(node.value, node.where, path, faults) if isinstance(node.value, str) else node.value


def _reference(text: str, where: Where, path: str, faults: Faults) -> str | Reference:
    """`${name.key.0}` as a reference, `$${...}` as that text with one dollar sign, other text as itself."""
    if text.startswith("$${"):
        return text[1:]
    if "${" not in text:
        return text
    inner = text[2:-1]
    if not (text.startswith("${") and text.endswith("}") and "${" not in inner):
        way_out = "let the reference be the whole value, or write $${ for a plain text"
        faults.add(f"{quoted(text)} mixes text and a reference", where, path, way_out)
        return text
    parts = tuple(inner.strip().split("."))
    if not (NAME.fullmatch(parts[0]) and all(_PART.fullmatch(part) for part in parts)):
        way_out = "a reference looks values up, as in ${cv.current.0}; it does not calculate"
        faults.add(f"{quoted(text)} is not a reference", where, path, way_out)
        return text
    return Reference(parts, where)


def _target(node: Node, word: str, form: str, path: str, faults: Faults) -> tuple[str, str]:
    target = _mapping_of(node)[word]
    if not isinstance(target.value, str) or not _TARGET.fullmatch(target.value):
        found = quoted(target.value) if isinstance(target.value, str) else kind(target)
        faults.add(f"`{word}` wants {form}; here is {found}", target.where, f"{path}.{word}", "for instance stage.move")
        return "", ""
    instrument, _, what = target.value.rpartition(".")
    return instrument, what


def _name(node: Node, path: str, faults: Faults) -> str | None:
    name = _mapping_of(node).get("name")
    if name is None:
        return None
    if not isinstance(name.value, str):
        faults.add(f"a name is a text; here is {kind(name)}", name.where, f"{path}.name", "put it in quotes")
        return None
    return name.value if is_name(name.value, "a step", name.where, f"{path}.name", faults) else None


def _mapping_of(node: Node) -> dict[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def is_name(text: str, of: str, where: Where, path: str, faults: Faults) -> bool:
    """Whether a text can be a name; if it cannot, that is noted."""
    good = NAME.fullmatch(text) is not None
    if not good:
        faults.add(
            f"{quoted(text)} cannot name {of}", where, path, "a letter, then letters, digits, - and _; at most 100"
        )
    return good


def refuse_unknown(node: Node, known: Iterable[str], of: str, path: str, faults: Faults) -> None:
    """Note each key that is not among the known words."""
    words = tuple(dict.fromkeys(known))
    for word, where in node.keys.items():
        if word not in words and word != "<<":
            way_out = did_you_mean(word, words) or f"known here: {listed(words)}"
            faults.add(f"{quoted(word)} is not a word of {of}", where, path, way_out)


def kind(node: Node) -> str:
    """What a value is, in words."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    return "nothing" if node.value is None else f"{quoted(str(node.value))}"
