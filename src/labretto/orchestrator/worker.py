"""One run being done: each step is decided by `engine`, journalled, sent, recorded, and its outcome handed back.

The same walker serves files (`experiment.follow`) and Python experiments (`orchestrator.python`), new runs and runs
that a crash cut off: what the journal holds is answered from it, what was in flight is settled by asking its host.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from labretto.catalog.live import Changes
from labretto.catalog.store import RecordWriter
from labretto.catalog.stream import StreamWriter
from labretto.errors import (
    BusyError,
    ConflictError,
    ExperimentChangedError,
    InvalidError,
    LabError,
    LeaseError,
    NotFoundError,
    StorageError,
    UnreachableError,
    from_problem,
)
from labretto.experiment.policy import PLAIN, Policy
from labretto.experiment.question import Question
from labretto.experiment.values import differences
from labretto.experiment.walk import AbortedError
from labretto.instrument.describe import Description
from labretto.instrument.invocation import Effect, Invocation, new_id
from labretto.instrument.reading import isoformat, now
from labretto.network.client import Instrument
from labretto.orchestrator import engine
from labretto.orchestrator.engine import CHOICES, Ask, RunState, Step
from labretto.orchestrator.holding import Holding
from labretto.orchestrator.journal import Entry, Journal
from labretto.orchestrator.values import hand_out, plain, to_keep

logger = logging.getLogger(__name__)
T = TypeVar("T")

READ = "attribute:get "
WRITE = "attribute:set "
RETRY_WRITING_AFTER = 1.0
"""Seconds between attempts to write what the disk does not take; the run stands still meanwhile and says why."""
ASK_AGAIN_AFTER = 0.2
"""Seconds until an instrument that somebody else uses, or whose disk is full, is asked again."""


GIVE_WAY_AFTER = 10.0
"""Seconds after which a run lets others act while its instrument does not come back."""


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


class Turn:
    """A run's part in the right to act, which one run of the lab has at a time.

    A run that stands still gives it back so that others go on. Its parallel branches share it.
    """

    def __init__(self, one: asyncio.Semaphore) -> None:
        self._one = one
        self._taking = asyncio.Lock()
        self.held = False

    @property
    def free(self) -> bool:
        """To be had without waiting."""
        return self.held or not (self._one.locked() or self._taking.locked())

    async def take(self) -> None:
        """Return when this run has it."""
        async with self._taking:
            if not self.held:
                await self._one.acquire()
                self.held = True

    def give_back(self) -> None:
        """Let another run act; a second call does nothing."""
        if self.held:
            self.held = False
            self._one.release()


class Walker:
    """Does the steps of one run.

    Args:
        state: the run, folded from its journal.
        journal, record: where it is written.
        instruments: where it acts.
        changes: where viewers are told.
        turn: this run's; taken with `take_turn`, given back by the caller at the end.
        holding: its leases.
        on_word: told the run's word when it changes while the run goes on.
    """

    def __init__(
        self,
        state: RunState,
        *,
        journal: Journal,
        record: RecordWriter,
        instruments: Instruments,
        changes: Changes,
        turn: Turn,
        holding: Holding,
        halted: Callable[[], bool],
        on_word: Callable[[str], None],
    ) -> None:
        self.state = state
        self.trouble: str | None = None
        """Why it stands still now, if something outside holds it up."""
        self._journal = journal
        self._record = record
        self._instruments = instruments
        self._changes = changes
        self._turn = turn
        self._holding = holding
        self._halted = halted
        self._on_word = on_word
        self._appending = asyncio.Lock()
        self._changed = asyncio.Event()
        self._left = False
        self._full: str | None = None
        """What the disk says as long as it does not take what must be written."""
        self._in_flight: dict[str, Step] = {}
        self._live: dict[str, StreamWriter] = {}

    # What people may do to it -------------------------------------------------------------------------------------

    async def pause(self, who: str | None) -> None:
        """Stand still before the next step."""
        await self._note("pausing", who)

    async def resume(self, who: str | None) -> None:
        """Go on."""
        await self._note("resuming", who)

    async def abort(self, who: str | None) -> None:
        """End before the next step; what runs is asked to end, and its outcome is waited for."""
        await self._note("aborting", who)
        for step in self.in_flight():
            await self._cancel(step)

    async def _cancel(self, step: Step) -> None:
        with contextlib.suppress(LabError):  # it cannot be cancelled, or is over: its end is waited for
            await (await self._instruments.instrument(step.instrument)).cancel(step.invocation)

    async def _note(self, kind: str, who: str | None) -> None:
        await self._append([(kind, {"who": who})], flush=True)
        self.look_again()

    def look_again(self) -> None:
        """Something that may hold it up has changed: a person's word, a halt, its reset."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def acts(self) -> bool:
        """It has the turn; else it stands still."""
        return self._turn.held

    def in_flight(self) -> list[Step]:
        """Steps that were sent and have not ended."""
        return list(self._in_flight.values())

    async def answer(self, choice: str, value: Any, *, who: str | None, why: str | None) -> None:
        """A person's answer to the run's question.

        Raises:
            ConflictError: it asks nothing.
            RefusedError: the choice is not one of those offered.
        """
        async with self._appending:  # of two people who answer at once, the second is told that nothing is asked
            question = self.state.question
            if question is None:
                raise ConflictError(f"Run {self.state.id} asks nothing; it is {self.state.word}.")
            if choice not in question["choices"]:
                raise InvalidError(
                    f"{choice[:80]!r} is not offered.", way_out=f"Choose one of {', '.join(question['choices'])}."
                )
            if choice == "answer" and (schema := question.get("schema")) is not None:
                _refuse_unfit(value, schema)
            body = {"path": question["path"], "choice": choice, "value": value, "who": who, "why": why}
            await self._write([("settled", body)], flush=True)
        self.look_again()

    async def description(self, instrument: str) -> Description:
        """What an instrument offers; waits until it answers. `NotFoundError` if the lab has none of that name."""
        while True:
            try:
                return (await self._instruments.instrument(instrument)).description
            except UnreachableError as error:
                await self._until_reachable(instrument, error)

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
        ask = Ask(path, instrument, action, plain(parameters), described.effect, result, stream)
        return await self._by_policy(ask, policy)

    async def read(self, path: str, instrument: str, attribute: str, *, policy: Policy = PLAIN) -> Any:
        """The value of an attribute, as a durable step."""
        described = (await self.description(instrument)).attributes.get(attribute)
        if described is None:
            raise NotFoundError(f"{instrument} has no attribute {attribute!r}.")
        return await self._by_policy(Ask(path, instrument, READ + attribute, {}, "read", described.schema), policy)

    async def write(self, path: str, instrument: str, attribute: str, value: Any, *, policy: Policy = PLAIN) -> Any:
        """Set an attribute, as a durable step; answers the value read back."""
        described = (await self.description(instrument)).attributes.get(attribute)
        if described is None:
            raise NotFoundError(f"{instrument} has no attribute {attribute!r}.")
        value = plain({"value": value})
        ask = Ask(path, instrument, WRITE + attribute, value, "absolute", described.schema)
        return await self._by_policy(ask, policy)

    async def _by_policy(self, ask: Ask, policy: Policy) -> Any:
        """A step; what its policy wants beside passing a failure over is refused as long as nobody does it."""
        if policy.retry is not None or policy.timeout is not None or policy.on_failure == "ask":
            raise InvalidError(f"{ask.path}: `retry`, `timeout` and `on failure: ask` are not done yet.")
        try:
            return await self._step(ask)
        except (AbortedError, ExperimentChangedError):
            raise
        except LabError:
            if policy.on_failure == "fail":
                raise
            return None

    async def save(self, path: str, row: Mapping[str, Any]) -> None:
        """Put a row into the record; a row that is there already is not put again."""
        if path in self.state.saved:
            return
        values, schema = to_keep(row)
        stored = await self._keeping(lambda: self._record.put(path, values, schema, quantities=True))
        await self._append([("saved", {"path": path, "row": stored})])

    async def ask(self, path: str, question: Question) -> Any:
        """Ask a person; the run waits for the answer, which is asked for once only."""
        while path not in self.state.answers:
            await self._gate()
            await self._wait_for_person(question.text, _asked(path, question))
        return self.state.answers[path]

    async def sleep(self, path: str, seconds: float) -> None:
        """Stand still for a while; after a restart for the whole of it again."""
        await self._gate()
        await self._held_up(f"It waits for {seconds:g} s.", asyncio.sleep(seconds))

    @contextlib.asynccontextmanager
    async def cleaning(self) -> AsyncIterator[None]:
        """The block of a run's clean-up steps."""
        aborting, self.state.aborting = self.state.aborting, False
        try:
            yield
        finally:
            self.state.aborting = self.state.aborting or aborting

    async def ready(self) -> None:
        """Return when a run that is taken up again waits neither for an answer nor for a resume; needs no turn."""
        while (self.state.question is not None or self.state.pausing) and not self.state.aborting:
            await self._changed.wait()

    async def take_turn(self) -> None:
        """Return when this run may act. It need not wait for that if a person ends it."""
        if self._turn.free:
            await self._turn.take()
        elif not self._leaving:
            with contextlib.suppress(AbortedError):  # told at the next step
                await self._held_up("Another run acts now.", self._turn.take())

    def leave(self) -> None:
        """The experiment is over: what still stands still or waits for a person in one of its branches ends."""
        self._left = True
        self.look_again()

    async def begin(self) -> None:
        """Note in the journal that it begins, or goes on after a crash."""
        kind = "resumed" if self.state.number > 1 else "started"
        await self._append([(kind, {"lease": await self._holding.renew()})])

    async def hold(self, *needed: str) -> None:
        """Return when nobody but this run may act on what it needs, until it stands still or ends; waits for that."""
        while self._holding.lacks(*needed):
            try:
                await self._renew()
                await self._holding.take(*needed)
            except UnreachableError as error:
                await self._held_up(f"An instrument does not answer: {error.detail}", self._until_all_answer(needed))
            except LeaseError as error:
                await self._held_up(error.detail, self._holding.until_free(*needed))
            except StorageError as error:
                await self._held_up(error.detail, asyncio.sleep(ASK_AGAIN_AFTER))

    async def _until_all_answer(self, instruments: Sequence[str]) -> None:
        await asyncio.gather(*(self._instruments.reachable(name) for name in instruments))

    async def hold_all(self, *instruments: str) -> None:
        """The same for all that it will need; what cannot be reached now is taken when it is needed."""
        self._holding.want(*instruments)
        await self.hold()

    async def _renew(self) -> None:
        """Who was challenged says so in the journal first: if the run is another process's by now, it ends here."""
        if self._holding.number:
            return
        challenged = self._holding.challenged
        number = await self._holding.renew()
        if challenged:
            await self._append([("resumed", {"lease": number})])

    async def let_go(self) -> None:
        """Let others act on its instruments."""
        await self._holding.give_back()

    async def finish(self, state: str, error: Mapping[str, Any] | None) -> None:
        """Note its end."""
        await self._append([("finished", {"state": state, "error": error})], flush=True)

    # One step -----------------------------------------------------------------------------------------------------

    async def _step(self, ask: Ask) -> Any:
        """The result of a step, done now or before a crash."""
        fresh: dict[str, Any] = {}
        while True:
            command = engine.next_step(self.state, ask)
            in_flight = isinstance(command, engine.Inquire)  # looked after, whatever people say
            if not in_flight and (self._stands or self.state.word == "paused"):
                await self._gate(ask)
                command = engine.next_step(self.state, ask)
            match command:
                case engine.Answer(step):
                    return hand_out(self._outcome(step, fresh), step.result, ask.schema)
                case engine.Send(attempt):
                    await self._append([_intent(ask, attempt)])
                    await self._send(self.state.steps[ask.path], ask, "answered", fresh)
                case engine.Inquire(step):
                    await self._inquire(step, ask, fresh)
                case engine.Wait(step, reason):
                    await self._wait_for_person(reason, _question(step, reason))
                case engine.Enter(step, state):
                    await self._enter(step, state)

    def _outcome(self, step: Step, fresh: Mapping[str, Any]) -> Any:
        if step.state == "failed":
            raise from_problem(dict(step.error or {}))
        return fresh[step.invocation] if step.invocation in fresh else self._record.get(step.result)

    async def _send(self, step: Step, ask: Ask, origin: str, fresh: dict[str, Any]) -> None:
        """Send a step whose intent is written, and write its end; leave it open if nothing is known of it."""
        self._in_flight[step.path] = step
        try:
            invocation = await self._perform(step, ask, origin)
        except UnreachableError as error:
            await self._until_reachable(step.instrument, error)
        except LeaseError:  # somebody took it over just now: before it is sent again its end is waited for
            self._holding.lost(step.instrument)
        except (BusyError, StorageError) as error:  # nothing moved, and it may be free again at any moment
            await self._held_up(error.detail, asyncio.sleep(ASK_AGAIN_AFTER))
        except LabError as error:  # refused by the host; or, from an attribute, what its driver raised
            told = Invocation(step.invocation, step.instrument, ask.action, {}, "once", "failed", error=error.problem())
            await self._end(step, ask, told, origin, fresh)
        else:
            if invocation is not None:
                await self._end(step, ask, invocation, origin, fresh)
        finally:
            self._in_flight.pop(step.path, None)
            self._live.pop(step.invocation, None)

    async def _perform(self, step: Step, ask: Ask, origin: str) -> Invocation | None:
        """What the instrument answers; None if it was not sent because somebody halted or stopped the run meanwhile."""
        client = await self._instruments.instrument(step.instrument)
        if origin == "answered" and self._stands:
            return None
        lease = self._holding.number_for(step.instrument)
        if ask.action.startswith(READ):
            reading = await client.read(ask.action.removeprefix(READ))
            return _as_invocation(step, ask, reading.value)
        if ask.action.startswith(WRITE):
            attribute = ask.action.removeprefix(WRITE)
            reading = await client.write(attribute, ask.parameters["value"], lease=lease)
            return _as_invocation(step, ask, reading.value)
        with self._streaming(client, step, ask):
            return await client.invoke(
                ask.action, ask.parameters, identity=step.invocation, lease=lease, actor=f"run {self.state.id}"
            )

    async def _inquire(self, step: Step, ask: Ask, fresh: dict[str, Any]) -> None:
        """Settle a step that was in flight when the hub or the connection died."""
        if ask.action.startswith((READ, WRITE)):
            await self._gate(ask)
            await self._send(step, ask, "answered", fresh)  # harmless to do again
            return
        try:
            found = await (await self._instruments.instrument(step.instrument)).find(step.invocation)
        except UnreachableError as error:
            await self._until_reachable(step.instrument, error)
            return
        decision = engine.settle(step, found)
        origin = "checked" if isinstance(decision, engine.LookWhether) else "adopted"
        match await self._looked(step, decision) if isinstance(decision, engine.LookWhether) else decision:
            case engine.Adopt(invocation):
                await self._end(step, ask, invocation, origin, fresh)
            case engine.Resend("adopted"):
                if self.state.aborting:
                    await self._cancel(step)
                await self._send(step, ask, "adopted", fresh)
            case engine.Resend(origin):
                await self._gate(ask)
                await self._send(step, ask, origin, fresh)
            case engine.Repeat(reason):
                await self._append([_interruption(step, reason), _intent(ask, step.attempt + 1)])
            case engine.AskPerson(reason):
                await self._append([_interruption(step, reason)], flush=True)

    async def _looked(
        self, step: Step, look: engine.LookWhether
    ) -> engine.Adopt | engine.Repeat | engine.AskPerson | None:
        """What the driver's check of an interrupted step means; None if it has to be asked again."""
        try:
            client = await self._instruments.instrument(step.instrument)
            return engine.after_look(step, look, await client.check(step.invocation, action=step.action))
        except UnreachableError as error:
            await self._until_reachable(step.instrument, error)
        except BusyError as error:
            await self._held_up(error.detail, asyncio.sleep(ASK_AGAIN_AFTER))
        except LabError as error:
            return engine.after_look(step, look, error)
        return None

    async def _end(self, step: Step, ask: Ask, ended: Invocation, origin: str, fresh: dict[str, Any]) -> None:
        if ended.state in ("interrupted", "cannot tell"):
            return  # it died while we waited; the next turn of the loop inquires and decides
        stored = await self._store(step, ended, ask)
        fresh[step.invocation] = ended.result
        times = {"started": isoformat(ended.started or now()), "ended": isoformat(ended.ended or now())}
        body = {"path": step.path, "invocation": step.invocation, "state": ended.state, "origin": origin, **times}
        await self._append([("ended", {**body, "result": stored, "error": ended.error})])

    async def _enter(self, step: Step, state: str) -> None:
        """A person said what came of it: their value is the result."""
        value = step.entered if state == "succeeded" else None
        time = isoformat(now())
        body = {"path": step.path, "invocation": step.invocation, "state": state, "origin": "entered"}
        await self._append([("ended", {**body, "result": value, "error": None, "started": time, "ended": time})])

    async def _store(self, step: Step, ended: Invocation, ask: Ask) -> Any:
        """The result's stored form, its arrays on disk."""
        if ask.stream is not None and ended.result is not None:
            # What was adopted after a crash was not listened to, or only in part: it gets a stream of its own.
            stream = self._live.get(step.invocation) or self._record.stream(step.path, ask.stream)
            return await self._keeping(lambda: self._record.settle(stream, ended.result, ask.schema))
        if not _holds_array(ended.result):
            return self._record.put(step.path, ended.result, ask.schema)
        return await self._keeping(lambda: self._record.put(step.path, ended.result, ask.schema))

    @contextlib.contextmanager
    def _streaming(self, client: Instrument, step: Step, ask: Ask) -> Any:
        """While it measures, what a generator action yields goes into the record and to viewers at once."""
        if ask.stream is None:
            yield
            return
        stream = self._live[step.invocation] = self._record.stream(step.path, ask.stream)

        def on_event(topic: str, body: dict[str, Any]) -> None:
            if topic == "stream" and body["invocation"] == step.invocation and not stream.closed:
                self._on_row(stream, step, body["columns"])

        stop_listening = client.listen(on_event)
        try:
            yield
        finally:
            stop_listening()

    def _on_row(self, stream: StreamWriter, step: Step, columns: Mapping[str, Any]) -> None:
        try:
            first = stream.append(columns)
        except LabError as error:  # the complete table comes with the answer; a live view may miss a piece
            logger.warning(
                "a live row was not kept", extra={"run": self.state.id, "path": step.path, "why": str(error)}
            )
            return
        self._changes.publish_curve(f"{self.state.id}/{step.path}", columns, start=first)

    # Standing still -----------------------------------------------------------------------------------------------

    @property
    def _leaving(self) -> bool:
        return self.state.aborting or self._left

    @property
    def _stands(self) -> bool:
        """No step may begin now."""
        return self._leaving or self.state.pausing or self._halted()

    async def _gate(self, ask: Ask | None = None) -> None:
        """Before each step: is it paused, halted, ended by a person? Has somebody else what it needs?"""
        await self._may_go_on()
        if ask is not None and not ask.action.startswith(READ):
            await self.hold(ask.instrument)
            await self._may_go_on()

    async def _may_go_on(self) -> None:
        while not self._leaving and self._stands:
            reason = "The lab was halted." if self._halted() else "Paused by a person."
            changed = self._changed
            await self._let_go_unless_it_acts()
            if (self.state.word, self.state.reason) != ("paused", reason):
                await self._append([("paused", {"reason": reason})])
            async with self._standing():
                await changed.wait()
        if self._leaving:
            raise AbortedError(f"Run {self.state.id} was ended by a person.")
        if self.state.word == "paused":
            await self._append([("resumed", {"lease": await self._holding.renew()})])

    async def _wait_for_person(self, reason: str, question: Mapping[str, Any]) -> None:
        await self._let_go_unless_it_acts()  # first: who is asked may want to act before the answer
        async with self._appending:  # one question at a time: another branch asks when this one is answered
            if self.state.question is None and not self._leaving:
                await self._write([("waiting", {"reason": reason, "question": question})], flush=True)
        async with self._standing():
            while self.state.question is not None and not self._leaving:
                await self._changed.wait()

    @contextlib.asynccontextmanager
    async def _standing(self) -> AsyncIterator[None]:
        """The run does not act in this block; others may, unless another branch of it acts."""
        await self._let_go_unless_it_acts()
        if not self._in_flight:
            self._turn.give_back()
        yield
        await self.take_turn()

    async def _let_go_unless_it_acts(self) -> None:
        """Another branch of it may still act."""
        if not self._in_flight:
            await self.let_go()

    async def _until_reachable(self, instrument: str, error: UnreachableError) -> None:
        await self._held_up(f"{instrument} does not answer: {error.detail}", self._reachable(instrument))
        await self.take_turn()

    async def _reachable(self, instrument: str) -> None:
        """Return when it answers. A host that restarts is soon back; for one that does not the others do not wait."""
        coming = asyncio.ensure_future(self._instruments.reachable(instrument))
        try:
            await asyncio.wait({coming}, timeout=GIVE_WAY_AFTER)
            if not coming.done() and len(self._in_flight) <= 1:
                self._turn.give_back()
            await coming
        finally:
            coming.cancel()

    async def _held_up(self, reason: str, until: Coroutine[Any, Any, object]) -> None:
        """Wait for something outside, saying why.

        Raises:
            AbortedError: a person ended the run, and with it the waiting.
        """
        self.trouble = reason
        self._tell_run()
        waiting = asyncio.ensure_future(until)
        try:
            while not waiting.done() and not self._leaving:
                changed = asyncio.ensure_future(self._changed.wait())
                try:
                    await asyncio.wait({waiting, changed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
            if not waiting.done():
                raise AbortedError(f"Run {self.state.id} was ended by a person while it stood still: {reason}")
            waiting.result()
        finally:
            waiting.cancel()
            self.trouble = None
            self._tell_run()

    # Writing ------------------------------------------------------------------------------------------------------

    async def _append(self, entries: Sequence[Entry], *, flush: bool = False) -> None:
        """Append to the journal, then fold, record and tell; where the disk is full, try until it takes it."""
        async with self._appending:
            await self._write(entries, flush=flush)

    async def _write(self, entries: Sequence[Entry], *, flush: bool = False) -> None:
        """`_append` for one who holds the lock."""
        try:
            events = await self._until_written(
                lambda: self._journal.append(self.state.id, self.state.number, entries, flush=flush)
            )
        except ConflictError:  # the run is another's now: no step of it may begin here
            self.leave()
            raise
        for event in events:
            flat = event.as_dict()
            self.state.apply(flat)
            self._to_record(flat)
            self._tell(flat)

    async def _keeping(self, put: Callable[[], T]) -> T:
        """Store arrays without holding up others; where the disk is full, try until it takes them."""
        return await self._until_written(lambda: asyncio.to_thread(put))

    async def _until_written(self, write: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                written = await write()
            except StorageError as error:
                logger.warning("the disk does not take it", extra={"run": self.state.id, "why": error.detail})
                self._full = str(error)
                self._tell_run()
                await asyncio.sleep(RETRY_WRITING_AFTER)
            else:
                if self._full:
                    self._full = None
                    self._tell_run()
                return written

    def _to_record(self, event: Mapping[str, Any]) -> None:
        """The record follows the journal; if it fell behind (full disk), it catches up here."""
        try:
            if self._record.last_number < event["number"] - 1:
                for missing in self._journal.read(self.state.id, self._record.last_number):
                    self._record.event(missing.as_dict())
            self._record.event(event)
        except LabError as error:
            logger.warning("the record fell behind its journal", extra={"run": self.state.id, "why": error.detail})

    def _tell(self, event: Mapping[str, Any]) -> None:
        if event["kind"] in ("intended", "ended", "interrupted"):
            step = self.state.steps[event["path"]]
            words = {
                name: getattr(step, name) for name in ("path", "instrument", "action", "state", "attempt", "error")
            }
            self._changes.publish("step", {"run": self.state.id, **words, "at": event["at"], **_times(event)})
        elif event["kind"] == "saved":
            self._changes.publish("saved", {"run": self.state.id, "path": event["path"], "row": event["row"]})
        if engine.state_after(event["kind"], event):
            self._tell_run()
            if event["kind"] not in ("started", "finished"):  # its record is opened and closed with these words
                self._on_word(self.state.word)

    def _tell_run(self) -> None:
        self._changes.publish("run", self.summary())

    def summary(self) -> dict[str, Any]:
        """What a list of runs shows of it."""
        state = self.state
        names = ("id", "name", "who", "submitted", "started", "ended", "question", "number", "error", "pausing")
        words = {name: getattr(state, name) for name in names}
        words |= {"state": state.word, "reason": self._full or self.trouble or state.reason}
        return words | {"steps_done": state.done, "steps_total": state.experiment.get("steps")}


def _times(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("parameters", "started", "ended", "origin") if name in body}


def _intent(ask: Ask, attempt: int) -> Entry:
    words = {"path": ask.path, "instrument": ask.instrument, "action": ask.action, "parameters": dict(ask.parameters)}
    return "intended", {**words, "invocation": new_id(), "effect": ask.effect, "attempt": attempt}


def _interruption(step: Step, reason: str) -> Entry:
    return "interrupted", {"path": step.path, "invocation": step.invocation, "reason": reason}


def _question(step: Step, reason: str) -> dict[str, Any]:
    words = {"path": step.path, "instrument": step.instrument, "action": step.action, "kind": "interrupted"}
    return {**words, "text": f"{reason} What happened?", "choices": list(CHOICES), "meanings": dict(CHOICES)}


def _refuse_unfit(value: Any, schema: Mapping[str, Any]) -> None:
    """An answer that is not what its form asks for."""
    found = differences(value, schema, "answer")
    if found:
        raise InvalidError("The answer does not fit.", faults=[{"detail": f"{sentence}."} for sentence in found])


def _asked(path: str, question: Question) -> dict[str, Any]:
    """The question of an `ask` step, as it is journalled and shown."""
    words: dict[str, Any] = {"path": path, "text": question.text, "kind": "ask"}
    words["choices"] = [*(question.choices or ["answer"]), "abort"]
    if question.schema is not None and not question.choices:
        words["schema"] = question.schema
    names = ("description", "deadline", "remind", "assignee")
    return words | {name: getattr(question, name) for name in names if getattr(question, name)}


def _as_invocation(step: Step, ask: Ask, value: Any) -> Invocation:
    """A read or a write in the form of what an action leaves."""
    time = now()
    effect: Effect = "read" if ask.action.startswith(READ) else "absolute"
    return Invocation(
        step.invocation, step.instrument, ask.action, ask.parameters, effect, "succeeded", time, time, time, value
    )


def _holds_array(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_array(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_array(item) for item in value)
    return hasattr(value, "dtype")
