"""The steps of an experiment file: located values to the frozen steps of `model`.

Only the form is judged here: words, names, references that can be read. What they mean is judged in `check`. Steps that
hold no others are read in `leaves`; here are lists, and the blocks that hold lists. A new kind of block is one entry in
`BLOCKS` and one function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from labretto.experiment.condition import Condition
from labretto.experiment.conditions import condition_of
from labretto.experiment.document import Node
from labretto.experiment.faults import Faults, did_you_mean, quoted
from labretto.experiment.leaves import LEAVES
from labretto.experiment.model import Block, ForEach, Parallel, Repeat, Step, Sweep, Within
from labretto.experiment.paths import CLEAN_UP, OTHERWISE
from labretto.experiment.policies import failure_of
from labretto.experiment.reference import Reference, Value, Where
from labretto.experiment.scope import names_given
from labretto.experiment.turns import MOST_TURNS
from labretto.experiment.words import is_name, kind, mapping_of, refuse_unknown, value_of, values_of, whole_number


def steps_below(
    node: Node, word: str, path: str, faults: Faults, taken: Iterable[tuple[str, Where]] = ()
) -> tuple[Step, ...]:
    """The list of steps below a word; none if the word is not there.

    `taken` are names of the same scope that are given already: the variables of the loop around it.
    """
    below = mapping_of(node).get(word)
    return () if below is None else read_steps(below, f"`{word}`", f"{path}.{word}" if path else word, faults, taken)


def read_steps(
    node: Node, of: str, path: str, faults: Faults, taken: Iterable[tuple[str, Where]] = ()
) -> tuple[Step, ...]:
    """The steps of one list, which stands at `path`; `of` is what it is called."""
    if not isinstance(node.value, list):
        faults.add(f"{of} is a list of steps; here is {kind(node)}", node.where, path, "begin each step with `- `")
        return ()
    if not node.value:
        faults.add("there is no step in this list", node.where, path, "add a step, for instance `- read: stage.x`")
    found = [_step(each, f"{path}[{number}]", faults) for number, each in enumerate(node.value)]
    steps = tuple(step for step in found if step is not None)
    _refuse_repeated_names((given for step in steps for given in names_given(step)), path, faults, dict(taken))
    return steps


def _refuse_repeated_names(
    given: Iterable[tuple[str, Where]], path: str, faults: Faults, taken: dict[str, Where]
) -> None:
    for name, where in given:
        if name in taken:
            first = taken[name].line
            faults.add(f"the name {name} is given already in line {first}", where, path, "choose another name")
        taken.setdefault(name, where)


def _step(node: Node, path: str, faults: Faults) -> Step | None:
    if not isinstance(node.value, dict):
        faults.add(f"a step is a mapping, for instance `do: stage.move`; here is {kind(node)}", node.where, path)
        return None
    given = [word for word in KINDS if word in node.value]
    if not given:
        _refuse_nothing(node, path, faults)
        return None
    words = _words(given[0])
    for other in given[1:]:
        if other not in words:
            way_out = "write two steps, each with its own `- `"
            faults.add(f"one step cannot be `{given[0]}` and `{other}`", node.keys[other], path, way_out)
    refuse_unknown(node, (*words, *given), f"a `{given[0]}` step", path, faults)
    name, when = _name(node, path, faults), condition_of(node, "when", path, faults)
    if given[0] in LEAVES:
        return LEAVES[given[0]][1](node, name, when, path, faults)
    return _block(node, given[0], name, when, path, faults)


def _refuse_nothing(node: Node, path: str, faults: Faults) -> None:
    unknown = next((word for word in mapping_of(node) if word not in STEP_WORDS), "")
    way_out = did_you_mean(unknown, KINDS) if unknown else f"give one of {', '.join(KINDS)}"
    where = node.keys.get(unknown, node.where)
    faults.add(f"{quoted(unknown)} is not a step" if unknown else "this step does nothing", where, path, way_out)


def _name(node: Node, path: str, faults: Faults) -> str | None:
    name = mapping_of(node).get("name")
    if name is None:
        return None
    if not isinstance(name.value, str):
        faults.add(f"a name is a text; here is {kind(name)}", name.where, f"{path}.name", "put it in quotes")
        return None
    return name.value if is_name(name.value, "a step", name.where, f"{path}.name", faults) else None


# Blocks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """What all blocks have: where they stand, their name, when they are done, and what is done at their end."""

    where: Where
    name: str | None
    when: Condition | None
    clean_up: tuple[Step, ...]
    on_failure: Literal["fail", "go on"]

    @property
    def words(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("where", "name", "when", "clean_up", "on_failure")}


Reader: TypeAlias = Callable[[Node, _Frame, str, Faults], Step]


def _block(node: Node, word: str, name: str | None, when: Condition | None, path: str, faults: Faults) -> Step:
    if name in (OTHERWISE, CLEAN_UP):
        faults.add(f"`{name}` cannot name a block", mapping_of(node)["name"].where, path, "choose another name")
    clean_up = steps_below(node, "finally", path, faults)
    frame = _Frame(node.where, name, when, clean_up, failure_of(node, path, faults))
    return BLOCKS[word][1](node, frame, path, faults)


def _steps_of(node: Node, of: str, path: str, faults: Faults, taken: Iterable[tuple[str, Where]] = ()) -> Any:
    if "steps" not in mapping_of(node):
        faults.add(f"{of} needs `steps`", node.where, path, "add `steps:` with a list of steps")
    return steps_below(node, "steps", path, faults, taken)


def _group(node: Node, frame: _Frame, path: str, faults: Faults) -> Block:
    steps = _steps_of(node, "a `when` block" if frame.when else "a block", path, faults)
    if "else" in node.keys and "when" not in node.keys:
        faults.add("`else` needs `when`", node.keys["else"], path, "add `when:` with a condition")
    return Block(steps, otherwise=steps_below(node, "else", path, faults), **frame.words)


def _parallel(node: Node, frame: _Frame, path: str, faults: Faults) -> Parallel:
    """Branches by name, or a list of lists, whose names are their numbers."""
    below, at = mapping_of(node)["parallel"], f"{path}.parallel"
    if isinstance(below.value, dict):
        named = below.value
    elif isinstance(below.value, list):
        named = {str(number): each for number, each in enumerate(below.value)}
    else:
        faults.add(f"`parallel` wants branches; here is {kind(below)}", below.where, at, "give each a name and steps")
        named = {}
    for name, where in below.keys.items():
        if is_name(name, "a branch", where, at, faults) and name in (OTHERWISE, CLEAN_UP):
            faults.add(f"`{name}` cannot name a branch", where, at, "choose another name")
    if not named and isinstance(below.value, dict | list):
        faults.add("`parallel` has no branch", below.where, at, "give each branch a name and a list of steps")
    branches = {name: read_steps(each, f"the branch {name}", f"{at}.{name}", faults) for name, each in named.items()}
    return Parallel(branches, **frame.words)


def _sweep(node: Node, frame: _Frame, path: str, faults: Faults) -> Sweep:
    grid, grid_places = _lists(node, "sweep", path, faults)
    zipped, zip_places = _lists(node, "zip", path, faults)
    for variable in grid.keys() & zipped.keys():
        faults.add(f"{variable} is in `sweep` and in `zip`", zip_places[variable], path, "keep one of them")
    if not grid and not zipped:
        faults.add("a sweep has no variable", node.where, path, "add for instance `sweep: {x: [0, 1, 2]}`")
    places = {**grid_places, **zip_places}
    steps = _steps_of(node, "a sweep", path, faults, places.items())
    return Sweep(grid, zipped, steps, places=places, **frame.words)


def _lists(node: Node, word: str, path: str, faults: Faults) -> tuple[dict[str, Value], dict[str, Where]]:
    """The variables of a loop; each is a list or a reference to one."""
    found, places = values_of(node, word, path, faults)
    for variable, values in found.items():
        where, at = places[variable], f"{path}.{word}.{variable}"
        is_name(variable, "a variable", where, f"{path}.{word}", faults)
        if not isinstance(values, list | Reference):
            faults.add(f"{variable} needs a list of values; here is one value", where, at, "write [ ] around it")
        elif isinstance(values, list) and not values:
            faults.add(f"the list of {variable} is empty", where, at, "give it a value")
    return found, places


def _for_each(node: Node, frame: _Frame, path: str, faults: Faults) -> ForEach:
    found, places = _lists(node, "for each", path, faults)
    if len(found) != 1:
        way_out = 'write for instance `for each: {sample: "${found.samples}"}`; several go into `sweep` or `zip`'
        faults.add("`for each` has one variable", node.where, path, way_out)
    steps = _steps_of(node, "`for each`", path, faults, places.items())
    variable, values = next(iter(found.items()), ("", []))
    return ForEach(variable, values, steps, place=places.get(variable, node.where), **frame.words)


def _repeat(node: Node, frame: _Frame, path: str, faults: Faults) -> Repeat:
    below = mapping_of(node)["repeat"]
    times = value_of(below, f"{path}.repeat", faults)
    if not isinstance(times, Reference) and whole_number(below, 1, MOST_TURNS) is None:
        way_out = "write for instance `repeat: 3`"
        faults.add(f"`repeat` wants a number of turns; here is {kind(below)}", below.where, f"{path}.repeat", way_out)
        times = 1
    steps = _steps_of(node, "`repeat`", path, faults)
    until = condition_of(node, "until", path, faults)
    return Repeat(times, steps, until=until, place=below.where, **frame.words)


def _within(node: Node, frame: _Frame, path: str, faults: Faults) -> Within:
    called = mapping_of(node)["experiment"]
    name = called.value if isinstance(called.value, str) else ""
    if not name:
        faults.add(f"`experiment` wants a name; here is {kind(called)}", called.where, f"{path}.experiment")
    values, places = values_of(node, "with", path, faults)
    return Within(name, values, frame.where, frame.name, places, frame.when, frame.on_failure)


_ENDS = ("on failure", "finally")

BLOCKS: Mapping[str, tuple[tuple[str, ...], Reader]] = {
    "experiment": (("experiment", "with", "on failure"), _within),
    "parallel": (("parallel", *_ENDS), _parallel),
    "sweep": (("sweep", "zip", "steps", *_ENDS), _sweep),
    "zip": (("sweep", "zip", "steps", *_ENDS), _sweep),
    "for each": (("for each", "steps", *_ENDS), _for_each),
    "repeat": (("repeat", "until", "steps", *_ENDS), _repeat),
    "steps": (("steps", "else", *_ENDS), _group),
    "when": (("steps", "else", *_ENDS), _group),
}
"""The word that makes a step a block, with the words that may stand beside it; `name` and `when` always may."""

KINDS = (*LEAVES, *BLOCKS)
"""The first of them that a step has is what it is."""


def _words(word: str) -> tuple[str, ...]:
    words = LEAVES[word][0] if word in LEAVES else BLOCKS[word][0]
    return (*words, "name", "when")


STEP_WORDS = frozenset(each for word in KINDS for each in _words(word))
