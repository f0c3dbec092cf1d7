"""One run being done: each step is decided by `engine`, journalled, sent, recorded, and its outcome handed back.

The same walker serves files (`experiment.follow`) and Python experiments (`orchestrator.python`), new runs and runs
that a crash cut off: what the journal holds is answered from it, what was in flight is settled by asking its host.
Whether a step may begin at this moment is decided in `standing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from labretto.errors import (
    BusyError,
    ConflictError,
    ExperimentChangedError,
    LabError,
    LeaseError,
    NotFoundError,
    StorageError,
    TimedOutError,
    UnreachableError,
    from_problem,
)
from labretto.experiment.policy import PLAIN, Policy
from labretto.experiment.question import Question
from labretto.experiment.walk import AbortedError
from labretto.instrument.describe import Description
from labretto.instrument.invocation import HARMLESS, Effect, Invocation, new_id
from labretto.instrument.reading import isoformat, now, spoken
from labretto.network.client import Instrument
from labretto.orchestrator import engine
from labretto.orchestrator.asking import Asking
from labretto.orchestrator.engine import READ, WRITE, Ask, RunState, Step
from labretto.orchestrator.holding import Holding
from labretto.orchestrator.journal import Entry
from labretto.orchestrator.measuring import Measuring
from labretto.orchestrator.pauses import is_within, left_of
from labretto.orchestrator.runlog import RunLog
from labretto.orchestrator.seat import Seat
from labretto.orchestrator.standing import ASK_AGAIN_AFTER, Standing, cleaning
from labretto.orchestrator.values import hand_out, plain, to_keep

logger = logging.getLogger(__name__)

END_WITHIN = 5.0
"""Seconds that an action gets to end when it is cancelled; what ignores that goes on, and is told to."""


SAME_WORD_WITHIN = 2.0
"""Seconds after an abort in which another one says no more than the first."""


class Instruments(Protocol):
    """Where a run finds its instruments."""

    async def instrument(self, name: str) -> Instrument:
        """A connected client, to be asked for again before each use.

        Raises:
            NotFoundError: the lab has none of that name.
            UnreachableError: it is down.
        """

    async def reachable(self, name: str) -> object:
        """Return when the instrument answers, however long that takes."""


class Walker:
    """Does the steps of one run.

    Args:
        log: its state, and where it is written.
        instruments: where it acts.
        seat: its place among the runs of the lab; given back by the caller at the end.
        holding: its leases.
        halted: answers whether the lab is halted.
    """

    def __init__(
        self, log: RunLog, *, instruments: Instruments, seat: Seat, holding: Holding, halted: Callable[[], bool]
    ) -> None:
        self.seat = seat
        self._log = log
        self._record = log.record
        self._instruments = instruments
        self._holding = holding
        self._standing = Standing(log, seat=seat, holding=holding, instruments=instruments, halted=halted)
        self._asking = Asking(log, self._standing, seat)
        self._measuring = Measuring(log)

    @property
    def state(self) -> RunState:
        """The run as its journal tells it."""
        return self._log.state

    def summary(self) -> dict[str, Any]:
        """What a list of runs shows of it."""
        return self._log.summary()

    @property
    def record_folder(self) -> Path:
        """Where its record lies."""
        return self._record.folder

    # What people may do to it -------------------------------------------------------------------------------------

    async def pause(self, who: str | None) -> None:
        """Stand still before the next step."""
        await self.note("pausing", {"who": who})

    async def resume(self, who: str | None) -> None:
        """Go on."""
        await self.note("resuming", {"who": who})

    async def abort(self, who: str | None) -> None:
        """End before the next step; what runs is asked to end, and its outcome is waited for. Then it cleans up.

        A second abort ends the clean-up too, or a Python function that does not come to it. One that follows on the
        first within moments is the same word, said impatiently.
        """
        again = self._was_aborted() and (self._standing.cleans_up or not self.in_flight())
        await self.note("aborting", {"who": who} | ({"at_once": True} if again else {}))
        await asyncio.gather(*(self._cancel(step) for step in self._standing.in_flight(clean_up=again)))

    def _was_aborted(self) -> bool:
        """Long enough ago to know what came of it."""
        first = self.state.aborted
        return first is not None and not is_within(SAME_WORD_WITHIN, first, now())

    async def cancel(self, path: str | None, who: str | None, within: float = END_WITHIN) -> Invocation:
        """Ask one action of the run to end; the run goes on when it has, and asks a person what became of it.

        Args:
            path: of the step; None where one is in flight.
            who: asks.
            within: seconds after which this answers although it has not ended; its `cancelling` is overdue then.

        Raises:
            NotFoundError: there is no such step in flight.
            ConflictError: there are several; or it blocks in its driver and cannot be cancelled.
        """
        step = self._one_in_flight(path)
        await self.note("cancelling", {"path": step.path, "invocation": step.invocation, "who": who})
        client = await self._instruments.instrument(step.instrument)
        return await client.cancel(step.invocation, within=within)

    def _one_in_flight(self, path: str | None) -> Step:
        found = {step.path: step for step in self.in_flight() if path in (None, step.path)}
        if not found:
            what = f"The step {path[:200]!r} of run {self.state.id}" if path else f"Nothing of run {self.state.id}"
            raise NotFoundError(f"{what} is {'not ' if path else ''}in flight.", way_out="GET the run: it lists steps.")
        if len(found) > 1:
            raise ConflictError(
                f"{len(found)} steps of run {self.state.id} are in flight.", way_out=f"Say which: {', '.join(found)}."
            )
        return next(iter(found.values()))

    async def _cancel(self, step: Step) -> None:
        """Ask what runs to end; what cannot be cancelled, or is over, is waited for by who sent it."""
        with contextlib.suppress(LabError, TimeoutError):
            async with asyncio.timeout(END_WITHIN):
                await self._cancelled(step)

    async def _cancelled(self, step: Step, within: float | None = None) -> Invocation:
        """What its host says to that. A host that has not heard of it yet, though it was sent, is told again."""
        while True:
            client = await self._instruments.instrument(step.instrument)
            try:
                return await client.cancel(step.invocation, within=within)
            except NotFoundError:
                if step.action.startswith((READ, WRITE)) or not any(step is each for each in self.in_flight()):
                    raise
            await asyncio.sleep(ASK_AGAIN_AFTER)

    async def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """A person's word in the journal; whatever it holds up is looked at again.

        Raises:
            ConflictError: the run has come to its end meanwhile; no word leads out of that. Labels it may still get.
        """
        async with self._log.appending:
            if self.state.word in engine.OVER and kind != "edited":
                raise ConflictError(
                    f"Run {self.state.id} is {self.state.word}; nothing was changed.",
                    way_out="Submit it again as a new run.",
                )
            await self._log.write((kind, body), flush=True)
        self.look_again()

    def look_again(self) -> None:
        """Something that may hold it up has changed: a person's word, a halt, its reset."""
        self._standing.look_again()

    def in_flight(self) -> list[Step]:
        """Steps that were sent and have not ended."""
        return self._standing.in_flight()

    async def answer(
        self,
        choice: str | None,
        value: Any,
        *,
        who: str | None,
        why: str | None,
        path: str | None = None,
        number: int | None = None,
        task: Mapping[str, Any] | None = None,
        by_clock: bool = False,
    ) -> None:
        """An answer to one of its questions; see `Asking.answer`."""
        told: dict[str, Any] = {"path": path, "number": number, "task": task, "by_clock": by_clock}
        await self._asking.answer(choice, value, who=who, why=why, **told)

    async def description(self, instrument: str) -> Description:
        """What an instrument offers; waits until it answers. `NotFoundError` if the lab has none of that name."""
        while True:
            try:
                return (await self._instruments.instrument(instrument)).description
            except UnreachableError as error:
                await self._standing.until_reachable(instrument, error)

    # The walk -----------------------------------------------------------------------------------------------------

    async def call(
        self, path: str, instrument: str, action: str, parameters: Mapping[str, Any], *, policy: Policy = PLAIN
    ) -> Any:
        """An action as a durable step; answers its result.

        Raises:
            FailedError: it failed, or the journal says that it did.
            ExperimentChangedError: the journal has another step at `path`.
            AbortedError: a person ended the run.
        """
        described = (await self.description(instrument)).actions.get(action)
        if described is None:
            raise NotFoundError(f"{instrument} has no action {action!r}.")
        result, stream = described.result, described.stream
        ask = Ask(path, instrument, action, plain(parameters), described.effect, result, stream, policy)
        return await self._by_policy(ask)

    async def read(self, path: str, instrument: str, attribute: str, *, policy: Policy = PLAIN) -> Any:
        """The value of an attribute, as a durable step."""
        described = (await self.description(instrument)).attributes.get(attribute)
        if described is None:
            raise NotFoundError(f"{instrument} has no attribute {attribute!r}.")
        ask = Ask(path, instrument, READ + attribute, {}, "read", described.schema, policy=policy)
        return await self._by_policy(ask)

    async def write(self, path: str, instrument: str, attribute: str, value: Any, *, policy: Policy = PLAIN) -> Any:
        """Set an attribute, as a durable step; answers the value read back."""
        described = (await self.description(instrument)).attributes.get(attribute)
        if described is None:
            raise NotFoundError(f"{instrument} has no attribute {attribute!r}.")
        value = plain({"value": value})
        ask = Ask(path, instrument, WRITE + attribute, value, "absolute", described.schema, policy=policy)
        return await self._by_policy(ask)

    async def _by_policy(self, ask: Ask) -> Any:
        """A step; a failure that its policy passes over answers None."""
        try:
            return await self._step(ask)
        except (AbortedError, ExperimentChangedError):
            raise
        except LabError:
            if ask.policy.on_failure != "go on":
                raise
            return None

    async def save(self, path: str, row: Mapping[str, Any]) -> None:
        """Put a row into the record; a row that is there already is not put again."""
        if path in self.state.saved:
            return
        values, schema = to_keep(row)
        stored = await self._log.keeping(lambda: self._record.put(path, values, schema, quantities=True))
        await self._log.append(("saved", {"path": path, "row": stored}))

    async def ask(self, path: str, question: Question) -> Any:
        """Ask a person; the run waits for the answer, which is asked for once only."""
        return await self._asking.ask(path, question)

    async def sleep(self, path: str, seconds: float) -> None:
        """Return so many seconds after it was first asked for, however often the run was cut off meanwhile."""
        if path in self.state.slept:
            return
        await self._standing.may_go_on()
        seconds = max(0.0, seconds)
        if path not in self.state.wakes:
            until = isoformat(now() + timedelta(seconds=seconds))
            await self._log.append(("sleeping", {"path": path, "until": until}))
        until = self.state.wakes[path]
        began = isoformat(datetime.fromisoformat(until) - timedelta(seconds=seconds))
        await self._standing.held_up(f"Waits until {spoken(until)}.", asyncio.sleep(left_of(seconds, began, now())))
        await self._log.append(("slept", {"path": path}))

    @contextlib.asynccontextmanager
    async def cleaning(self) -> AsyncIterator[None]:
        """The block of clean-up steps: the abort that brought the run here does not stop them, a second one does."""
        self._standing.clean_up_begins()
        try:
            with cleaning():
                yield
        finally:
            self._standing.clean_up_ends()

    async def ready(self) -> None:
        """Return when a run that is taken up again waits neither for an answer nor for a resume."""
        await self._asking.ready()

    def has_to_itself(self, instrument: str) -> bool:
        """Nobody else may act on it, not even a person who does not take it over."""
        return self._standing.has_to_itself(instrument)

    async def take_seat(self) -> None:
        """Return when this run may act. It need not wait for that if a person ends it."""
        await self._standing.take_seat()

    def cleans_up(self) -> None:
        """Its clean-up has begun, and goes on to the end of the run: a further abort ends that."""
        self._standing.clean_up_begins()

    @property
    def is_left(self) -> bool:
        """No further step is done, not even to clean up."""
        return self._standing.is_left

    async def until_left(self) -> None:
        """Return when no further step is done."""
        await self._standing.until_left()

    def leave(self) -> None:
        """The experiment is over: what still stands still or waits for a person in one of its branches ends."""
        self._standing.leave()

    async def begin(self) -> None:
        """Note in the journal that it begins, or goes on after a crash."""
        kind = "resumed" if self.state.started else "started"
        await self._log.append((kind, {"lease": await self._holding.renew()}))

    async def hold_all(self, *instruments: str) -> None:
        """Have all of these to itself, at once or not at all; what cannot be reached now is taken when it is needed."""
        if not self.state.needs >= {*instruments}:
            await self._log.append(("leased", {"instruments": sorted(instruments)}))
        await self._standing.hold(*instruments)

    async def let_go(self) -> None:
        """Let others act on its instruments."""
        await self._holding.give_back()

    async def finish(self, state: str, error: Mapping[str, Any] | None) -> None:
        """Note its end."""
        await self._log.append(("finished", {"state": state, "error": error}), flush=True)

    # One step -----------------------------------------------------------------------------------------------------

    async def _step(self, ask: Ask) -> Any:
        """The result of a step, done now or before a crash."""
        fresh: dict[str, Any] = {}
        while True:
            match engine.next_step(self.state, ask):
                case engine.Answer(step):
                    return hand_out(self._outcome(step, fresh), step.result, ask.schema)
                case engine.Send(attempt):
                    await self._begin(ask, attempt, fresh)
                case engine.Again(step, seconds):
                    pause = asyncio.sleep(left_of(seconds, step.ended, now()))
                    await self._standing.held_up(f"{ask.spelled} failed; it is tried again.", pause)
                    await self._begin(ask, step.attempt + 1, fresh)
                case engine.Inquire(step):
                    await self._inquire(step, ask, fresh)
                case engine.Wait(step, reason, choices):
                    await self._asking.about(step, reason, choices, ask.schema)
                case engine.Enter(step, state):
                    await self._enter(step, state)

    def _outcome(self, step: Step, fresh: Mapping[str, Any]) -> Any:
        if step.state == "failed":
            raise from_problem(dict(step.error or {}))
        return fresh[step.invocation] if step.invocation in fresh else self._record.get(step.result)

    async def _begin(self, ask: Ask, attempt: int, fresh: dict[str, Any]) -> None:
        async with self._standing.flight(ask.path, *ask.needs):
            await self._log.append(self._intent(ask, attempt), flush=ask.effect not in HARMLESS)
            step = self.state.steps[ask.path]
            self._standing.sent(ask.path, step)
            await self._send(step, ask, "answered", fresh)

    def _intent(self, ask: Ask, attempt: int) -> Entry:
        words = {name: getattr(ask, name) for name in ("path", "instrument", "action", "effect")}
        ledger = self._holding.ledgers.get(ask.instrument)
        more = {"ledger": ledger} if ledger else {}
        return "intended", {
            **words,
            "parameters": dict(ask.parameters),
            "invocation": new_id(),
            "attempt": attempt,
            **more,
        }

    async def _send(self, step: Step, ask: Ask, origin: str, fresh: dict[str, Any]) -> None:
        """Send a step whose intent is written, and write its end; leave it open if nothing is known of it."""
        try:
            invocation = await self._in_time(step, ask, origin)
        except UnreachableError as error:
            await self._standing.until_reachable(step.instrument, error)
        except LeaseError:  # somebody took it over just now: before it is sent again its end is waited for
            self._holding.lost(step.instrument)
        except (BusyError, StorageError) as error:  # nothing moved, and it may be free again at any moment
            await self._standing.held_up(error.detail, asyncio.sleep(ASK_AGAIN_AFTER))
        except LabError as error:  # refused by the host; or, from an attribute, what its driver raised
            await self._end(step, ask, _failed(step, ask, error), origin, fresh)
        else:
            if invocation is not None:
                await self._end(step, ask, invocation, origin, fresh)
        finally:
            self._measuring.over(step)

    async def _in_time(self, step: Step, ask: Ask, origin: str) -> Invocation | None:
        """What the instrument answers, if it does within the step's time.

        Raises:
            TimedOutError: it did not; `over` says whether it has ended.
        """
        if ask.policy.timeout is None:
            return await self._perform(step, ask, origin)
        # Counted from its sending: neither a slow disk nor an instrument that was busy is the action's delay.
        left = ask.policy.timeout if origin == "answered" else left_of(ask.policy.timeout, step.at, now())
        performing = asyncio.ensure_future(self._perform(step, ask, origin))
        try:
            await asyncio.wait({performing}, timeout=left)
            if not performing.done():
                await self._end_it(step, performing)
            over = performing.done()
            if over and ((told := performing.result()) is None or told.state != "cancelled"):
                return told
        finally:
            performing.cancel()
        said = "it was cancelled." if over else "it ignores being cancelled, and may still act."
        raise TimedOutError(
            f"{ask.spelled} did not end within {ask.policy.timeout:g} s; {said}",
            way_out="Give it more time, or see why it took so long.",
            over=over,
        )

    async def _end_it(self, step: Step, performing: asyncio.Future[Any]) -> None:
        """Cancel what takes too long; it gets some time to end."""
        try:
            async with asyncio.timeout(2 * END_WITHIN):
                await self._cancelled(step, END_WITHIN)
        except (LabError, TimeoutError):  # it cannot be cancelled, or is over
            await asyncio.sleep(0)
        else:
            await asyncio.wait({performing}, timeout=END_WITHIN)

    async def _perform(self, step: Step, ask: Ask, origin: str) -> Invocation | None:
        """What the instrument answers; None if it was not sent because somebody halted or stopped the run meanwhile."""
        client = await self._instruments.instrument(step.instrument)
        if origin == "answered" and self._standing.stands:
            return None
        lease = self._holding.number_for(step.instrument)
        if ask.action.startswith(READ):
            attribute = ask.action.removeprefix(READ)
            reading = await client.read(attribute)
            if reading.status == "stale":  # from before: a result of now is asked for
                raise BusyError(f"{step.instrument}.{attribute} cannot be read now: {reading.detail}.")
            return _as_invocation(step, ask, reading.value)
        if ask.action.startswith(WRITE):
            attribute = ask.action.removeprefix(WRITE)
            reading = await client.write(attribute, ask.parameters["value"], lease=lease)
            return _as_invocation(step, ask, reading.value)
        with self._measuring.listening(client, step, ask):
            return await client.invoke(
                ask.action, ask.parameters, identity=step.invocation, lease=lease, actor=f"run {self.state.id}"
            )

    async def _inquire(self, step: Step, ask: Ask, fresh: dict[str, Any]) -> None:
        """Settle a step that was in flight when the hub or the connection died."""
        with self._standing.watched(step.path, step):
            resend = await self._settled(step, ask, fresh)
        if resend:
            async with self._standing.flight(step.path, *ask.needs, step=step):
                await self._send(step, ask, "answered", fresh)

    async def _settled(self, step: Step, ask: Ask, fresh: dict[str, Any]) -> bool:
        """Find out what became of a step; answers whether it is to be sent, since it never arrived."""
        if ask.action.startswith((READ, WRITE)):
            return True  # harmless to do again
        try:
            client = await self._instruments.instrument(step.instrument)
            found = await client.find(step.invocation)
            # Another ledger may be older than the id too, and yet know nothing of what this one was sent to.
            ledger = await self._holding.see(step.instrument, client) if found.state == "not arrived" else None
        except UnreachableError as error:
            await self._standing.until_reachable(step.instrument, error)
            return False
        decision = engine.settle(step, found, ledger)
        origin = "checked" if isinstance(decision, engine.LookWhether) else "adopted"
        match await self._looked(step, decision) if isinstance(decision, engine.LookWhether) else decision:
            case engine.Adopt(invocation):
                await self._end(step, ask, invocation, origin, fresh)
            case engine.Resend("adopted"):
                if self._standing.leaving:
                    await self._cancel(step)
                await self._send(step, ask, "adopted", fresh)
            case engine.Resend(_):
                return True
            case engine.Repeat(reason):
                intent = self._intent(ask, step.attempt + 1)
                await self._log.append(_interruption(step, reason), intent, flush=ask.effect not in HARMLESS)
            case engine.AskPerson(reason):
                await self._log.append(_interruption(step, reason), flush=True)
        return False

    async def _looked(
        self, step: Step, look: engine.LookWhether
    ) -> engine.Adopt | engine.Repeat | engine.AskPerson | None:
        """What the driver's check of an interrupted step means; None if it has to be asked again."""
        try:
            client = await self._instruments.instrument(step.instrument)
            return engine.after_look(step, look, await client.check(step.invocation, action=step.action))
        except UnreachableError as error:
            await self._standing.until_reachable(step.instrument, error)
        except BusyError as error:
            await self._standing.held_up(error.detail, asyncio.sleep(ASK_AGAIN_AFTER))
        except LabError as error:
            return engine.after_look(step, look, error)
        return None

    async def _end(self, step: Step, ask: Ask, ended: Invocation, origin: str, fresh: dict[str, Any]) -> None:
        if ended.state in ("interrupted", "cannot tell"):
            return  # it died while we waited; the next turn of the loop inquires and decides
        stored = await self._measuring.stored(step, ended, ask)
        fresh[step.invocation] = ended.result
        times = {"started": isoformat(ended.started or now()), "ended": isoformat(ended.ended or now())}
        body = {"path": step.path, "invocation": step.invocation, "state": ended.state, "origin": origin, **times}
        await self._log.append(("ended", {**body, "result": stored, "error": ended.error}))

    async def _enter(self, step: Step, state: str) -> None:
        """A person said what came of it: their value is the result."""
        value = step.entered if state == "succeeded" else None
        time = isoformat(now())
        body = {"path": step.path, "invocation": step.invocation, "state": state, "origin": "entered"}
        await self._log.append(("ended", {**body, "result": value, "error": None, "started": time, "ended": time}))


def _interruption(step: Step, reason: str) -> Entry:
    return "interrupted", {"path": step.path, "invocation": step.invocation, "reason": reason}


def _failed(step: Step, ask: Ask, error: LabError) -> Invocation:
    return Invocation(step.invocation, step.instrument, ask.action, {}, "once", "failed", error=error.problem())


def _as_invocation(step: Step, ask: Ask, value: Any) -> Invocation:
    """A read or a write in the form of what an action leaves."""
    time = now()
    effect: Effect = "read" if ask.action.startswith(READ) else "absolute"
    return Invocation(
        step.invocation, step.instrument, ask.action, ask.parameters, effect, "succeeded", time, time, time, value
    )
