"""The queue: runs are submitted, begun when their instruments are free, and after a crash gone on with.

Runs with nothing in common act at the same time; which waiting run begins next is decided in `order`, who has which
instrument in `reservations`. Nothing here polls: whatever may let a run begin wakes the dispatcher. How a run is done
is in `worker`, what its events mean in `engine`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

from labretto.catalog.live import Changes
from labretto.catalog.search import Index
from labretto.catalog.store import Catalog, RecordWriter
from labretto.errors import ConflictError, InvalidError, LabError, StorageError
from labretto.experiment.follow import follow
from labretto.experiment.load import load
from labretto.experiment.soe import settle as settle_soe
from labretto.experiment.walk import AbortedError
from labretto.instrument.invocation import new_id
from labretto.instrument.reading import now
from labretto.orchestrator.engine import OVER, RunState
from labretto.orchestrator.foresight import AT_SUBMISSION, Foresight
from labretto.orchestrator.halting import Halt
from labretto.orchestrator.holding import Holding, give_back_later, tidy
from labretto.orchestrator.journal import Also, Journal
from labretto.orchestrator.loading import EXPERIMENT, Function, check_parameters, load_function
from labretto.orchestrator.order import next_due, next_runs, short, standings
from labretto.orchestrator.python import walk_function
from labretto.orchestrator.records import OPEN, Records
from labretto.orchestrator.runlog import RETRY_WRITING_AFTER, RunLog
from labretto.orchestrator.seat import Seat, Seats
from labretto.orchestrator.submission import LabInstruments as LabInstruments, Submission as Submission, prepared
from labretto.orchestrator.switch import Switch
from labretto.orchestrator.table import RunRow
from labretto.orchestrator.worker import Walker

logger = logging.getLogger(__name__)

LOOK_EVERY = 60.0
"""Seconds after which a clock that was set forward is noticed by a run that waits for its time."""


class Orchestrator:
    """Owns the queue of one lab. Use `async with`.

    Args:
        journal: where decisions are kept; closed by the caller.
        catalog, index: where records go.
        instruments: where runs act.
        changes: where viewers are told.
        limit: how many runs may act at once; None: as many as have nothing in common.
        autostart: False: nothing begins before a person has started the queue.
        foresight: makes the forecasts that are kept with runs; None: there are none.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        catalog: Catalog,
        index: Index,
        instruments: LabInstruments,
        changes: Changes,
        limit: int | None = None,
        autostart: bool = True,
        foresight: Foresight | None = None,
    ) -> None:
        self.journal = journal
        self.foresight = foresight
        self.catalog = catalog
        self.index = index
        self.changes = changes
        self._instruments = instruments
        self._records = Records(journal=journal, catalog=catalog, index=index, instruments=instruments, changes=changes)
        self._halt = Halt(journal, changes, self._look_again)
        self.switch = Switch(journal, changes, autostart=autostart)
        self._seats = Seats(limit, self._named, self._seats_changed)
        self._awake = asyncio.Event()
        """Something has changed that may let a run begin."""
        self._taken: set[str] = set()
        """Runs that are being done, or that the dispatcher is to let alone."""
        self._walkers: dict[str, Walker] = {}
        self._waits_for: dict[str, str] = {}
        """What each run was last told to wait for."""
        self._over: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    async def __aenter__(self) -> Orchestrator:
        await self.journal.own()
        self._halt.remember()
        self._start(self._records.close_left_open())
        for row in self.journal.rows(OPEN, limit=None):
            self._begin(row)
        await asyncio.sleep(0)  # each has read its journal now, has its instruments, and can be answered and aborted
        self._start(self._dispatch())
        for name in self._instruments.descriptions():
            self._start(tidy(name, self.journal, self._instruments, self._has_to_itself))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        while self._tasks:  # what is cancelled may have begun something
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for over in self._over.values():
            over.set()
        await self._halt.close()
        await self._records.wait()

    # Submitting ---------------------------------------------------------------------------------------------------

    def check(self, submission: Submission) -> list[dict[str, Any]]:
        """All that stands against an experiment, each with `detail` and place; empty if it can run."""
        try:
            prepared(submission, self._instruments)
        except InvalidError as error:
            return error.faults or [{"detail": error.detail, "way_out": error.way_out}]
        return []

    async def submit(self, submission: Submission, *, also: Callable[[str], Also] | None = None) -> RunRow:
        """Put a run into the queue; when this answers, it is on the disk.

        Args:
            submission: what is wanted.
            also: given the run's id, what is written in the same transaction.

        Raises:
            InvalidError: it can never run; lists all faults.
            StorageError: the disk does not take it; nothing was submitted.
        """
        if self.foresight is not None:
            await self.foresight.look()
        # A Python source is executed to be checked, a large sweep is checked for long: not in this loop.
        body = await asyncio.to_thread(self.prepared, submission)
        run = new_id()
        together = {"also": also(run)} if also else {}
        await self.journal.append(run, 0, [("submitted", body)], flush=True, **together)
        self.wake()
        self.changes.publish("run", self.summary(run))
        return self.journal.row(run)

    def prepared(self, submission: Submission) -> dict[str, Any]:
        """The body of its *submitted*; see `submission.prepared`."""
        view = None if self.foresight is None else self.foresight.latest(AT_SUBMISSION)
        return prepared(submission, self._instruments, view)

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
        raise ConflictError(
            f"Run {run} is {row.state}; only a run that has begun and is not over can do this.",
            way_out="Take it out of the queue." if row.state == "queued" else "Submit it again as a new run.",
        )

    async def remove(self, run: str, who: str | None) -> None:
        """Take a run out of the queue before it begins; its record says so."""
        async with self.withheld(run):
            error = {"detail": "Taken out of the queue before it began.", "who": who}
            await self._finish_unwalked(run, "aborted", error)
        self._records.close_apart(run)

    @contextlib.asynccontextmanager
    async def withheld(self, run: str) -> AsyncIterator[RunRow]:
        """In this block a run that waits in the queue does not begin.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has begun or is over.
        """
        row = self.journal.row(run)
        if row.state != "queued" or run in self._taken:
            raise ConflictError(f"Run {run} has begun or is over; it is {row.state}.", way_out="Abort it.")
        self._taken.add(run)
        try:
            yield row
        finally:
            self._taken.discard(run)
            self.wake()

    async def changed(self, run: str) -> dict[str, Any]:
        """Tell what a person has changed of a run, and let begin what may begin now; its summary."""
        self._waits_for.pop(run, None)
        self.look_at_queue()
        row = self.journal.row(run)
        self.changes.publish("run", summary := self.summary(row))
        await self._records.changed(row)
        return summary

    async def ended(self, run: str) -> RunRow:
        """The run, when it is over; event-driven."""
        while (row := self.journal.row(run)).state not in OVER and not self._closing:
            await self._over.setdefault(run, asyncio.Event()).wait()
        return row

    def halt(self, by: str | None) -> None:
        """Let no run take another step until `reset`, restarts or not; stopping the drivers is the caller's part."""
        self._halt.halt(by)

    async def halt_kept(self, within: float) -> bool:
        """Whether the last word about a halt is on the disk; waits so many seconds for that."""
        return await self._halt.kept(within)

    def stopped(self, outcomes: Sequence[Mapping[str, Any]]) -> None:
        """Keep and tell what came of the halt at each instrument."""
        self._halt.stopped(outcomes)

    def reset(self, by: str | None) -> None:
        """After a halt: let runs go on."""
        self._halt.reset(by)

    @property
    def halt_words(self) -> Mapping[str, Any]:
        """Whether, by whom, when, and what came of it at each instrument."""
        return self._halt.words

    @property
    def halted(self) -> bool:
        """Between a halt and its reset."""
        return self._halt.is_on

    def _look_again(self) -> None:
        for walker in self._walkers.values():
            walker.look_again()

    # What can be seen ---------------------------------------------------------------------------------------------

    def user_of(self, instrument: str) -> str | None:
        """The run that acts on an instrument at this moment; None if none does."""
        for run, walker in self._walkers.items():
            if any(step.instrument == instrument for step in walker.in_flight()):
                return run
        return None

    def holder_of(self, instrument: str) -> str | None:
        """The run that has an instrument, also between two steps, or waits for it first; None if none does."""
        return self._seats.table.users.get(instrument)

    @property
    def limit(self) -> int | None:
        """How many runs may act at once; None: as many as have nothing in common."""
        return self._seats.table.limit

    def summary(self, run: str | RunRow) -> dict[str, Any]:
        """What a list shows of a run."""
        row = (self.journal.row(run) if isinstance(run, str) else run).as_dict()
        # The journal knows of a run's end a moment before its walker does.
        walker = self._walkers.get(row["id"]) if row["state"] not in OVER else None
        if walker is None and row["state"] == "queued":
            row["reason"] = self._waits_for.get(row["id"]) or row["reason"]
        return row | (walker.summary() if walker else {"question": None, "questions": []})

    def _named(self, run: str) -> str:
        """How a run is called where another waits for it."""
        return f'run {short(run)} "{self._walkers[run].state.name}"' if run in self._walkers else f"run {run}"

    # Dispatching --------------------------------------------------------------------------------------------------

    def look_at_queue(self) -> None:
        """Begin what may begin, and say of the others why they wait, before whoever changed something is answered."""
        self._begin_who_may()
        self.wake()  # another time may be due first

    def wake(self) -> None:
        """Something has changed that may let a run begin."""
        self._awake.set()

    def _seats_changed(self) -> None:
        """Somebody has, or has no longer, what another may wait for."""
        self.wake()
        for run, walker in self._walkers.items():
            self._tell_if_new(run, walker.seat.why, walker.summary)

    def _tell_if_new(self, run: str, why: str | None, summary: Any) -> None:
        if self._waits_for.get(run) == why:
            return
        if why is None:
            self._waits_for.pop(run, None)
        else:
            self._waits_for[run] = why
        self.changes.publish("run", summary())

    async def _dispatch(self) -> None:
        """Begin what may begin, as soon as it may."""
        while True:
            self._awake.clear()
            due = self._begin_who_may()
            wait = None if due is None else min(max(0.0, due), LOOK_EVERY)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), wait)

    def _begin_who_may(self) -> float | None:
        """Begin every run that may; answers the seconds after which another may, if only time keeps it."""
        try:
            queued = [row for row in self.journal.rows(("queued",), limit=None) if row.id not in self._taken]
        except StorageError:
            logger.exception("the queue cannot be read; trying again")
            return RETRY_WRITING_AFTER
        if not queued:
            return None
        if why := self.switch.why:
            self._tell_that_nothing_begins(queued, why)
            return None
        time, table = now(), self._seats.table
        rows = {row.id: row for row in queued}
        for run in next_runs(queued, frozenset(table.users), now=time, running=table.running, limit=table.limit):
            self._begin(rows.pop(run))
        self._tell_who_waits([*rows.values()])
        due = next_due([*rows.values()], time)
        return None if due is None else (due - now()).total_seconds()

    def _tell_that_nothing_begins(self, rows: Sequence[RunRow], why: str) -> None:
        for row in rows:
            self._tell_if_new(row.id, row.reason if row.held else why, lambda row=row: self.summary(row))

    def _tell_who_waits(self, rows: Sequence[RunRow]) -> None:
        table, by_id = self._seats.table, {row.id: row for row in rows}
        for each in standings(rows, self._seats.users(), now=now(), running=table.running, limit=table.limit):
            self._tell_if_new(each.run, each.why, lambda run=each.run: self.summary(by_id[run]))

    def _begin(self, row: RunRow) -> None:
        """Do a run in a task of its own, which gives back its seat however it ends."""
        self._taken.add(row.id)
        self._waits_for.pop(row.id, None)
        seat = self._seats.of(row.id, (-row.priority, row.position), row.instruments)
        if row.state == "queued":
            seat.ask()
        self._start(self._do(row.id, seat)).add_done_callback(lambda _: seat.rest())

    # Doing --------------------------------------------------------------------------------------------------------

    async def _do(self, run: str, seat: Seat) -> None:
        """One run from where its journal ends to its end."""
        try:
            await self._walk_to_end(run, seat)
        except ConflictError:
            logger.exception("another process writes into this run; it is left to it", extra={"run": run})
            return
        except Exception as error:
            logger.exception("a run cannot be done", extra={"run": run})
            await self._finish_unwalked(run, "failed", _unexpected(error))
        finally:
            self._walkers.pop(run, None)
            self._waits_for.pop(run, None)
            seat.rest()
        self._ended(run)
        self._records.close_apart(run)
        self._taken.discard(run)
        self.wake()
        if following := self.journal.row(run).followed_by:
            self.changes.publish("run", self.summary(following))

    async def _walk_to_end(self, run: str, seat: Seat) -> None:
        state, record = await self._records.opened(run)
        with record:
            if state.word in OVER:
                return
            seat.want(*state.needs)
            walker = self._walkers[run] = self._walker_for(state, record, seat)
            await walker.ready()
            await walker.take_seat()
            await walker.begin()
            ending = await self._outcome(walker)
            await walker.finish(*ending)
            await walker.let_go()

    async def _finish_unwalked(self, run: str, state: str, error: Mapping[str, Any]) -> None:
        """The end of a run that no walker writes."""
        row = self.journal.row(run)
        if row.state not in OVER:
            await self.journal.append(run, row.last, [("finished", {"state": state, "error": error})], flush=True)
        self.changes.publish("run", self.summary(run) | {"error": error})
        self._ended(run)

    def _walker_for(self, state: RunState, record: RecordWriter, seat: Seat) -> Walker:
        log = RunLog(
            state,
            journal=self.journal,
            record=record,
            changes=self.changes,
            on_word=lambda word: self._records.say(state.id, word),
        )
        holding = Holding(state.id, self.journal, self._instruments, self._give_back_later)
        return Walker(log, instruments=self._instruments, seat=seat, holding=holding, halted=lambda: self._halt.is_on)

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

    def _has_to_itself(self, run: str, instrument: str) -> bool:
        return run in self._walkers and self._walkers[run].has_to_itself(instrument)

    def _ended(self, run: str) -> None:
        if over := self._over.pop(run, None):
            over.set()

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._stopped)
        return task

    def _stopped(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a part of the orchestrator stopped", exc_info=error)


def _function(state: RunState) -> tuple[Function, dict[str, Any]]:
    words = state.experiment
    function = load_function(words["source"], words["function"], words["hash"])
    return function, check_parameters(function, state.parameters)


def _unexpected(error: Exception) -> dict[str, Any]:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    told = traceback.TracebackException.from_exception(error)
    its_own = [at for at, frame in enumerate(told.stack) if frame.filename.startswith(EXPERIMENT)]
    place = ""
    if its_own:
        last = told.stack[its_own[-1]]
        place = f" (in {last.name}, at `{last.line}`)"
        # What called the experiment is ours and tells its author nothing.
        told.stack = traceback.StackSummary.from_list(told.stack[its_own[0] :])
    detail = f"The experiment raised {text}{place}"
    return {"title": "The experiment raised an error", "detail": detail, "traceback": "".join(told.format())}
