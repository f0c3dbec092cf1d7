"""The host of one instrument: one thread for the driver, one call at a time, every invocation in the ledger.

Everything public here, `look` apart, is called in one asyncio loop (the *front*, where the wires are); the driver lives
in a second loop in a thread of its own, so a driver that blocks never blocks an answer. `stop()` goes past both, in a
fresh thread.
What is promised of an action is in `labretto.instrument.ledger`; no socket is known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import reprlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from labretto.errors import (
    BusyError,
    ConflictError,
    DriverError,
    LabError,
    NoStopError,
    NotFoundError,
    UnreachableError,
)
from labretto.instrument import codec
from labretto.instrument.alarms import Alarm, Alarms
from labretto.instrument.arguments import check_arguments, check_value
from labretto.instrument.checks import Checked, outcome_of
from labretto.instrument.describe import Action, Description, Offer
from labretto.instrument.execution import Execution
from labretto.instrument.invocation import HARMLESS, Invocation, born, check_id, new_id
from labretto.instrument.leases import Lease, Leases, lease_as_dict
from labretto.instrument.ledger import Ledger
from labretto.instrument.limits import WHOLE, Limits, check_rate, unmet
from labretto.instrument.polling import Polling
from labretto.instrument.reading import Reading, isoformat, now
from labretto.instrument.readings import Readings
from labretto.instrument.thread import DriverThread, Told, driver_error
from labretto.instrument.watch import OVERRUN, Watch
from labretto.lab import did_you_mean

logger = logging.getLogger(__name__)

Listener = Callable[[str, dict[str, Any]], None]
"""Called in the front loop with a topic and a body; must not block.

Topics: "invocation" (began, ended), "stream" (a row of a generator), "attribute" (a reading that says something new,
with the name as "attribute"), "alarm" (raised, cleared, acknowledged), "lease" (who has the instrument now; "holder" is
None where nobody has), "progress", "overrun" (an action takes longer than usual), "overdue" (it was cancelled and has
not ended in time), "problem" (problem details of what the host cannot do now).
"""

STOP_WITHIN = 2.0
"""Seconds in which a driver's `stop()` has to return before the answer says that it has not."""

SILENT_AFTER = 5.0
"""Seconds after which a driver that has not come back from a look or a setting keeps nobody waiting: who asks for
something then is refused, so that nothing begins when nobody expects it any more."""

LOOK_AT_ONCE = 0.05
"""Seconds for which the first look at all attributes keeps the driver before others have their turn."""


CANCEL_WITHIN = 10.0
"""Seconds after which an action that was cancelled and has not ended is told as overdue, where nothing else is said."""


@dataclass
class _Front:
    """What the front loop knows of an invocation that runs."""

    execution: Execution
    begun: asyncio.Future[None]
    """Done when *started* is written; the error if it cannot be."""
    over: asyncio.Future[Invocation]
    """Done when *ended* is written; cancelled if that will not be seen here."""
    exclusive: bool

    watch: Watch

    def now(self) -> Invocation:
        """The invocation as it is known."""
        return self.over.result() if self.over.done() and not self.over.cancelled() else self.watch.now()


class Host:
    """Owns one driver. Use `async with Host(...) as host`.

    Args:
        make: makes the driver; called in the driver's thread, which some vendor libraries insist on.
        offer: the description and validators from `labretto.instrument.describe.describe`.
        ledger: remembers invocations; the host closes it.
        limits: what the lab allows; narrower than what the driver does.
        overrun: times its usual duration after which it is told that an action takes too long.
    """

    def __init__(
        self,
        make: Callable[[], object],
        offer: Offer,
        ledger: Ledger,
        *,
        limits: Limits | None = None,
        overrun: float = OVERRUN,
    ) -> None:
        self._overrun = overrun
        self._limits = limits or Limits()
        self._take_offer(offer)
        self._ledger = ledger
        self._leases = Leases(offer.description.name, ledger)
        self._thread = DriverThread(offer.description.name, make, asynchronous=offer.asynchronous, at_end=ledger.close)
        self._running: dict[str, _Front] = {}
        self._readings = Readings(lambda: self.description.attributes, self._tell_reading)
        self._alarms = Alarms(ledger, self._tell_alarm)
        self._polling: Polling | None = None
        self._sets: dict[str, tuple[Any, float]] = {}
        """Attribute with a rate → what it was set to last, and when."""
        self._wanted: set[str] = set()
        self._inside: tuple[str, float] | None = None
        """What the driver's thread is asked for now, apart from actions, and since when."""
        self._asking = threading.Lock()
        """Held where an action begins: who found the driver free asks it before that, not behind it."""
        self._listeners: list[Listener] = []
        self._closing = False
        self._closed = False

    @property
    def description(self) -> Description:
        """What the instrument offers."""
        return self._offer.description

    @property
    def blocked(self) -> str | None:
        """Why nothing may act: the lab's limits are not known; None if they are."""
        return self._limits.blocked

    @property
    def ledger_birth(self) -> str:
        """The id that this ledger got when it was made."""
        return self._ledger.birth

    async def __aenter__(self) -> Host:
        self._front = asyncio.get_running_loop()
        try:
            await self._thread.open()
            await self._complete()
        except BaseException:
            await self.close()
            raise
        attributes = self.description.attributes
        self._alarms.watch(self.description.name, attributes)
        self._thread.soon(self._look_at, [name for name, each in attributes.items() if not each.slow])
        periods = {name: each.poll for name, each in attributes.items() if each.poll}
        self._polling = Polling(periods, self._poll, self._silent)
        return self

    async def _complete(self) -> None:
        """Ask a driver that is known only once it is made what it offers.

        Raises:
            InvalidError: what is said about it does not fit it.
        """
        complete = self._offer.complete
        if complete is None:
            return

        def completed() -> Offer | LabError:
            try:
                return complete(self._thread.driver)
            except LabError as error:  # of ours and not the driver's: not to be wrapped as what a driver raised
                return error

        offer = await self._thread.call(self.description.name, completed)
        if isinstance(offer, LabError):
            raise offer
        self._take_offer(offer)

    def _take_offer(self, offer: Offer) -> None:
        """What the driver offers, within the limits of the lab."""
        self._offer = offer
        if offer.complete is None:  # else it is known only once it is made
            self._limits = self._limits.fitted(offer.description)
            self._offer = replace(offer, description=self._limits.narrowed(offer.description))

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let the hardware go; answers within about `STOP_WITHIN` seconds, also while an action blocks.

        What gives opportunities to end is ended there and recorded as cancelled. What blocks goes on, and its end is
        recorded if the process lives to see it; else the next host finds it interrupted. The driver's `close()`, the
        thread and the ledger follow as soon as the driver comes back. A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        until = asyncio.get_running_loop().time() + STOP_WITHIN
        await self.wind_up(STOP_WITHIN)
        await self._thread.close(max(0.0, until - asyncio.get_running_loop().time()))
        for front in self._running.values():
            front.watch.end()
            front.over.cancel()
            _settle(front.begun, self._is_closed())

    async def wind_up(self, within: float) -> list[Invocation]:
        """Begin nothing more and end what gives opportunities to; answers what runs still after so many seconds."""
        self._closing = True
        if self._polling:
            await self._polling.end()
        for front in self._running.values():
            if front.execution.cancellable:
                front.execution.ended_by("close")
                self._thread.soon(front.execution.cancel)
        if overs := [front.over for front in self._running.values()]:
            await asyncio.wait(overs, timeout=within)
        return self.running()

    def leave_interrupted(self) -> None:
        """Record what runs still as interrupted, since this process is about to end.

        Raises:
            StorageError: the ledger does not take it; the next host will find the same out by itself.
        """
        for invocation in self.running():
            self._ledger.interrupt(invocation, "its host was ended before it")

    def _is_closed(self) -> UnreachableError:
        return UnreachableError(f"{self.description.name} is being closed.", way_out="Ask again when it is back.")

    def _refuse_if_closing(self) -> None:
        if self._closing:
            raise self._is_closed()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every change from now on; the answer ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    # Reading and writing ------------------------------------------------------------------------------------------

    def recent(self, attribute: str) -> Reading | None:
        """The reading that `read` would answer without asking the driver; None if it would ask."""
        known = not self._closing and attribute in self.description.attributes
        return self._readings.recent(attribute) if known else None

    async def read(self, attribute: str, *, fresh: bool = False) -> Reading:
        """One look at `attribute`; while a blocking action runs, the last reading, marked stale.

        What is polled is answered from memory, as long as that is younger than its period and nothing has acted since;
        `fresh` asks the driver all the same.

        Raises:
            NotFoundError: there is no such attribute.
            DriverError: the driver raised.
            BusyError: the driver is busy and has never been asked for this attribute.
        """
        if known := self._without_driver(attribute, fresh=fresh):
            return known
        return await self._thread.call(f"{self.description.name}.{attribute}", lambda: self._read(attribute))

    def look(self, attribute: str, told: Told[Reading], *, fresh: bool = False) -> Reading | None:
        """The reading that `read` answers where the driver need not be asked; else None, and `told` gets it.

        `told` is called in the driver's thread, with the reading or with the error that `read` would raise. This may be
        asked in any thread.

        Raises:
            NotFoundError, BusyError: as `read`.
        """
        with self._asking:
            known = self._without_driver(attribute, fresh=fresh)
            if known is None:
                self._thread.post(f"{self.description.name}.{attribute}", lambda: self._read(attribute), told)
        return known

    def _without_driver(self, attribute: str, *, fresh: bool) -> Reading | None:
        self._refuse_if_closing()
        self._attribute(attribute)
        if not fresh and (recent := self._readings.recent(attribute)):
            return recent
        return self._stale(attribute) if self._blocked() or self.silent else None

    async def read_all(self) -> dict[str, Reading]:
        """Every attribute; one that cannot be read has the status "error" and the driver's text.

        One that is slow, or was read within its `poll` seconds, is answered from memory; so is what a driver that does
        not come back cannot be asked for.
        """
        return {name: self._at_hand(name) or await self._read_in_time(name) for name in self.description.attributes}

    async def write(self, attribute: str, value: Any, *, lease: int | None = None) -> Reading:
        """Set `attribute`, then read it back.

        Raises:
            ConflictError: it is read-only.
            LimitError, InvalidError: the value does not fit; nothing was sent to the driver.
            LeaseError: somebody else has the instrument, or a higher lease number was seen.
            BusyError: an exclusive action runs.
        """
        described = self._attribute(attribute)
        place, asked = f"{self.description.name}.{attribute}", f"setting {attribute}"
        if not described.writable:
            raise ConflictError(f"{place} cannot be set.", way_out="It can be read.")
        plain = check_value(self._offer.values[attribute], value, place, described.unit)
        self._limits.refuse_if_blocked(asked)
        self._limits.check_set(self.description.name, described, plain)
        self._refuse_now(lease, asked, alone=asked)
        if self._limits.needs(attribute) or self._limits.rate(attribute):
            await self._check_state(attribute, asked)
            await self._check_rate(attribute, plain)
            self._refuse_now(lease, asked, alone=asked)  # others may have acted while the driver was asked

        def set_and_read() -> Reading:
            self._inside = asked, time.monotonic()
            try:
                setattr(self._thread.driver, attribute, plain)
            except BaseException as error:
                raise driver_error(f"{place} = {value!r}"[:200], error) from error
            finally:
                self._inside = None
            return self._read(attribute)

        self._readings.acted()
        try:
            return await self._thread.call(place, set_and_read)
        except LabError:
            self._sets.pop(attribute, None)  # what it is now has to be read
            self._readings.acted()
            raise

    def _refuse_now(self, lease: int | None, asked: str, *, alone: str | None) -> None:
        """Refuse what may not begin at this moment; `alone` names what may not run beside others."""
        self._refuse_if_closing()
        self._leases.check(lease, asked)
        if alone:
            self._refuse_if_busy(alone)
            self._refuse_if_silent(alone)

    async def _check_state(self, name: str, asked: str) -> None:
        """Look at what has to be in a certain state before `name` is set or done.

        Raises:
            ConflictError: it is not, or that cannot be seen.
        """
        for attribute, need in self._limits.needs(name).items():
            seen = self._readings.last(attribute)
            if seen is None or need.against(seen, now()):  # young enough and right needs no second look
                seen = await self._read_or_error(attribute, fresh=True)
            if fault := need.against(seen, now()):
                raise unmet(f"{self.description.name}: {asked}", attribute, fault)

    async def _check_rate(self, attribute: str, value: Any) -> None:
        rate = self._limits.rate(attribute)
        if rate is None:
            return
        place = f"{self.description.name}.{attribute}"
        before, at = self._sets.get(attribute) or ((await self.read(attribute, fresh=True)).value, -WHOLE)
        check_rate(place, rate, before, value, self._front.time() - at)
        self._sets[attribute] = value, self._front.time()

    # Leases -------------------------------------------------------------------------------------------------------

    @property
    def lease(self) -> Lease | None:
        """Who alone may act now; None if everybody may."""
        return self._leases.held

    def take(
        self, holder: str, number: int | None = None, *, until: datetime | None = None, over: bool = False
    ) -> Lease:
        """Let nobody but `holder` act; what runs goes on. See `Leases.take`."""
        self._refuse_if_closing()
        lease = self._leases.take(holder, number, until=until, over=over)
        if until is not None:
            self._front.call_later(max(0.0, (until - now()).total_seconds()), self._tell_lease)
        self._tell_lease()
        return lease

    def give_back(self, number: int) -> None:
        """Let everybody act again. See `Leases.give_back`."""
        self._refuse_if_closing()
        had = self._leases.held
        self._leases.give_back(number)
        if had is not None:
            self._tell_lease()

    def _tell_lease(self) -> None:
        if not self._closing:
            self._tell("lease", lease_as_dict(self.description.name, self._leases.held))

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
            BusyError: another exclusive action runs; says which and since when. Or the driver has not come back from
                a look for `SILENT_AFTER` seconds: it has not begun and will not.
            ConflictError: the id was used for something else; or it is older than the ledger, and the action must not
                be done twice.
            LeaseError: somebody else has the instrument, or a higher lease number was seen.
            ConflictError: a state that the lab wants before this action is not there.
            StorageError: the ledger cannot be written; the driver was not called.
        """
        self._refuse_if_closing()
        described = self._action(action)
        identity = check_id(identity) if identity else new_id()
        if known := self._known(identity):
            self._refuse_another(known, action, parameters)
            return await self._begun(identity) or known
        arguments = check_arguments(described, self._offer.arguments[action], parameters, self.description.name)
        asked = f"{action}({_spelled(parameters)})"
        self._refuse_what_may_have_happened(identity, asked, described)
        self._limits.refuse_if_blocked(asked)
        self._limits.check_call(self.description.name, described, arguments)
        self._refuse_now(lease, asked, alone=action if described.exclusive else None)
        if self._limits.needs(action):
            await self._check_state(action, asked)
            if known := self._known(identity):  # another with the same id may have come while the driver was asked
                self._refuse_another(known, action, parameters)
                return await self._begun(identity) or known
            self._refuse_now(lease, asked, alone=action if described.exclusive else None)
        name, at, effect = self.description.name, now(), described.effect
        said = described.expected_seconds
        usual = self._ledger.durations.expected(action) if said is None else said
        words: dict[str, Any] = {"actor": actor, "expected_seconds": usual}
        invocation = Invocation(identity, name, action, dict(parameters), effect, "running", at, at, **words)
        self._begin(invocation, arguments, described)
        return await self._begun(identity) or self.find(identity)

    async def _begun(self, identity: str) -> Invocation | None:
        """The invocation once it has begun; None if it is over already. Raises what kept it from beginning."""
        front = self._running.get(identity)
        if front is None:
            return None
        await asyncio.shield(front.begun)
        return front.now()

    async def wait(self, identity: str) -> Invocation:
        """The invocation, when it is over.

        Raises:
            StorageError: it could not be begun.
            UnreachableError: the host was closed before its end.
        """
        identity = check_id(identity)
        front = self._running.get(identity)
        if front is None:
            return self.find(identity)
        await asyncio.shield(front.begun)
        await asyncio.wait([front.over])
        if front.over.cancelled():
            raise self._is_closed()
        return front.over.result()

    def find(self, identity: str) -> Invocation:
        """What is known of `identity` now: one of the answers in `labretto.instrument.invocation.State`."""
        identity = check_id(identity)
        if known := self._known(identity):
            return known
        name = self.description.name
        return Invocation(identity, name, "", {}, "once", self._ledger.absent(identity))

    async def check(self, identity: str) -> Checked:
        """Let the driver look whether an interrupted invocation happened; nothing is remembered of the answer.

        Raises:
            ConflictError: it is not interrupted, so there is nothing to check.
            NotFoundError: it is not known here, or the driver has no check for it.
            BusyError: an exclusive action runs.
            DriverError: the check raised, or answered something else.
        """
        found = self.find(identity)
        if found.state in ("not arrived", "cannot tell"):
            raise NotFoundError(f"No invocation {found.id} is known here.")
        if found.state != "interrupted":
            raise ConflictError(f"{found.action} is {found.state}, not interrupted: there is nothing to check.")
        method = self._offer.checks.get(found.action)
        if method is None:
            raise NotFoundError(f"{self.description.name} cannot check {found.action!r}: it has no check for it.")
        validators = self._offer.arguments[found.action]
        arguments = check_arguments(self._action(found.action), validators, found.parameters, self.description.name)
        self._refuse_if_closing()
        self._refuse_if_busy(method)
        place = f"{self.description.name}.{method}"
        said = await self._thread.call_and_await(place, lambda: getattr(self._thread.driver, method)(**arguments))
        self._readings.acted()
        return Checked(found.id, found.action, *outcome_of(place, said))

    def running(self) -> list[Invocation]:
        """What runs now."""
        return [front.now() for front in self._running.values()]

    def cancel(self, identity: str, within: float = CANCEL_WITHIN) -> Invocation:
        """Ask a running action to end at its next opportunity; answers what is known now.

        One that has not ended `within` so many seconds is told as "overdue"; it is not ended by force.

        Raises:
            NotFoundError: nothing with this id runs or ran here.
            ConflictError: it is over, or it blocks in the driver and gives no opportunity.
        """
        identity = check_id(identity)
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
        front.watch.cancelled_at(now(), within)
        front.execution.ended_by("cancel")
        self._thread.soon(front.execution.cancel)
        return front.now()

    async def cancel_and_wait(self, identity: str, within: float) -> Invocation:
        """The same; answers at its end, or at the deadline: then it runs still, and its `cancelling` is overdue."""
        self.cancel(identity, within)
        front = self._running.get(check_id(identity))
        if front is not None:
            await asyncio.wait([front.over], timeout=within)
            await asyncio.sleep(0)  # the watch's own deadline comes at the same moment
        return self.find(identity)

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
        self._readings.acted()
        safe: dict[str, Any] = {"make_safe": self._set_safe} if self._offer.safe else {}
        detail = await self._thread.stop(STOP_WITHIN, blocked=self._blocked(), **safe)
        self._readings.acted()
        for front in self._running.values():
            self._thread.soon(front.execution.cancel)
        return {"stopped": detail is None, "seconds": round(self._front.time() - began, 6), "detail": detail}

    # Alarms -------------------------------------------------------------------------------------------------------

    def alarms(self) -> list[Alarm]:
        """All that are not over, or that nobody has seen; the gravest first."""
        return self._alarms.listed()

    def acknowledge(self, alarm: str, by: str, note: str = "") -> Alarm:
        """Somebody has seen it. See `Alarms.acknowledge`."""
        self._refuse_if_closing()
        return self._alarms.acknowledge(alarm, by, note)

    def _tell_alarm(self, alarm: Alarm) -> None:
        self._tell("alarm", alarm.as_dict())

    async def _poll(self, attribute: str) -> None:
        """A look that nobody asked for; while the driver blocks, at its next opportunity."""
        if self._blocked():
            self._wanted.add(attribute)
            self._silent(attribute)
            return
        with contextlib.suppress(LabError):  # it is being closed
            await self._thread.call(self.description.name, lambda: self._read_or_note(attribute))

    def _silent(self, attribute: str) -> None:
        busy = next((f.execution.invocation.action for f in self._running.values()), None)
        why = f"{busy} keeps the driver busy" if busy else "the driver has not answered"
        self._readings.silent(attribute, why)

    # The front loop -----------------------------------------------------------------------------------------------

    def _begin(self, invocation: Invocation, arguments: dict[str, Any], action: Action) -> None:
        publish, refresh = self._publish_from_driver, self._refresh
        execution = Execution(invocation, arguments, action, self._thread, self._ledger, publish, refresh)
        watch = Watch(lambda: (execution.invocation, execution.progress), self._tell, self._overrun)
        front = _Front(execution, self._front.create_future(), self._front.create_future(), action.exclusive, watch)
        # Whoever asked may have left before it is known that the ledger refused; that is no error of the host.
        front.begun.add_done_callback(lambda begun: begun.cancelled() or begun.exception())
        with self._asking:
            self._running[invocation.id] = front
            self._readings.acted()
            self._be_patient_with(front)
            execution.start(
                lambda error: self._thread.tell(self._told_begun, front, error),
                lambda ended: self._thread.tell(self._told_over, front, ended),
            )

    def _told_begun(self, front: _Front, error: LabError | None) -> None:
        if error is None:
            _settle(front.begun, None)
            self._tell("invocation", front.execution.invocation.as_dict())
            return
        # The ledger refused: the driver was not called, so nothing of this id is left behind.
        self._running.pop(front.execution.invocation.id, None)
        front.watch.end()
        _settle(front.begun, error)
        front.over.cancel()

    def _be_patient_with(self, front: _Front) -> None:
        """Look after a while whether it has begun."""
        patience = self._front.call_later(SILENT_AFTER, self._withdraw, front)
        front.begun.add_done_callback(lambda _: patience.cancel())

    def _withdraw(self, front: _Front) -> None:
        """An action that waits for a driver that does not come back is refused after all: nothing has begun."""
        asked = front.execution.invocation.action
        if front.begun.done():
            return
        if (silent := self._silence(asked)) and front.execution.withdraw():
            self._told_begun(front, silent)
        else:
            self._be_patient_with(front)

    def _told_over(self, front: _Front, ended: Invocation) -> None:
        self._running.pop(ended.id, None)
        self._readings.acted()
        front.watch.end()
        if not front.over.done():
            front.over.set_result(ended)
        self._tell("invocation", ended.as_dict())

    def _known(self, identity: str) -> Invocation | None:
        front = self._running.get(identity)
        return front.now() if front else self._ledger.find(identity)

    def _refuse_another(self, known: Invocation, action: str, parameters: Mapping[str, Any]) -> None:
        same = codec.encode_sorted(dict(known.parameters)) == codec.encode_sorted(dict(parameters))
        if known.action == action and same:
            return
        raise ConflictError(
            f"The id {known.id} belongs to {known.action}({_spelled(known.parameters)}), not to "
            f"{action}({_spelled(parameters)}).",
            way_out="Make a new id for a new request.",
        )

    def _refuse_what_may_have_happened(self, identity: str, asked: str, action: Action) -> None:
        """An id older than all that is remembered may be one that comes again; it is not begun where that harms.

        One that does not say its birth is taken for a new one.
        """
        made = born(identity)
        if action.effect in HARMLESS or made is None or self._ledger.absent(identity) != "cannot tell":
            return
        raise ConflictError(
            f"The id {identity} was made at {isoformat(made)}, before what {self.description.name} remembers: whether "
            f"{asked} was done under it nobody can tell; it was not begun.",
            way_out="Look at the instrument; if it is to be done, use a new id. Is this one new? The clocks differ.",
        )

    def _refuse_if_busy(self, asked: str) -> None:
        other = next((f.execution.invocation for f in self._running.values() if f.exclusive), None)
        if other is not None:
            since = isoformat(other.started or now())
            raise BusyError(
                f"{self.description.name} is busy: {other.action}({_spelled(other.parameters)}) runs since {since}; "
                f"{asked} was refused.",
                way_out="Ask again when it has ended, or stop it.",
                running=other.id,
                action=other.action,
                since=since,
            )

    @property
    def silent(self) -> str | None:
        """From which look or setting the driver has not come back, and since when; None if it answers."""
        inside = self._inside
        seconds = time.monotonic() - inside[1] if inside else 0.0
        if inside is None or seconds < SILENT_AFTER:
            return None
        return f"{inside[0]} keeps the driver busy since {isoformat(now() - timedelta(seconds=seconds))}"

    def _silence(self, asked: str) -> BusyError | None:
        if not (silent := self.silent):
            return None
        return BusyError(
            f"{self.description.name} does not answer: {silent}; {asked} was refused.",
            way_out="Ask again when it answers, or start its host anew.",
        )

    def _refuse_if_silent(self, asked: str) -> None:
        if silence := self._silence(asked):
            raise silence

    def _action(self, name: str) -> Action:
        if name not in self.description.actions:
            raise NotFoundError(
                f"{self.description.name} has no action {name!r}.",
                way_out=did_you_mean(name, self.description.actions) or "It has none.",
            )
        return self.description.actions[name]

    def _attribute(self, name: str) -> Any:
        if name not in self.description.attributes:
            raise NotFoundError(
                f"{self.description.name} has no attribute {name!r}.",
                way_out=did_you_mean(name, self.description.attributes) or "It has none.",
            )
        return self.description.attributes[name]

    def _tell(self, topic: str, body: dict[str, Any]) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(topic, body)
            except Exception:
                logger.exception("a listener raised", extra={"topic": topic})

    def _publish_from_driver(self, topic: str, body: dict[str, Any], told: Callable[[], None] = lambda: None) -> bool:
        def tell() -> None:
            self._tell(topic, body)
            told()

        return self._thread.tell(tell)

    # The driver's thread ------------------------------------------------------------------------------------------

    def _blocked(self) -> bool:
        """The driver's thread is inside a method that gives no opportunity to read."""
        return any(front.execution.blocks for front in tuple(self._running.values()))

    def _look_at(self, names: list[str]) -> None:
        """The first look at each attribute: a value that cannot be read is no reason not to offer the instrument.

        A driver may have hundreds, and whoever asks for something now and then gets it in between.
        """
        left, until = list(names), self._thread.loop.time() + LOOK_AT_ONCE
        while left and self._thread.loop.time() < until:
            self._read_or_note(left.pop(0))
        if left:
            self._thread.soon(self._look_at, left)

    def _refresh(self) -> None:
        """Read what was asked for while the driver was busy; between two rows there is an opportunity."""
        for name in tuple(self._wanted):
            self._wanted.discard(name)
            self._read_or_note(name)

    def _read_or_note(self, attribute: str) -> None:
        try:
            self._thread.plainly(lambda: self._read(attribute))
        except DriverError as error:
            reading = Reading(None, self._unit(attribute), now(), "error", error.detail)
            self._note(attribute, reading, self._readings.acts)

    def _read(self, attribute: str) -> Reading:
        acts = self._readings.acts
        place = f"{self.description.name}.{attribute}"
        self._inside = f"reading {attribute}", time.monotonic()
        try:
            value = codec.settled(getattr(self._thread.driver, attribute))
        except codec.CannotEncodeError as error:
            raise DriverError(f"{place} cannot be sent: {error.detail}", way_out=error.way_out) from error
        except BaseException as error:
            raise driver_error(place, error) from error
        finally:
            self._inside = None
        return self._note(attribute, Reading(value, self._unit(attribute), now()), acts)

    def _note(self, attribute: str, reading: Reading, acts: int) -> Reading:
        """Remember the reading; who listens is told if it says something new."""
        if self._alarms.watches(attribute):
            self._thread.tell(self._alarms.see, attribute, reading)
        return self._readings.note(attribute, reading, acts)

    def _tell_reading(self, attribute: str, reading: Reading) -> None:
        if not self._listeners:  # the front is not woken for nobody
            return
        self._publish_from_driver("attribute", {"attribute": attribute, **reading.as_dict()})

    def _unit(self, attribute: str) -> str | None:
        return self.description.attributes[attribute].unit

    async def _read_or_error(self, attribute: str, *, fresh: bool = False) -> Reading:
        try:
            return await self.read(attribute, fresh=fresh)
        except LabError as error:
            return Reading(None, self._unit(attribute), now(), "error", error.detail)

    async def _read_in_time(self, attribute: str) -> Reading:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_AFTER):
                return await self._read_or_error(attribute)
        try:
            return self._stale(attribute)
        except BusyError as error:
            return Reading(None, self._unit(attribute), now(), "error", error.detail)

    def _at_hand(self, attribute: str) -> Reading | None:
        """The last reading, where that is good enough for who looks at all."""
        described = self.description.attributes[attribute]
        if described.slow:
            asked = "read only when it is asked for by its name"
            return self._readings.last(attribute) or Reading(None, described.unit, now(), "stale", asked)
        return self._readings.good_enough(attribute)

    def _set_safe(self, driver: object) -> None:
        """Everything that can be made safe is, also after something that could not be."""
        with contextlib.ExitStack() as stack:
            for name, value in reversed([*self._offer.safe.items()]):
                stack.callback(setattr, driver, name, value)

    def _stale(self, attribute: str) -> Reading:
        self._wanted.add(attribute)
        last = self._readings.last(attribute)
        busy = next((f.execution.invocation.action for f in tuple(self._running.values())), "something else")
        why = self.silent or f"{busy} keeps the driver busy"
        if last is None:
            raise BusyError(f"{self.description.name}.{attribute} was never read, and {why}.")
        status: Literal["stale", "error"] = "error" if last.status == "error" else "stale"
        return Reading(last.value, last.unit, last.time, status, last.detail or why)


def _settle(future: asyncio.Future[None], error: LabError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _spelled(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={reprlib.repr(value)}"[:60] for name, value in parameters.items())
