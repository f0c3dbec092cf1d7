"""A run as it is shown: what it is, how far it came, and a page of its steps.

A run may have a hundred thousand steps, and who looks at it wants the last few; so only those are written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.instrument import codec
from labretto.orchestrator.engine import RunState, Step
from labretto.orchestrator.journal import Journal

USUAL_STEPS = 1000
MOST_STEPS = 10_000

_OF_STEP = ("path", "instrument", "action", "effect", "state", "attempt", "invocation", "result", "error")


def show_run(journal: Journal, run: str, steps: int = USUAL_STEPS, after: int | None = None) -> dict[str, Any]:
    """A run with its experiment and some of its steps, in the order in which they began first.

    Args:
        journal: where it stands.
        run: its id.
        steps: how many steps at most.
        after: those after the first so many; None: the last ones. What is answered says `steps_after` (how many stand
            before the first that is shown) and `steps_known` (how many there are).

    Raises:
        NotFoundError: there is no such run.
    """
    row = journal.row(run)
    events = [event.as_dict() for event in journal.read(run)]
    state = RunState.replay(run, events)
    first = max(0, len(state.steps) - steps) if after is None else after
    paths = list(state.steps)[first : first + steps]
    page = {"steps": _steps(state, paths, events), "steps_after": first, "steps_known": len(state.steps)}
    experiment = dict(state.experiment)
    said: dict[str, Any] = {"experiment": experiment, "parameters": dict(state.parameters), "question": state.question}
    said |= {"steps_total": experiment.get("steps"), "steps_done": state.done, "error": state.error}
    return row.as_dict() | page | said


def _steps(state: RunState, paths: list[str], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = frozenset(paths)
    ended = {event["path"]: event for event in events if event["kind"] == "ended" and event["path"] in wanted}
    begun = {event["path"]: event["at"] for event in events if event["kind"] == "intended" and event["path"] in wanted}
    return [_shown(state.steps[path], begun[path], ended.get(path, {})) for path in paths]


def _shown(step: Step, begun: str, ended: Mapping[str, Any]) -> dict[str, Any]:
    times = {"origin": ended.get("origin"), "started": ended.get("started") or begun, "ended": ended.get("ended")}
    return {name: getattr(step, name) for name in _OF_STEP} | {"parameters": codec.decode(step.parameters)} | times
