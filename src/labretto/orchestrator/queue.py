"""The queue: runs are submitted, done one by one, and after a crash gone on with where their journals end.

A run that waits for a person gives its turn to the next. Nothing here polls: a submission wakes the dispatcher.
How a run is done is in `worker`, what its events mean in `engine`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import platform
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

from labretto.catalog.finish import finalise
from labretto.catalog.live import Changes
from labretto.catalog.search import Index
from labretto.catalog.store import Catalog, RecordWriter
from labretto.errors import ConflictError, InvalidError, LabError, StorageError, UnreachableError
from labretto.experiment.check import check
from labretto.experiment.follow import count_steps, follow
from labretto.experiment.load import load, load_object
from labretto.experiment.model import Experiment
from labretto.experiment.soe import settle as settle_soe
from labretto.instrument.invocation import new_id
from labretto.orchestrator.engine import OVER, RunState
from labretto.orchestrator.journal import Journal, RunRow
from labretto.orchestrator.python import check_parameters, load_function, walk_function
from labretto.orchestrator.worker import AbortedError, Instruments, Turn, Walker

logger = logging.getLogger(__name__)


class LabInstruments(Instruments, Protocol):
    """The instruments of a lab, with what checking an experiment needs."""

    def descriptions(self) -> Mapping[str, Mapping[str, Any]]:
        """Name → description (JSON form), of every instrument that has been seen."""

    def why_unknown(self, name: str) -> str | None:
        """Why an instrument of the lab has not been seen; None if the lab has none of that name."""


@dataclass(frozen=True)
class Submission:
    """What somebody wants done."""

    experiment: str | Mapping[str, Any]
    """The text of a file, or the same as an object; for Python the source text."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    function: str | None = None
    """Python: the name of the async function in the source; None for a file."""
    name: str | None = None
    """Default: the experiment's own."""
    who: str | None = None
    file: str | None = None
    """Where the text came from, for people."""


class Orchestrator:
    """Owns the queue of one lab. Use `async with`.

    Args:
        journal: where decisions are kept; closed by the caller.
        catalog, index: where records go.
        instruments: where runs act.
        changes: where viewers are told.
    """

    def __init__(
        self, *, journal: Journal, catalog: Catalog, index: Index, instruments: LabInstruments, changes: Changes
    ) -> None:
        self.journal = journal
        self.catalog = catalog
        self.index = index
        self.changes = changes
        self._instruments = instruments
        self._turn = Turn()
        self._submitted = asyncio.Event()
        self._walkers: dict[str, Walker] = {}
        self._over: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._halted: dict[str, Any] | None = None
        self._lease = 0

    async def __aenter__(self) -> Orchestrator:
        self._lease = await self.journal.next_lease()
        for row in self.journal.rows(("running", "waiting", "paused"), limit=1_000_000):
            self._start(self._do(row.id, holds_turn=False))
        self._start(self._finish_old_records())
        self._start(self._dispatch())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Submitting ---------------------------------------------------------------------------------------------------

    def check(self, submission: Submission) -> list[dict[str, Any]]:
        """All that stands against an experiment, each with `detail` and place; empty if it can run."""
        try:
            self._prepared(submission)
        except InvalidError as error:
            return error.faults or [{"detail": error.detail, "way_out": error.way_out}]
        return []

    async def submit(self, submission: Submission) -> RunRow:
        """Put a run into the queue; when this answers, it is on the disk.

        Raises:
            InvalidError: it can never run; lists all faults.
            StorageError: the disk does not take it; nothing was submitted.
        """
        # A Python source is executed to be checked, and what it imports may take its time: not in this loop.
        python = submission.function is not None
        body = await asyncio.to_thread(self._prepared, submission) if python else self._prepared(submission)
        run = new_id()
        (event,) = await self.journal.append(run, 0, [("submitted", body)], flush=True)
        self._submitted.set()
        row = RunRow(run, body["name"], submission.who, "queued", None, 1, 0, event.at, None, None)
        self.changes.publish("run", row.as_dict())
        return row

    def _prepared(self, submission: Submission) -> dict[str, Any]:
        """The body of the *submitted* event."""
        known = {"parameters": dict(submission.parameters), "who": submission.who, "versions": _versions()}
        if submission.function is not None:
            return known | self._prepared_python(submission)
        experiment = _loaded(submission)
        for name in experiment.instruments:
            if name not in self._instruments.descriptions() and (why := self._instruments.why_unknown(name)):
                raise UnreachableError(f"{why}; nothing was submitted.", way_out="Mend it, then submit again.")
        experiment = settle_soe(experiment, self._instruments.descriptions())
        faults = check(experiment, submission.parameters, self._instruments.descriptions())
        if faults:
            count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
            raise InvalidError(
                f"The experiment {experiment.name!r} cannot run: {count}; nothing was submitted.",
                faults=[fault.as_dict() for fault in faults],
            )
        total = count_steps(experiment, submission.parameters)
        described = {"format": experiment.format, "source": experiment.source, "hash": experiment.hash, "steps": total}
        return known | {"name": submission.name or experiment.name, "experiment": described | {"file": submission.file}}

    def _prepared_python(self, submission: Submission) -> dict[str, Any]:
        source, function = str(submission.experiment), str(submission.function)
        digest = hashlib.sha256(source.encode()).hexdigest()
        check_parameters(load_function(source, function, digest), submission.parameters)
        described = {"format": "python", "source": source, "hash": digest, "function": function}
        return {"name": submission.name or function, "experiment": described | {"file": submission.file}}

    # What people may do -------------------------------------------------------------------------------------------

    def walker(self, run: str) -> Walker:
        """The run, being done.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has not begun, or is over.
        """
        if run in self._walkers:
            return self._walkers[run]
        row = self.journal.row(run)
        raise ConflictError(f"Run {run} is {row.state}; only a run that has begun can do this.")

    async def remove(self, run: str, who: str | None) -> None:
        """Take a run out of the queue before it begins; its record says so."""
        row = self.journal.row(run)
        if row.state != "queued" or run in self._walkers:
            raise ConflictError(f"Run {run} is {row.state}, not queued.", way_out="Abort it.")
        error = {"detail": "Taken out of the queue before it began.", "who": who}
        await self.journal.append(run, row.last, [("finished", {"state": "aborted", "error": error})], flush=True)
        self.changes.publish("run", self.journal.row(run).as_dict())
        self._ended(run)

    async def ended(self, run: str) -> RunRow:
        """The run, when it is over; event-driven."""
        row = self.journal.row(run)
        if row.state not in OVER:
            await self._over.setdefault(run, asyncio.Event()).wait()
        return self.journal.row(run)

    def halt(self, by: str | None) -> None:
        """Let no run take another step until `reset`; stopping the drivers is the caller's part."""
        self._halted = {"halted": True, "by": by}
        self.changes.publish("halt", self._halted)
        self._look_again()

    def reset(self, by: str | None) -> None:
        """After a halt: let runs go on."""
        self._halted = None
        self.changes.publish("halt", {"halted": False, "by": by})
        self._look_again()

    @property
    def halted(self) -> bool:
        """Between a halt and its reset."""
        return self._halted is not None

    def user_of(self, instrument: str) -> str | None:
        """The run that acts on an instrument at this moment; None if none does."""
        for run, walker in self._walkers.items():
            if any(step.instrument == instrument for step in walker.in_flight()):
                return run
        return None

    def summary(self, run: str) -> dict[str, Any]:
        """What a list shows of a run."""
        row = self.journal.row(run).as_dict()
        walker = self._walkers.get(run)
        return row | walker.summary() if walker else row

    def _look_again(self) -> None:
        for walker in self._walkers.values():
            walker.look_again()

    # Doing --------------------------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        while True:
            await self._turn.taken()
            try:
                run = await self._next()
            except BaseException:
                self._turn.give_back()
                raise
            self._start(self._do(run, holds_turn=True))

    async def _next(self) -> str:
        while True:
            self._submitted.clear()
            if rows := [row for row in self.journal.rows(("queued",), limit=2) if row.id not in self._walkers]:
                return rows[0].id
            await self._submitted.wait()

    async def _do(self, run: str, *, holds_turn: bool) -> None:
        """One run from where its journal ends to its end."""
        if not holds_turn:
            await self._turn.taken()
        try:
            state = RunState.replay(run, (event.as_dict() for event in self.journal.read(run)))
            with self._record(state) as record:
                walker = self._walkers[run] = self._walker_for(state, record)
                await walker.begin()
                ending = await self._outcome(walker)
                await walker.finish(*ending)
        except ConflictError:
            logger.exception("another process writes into this run; it is left to it", extra={"run": run})
        finally:
            self._walkers.pop(run, None)
            self._turn.give_back()
        self._ended(run)
        await self._finalise(run)

    def _record(self, state: RunState) -> RecordWriter:
        """The record of a run, with its manifest, followed up to the journal's last event."""
        events = self.journal.read(state.id)
        described = self._instruments.descriptions()
        first = events[0]
        manifest = {"id": state.id, "submitted": first.at, "state": "running", "instruments": described, **first.body}
        record = self.catalog.begin(state.id, manifest)
        for event in events[record.last_number :]:
            record.event(event.as_dict())
        self.index.upsert(manifest)
        return record

    def _walker_for(self, state: RunState, record: RecordWriter) -> Walker:
        return Walker(
            state,
            journal=self.journal,
            record=record,
            instruments=self._instruments,
            changes=self.changes,
            turn=self._turn,
            lease=self._lease,
            halted=lambda: self.halted,
        )

    async def _outcome(self, walker: Walker) -> tuple[str, Mapping[str, Any] | None]:
        """Walk the experiment; its end as (state, error)."""
        try:
            await self._walk(walker)
        except AbortedError as error:
            return "aborted", error.problem()
        except LabError as error:
            return "failed", error.problem()
        except Exception as error:  # noqa: BLE001 - a Python experiment may raise anything; it fails its run
            return "failed", _unexpected(error)
        return "succeeded", None

    async def _walk(self, walker: Walker) -> None:
        state = walker.state
        source = state.experiment["source"]
        if state.experiment["format"] == "python":
            function = load_function(source, state.experiment["function"], state.experiment["hash"])
            await walk_function(function, check_parameters(function, state.parameters), walker)
        else:
            experiment = settle_soe(load(source), self._instruments.descriptions())
            await follow(experiment, state.parameters, walker)

    def _ended(self, run: str) -> None:
        if over := self._over.pop(run, None):
            over.set()

    async def _finalise(self, run: str) -> None:
        """Close the record; where the disk is full it stays as readable as it is, and the next start tries again."""
        try:
            manifest = await asyncio.to_thread(lambda: finalise(self.catalog.find(run)))
            await asyncio.wrap_future(self.index.upsert(manifest))
        except StorageError as error:
            logger.warning("a record could not be closed", extra={"run": run, "why": error.detail})
        else:
            self.changes.publish("record", {"run": run})

    async def _finish_old_records(self) -> None:
        """Close the records of runs that ended just before a crash."""
        for found in self.index.search(state="running", limit=1_000_000):
            with contextlib.suppress(LabError):
                if self.journal.row(found["id"]).state in OVER:
                    self._record(RunState.replay(found["id"], [])).close()
                    await self._finalise(found["id"])

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a part of the orchestrator stopped", exc_info=error)


def _loaded(submission: Submission) -> Experiment:
    if isinstance(submission.experiment, str):
        return load(submission.experiment, file=submission.file)
    return load_object(submission.experiment, file=submission.file)


def _versions() -> dict[str, str]:
    return {"labretto": version("labretto"), "python": platform.python_version()}


def _unexpected(error: Exception) -> dict[str, Any]:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    trace = "".join(traceback.format_exception(error))
    return {"title": "The experiment raised an error", "detail": f"The experiment raised {text}", "traceback": trace}
