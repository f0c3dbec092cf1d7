"""The word of a run, as one state machine: which event leads from which word to which. Data; nothing is done here.

`engine.state_after` is what decides; tests hold it to this table and the journals of real runs too, and the diagram of
docs/reference/run-states.md is made from it. A word stands in one column of the table of runs, changed in the
transaction that appends the event, and everything that shows a run (page, command line, metrics) shows that word.
"""

from __future__ import annotations

from collections.abc import Mapping

from labretto.orchestrator.engine import OVER

OPEN = ("running", "waiting", "paused")
"""Words of runs that have begun and are not over."""

WORDS: Mapping[str, str] = {
    "queued": "not begun",
    "running": "its steps are done, or wait for an instrument",
    "waiting": "asks a person something",
    "paused": "a person, or a halt of the lab, lets no step begin",
    "succeeded": "came to its end",
    "failed": "a step failed, or the experiment raised",
    "aborted": "a person ended it",
}

Transitions = Mapping[str, Mapping[str, frozenset[str]]]

_ENDS = dict.fromkeys(OPEN, OVER)
_ON = frozenset({"running", "waiting"})
"""Where it goes on: running, or waiting as long as something is still asked."""

TRANSITIONS: Transitions = {
    "submitted": {"": frozenset({"queued"})},
    "started": {"queued": _ON},
    "resumed": dict.fromkeys(OPEN, _ON),
    "waiting": {word: frozenset({"waiting"}) for word in OPEN},
    "settled": dict.fromkeys(OPEN, _ON),
    "paused": {word: frozenset({"paused"}) for word in OPEN},
    "aborting": {word: frozenset({"running"}) for word in OPEN},
    "finished": _ENDS | {"queued": OVER - {"succeeded"}},
}
"""Kind of event → word before it ("" for none) → words that may follow it. Other events leave the word as it is."""

IN_THE_QUEUE = frozenset({"edited", "held", "released", "moved"})
"""Events of the queue; of these *edited* may also stand behind an end (a record gets other labels)."""


def allowed(kind: str, before: str, after: str) -> bool:
    """Whether an event of this kind may lead from the one word to the other."""
    if kind in TRANSITIONS:
        return after in TRANSITIONS[kind].get(before, frozenset())
    if kind in IN_THE_QUEUE:
        return before == after and (before == "queued" or kind == "edited")
    return before == after and before in OPEN


def diagram() -> str:
    """The machine as a Mermaid state diagram, one arrow for each pair of words."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for kind, steps in TRANSITIONS.items():
        for before, following in steps.items():
            for after in sorted(following):
                if before != after:
                    arrows.setdefault((before or "[*]", after), []).append(kind)
    lines = [f"    {before} --> {after}: {', '.join(kinds)}" for (before, after), kinds in arrows.items()]
    return "\n".join(["stateDiagram-v2", *lines, *(f"    {word} --> [*]" for word in sorted(OVER))])
