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
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

from labretto.catalog.events import EventLog
from labretto.catalog.finish import finalise
from labretto.catalog.live import Changes
from labretto.catalog.search import Index
from labretto.catalog.store import Catalog, RecordWriter
from labretto.errors import ConflictError, InvalidError, LabError, NotFoundError, StorageError, UnreachableError
from labretto.experiment.check import check
from labretto.experiment.count import count_steps
from labretto.experiment.follow import follow
from labretto.experiment.load import load, load_object
from labretto.experiment.model import Experiment
from labretto.experiment.soe import settle as settle_soe
from labretto.experiment.walk import AbortedError
from labretto.instrument.invocation import new_id
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.engine import OVER, RunState
from labretto.orchestrator.holding import Holding, give_back_later, tidy
from labretto.orchestrator.journal import Journal, RunRow
from labretto.orchestrator.python import Function, check_parameters, load_function, walk_function
from labretto.orchestrator.worker import RETRY_WRITING_AFTER, Instruments, Turn, Walker

logger = logging.getLogger(__name__)

_OPEN = ("running", "waiting", "paused")
"""Words of runs that have begun and are not over."""


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
        self._one = asyncio.Semaphore(1)
        """One run of the lab acts at a time."""
        self._submitted = asyncio.Event()
        self._taken: set[str] = set()
        """Runs that are being done, or that this process lets alone."""
        self._walkers: dict[str, Walker] = {}
        self._over: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._finalising: set[asyncio.Task[Any]] = set()
        self._halted: dict[str, Any] | None = None
        self._closing = False

    async def __aenter__(self) -> Orchestrator:
        await self.journal.own()
        self._halted = self.journal.noted("halt")
        self._start(self._finish_records(self._unfinished_records()))
        for row in self.journal.rows(_OPEN, limit=None):
            self._begin(row.id, Turn(self._one))
        await asyncio.sleep(0)  # each has read its journal now, and can be answered, paused, aborted
        self._start(self._dispatch())
        for name in self._instruments.descriptions():
            self._start(tidy(name, self.journal, self._instruments, self._acts))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        while self._tasks:  # what is cancelled may have begun something
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for over in self._over.values():
            over.set()
        # The threads that close records cannot be cancelled; whoever opens this lab next must not meet them.
        await asyncio.gather(*self._finalising, return_exceptions=True)

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
        # A Python source is executed to be checked, a large sweep is checked for long: not in this loop.
        body = await asyncio.to_thread(self._prepared, submission)
        run = new_id()
        await self.journal.append(run, 0, [("submitted", body)], flush=True)
        self._submitted.set()
        self.changes.publish("run", self.summary(run))
        return self.journal.row(run)

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
        # With the defaults of today: the record says what was used, and a resumed run uses the same.
        known["parameters"] = experiment.values(submission.parameters)
        total = count_steps(experiment, submission.parameters)
        described = {"format": experiment.format, "source": experiment.source, "hash": experiment.hash, "steps": total}
        return known | {"name": submission.name or experiment.name, "experiment": described | {"file": submission.file}}

    def _prepared_python(self, submission: Submission) -> dict[str, Any]:
        source, function = str(submission.experiment), str(submission.function)
        digest = hashlib.sha256(source.encode(errors="backslashreplace")).hexdigest()
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
        if row.state != "queued" or run in self._taken:
            raise ConflictError(f"Run {run} has begun or is over; it is {row.state}.", way_out="Abort it.")
        self._taken.add(run)
        try:
            await self._finish_unwalked(
                run, "aborted", {"detail": "Taken out of the queue before it began.", "who": who}
            )
        except BaseException:
            self._taken.discard(run)
            self._submitted.set()
            raise
        self._finalise_apart(run)

    async def ended(self, run: str) -> RunRow:
        """The run, when it is over; event-driven."""
        while (row := self.journal.row(run)).state not in OVER and not self._closing:
            await self._over.setdefault(run, asyncio.Event()).wait()
        return row

    def halt(self, by: str | None) -> None:
        """Let no run take another step until `reset`, restarts or not; stopping the drivers is the caller's part."""
        self._set_halt({"halted": True, "by": by})

    def stopped(self, outcomes: Sequence[Mapping[str, Any]]) -> None:
        """Keep and tell what came of the halt at each instrument."""
        if self._halted is not None:
            self._halted["stopped"] = list(outcomes)
            self.changes.publish("halt", dict(self._halted))

    def reset(self, by: str | None) -> None:
        """After a halt: let runs go on."""
        self._set_halt({"halted": False, "by": by})

    def _set_halt(self, words: dict[str, Any]) -> None:
        words["at"] = isoformat(now())
        self._halted = words if words["halted"] else None
        self.changes.publish("halt", dict(words))
        self._look_again()
        self.journal.note("halt", self._halted).add_done_callback(_warn)  # not waited for: no disk may hold up a halt

    @property
    def halt_words(self) -> Mapping[str, Any]:
        """Whether, by whom, when, and what came of it at each instrument."""
        return self._halted or {"halted": False}

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

    def summary(self, run: str | RunRow) -> dict[str, Any]:
        """What a list shows of a run."""
        row = (self.journal.row(run) if isinstance(run, str) else run).as_dict()
        # The journal knows of a run's end a moment before its walker does.
        walker = self._walkers.get(row["id"]) if row["state"] not in OVER else None
        return row | (walker.summary() if walker else {"question": None})

    def _look_again(self) -> None:
        for walker in self._walkers.values():
            walker.look_again()

    # Doing --------------------------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        while True:
            await self._next()  # not with the turn in hand: a run that a person has just answered needs it
            turn = Turn(self._one)
            await turn.take()
            if (run := self._first()) is None:  # taken out of the queue meanwhile
                turn.give_back()
            else:
                self._begin(run, turn)

    async def _next(self) -> str:
        """The first run that waits in the queue, as soon as there is one."""
        while True:
            self._submitted.clear()
            if run := self._first():
                return run
            await self._submitted.wait()

    def _first(self) -> str | None:
        try:
            rows = self.journal.rows(("queued",), limit=len(self._taken) + 1)
        except StorageError:
            logger.exception("the queue cannot be read; trying again")
            asyncio.get_running_loop().call_later(RETRY_WRITING_AFTER, self._submitted.set)
            return None
        return next((row.id for row in rows if row.id not in self._taken), None)

    def _begin(self, run: str, turn: Turn) -> None:
        """Do a run in a task of its own, which gives its turn back however it ends."""
        self._taken.add(run)
        self._start(self._do(run, turn)).add_done_callback(lambda _: turn.give_back())

    async def _do(self, run: str, turn: Turn) -> None:
        """One run from where its journal ends to its end."""
        try:
            await self._walk_to_end(run, turn)
        except ConflictError:
            logger.exception("another process writes into this run; it is left to it", extra={"run": run})
            return
        except Exception as error:
            logger.exception("a run cannot be done", extra={"run": run})
            await self._finish_unwalked(run, "failed", _unexpected(error))
        finally:
            self._walkers.pop(run, None)
            turn.give_back()
        self._ended(run)
        self._finalise_apart(run)
        self._taken.discard(run)

    async def _walk_to_end(self, run: str, turn: Turn) -> None:
        state, record = await self._opened(run)
        with record:
            if state.word in OVER:
                return
            walker = self._walkers[run] = self._walker_for(state, record, turn)
            await walker.ready()
            await walker.take_turn()
            await walker.begin()
            ending = await self._outcome(walker)
            await walker.finish(*ending)
            await walker.let_go()

    async def _opened(self, run: str) -> tuple[RunState, RecordWriter]:
        """A run as its journal tells it, and its record, which follows the journal; when the disk takes that."""
        while True:
            events = [event.as_dict() for event in self.journal.read(run)]
            try:
                state = RunState.replay(run, events)
                return state, self._record(events, state.word)
            except StorageError as error:
                logger.warning("a record cannot be opened", extra={"run": run, "why": error.detail})
                self.changes.publish("run", self.journal.row(run).as_dict() | {"reason": str(error)})
            await asyncio.sleep(RETRY_WRITING_AFTER)

    def _record(self, events: Sequence[Mapping[str, Any]], word: str) -> RecordWriter:
        """The record of a run whose state is `word`, with its manifest, followed up to the journal's last event."""
        first = events[0]
        begun = next((event["at"] for event in events if event["kind"] == "started"), None) or isoformat(now())
        words = {name: first[name] for name in ("name", "who", "experiment", "parameters", "versions")}
        times = {"submitted": first["at"], "started": begun, "state": word if word in _OPEN else "running"}
        manifest = {"id": first["run"], **times, **words, "instruments": self._instruments.descriptions()}
        record = self.catalog.begin(first["run"], manifest)
        try:
            for event in events[record.last_number :]:
                record.event(event)
        except BaseException:
            record.close()
            raise
        self.index.upsert(manifest).add_done_callback(_warn)
        return record

    async def _finish_unwalked(self, run: str, state: str, error: Mapping[str, Any]) -> None:
        """The end of a run that no walker writes."""
        row = self.journal.row(run)
        if row.state not in OVER:
            await self.journal.append(run, row.last, [("finished", {"state": state, "error": error})], flush=True)
        self.changes.publish("run", self.summary(run) | {"error": error})
        self._ended(run)

    def _walker_for(self, state: RunState, record: RecordWriter, turn: Turn) -> Walker:
        return Walker(
            state,
            journal=self.journal,
            record=record,
            instruments=self._instruments,
            changes=self.changes,
            turn=turn,
            holding=Holding(state.id, self.journal, self._instruments, self._give_back_later),
            halted=lambda: self.halted,
            on_word=lambda word: self.index.say(state.id, word).add_done_callback(_warn),
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
            # It may import what takes its time: not in this loop.
            await walk_function(*await asyncio.to_thread(_function, state), walker)
        else:
            experiment = settle_soe(load(source), self._instruments.descriptions())
            await walker.hold_all(*experiment.instruments)
            await follow(experiment, state.parameters, walker)

    def _give_back_later(self, name: str, number: int) -> None:
        if not self._closing:
            self._start(give_back_later(name, number, self._instruments))

    def _acts(self, run: str) -> bool:
        return run in self._walkers and self._walkers[run].acts

    def _ended(self, run: str) -> None:
        if over := self._over.pop(run, None):
            over.set()

    def _finalise_apart(self, run: str) -> None:
        task = asyncio.ensure_future(self._finalise(run))
        self._finalising.add(task)
        task.add_done_callback(self._stopped)

    async def _finalise(self, run: str) -> None:
        """Close the record; where the disk is full it stays as readable as it is, and the next start tries again."""
        try:
            manifest = await asyncio.to_thread(self._close_record, run)
            await asyncio.wrap_future(self.index.upsert(manifest))
        except (LabError, OSError) as error:
            logger.warning("a record could not be closed", extra={"run": run, "why": str(error)})
        else:
            self.changes.publish("record", {"run": run})

    def _close_record(self, run: str) -> Mapping[str, Any]:
        """Bring the record up to its journal, if a full disk or a crash left it behind, and close it."""
        if self._recorded(run) < self.journal.row(run).last:
            events = [event.as_dict() for event in self.journal.read(run)]
            self._record(events, self.journal.row(run).state).close()
        return finalise(self.catalog.find(run))

    def _recorded(self, run: str) -> int:
        """Number of the last event that the record holds."""
        try:
            with contextlib.closing(EventLog(self.catalog.find(run))) as log:
                return log.last_number
        except NotFoundError:
            return 0

    def _unfinished_records(self) -> list[str]:
        """Runs that ended just before a crash: their records are still open."""
        found = [each["id"] for word in _OPEN for each in self.index.search(state=word, limit=10_000)]
        return [run for run in found if self._is_over(run)]

    def _is_over(self, run: str) -> bool:
        try:
            return self.journal.row(run).state in OVER
        except NotFoundError:  # a record from another lab
            return False

    async def _finish_records(self, runs: Sequence[str]) -> None:
        for run in runs:
            await self._finalise(run)

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._stopped)
        return task

    def _stopped(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._finalising.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a part of the orchestrator stopped", exc_info=error)


def _function(state: RunState) -> tuple[Function, dict[str, Any]]:
    words = state.experiment
    function = load_function(words["source"], words["function"], words["hash"])
    return function, check_parameters(function, state.parameters)


def _warn(written: Future[Any]) -> None:
    if not written.cancelled() and (error := written.exception()):
        logger.warning("a halt or a record's place in the index was not written", extra={"why": str(error)})


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
