"""The line: what people may do to runs that wait in the queue, each as an event in the run's journal.

Who waits is not touched in memory: a change is one appended event with the number that was expected, so of two people
who change the same run at once the second is told. While a person changes a run it cannot begin; one that has begun
can no more be changed, but for its labels and how often it is to be done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labretto.errors import ConflictError, InvalidError
from labretto.orchestrator.engine import OVER, RunState
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.submission import Submission
from labretto.orchestrator.table import RunRow
from labretto.orchestrator.terms import TERMS, checked_terms, together

CHANGEABLE = ("parameters", "name", "priority", "not_before", "finish_by", "labels", "again")
"""What can be changed of a run that waits."""
Summary = Mapping[str, Any]
"""What a list shows of a run."""
_BEGUN = frozenset({"labels", "again", "finish_by"})
_OVER = frozenset({"labels"})
_CHECKED = ("parameters", "experiment", "instruments", "forecast")
"""What an edit of parameters may change in the body of *submitted*."""


@dataclass(frozen=True)
class Edit:
    """What somebody wants changed of a run."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    """Any of `CHANGEABLE`; `parameters` names those that change, the others stay."""
    who: str | None = None
    expected: int | None = None
    """Number of the run's last event as the person saw it; None: whatever it is."""


class Line:
    """What waits in the queue of a lab."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._journal = orchestrator.journal
        self._one_by_one = asyncio.Lock()

    # Changing -----------------------------------------------------------------------------------------------------

    async def hold(self, run: str, who: str | None, why: str | None = None) -> Summary:
        """Keep a run from beginning until it is released."""
        reason = f"Held by {who or 'a person'}" + (f": {why}" if why else ".")
        return await self._note(run, "held", {"who": who, "reason": reason})

    async def release(self, run: str, who: str | None) -> Summary:
        """Let a run that was held begin when its turn comes."""
        if self._journal.row(run).state == "queued" and not self._journal.row(run).held:
            raise ConflictError(f"Run {run} is not held; nothing was changed.")
        return await self._note(run, "released", {"who": who})

    async def move(self, run: str, where: str, of: str | None, who: str | None) -> Summary:
        """Put a run first, last, before or after another one, whose priority it takes.

        Raises:
            InvalidError: there is no such `where`, or it says nothing of which other run.
            ConflictError: one of the two does not wait any more.
        """
        if where in ("before", "after") and (of is None or of == run):
            raise InvalidError(f"Nothing is said of which run it is to stand {where}.", way_out="Name another run.")
        return await self._note(run, "moved", {"where": where, "of": of, "who": who})

    async def edit(self, run: str, edit: Edit) -> Summary:
        """Change a run; parameters are checked as at its submission, and all faults told at once.

        Raises:
            InvalidError: `faults` lists everything; nothing was changed.
            ConflictError: it has begun, is over, or was changed meanwhile.
        """
        row = self._journal.row(run)
        _check_same(row, edit.expected)
        _check_names(edit.changes)
        _check_state(row, edit.changes)
        changed = await asyncio.to_thread(self._changed, run, edit.changes)
        return await self._note(run, "edited", {"changed": changed, "who": edit.who}, expected=row.last)

    def copy(self, run: str, changes: Mapping[str, Any], who: str | None) -> Submission:
        """A run of before, to be submitted again with other parameters or on other terms. It takes its time."""
        _check_parameters(changes)
        state = self._state(run)
        parameters = {**state.parameters, **changes.get("parameters", {})}
        terms = {name: value for name, value in changes.items() if name in TERMS}
        labels = {"labels": list(self._journal.row(run).labels)} | terms
        return _submission(state, parameters, who=who, terms=labels | {"name": terms.get("name", state.name)}, of=run)

    def _changed(self, run: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What the event says; all faults of parameters and terms together."""
        terms = {name: value for name, value in changes.items() if name != "parameters"}
        return together(lambda: self._changed_parameters(run, changes), lambda: checked_terms(terms))

    def _changed_parameters(self, run: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        if "parameters" not in changes:
            return {}
        state = self._state(run)
        wanted = _submission(state, {**state.parameters, **changes["parameters"]}, who=state.who)
        body = self._orchestrator.prepared(wanted)
        return {name: body[name] for name in _CHECKED if name in body}

    def _state(self, run: str) -> RunState:
        self._journal.row(run)
        return RunState.replay(run, (event.as_dict() for event in self._journal.read(run)))

    # Writing ------------------------------------------------------------------------------------------------------

    async def _note(self, run: str, kind: str, body: Mapping[str, Any], *, expected: int | None = None) -> Summary:
        """Append the event; of two people who change one run at once, the second is told."""
        row = self._journal.row(run)
        if kind == "edited":
            _check_state(row, body["changed"])  # it may have begun while its parameters were checked
        if row.state == "queued":
            async with self._one_by_one, self._orchestrator.withheld(run) as row:
                _check_same(row, expected)
                await self._journal.append(run, row.last, [(kind, body)], flush=True)
        elif kind != "edited":
            raise ConflictError(
                f"Run {run} does not wait any more, it is {row.state}; nothing was changed.",
                way_out="Submit it again as a new run." if row.state in OVER else "Pause or abort it.",
            )
        elif row.state in OVER:
            await self._journal.append(run, row.last, [(kind, body)], flush=True)
        else:
            await self._orchestrator.walker(run).note(kind, body)
        if kind == "moved":  # where no place was left between two, others got new ones
            self._orchestrator.changes.publish("queue", dict(self._orchestrator.switch.words))
        return await self._orchestrator.changed(run)


def _check_same(row: RunRow, expected: int | None) -> None:
    if expected is not None and row.last != expected:
        raise ConflictError(
            f"Run {row.id} was changed meanwhile: it has {row.last} events, not {expected}; nothing was changed.",
            way_out="Look at it again, then say once more what is to be changed.",
        )


def _check_names(changes: Mapping[str, Any]) -> None:
    if not changes:
        raise InvalidError("Nothing is said of what is to be changed.", way_out=f"There are {', '.join(CHANGEABLE)}.")
    _check_parameters(changes)


def _check_parameters(changes: Mapping[str, Any]) -> None:
    if not isinstance(changes.get("parameters", {}), Mapping):
        raise InvalidError("parameters is no object.", way_out='Write for instance {"x": 1}.')


def _check_state(row: RunRow, changes: Mapping[str, Any]) -> None:
    """Of a run that has begun little can be changed, of one that is over only its labels."""
    if row.state == "queued":
        return
    allowed = _OVER if row.state in OVER else _BEGUN
    if late := sorted(set(changes) - allowed):
        raise ConflictError(
            f"Run {row.id} is {row.state}: {', '.join(late)} can no more be changed; nothing was changed.",
            way_out="Submit it again as a new run, with other parameters (`again`).",
        )


def _submission(
    state: RunState,
    parameters: Mapping[str, Any],
    *,
    who: str | None,
    terms: Mapping[str, Any] | None = None,
    of: str | None = None,
) -> Submission:
    """What was submitted as a run, with these parameters."""
    experiment = state.experiment
    words = {"function": experiment.get("function"), "file": experiment.get("file"), "who": who}
    return Submission(experiment["source"], parameters, **words, name=state.name, terms=terms or {}, copy_of=of)
