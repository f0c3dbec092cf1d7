"""Experiments within an experiment: `experiments:`, each with parameters, steps, `finally` and a result.

One may stand in a file of its own, `experiments: {wash: wash.yaml}`. Then the text that is submitted carries the file
below `files:` (`inline` puts it there), so that a run's record holds all that was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from labretto.experiment.document import Node
from labretto.experiment.faults import Faults, did_you_mean, quoted
from labretto.experiment.model import Step, SubExperiment, Within, every_step, inside
from labretto.experiment.parameters import parameters_of
from labretto.experiment.paths import CLEAN_UP, OTHERWISE
from labretto.experiment.steps import steps_below
from labretto.experiment.words import is_name, kind, mapping_of, refuse_unknown, values_of, words_below

WORDS = ("name", "description", "parameters", "steps", "finally", "result")
MOST_NESTED = 60
"""Blocks within blocks, calls of other experiments included."""


def experiments_of(root: Node, faults: Faults) -> dict[str, SubExperiment]:
    """The experiments that can be called, with their own calls looked up."""
    files = words_below(root, "files", "a mapping of file names to experiments", "files", faults)
    below = mapping_of(root).get("experiments")
    found = {}
    for name, each in words_below(root, "experiments", "a mapping of names", "experiments", faults).items():
        path, where = f"experiments.{name}", below.keys[name] if below is not None else root.where
        if is_name(name, "an experiment", where, path, faults) and name in (OTHERWISE, CLEAN_UP):
            faults.add(f"`{name}` cannot name an experiment", where, path, "choose another name")
        content = files.get(each.value) if isinstance(each.value, str) else each
        if content is None:
            way_out = "submit the file with `labretto run` or `labretto.submit`, which put in the files that it names"
            faults.add(f"the file {quoted(str(each.value))} is not part of this text", each.where, path, way_out)
        found[name] = SubExperiment(name, {}, ()) if content is None else read_part(name, content, path, faults)
    for part in found.values():
        refuse_unknown_calls([*part.steps, *part.clean_up], found, faults)
    _refuse_circles(found, faults)
    return found


def read_part(name: str, node: Node, path: str, faults: Faults) -> SubExperiment:
    """An experiment that others call; an empty one if it is none, which is noted."""
    if isinstance(node.value, dict):
        return _part(name, node, path, faults)
    faults.add(f"an experiment is a mapping with `steps`; here is {kind(node)}", node.where, path)
    return SubExperiment(name, {}, ())


def _part(name: str, node: Node, path: str, faults: Faults) -> SubExperiment:
    refuse_unknown(node, WORDS, "an experiment within another", path, faults)
    if "steps" not in node.keys:
        faults.add(f"the experiment {name} has no `steps`", node.where, path, "add `steps:` with a list of steps")
    parameters = parameters_of(node, f"{path}.parameters", faults)
    steps, clean_up = (steps_below(node, word, path, faults) for word in ("steps", "finally"))
    result, places = values_of(node, "result", path, faults)
    return SubExperiment(name, parameters, steps, clean_up, result, places, node.where)


def refuse_unknown_calls(steps: Iterable[Step], known: Mapping[str, SubExperiment], faults: Faults) -> None:
    """Note each call of an experiment that there is not."""
    for step in _calls(steps):
        if step.experiment and step.experiment not in known:
            way_out = did_you_mean(step.experiment, known) or "write it below `experiments:`"
            faults.add(f"there is no experiment {quoted(step.experiment)} here", step.where, "", way_out)


def refuse_too_deep(steps: Sequence[Step], parts: Mapping[str, SubExperiment], faults: Faults) -> None:
    """Note steps that stand in too many blocks and experiments; not to be asked where they call themselves."""
    below: dict[str, int] = {}
    # those that call no others first, so that none is looked at before those it calls
    while waiting := [part for name, part in parts.items() if name not in below]:
        ready = [part for part in waiting if all(each in below for each in _called(part))]
        below |= {part.name: _height([*part.steps, *part.clean_up], below) for part in ready}
    for step in steps:
        if _height([step], below) > MOST_NESTED:
            faults.add(f"more than {MOST_NESTED} blocks stand in each other here", step.where, "", "lay it out flatter")


def _height(steps: Sequence[Step], below: Mapping[str, int]) -> int:
    """Levels of steps, those of the experiments that are called included."""
    return max((1 + _height_of(step, below) for step in steps), default=0)


def _height_of(step: Step, below: Mapping[str, int]) -> int:
    if isinstance(step, Within):
        return below[step.experiment]
    return max((_height(steps, below) for steps in inside(step)), default=0)


def _called(part: SubExperiment) -> set[str]:
    return {step.experiment for step in _calls([*part.steps, *part.clean_up])}


def _calls(steps: Iterable[Step]) -> list[Within]:
    return [step for step in every_step(tuple(steps)) if isinstance(step, Within)]


def _refuse_circles(parts: Mapping[str, SubExperiment], faults: Faults) -> None:
    """Note each experiment that, by whatever way, calls itself."""
    called = {name: _called(part) for name, part in parts.items()}
    for name, part in parts.items():
        reached, fresh = set[str](), called[name]
        while fresh:
            reached |= fresh
            fresh = {further for each in fresh for further in called.get(each, ())} - reached
        if name in reached:
            faults.add(f"the experiment {name} calls itself", part.where, f"experiments.{name}", "use `repeat` instead")
