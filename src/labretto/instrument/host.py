"""The host of one instrument: one thread for the driver, one call at a time, every invocation in the ledger.

Everything public here is called in one asyncio loop (the *front*, where the wires are); the driver lives in a second
loop in a thread of its own, so a driver that blocks never blocks an answer. `stop()` goes past both, in a fresh thread.
What is promised of an action is in `labretto.instrument.ledger`; no socket is known here.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from labretto.errors import BusyError, ConflictError, DriverError, LabError, LeaseError, NoStopError, NotFoundError
from labretto.instrument import codec
from labretto.instrument.arguments import check_arguments, check_value
from labretto.instrument.describe import Action, Description, Offer
from labretto.instrument.execution import Execution, driver_error
from labretto.instrument.invocation import Invocation, check_id, new_id
from labretto.instrument.ledger import Ledger
from labretto.instrument.reading import Reading, isoformat, now

T = TypeVar("T")
Listener = Callable[[str, dict[str, Any]], None]
"""Called in the front loop with a topic ("stream", "invocation", "attribute") and a body; must not block."""

STOP_WITHIN = 2.0
"""Seconds in which a driver's `stop()` has to return before the answer says that it has not."""


@dataclass
class _Front:
    """What the front loop knows of an invocation that runs."""

    execution: Execution
    over: asyncio.Future[Invocation]
    exclusive: bool


class Host:
    """Owns one driver. Use `async with Host(...) as host`.

    Args:
        make: makes the driver; called in the driver's thread, which some vendor libraries insist on.
        offer: the description and validators from `labretto.instrument.describe.describe`.
        ledger: remembers invocations; the host closes it.
    """

    def __init__(self, make: Callable[[], object], offer: Offer, ledger: Ledger) -> None:
        self._make = make
        self._offer = offer
        self._ledger = ledger
        self._driver: object = None
        self._running: dict[str, _Front] = {}
        self._last: dict[str, Reading] = {}
        self._wanted: set[str] = set()
        self._listeners: list[Listener] = []
        self._back = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._back.run_forever, name=f"driver {offer.description.name}", daemon=True
        )

    @property
    def description(self) -> Description:
        """What the instrument offers."""
        return self._offer.description

    @property
    def ledger_birth(self) -> str:
        """The id that this ledger got when it was made."""
        return self._ledger.birth

    async def __aenter__(self) -> Host:
        self._front = asyncio.get_running_loop()
        self._thread.start()
        try:
            await self._in_driver_thread(self._open)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let the hardware go: the driver's `close()` if it has one and is not blocked, the thread, the ledger."""
        closer = inspect.getattr_static(type(self._driver), "close", None)
        if closer is not None and not self._blocked():
            await self._in_driver_thread(lambda: self._driver.close())  # type: ignore[attr-defined]
        self._back.call_soon_threadsafe(self._back.stop)
        await asyncio.to_thread(self._thread.join, STOP_WITHIN)
        if not self._thread.is_alive():
            self._back.close()
            self._ledger.close()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every change from now on; the answer ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # Reading and writing ------------------------------------------------------------------------------------------

    async def read(self, attribute: str) -> Reading:
        """One look at `attribute`; while a blocking action runs, the last reading, marked stale.

        Raises:
            NotFoundError: there is no such attribute.
            DriverError: the driver raised.
            BusyError: the driver is busy and has never been asked for this attribute.
        """
        self._attribute(attribute)
        if self._blocked():
            return self._stale(attribute)
        return await self._in_driver_thread(lambda: self._read(attribute))

    async def read_all(self) -> dict[str, Reading]:
        """Every attribute; one that cannot be read has the status "error" and the driver's text."""
        return {name: await self._read_or_error(name) for name in self.description.attributes}

    async def write(self, attribute: str, value: Any, *, lease: int | None = None) -> Reading:
        """Set `attribute`, then read it back.

        Raises:
            ConflictError: it is read-only.
            LimitError, InvalidError: the value does not fit; nothing was sent to the driver.
            BusyError: an exclusive action runs.
        """
        described = self._attribute(attribute)
        if not described.writable:
            raise ConflictError(f"{self.description.name}.{attribute} cannot be set.", way_out="It can be read.")
        plain = check_value(
            self._offer.values[attribute], value, f"{self.description.name}.{attribute}", described.unit
        )
        self._check_lease(lease)
        self._refuse_if_busy(f"setting {attribute}")

        def set_and_read() -> Reading:
            try:
                setattr(self._driver, attribute, plain)
            except Exception as error:
                raise driver_error(f"{self.description.name}.{attribute} = {value!r}", error) from error
            return self._read(attribute)

        return await self._in_driver_thread(set_and_read)

    # Actions ------------------------------------------------------------------------------------------------------

    async def invoke(
        self,
        action: str,
        parameters: Mapping[str, Any],
        *,
        identity: str | None = None,
        lease: int | None = None,
        actor: str | None = None,
    ) -> Invocation:
        """Begin an action, or find the invocation that has this id already; answers as soon as it has begun.

        The same id with the same parameters is answered from memory, for ever; `wait` answers its end.

        Raises:
            NotFoundError, InvalidError, LimitError: no such action, or parameters that do not fit.
            BusyError: another exclusive action runs; says which and since when.
            ConflictError: the id was used for something else.
            LeaseError: a higher lease number was seen.
            StorageError: the ledger cannot be written; the driver was not called.
        """
        described = self._action(action)
        identity = check_id(identity) if identity else new_id()
        if known := self._known(identity):
            return self._same(known, action, parameters)
        arguments = check_arguments(described, self._offer.arguments[action], parameters, self.description.name)
        self._check_lease(lease)
        if described.exclusive:
            self._refuse_if_busy(action)
        time = now()
        invocation = Invocation(
            identity,
            self.description.name,
            action,
            dict(parameters),
            described.effect,
            "running",
            time,
            time,
            actor=actor,
        )
        return await self._begin(invocation, arguments, described)

    async def wait(self, identity: str) -> Invocation:
        """The invocation, when it is over."""
        front = self._running.get(identity)
        return await asyncio.shield(front.over) if front else self.find(identity)

    def find(self, identity: str) -> Invocation:
        """What is known of `identity` now: one of the answers in `labretto.instrument.invocation.State`."""
        identity = check_id(identity)
        if known := self._known(identity):
            return known
        name = self.description.name
        return Invocation(identity, name, "", {}, "once", self._ledger.absent(identity))

    def running(self) -> list[Invocation]:
        """What runs now."""
        return [front.execution.invocation for front in self._running.values()]

    def cancel(self, identity: str) -> Invocation:
        """Ask a running action to end at its next opportunity; answers what is known now.

        Raises:
            NotFoundError: nothing with this id runs or ran here.
            ConflictError: it is over, or it blocks in the driver and gives no opportunity.
        """
        front = self._running.get(identity)
        if front is None:
            found = self.find(identity)
            if found.state in ("not arrived", "cannot tell"):
                raise NotFoundError(f"No invocation {identity} is known here.")
            raise ConflictError(f"{found.action} is over: {found.state}.")
        if not front.execution.cancellable:
            raise ConflictError(
                f"{front.execution.invocation.action} blocks in its driver and cannot be cancelled.",
                way_out="Stop the instrument, or wait.",
            )
        front.execution.ended_by("cancel")
        self._back.call_soon_threadsafe(front.execution.cancel)
        return front.execution.invocation

    async def stop(self) -> dict[str, Any]:
        """Call the driver's `stop()` at once, past every queue, then end what runs.

        Answers `{"stopped", "seconds", "detail"}`; `stopped` is False if `stop()` raised or has not returned in time.

        Raises:
            NoStopError: the driver has none.
        """
        if not self.description.stop:
            raise NoStopError(
                f"{self.description.name} has no software stop.", way_out="Use the instrument's own switch."
            )
        for front in self._running.values():
            front.execution.ended_by("stop")
        began = self._front.time()
        detail = await self._call_stop()
        for front in self._running.values():
            self._back.call_soon_threadsafe(front.execution.cancel)
        return {"stopped": detail is None, "seconds": round(self._front.time() - began, 6), "detail": detail}

    # The front loop -----------------------------------------------------------------------------------------------

    async def _begin(self, invocation: Invocation, arguments: dict[str, Any], action: Action) -> Invocation:
        publish, refresh = self._publish_from_driver, self._refresh
        execution = Execution(invocation, arguments, action, self._driver, self._ledger, publish, refresh)
        front = _Front(execution, self._front.create_future(), action.exclusive)
        self._running[invocation.id] = front
        begun: asyncio.Future[None] = self._front.create_future()

        def told_begun(error: LabError | None) -> None:
            self._to_front(self._begun, begun, invocation, error)

        def told_over(ended: Invocation) -> None:
            self._to_front(self._over, ended)

        if action.exclusive:
            self._back.call_soon_threadsafe(execution.start, told_begun, told_over)
        else:
            execution.start_beside(told_begun, told_over)
        try:
            await asyncio.shield(begun)
        except LabError:
            # The ledger refused: the driver was not called, so nothing of this id is left behind.
            self._running.pop(invocation.id, None)
            front.over.cancel()
            raise
        return self._known(invocation.id) or invocation

    def _begun(self, begun: asyncio.Future[None], invocation: Invocation, error: LabError | None) -> None:
        # Told here and not where `begun` is awaited: a quick action may be over before that is awake.
        if error is None:
            self._tell("invocation", invocation.as_dict())
        _settle(begun, error)

    def _over(self, ended: Invocation) -> None:
        front = self._running.pop(ended.id)
        if not front.over.done():
            front.over.set_result(ended)
        self._tell("invocation", ended.as_dict())

    def _known(self, identity: str) -> Invocation | None:
        front = self._running.get(identity)
        return front.execution.invocation if front else self._ledger.find(identity)

    def _same(self, known: Invocation, action: str, parameters: Mapping[str, Any]) -> Invocation:
        same = codec.encode_sorted(dict(known.parameters)) == codec.encode_sorted(dict(parameters))
        if known.action == action and same:
            return known
        raise ConflictError(
            f"The id {known.id} belongs to {known.action}({_spelled(known.parameters)}), not to "
            f"{action}({_spelled(parameters)}).",
            way_out="Make a new id for a new request.",
        )

    def _refuse_if_busy(self, asked: str) -> None:
        other = next((f.execution.invocation for f in self._running.values() if f.exclusive), None)
        if other is not None:
            since = isoformat(other.started) if other.started else "now"
            raise BusyError(
                f"{self.description.name} is busy: {other.action}({_spelled(other.parameters)}) runs since {since}; "
                f"{asked} was refused.",
                way_out="Ask again when it has ended, or stop it.",
                running=other.id,
                action=other.action,
                since=since,
            )

    def _check_lease(self, lease: int | None) -> None:
        if lease is None:
            return
        if lease < self._ledger.lease:
            raise LeaseError(
                f"Lease {lease} on {self.description.name} is over: number {self._ledger.lease} acts here.",
                way_out="Take the instrument over again to get a higher number.",
                highest=self._ledger.lease,
            )
        if lease > self._ledger.lease:
            self._ledger.raise_lease(lease)

    def _action(self, name: str) -> Action:
        if name not in self.description.actions:
            raise NotFoundError(
                f"{self.description.name} has no action {name!r}.",
                way_out=f"It has {', '.join(self.description.actions) or 'none'}.",
            )
        return self.description.actions[name]

    def _attribute(self, name: str) -> Any:
        if name not in self.description.attributes:
            raise NotFoundError(
                f"{self.description.name} has no attribute {name!r}.",
                way_out=f"It has {', '.join(self.description.attributes) or 'none'}.",
            )
        return self.description.attributes[name]

    def _tell(self, topic: str, body: dict[str, Any]) -> None:
        for listener in tuple(self._listeners):
            listener(topic, body)

    def _publish_from_driver(self, topic: str, body: dict[str, Any]) -> None:
        self._to_front(self._tell, topic, body)

    def _to_front(self, call: Callable[..., None], *arguments: Any) -> None:
        if not self._front.is_closed():
            self._front.call_soon_threadsafe(call, *arguments)

    # The driver's thread ------------------------------------------------------------------------------------------

    def _blocked(self) -> bool:
        """The driver's thread is inside a method that gives no opportunity to read."""
        return any(front.execution.blocks for front in self._running.values())

    async def _in_driver_thread(self, call: Callable[[], T]) -> T:
        answer: asyncio.Future[T] = self._front.create_future()

        def run() -> None:
            try:
                value = call()
            except BaseException as error:  # noqa: BLE001 - told to the one who waits, whatever it is
                self._to_front(_raise, answer, error)
            else:
                self._to_front(_answer, answer, value)

        self._back.call_soon_threadsafe(run)
        return await answer

    def _open(self) -> None:
        self._driver = self._make()
        for name in self.description.attributes:
            try:
                self._read(name)
            except DriverError as error:
                # A value that cannot be read yet is no reason not to offer the instrument; whoever asks is told.
                self._last[name] = Reading(None, self.description.attributes[name].unit, now(), "error", error.detail)

    def _read(self, attribute: str) -> Reading:
        try:
            value = getattr(self._driver, attribute)
        except Exception as error:
            raise driver_error(f"{self.description.name}.{attribute}", error) from error
        reading = Reading(value, self.description.attributes[attribute].unit, now())
        self._last[attribute] = reading
        return reading

    def _refresh(self) -> None:
        """Read what was asked for while the driver was busy; between two rows there is an opportunity."""
        while self._wanted:
            attribute = self._wanted.pop()
            try:
                self._read(attribute)
            except DriverError as error:
                self._last[attribute] = Reading(None, None, now(), "error", error.detail)

    async def _read_or_error(self, attribute: str) -> Reading:
        try:
            return await self.read(attribute)
        except LabError as error:
            return Reading(None, self.description.attributes[attribute].unit, now(), "error", error.detail)

    def _stale(self, attribute: str) -> Reading:
        self._wanted.add(attribute)
        last = self._last.get(attribute)
        busy = next((f.execution.invocation.action for f in self._running.values()), "an action")
        if last is None:
            raise BusyError(f"{self.description.name}.{attribute} was never read, and {busy} keeps the driver busy.")
        status: Literal["stale", "error"] = "error" if last.status == "error" else "stale"
        return Reading(last.value, last.unit, last.time, status, last.detail or f"{busy} keeps the driver busy")

    async def _call_stop(self) -> str | None:
        """None if `stop()` returned in time, else what happened."""
        finished: asyncio.Future[str | None] = self._front.create_future()

        def run() -> None:
            try:
                self._driver.stop()  # type: ignore[attr-defined]
            except Exception as error:  # noqa: BLE001 - a driver may raise anything; it is told to the caller
                self._to_front(_answer, finished, f"stop() raised {type(error).__name__}: {error}")
            else:
                self._to_front(_answer, finished, None)

        threading.Thread(target=run, name=f"stop {self.description.name}", daemon=True).start()
        try:
            return await asyncio.wait_for(finished, STOP_WITHIN)
        except TimeoutError:
            return f"stop() has not returned within {STOP_WITHIN} s"


def _settle(future: asyncio.Future[None], error: LabError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _answer(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _raise(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _spelled(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}"[:60] for name, value in parameters.items())
