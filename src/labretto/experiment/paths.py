"""The path of a step: its identity in the journal, in the record, after a crash.

It follows from the file alone: names, lists, branches, turns. Nothing in it depends on what arrives first, nor on which
steps are passed over: `parallel/left/stage.move`, `sweep[3]/cv`, `when/else/stage.home`, `finally/furnace.off`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from labretto.experiment.model import (
    Ask,
    Block,
    Call,
    ForEach,
    Parallel,
    Read,
    Repeat,
    Save,
    Step,
    Sweep,
    Wait,
    Within,
    Write,
)

CLEAN_UP = "finally"
OTHERWISE = "else"
"""What a path has before the steps of these lists; no block of steps may have such a name."""


def component(step: Step) -> str:
    """What a step is called in a path before repetitions are told apart: its name, else what it does."""
    if step.name is not None:
        return step.name
    match step:
        case Call():
            return f"{step.instrument}.{step.action}"
        case Read() | Write():
            return f"{step.instrument}.{step.attribute}"
        case Within():
            return step.experiment
        case Block():
            return "steps" if step.when is None else "when"
    return _WORDS[type(step)]


_WORDS: dict[type, str] = {
    Save: "save",
    Ask: "ask",
    Wait: "wait",
    Parallel: "parallel",
    Sweep: "sweep",
    ForEach: "each",
    Repeat: "repeat",
}


def paths(steps: Sequence[Step], within: str = "") -> tuple[str, ...]:
    """One path for each step of one list; the second of a kind gets `~2`.

    The turn of a loop and the branch are not in it yet: see `iteration` and `branch`.
    """
    seen: Counter[str] = Counter()
    found = []
    for step in steps:
        base = component(step)
        seen[base] += 1
        repeated = f"~{seen[base]}" if seen[base] > 1 else ""
        found.append(f"{within}{base}{repeated}")
    return tuple(found)


def iteration(loop_path: str, number: int) -> str:
    """What the paths inside one turn of a loop begin with: `sweep[3]/`."""
    return f"{loop_path}[{number}]/"


def branch(path: str, name: str) -> str:
    """What the paths inside a branch, an `else` or a `finally` begin with; at the top `path` is empty."""
    return f"{path}/{name}/" if path else f"{name}/"
