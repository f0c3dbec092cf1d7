"""The outlook: what lies ahead of the runs that wait and go on, and what became of what was foreseen.

The forecast of a run is made at its submission and kept in its journal; what is left of a run that goes on is foreseen
anew when somebody asks. When each begins and ends follows from the order of the queue (`expected`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from labretto.experiment.compared import compare
from labretto.experiment.estimate import Spread
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.engine import OVER, RunState
from labretto.orchestrator.expected import Expected, GoingOn, ToCome, expect
from labretto.orchestrator.foresight import AT_SUBMISSION, Foresight, View
from labretto.orchestrator.queue import Orchestrator, Submission
from labretto.orchestrator.records import OPEN
from labretto.orchestrator.submission import LabInstruments, prepared
from labretto.orchestrator.table import RunRow

MOST_RUNS = 200
"""Runs that an outlook goes through; what waits behind them is not told."""


class Outlook:
    """Looks ahead of one lab's queue.

    Args:
        orchestrator: whose.
        foresight: makes the forecasts.
        instruments: what experiments are checked against.
        clock: tells the time.
    """

    def __init__(
        self,
        orchestrator: Orchestrator,
        foresight: Foresight,
        instruments: LabInstruments,
        *,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._orchestrator = orchestrator
        self._instruments = instruments
        self._journal = orchestrator.journal
        self._foresight = foresight
        self._clock = clock
        self._submitted: dict[str, tuple[int, Mapping[str, Any]]] = {}
        """Run → number of its last event when it was looked at, and what its *submitted* says, edits included."""

    async def of_submission(self, submission: Submission) -> dict[str, Any]:
        """What a run would be like, and when it would begin and end if it were submitted now.

        Raises:
            InvalidError: it can never run; lists all faults.
        """
        view = await self._foresight.view()
        body = await asyncio.to_thread(prepared, submission, self._instruments, view)
        row = _as_if_submitted(body, isoformat(self._clock()))
        runs = await asyncio.to_thread(self._expected, view, row, body)
        expected = next(each for each in runs if each.run == row.id)
        return {"name": body["name"], "forecast": body["forecast"], "expected": expected.as_dict()}

    async def of_run(self, run: str) -> dict[str, Any]:
        """What was foreseen of a run; what is expected now, if it is not over; else what happened."""
        row = self._journal.row(run)
        foreseen = (await asyncio.to_thread(self._said, row)).get("forecast")
        if row.state in OVER:
            events = await asyncio.to_thread(self._journal.read, run)
            compared = compare(foreseen, [each.as_dict() for each in events]) if foreseen else None
            return {"run": run, "foreseen": foreseen, "expected": None, "compared": compared}
        expected = next((each for each in await self.expected() if each.run == run), None)
        return {"run": run, "foreseen": foreseen, "expected": expected and expected.as_dict(), "compared": None}

    async def expected(self) -> list[Expected]:
        """When each run that is not over is expected to begin and to end, in the order of the queue."""
        await self._foresight.look()
        return await asyncio.to_thread(self._expected, self._foresight.latest(AT_SUBMISSION))

    def _expected(
        self, view: View, more: RunRow | None = None, body: Mapping[str, Any] | None = None
    ) -> list[Expected]:
        begun = self._journal.rows(OPEN, limit=MOST_RUNS)
        waiting = self._journal.rows(("queued",), limit=MOST_RUNS)
        self._forget({row.id for row in (*begun, *waiting)})
        to_come = [ToCome(row, *self._foreseen(self._said(row))) for row in waiting]
        if more is not None and body is not None:
            to_come.append(ToCome(more, *self._foreseen(body)))
        at = self._clock()
        going_on = [self._going_on(row, view, at) for row in begun]
        return list(expect(going_on, to_come, now=at, limit=self._orchestrator.limit))

    def _going_on(self, row: RunRow, view: View, at: datetime) -> GoingOn:
        events = self._journal.read(row.id)
        state = RunState.replay(row.id, (event.as_dict() for event in events))
        left = view.of_rest(state, at).seconds
        began = datetime.fromisoformat(row.started) if row.started else None
        instruments = tuple(dict.fromkeys([*row.instruments, *sorted(state.needs)]))
        return GoingOn(row.id, began, left, instruments, _with_edits(events).get("finish_by"))

    @staticmethod
    def _foreseen(said: Mapping[str, Any]) -> tuple[Spread | None, str | None]:
        seconds = (said.get("forecast") or {}).get("seconds")
        return Spread.from_dict(seconds) if seconds else None, said.get("finish_by")

    def _said(self, row: RunRow) -> Mapping[str, Any]:
        """The body of a run's *submitted*, with what was edited since."""
        known = self._submitted.get(row.id)
        if known is None or (known[0] != row.last and row.state == "queued"):
            known = self._submitted[row.id] = (row.last, _with_edits(self._journal.read(row.id)))
        return known[1]

    def _forget(self, open_: set[str]) -> None:
        for run in self._submitted.keys() - open_:
            del self._submitted[run]


def _with_edits(events: Sequence[Any]) -> Mapping[str, Any]:
    body = dict(events[0].body)
    for event in events:
        if event.kind == "edited":
            body |= event.body["changed"]
    return body


def _as_if_submitted(body: Mapping[str, Any], at: str) -> RunRow:
    """The row that a run would have at the end of the queue."""
    waits: dict[str, Any] = {
        word: body[word] for word in ("priority", "not_before", "held") if body.get(word) is not None
    }
    words: dict[str, Any] = {
        "name": body["name"],
        "who": None,
        "state": "queued",
        "reason": None,
        "last": 1,
        "submitted": at,
    }
    times: dict[str, Any] = {"started": None, "ended": None, "position": float("inf")}
    return RunRow(id="", instruments=tuple(body.get("instruments") or ()), **words, **times, **waits)
