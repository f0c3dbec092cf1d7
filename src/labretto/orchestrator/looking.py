"""A run as it is shown: what it is, how far it came, and a page of its steps.

A run may have a hundred thousand steps, and who looks at it wants the last few; so only those are written out. What a
run that goes on has done is known to who does it; one that is over is folded from its journal, and the last one kept.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from labretto.instrument import codec
from labretto.orchestrator.engine import OVER, RunState, Step
from labretto.orchestrator.journal import Journal

USUAL_STEPS = 1000
MOST_STEPS = 10_000

_OF_STEP = ("path", "instrument", "action", "effect", "state", "attempt", "invocation", "result", "error")


class Archive:
    """Runs that nobody does now, as their journals tell them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._latest: RunState | None = None
        """The run that was looked at last, if it is over: whoever turns its pages need not wait for each."""

    def state(self, run: str) -> RunState:
        """Folded from the journal; takes seconds where there are a hundred thousand steps.

        Raises:
            NotFoundError: there is no such run.
        """
        row, kept = self._journal.row(run), self._latest
        if kept is not None and (kept.id, kept.number) == (run, row.last):
            return kept
        state = RunState.replay(run, (event.as_dict() for event in self._journal.read(run)))
        self._latest = state if state.word in OVER else None
        return state


def show_run(state: RunState, steps: int = USUAL_STEPS, after: int | None = None) -> dict[str, Any]:
    """A run with its experiment and some of its steps, in the order in which they began first.

    Args:
        state: what is known of it.
        steps: how many steps at most.
        after: those after the first so many; None: the last ones. What is answered says `steps_after` (how many stand
            before the first that is shown) and `steps_known` (how many there are).
    """
    first = max(0, len(state.steps) - steps) if after is None else after
    shown = [_shown(step) for step in islice(state.steps.values(), first, first + steps)]
    page = {"steps": shown, "steps_after": first, "steps_known": len(state.steps)}
    experiment = dict(state.experiment)
    said: dict[str, Any] = {"experiment": experiment, "parameters": dict(state.parameters), "question": state.question}
    return page | said | {"steps_total": experiment.get("steps"), "steps_done": state.done, "error": state.error}


def _shown(step: Step) -> dict[str, Any]:
    origin, started, ended = step.told
    times = {"origin": origin, "started": started or step.at, "ended": ended}
    return {name: getattr(step, name) for name in _OF_STEP} | {"parameters": codec.decode(step.parameters)} | times
