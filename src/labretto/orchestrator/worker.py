"""One run being done: each step is decided by `engine`, journalled, sent, recorded, and its outcome handed back.

The same walker serves files (`experiment.follow`) and Python experiments (`orchestrator.python`), new runs and runs
that a crash cut off: what the journal holds is answered from it, what was in flight is settled by asking its host.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from labretto.catalog.live import Changes
from labretto.catalog.store import RecordWriter
from labretto.catalog.stream import StreamWriter
from labretto.errors import (
    BusyError,
    ConflictError,
    LabError,
    NotFoundError,
    RefusedError,
    StorageError,
    UnreachableError,
    from_problem,
)
from labretto.instrument.describe import Description
from labretto.instrument.invocation import Effect, Invocation, new_id
from labretto.instrument.reading import isoformat, now
from labretto.network.client import Instrument
from labretto.orchestrator import engine
from labretto.orchestrator.engine import CHOICES, Ask, RunState, Step
from labretto.orchestrator.journal import Entry, Event, Journal
from labretto.orchestrator.values import hand_out, plain, to_keep

logger = logging.getLogger(__name__)
T = TypeVar("T")

READ = "attribute:get "
WRITE = "attribute:set "
RETRY_WRITING_AFTER = 1.0
"""Seconds between attempts to write what the disk does not take; the run stands still meanwhile and says why."""
ASK_AGAIN_AFTER = 0.2
"""Seconds until an instrument that somebody else uses, or whose disk is full, is asked again."""


class AbortedError(LabError):
    """A person ended the run."""


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
    """The right to act. One run has it; a run that waits for a person gives it back so that others go on."""

    def __init__(self) -> None:
        self._one = asyncio.Semaphore(1)
        self.taken = self._one.acquire
        self.give_back = self._one.release


class Walker:
    """Does the steps of one run.

    Args:
        state: the run, folded from its journal.
        journal, record: where it is written.
        instruments: where it acts.
        changes: where viewers are told.
        turn: held by the caller when the walk begins.
        lease: fencing number for every instrument.
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
        lease: int,
        halted: Callable[[], bool],
    ) -> None:
        self.state = state
        self.trouble: str | None = None
        """Why it stands still now, if something outside holds it up."""
        self._journal = journal
        self._record = record
        self._instruments = instruments
        self._changes = changes
        self._turn = turn
        self._lease = lease
        self._halted = halted
        self._appending = asyncio.Lock()
        self._changed = asyncio.Event()
        self._in_flight: dict[str, Step] = {}
        self._live: dict[str, tuple[StreamWriter, Step]] = {}

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
            with contextlib.suppress(LabError):  # it cannot be cancelled, or is over: its end is waited for
                await (await self._instruments.instrument(step.instrument)).cancel(step.invocation)

    async def _note(self, kind: str, who: str | None) -> None:
        await self._append([(kind, {"who": who})], flush=True)
        self.look_again()

    def look_again(self) -> None:
        """Something that may hold it up has changed: a person's word, a halt, its reset."""
        self._changed.set()
        self._changed = asyncio.Event()

    def in_flight(self) -> list[Step]:
        """Steps that were sent and have not ended."""
        return list(self._in_flight.values())

    async def answer(self, choice: str, value: Any, *, who: str | None, why: str | None) -> None:
        """A person's answer to the run's question.

        Raises:
            ConflictError: it asks nothing.
            RefusedError: the choice is not one of those offered.
        """
        question = self.state.question
        if question is None:
            raise ConflictError(f"Run {self.state.id} asks nothing; it is {self.state.word}.")
        if choice not in question["choices"]:
            raise ConflictError(
                f"{choice!r} is not offered.", way_out=f"Choose one of {', '.join(question['choices'])}."
            )
        body = {"path": question["path"], "choice": choice, "value": value, "who": who, "why": why}
        await self._append([("settled", body)], flush=True)
        self.look_again()

    async def description(self, instrument: str) -> Description:
        """What an instrument offers; waits until it answers. `NotFoundError` if the lab has none of that name."""
        while True:
            try:
                return (await self._instruments.instrument(instrument)).description
            except UnreachableError as error:
                await self._until_reachable(instrument, error)

    # The walk -----------------------------------------------------------------------------------------------------

    async def call(self, path: str, instrument: str, action: str, parameters: Mapping[str, Any]) -> Any:
        """An action as a durable step; answers its result.

        Raises:
            FailedError: it failed, or the journal says that it did.
            ExperimentChangedError: the journal has another step at `path`.
            AbortedError: a person ended the run.
        """
        described = (await self.description(instrument)).actions.get(action)
        if described is None:
            raise NotFoundError(f"{instrument} has no action {action!r}.")
        ask = Ask(path, instrument, action, plain(parameters), described.effect)
        return hand_out(*await self._step(ask), described.result)

    async def read(self, path: str, instrument: str, attribute: str) -> Any:
        """The value of an attribute, as a durable step."""
        described = (await self.description(instrument)).attributes.get(attribute)
        if described is None:
            raise NotFoundError(f"{instrument} has no attribute {attribute!r}.")
        return hand_out(*await self._step(Ask(path, instrument, READ + attribute, {}, "read")), described.schema)

    async def write(self, path: str, instrument: str, attribute: str, value: Any) -> Any:
        """Set an attribute, as a durable step; answers the value read back."""
        ask = Ask(path, instrument, WRITE + attribute, {"value": plain(value)}, "absolute")
        described = (await self.description(instrument)).attributes.get(attribute)
        return hand_out(*await self._step(ask), described.schema if described else None)

    async def save(self, path: str, row: Mapping[str, Any]) -> None:
        """Put a row into the record; a row that is there already is not put again."""
        if path in self.state.saved:
            return
        values, schema = to_keep(row)
        stored = await self._keeping(lambda: self._record.put(path, values, schema, quantities=True))
        await self._append([("saved", {"path": path, "row": stored})])

    async def ask(self, path: str, text: str, choices: Sequence[str] = ()) -> Any:
        """Ask a person; the run waits for the answer, which is asked for once only."""
        while path not in self.state.answers:
            await self._gate()
            question = {"path": path, "text": text, "choices": [*(choices or ["answer"]), "abort"], "kind": "ask"}
            await self._wait_for_person(text, question)
        return self.state.answers[path]

    async def begin(self) -> None:
        """Note in the journal that it begins, or goes on after a crash."""
        kind = "resumed" if self.state.number > 1 else "started"
        await self._append([(kind, {"lease": self._lease})])

    async def finish(self, state: str, error: Mapping[str, Any] | None) -> None:
        """Note its end."""
        await self._append([("finished", {"state": state, "error": error})], flush=True)

    # One step -----------------------------------------------------------------------------------------------------

    async def _step(self, ask: Ask) -> tuple[Any, Any]:
        """The value and the stored form of the result of a step, done now or before a crash."""
        fresh: dict[str, Any] = {}
        while True:
            await self._gate()
            command = engine.next_step(self.state, ask)
            match command:
                case engine.Answer(step):
                    return self._outcome(step, fresh)
                case engine.Send(attempt):
                    await self._append([_intent(ask, attempt)])
                    await self._send(self.state.steps[ask.path], ask, "answered", fresh)
                case engine.Inquire(step):
                    await self._inquire(step, ask, fresh)
                case engine.Wait(step, reason):
                    await self._wait_for_person(reason, _question(step, reason))
                case engine.Enter(step, state):
                    await self._enter(step, state)

    def _outcome(self, step: Step, fresh: Mapping[str, Any]) -> tuple[Any, Any]:
        if step.state == "failed":
            raise from_problem(dict(step.error or {}))
        if step.invocation in fresh:
            return fresh[step.invocation], step.result
        return self._record.get(step.result), step.result

    async def _send(self, step: Step, ask: Ask, origin: str, fresh: dict[str, Any]) -> None:
        """Send a step whose intent is written, and write its end; leave it open if nothing is known of it."""
        self._in_flight[step.path] = step
        try:
            invocation = await self._perform(step, ask)
        except UnreachableError as error:
            await self._until_reachable(step.instrument, error)
        except (BusyError, StorageError) as error:  # nothing moved, and it may be free again at any moment
            await self._held_up(error.detail, asyncio.sleep(ASK_AGAIN_AFTER))
        except RefusedError as error:
            refused = Invocation(
                step.invocation, step.instrument, ask.action, {}, "once", "failed", error=error.problem()
            )
            await self._end(step, refused, origin, fresh)
        else:
            await self._end(step, invocation, origin, fresh)
        finally:
            self._in_flight.pop(step.path, None)
            self._live.pop(step.invocation, None)

    async def _perform(self, step: Step, ask: Ask) -> Invocation:
        client = await self._instruments.instrument(step.instrument)
        if ask.action.startswith(READ):
            reading = await client.read(ask.action.removeprefix(READ))
            return _as_invocation(step, ask, reading.value)
        if ask.action.startswith(WRITE):
            attribute = ask.action.removeprefix(WRITE)
            reading = await client.write(attribute, ask.parameters["value"], lease=self._lease)
            return _as_invocation(step, ask, reading.value)
        with self._streaming(client, step, ask):
            return await client.invoke(
                ask.action, ask.parameters, identity=step.invocation, lease=self._lease, actor=f"run {self.state.id}"
            )

    async def _inquire(self, step: Step, ask: Ask, fresh: dict[str, Any]) -> None:
        """Settle a step that was in flight when the hub or the connection died."""
        if ask.action.startswith((READ, WRITE)):
            await self._send(step, ask, "answered", fresh)  # harmless to do again
            return
        try:
            found = await (await self._instruments.instrument(step.instrument)).find(step.invocation)
        except UnreachableError as error:
            await self._until_reachable(step.instrument, error)
            return
        decision = engine.settle(step, found)
        match decision:
            case engine.Adopt(invocation):
                await self._end(step, invocation, "adopted", fresh)
            case engine.Resend(origin):
                await self._send(step, ask, origin, fresh)
            case engine.Repeat(reason):
                await self._append([_interruption(step, reason), _intent(ask, step.attempt + 1)])
            case engine.AskPerson(reason):
                await self._append([_interruption(step, reason)], flush=True)

    async def _end(self, step: Step, ended: Invocation, origin: str, fresh: dict[str, Any]) -> None:
        if ended.state in ("interrupted", "cannot tell"):
            return  # it died while we waited; the next turn of the loop inquires and decides
        stored = await self._store(step, ended, await self._result_schema(step))
        fresh[step.invocation] = ended.result
        times = {"started": isoformat(ended.started or now()), "ended": isoformat(ended.ended or now())}
        body = {"path": step.path, "invocation": step.invocation, "state": ended.state, "origin": origin, **times}
        await self._append([("ended", {**body, "result": stored, "error": ended.error})])

    async def _enter(self, step: Step, state: str) -> None:
        """A person said what came of it: their value is the result."""
        settled = [e for e in self._journal.read(self.state.id) if e.kind == "settled" and e.body["path"] == step.path]
        value = settled[-1].body["value"] if state == "succeeded" else None
        time = isoformat(now())
        body = {"path": step.path, "invocation": step.invocation, "state": state, "origin": "entered"}
        await self._append([("ended", {**body, "result": value, "error": None, "started": time, "ended": time})])

    async def _store(self, step: Step, ended: Invocation, schema: Mapping[str, Any]) -> Any:
        """The result's stored form, its arrays on disk."""
        live = self._live.get(step.invocation)
        if live is not None:
            return await self._keeping(lambda: self._record.settle(live[0], ended.result, schema))
        if not _holds_array(ended.result):
            return self._record.put(step.path, ended.result, schema)
        return await self._keeping(lambda: self._record.put(step.path, ended.result, schema))

    async def _result_schema(self, step: Step) -> Mapping[str, Any]:
        description = await self.description(step.instrument)
        if step.action.startswith((READ, WRITE)):
            return description.attributes[step.action.split(" ", 1)[1]].schema
        return description.actions[step.action].result

    @contextlib.contextmanager
    def _streaming(self, client: Instrument, step: Step, ask: Ask) -> Any:
        """While it measures, what a generator action yields goes into the record and to viewers at once."""
        columns = client.description.actions[ask.action].stream
        if columns is None:
            yield
            return
        stream = self._record.stream(step.path, dict(columns))
        self._live[step.invocation] = (stream, step)

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

    async def _gate(self) -> None:
        """Before each step: is it paused, halted, ended by a person?"""
        while not self.state.aborting and (self.state.pausing or self._halted()):
            reason = "The lab was halted." if self._halted() else "Paused by a person."
            changed = self._changed
            if self.state.word != "paused":
                await self._append([("paused", {"reason": reason})])
            self._turn.give_back()
            try:
                await changed.wait()
            finally:
                await self._turn.taken()
        if self.state.aborting:
            raise AbortedError(f"Run {self.state.id} was ended by a person.")
        if self.state.word == "paused":
            await self._append([("resumed", {"lease": self._lease})])

    async def _wait_for_person(self, reason: str, question: Mapping[str, Any]) -> None:
        if self.state.question is None:
            await self._append([("waiting", {"reason": reason, "question": question})], flush=True)
        self._turn.give_back()
        try:
            while self.state.question is not None and not self.state.aborting:
                await self._changed.wait()
        finally:
            await self._turn.taken()

    async def _until_reachable(self, instrument: str, error: UnreachableError) -> None:
        await self._held_up(f"{instrument} does not answer: {error.detail}", self._instruments.reachable(instrument))

    async def _held_up(self, reason: str, until: Coroutine[Any, Any, object]) -> None:
        """Wait for something outside, saying why; an abort ends the waiting."""
        self.trouble = reason
        self._tell_run()
        waiting = asyncio.ensure_future(until)
        try:
            while not waiting.done() and not self.state.aborting:
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({waiting, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            if waiting.done():
                waiting.result()
        finally:
            waiting.cancel()
            self.trouble = None
            self._tell_run()

    # Writing ------------------------------------------------------------------------------------------------------

    async def _append(self, entries: Sequence[Entry], *, flush: bool = False) -> None:
        """Append to the journal, then fold, record and tell; where the disk is full, try until it takes it."""
        async with self._appending:
            events = await self._until_written(
                lambda: self._journal.append(self.state.id, self.state.number, entries, flush=flush)
            )
            for event in events:
                self.state.apply(event.as_dict())
                self._to_record(event)
                self._tell(event)

    async def _keeping(self, put: Callable[[], T]) -> T:
        """Store arrays without holding up others; where the disk is full, try until it takes them."""
        return await self._until_written(lambda: asyncio.to_thread(put))

    async def _until_written(self, write: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await write()
            except StorageError as error:
                logger.warning("the disk does not take it", extra={"run": self.state.id, "why": error.detail})
                self.trouble = str(error)
                self._tell_run()
                await asyncio.sleep(RETRY_WRITING_AFTER)
                self.trouble = None

    def _to_record(self, event: Event) -> None:
        """The record follows the journal; if it fell behind (full disk), it catches up here."""
        try:
            if self._record.last_number < event.number - 1:
                for missing in self._journal.read(self.state.id, self._record.last_number):
                    self._record.event(missing.as_dict())
            self._record.event(event.as_dict())
        except StorageError as error:
            logger.warning("the record fell behind its journal", extra={"run": self.state.id, "why": error.detail})

    def _tell(self, event: Event) -> None:
        body = event.as_dict()
        if event.kind in ("intended", "ended", "interrupted"):
            step = self.state.steps[body["path"]]
            words = {"path": step.path, "instrument": step.instrument, "action": step.action, "state": step.state}
            self._changes.publish(
                "step", {"run": self.state.id, **words, "error": step.error, "at": event.at, **_times(body)}
            )
        elif event.kind == "saved":
            self._changes.publish("saved", {"run": self.state.id, "path": body["path"], "row": body["row"]})
        if engine.state_after(event.kind, event.body):
            self._tell_run()

    def _tell_run(self) -> None:
        self._changes.publish("run", self.summary())

    def summary(self) -> dict[str, Any]:
        """What a list of runs shows of it."""
        state = self.state
        words = {"id": state.id, "name": state.name, "state": state.word, "reason": self.trouble or state.reason}
        return {
            **words,
            "question": state.question,
            "steps_done": _done(state),
            "number": state.number,
            "error": state.error,
        }


def _done(state: RunState) -> int:
    return sum(step.state in ("succeeded", "skipped", "failed") for step in state.steps.values()) + len(state.saved)


def _times(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("started", "ended", "origin") if name in body}


def _intent(ask: Ask, attempt: int) -> Entry:
    words = {"path": ask.path, "instrument": ask.instrument, "action": ask.action, "parameters": dict(ask.parameters)}
    return "intended", {**words, "invocation": new_id(), "effect": ask.effect, "attempt": attempt}


def _interruption(step: Step, reason: str) -> Entry:
    return "interrupted", {"path": step.path, "invocation": step.invocation, "reason": reason}


def _question(step: Step, reason: str) -> dict[str, Any]:
    words = {"path": step.path, "instrument": step.instrument, "action": step.action, "kind": "interrupted"}
    return {**words, "text": f"{reason} What happened?", "choices": list(CHOICES), "meanings": dict(CHOICES)}


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
