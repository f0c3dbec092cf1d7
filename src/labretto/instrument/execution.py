"""One action being executed in the driver's thread: plain method, coroutine or generator, between two ledger entries.

Decides nothing about whether it may run (`labretto.instrument.host` did); makes sure that *started* is written before
the driver is called, *ended* before anybody is told, and that what a driver raises or returns becomes an outcome.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

from labretto.errors import CancelledError, DriverError, LabError, StorageError
from labretto.instrument import codec
from labretto.instrument.backlog import Backlog
from labretto.instrument.describe import Action
from labretto.instrument.invocation import Invocation
from labretto.instrument.ledger import Ledger
from labretto.instrument.reading import now
from labretto.instrument.table import Table
from labretto.instrument.thread import DriverThread, driver_error, said

logger = logging.getLogger(__name__)

RETRY_WRITING_AFTER = 1.0
"""Seconds between attempts to write an end that the disk does not take; the action counts as running meanwhile."""

_END = object()

_WORDS = {"stop": "stopped", "cancel": "cancelled", "close": "ended because its host was closed"}


class Execution:
    """One invocation on its way through the driver's thread.

    Args:
        invocation: as accepted.
        arguments: what the method is called with, validated.
        action: its description.
        thread: the driver and its thread.
        ledger: where begin and end are written.
        publish: called where the driver is called, with ("stream", body) for each row of a generator and what is
            called when that was told; answers False if nobody is there to be told.
        between: called between two rows, the opportunity to read attributes.
    """

    def __init__(
        self,
        invocation: Invocation,
        arguments: dict[str, Any],
        action: Action,
        thread: DriverThread,
        ledger: Ledger,
        publish: Callable[[str, dict[str, Any], Callable[[], None]], bool],
        between: Callable[[], None],
    ) -> None:
        self.invocation = invocation
        self._arguments = arguments
        self._action = action
        self._thread = thread
        self._ledger = ledger
        self._publish = publish
        self._between = between
        self._ended_by: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._calling = False
        self._called = False
        self._claims = [True]
        """Whoever takes it out, beginning or withdrawing, was first; `pop` is one step for all threads."""
        self._table = Table(action.stream or ())
        self._rows = 0
        self._backlog = Backlog(lambda: thread.heard)
        self._said: float | None = None
        """The progress in the last row."""
        self._said_before: Any = None
        """What the driver's attribute `progress` was before it was called."""
        # Statically: a driver that answers to every name must not be asked what it is.
        function = inspect.unwrap(inspect.getattr_static(type(thread.driver), action.name, lambda: None))
        self._awaits = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self._yields = inspect.isgeneratorfunction(function)

    @property
    def blocks(self) -> bool:
        """While it runs the driver's thread cannot do anything else at any moment."""
        return self._action.exclusive and not self._awaits and not self._called

    @property
    def cancellable(self) -> bool:
        """It gives opportunities to end: at an `await`, or between two rows."""
        return self._awaits or self._yields

    @property
    def progress(self) -> float | None:
        """How far the driver says it is, 0 to 1: in a field of its rows, or in a plain attribute of the object.

        Any thread may ask, since nothing of the driver is executed.
        """
        if self._said is not None:
            return self._said
        said = _plain_attribute(self._thread.driver, "progress") if self._calling and self._action.exclusive else None
        return _share(said) if said != self._said_before else None

    def ended_by(self, word: str) -> None:
        """Note that "cancel", "stop" or "close" was asked for, so that the outcome can say it; the first word stays."""
        self._ended_by = self._ended_by or word

    def cancel(self) -> None:
        """End at the next opportunity. Called in the driver's thread."""
        # Only inside the driver: before it, `_ended_by` keeps it from being called; after it, the end must be written.
        if self._task is not None and self._calling and self._awaits:
            self._task.cancel()

    def withdraw(self) -> bool:
        """Do not begin it any more; False if it has begun."""
        return self._claimed()

    def _claimed(self) -> bool:
        try:
            return self._claims.pop()
        except IndexError:
            return False

    def start(self, begun: Callable[[LabError | None], object], over: Callable[[Invocation], object]) -> None:
        """Write *started*, tell `begun`, call the driver, write *ended*, tell `over`. Called in the front loop."""
        if self._action.exclusive or self._awaits:
            self._thread.soon(self._start_in_loop, begun, over)
        else:
            self._thread.beside(lambda: self._start_beside(begun, over), self._action.name)

    def _start_in_loop(self, begun: Callable[[LabError | None], object], over: Callable[[Invocation], object]) -> None:
        if self._write_start(begun):
            self._task = asyncio.get_running_loop().create_task(self._run(over))

    def _start_beside(self, begun: Callable[[LabError | None], object], over: Callable[[Invocation], object]) -> None:
        """For what may run beside others and blocks; attributes are not read between its rows: not in this thread."""
        self._between = lambda: None
        if self._write_start(begun):
            asyncio.run(self._run(over))

    def _write_start(self, begun: Callable[[LabError | None], object]) -> bool:
        if not self._claimed():
            return False
        self.invocation = replace(self.invocation, started=now())
        try:
            self._ledger.begin(self.invocation)
        except LabError as error:
            begun(error)
            return False
        begun(None)
        return True

    async def _run(self, over: Callable[[Invocation], object]) -> None:
        ended = await self._write_end(await self._outcome())
        if ended is not None:
            over(ended)
            self._forget_the_oldest()

    def _forget_the_oldest(self) -> None:
        """After the answer has left, so that nobody waits for it."""
        try:
            self._ledger.forget()
        except StorageError as error:
            logger.warning("the ledger cannot forget", extra={"why": error.detail})

    async def _outcome(self) -> Invocation:
        if self._ended_by:
            return self._cancelled(" The driver was not called.")
        self._said_before = _plain_attribute(self._thread.driver, "progress")
        self._calling = True
        try:
            result = await self._call()
        except BaseException as error:  # noqa: BLE001 - a driver may raise anything; it becomes the outcome
            return self._raised(error)
        finally:
            self._calling = False
            self._called = True
        if self._ended_by:
            return self._cancelled("", result)
        return self.invocation.end("succeeded", now(), result=result)

    def _raised(self, error: BaseException) -> Invocation:
        result = self._measured()
        if isinstance(error.__cause__, StopIteration):  # what Python makes of one that leaves a coroutine
            error = error.__cause__
        if not self._ended_by:
            return self._failed(driver_error(f"{self.invocation.instrument}.{self._action.name}", error), result)
        asked_for = isinstance(error, asyncio.CancelledError)
        return self._cancelled("" if asked_for else f" The driver said: {said(error)}", result)

    async def _call(self) -> Any:
        answer = self._thread.plainly(self._called_driver)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, AsyncIterator):
            return await self._follow_async(answer)
        if inspect.isgenerator(answer) or (self._action.stream is not None and isinstance(answer, Iterator)):
            return await self._follow(answer)
        return answer

    def _called_driver(self) -> Any:
        return getattr(self._thread.driver, self._action.name)(**self._arguments)

    async def _follow(self, rows: Iterator[Any]) -> dict[str, Any]:
        """Send each row on as it comes; answer the table of all."""
        try:
            while (row := self._thread.plainly(lambda: next(rows, _END))) is not _END:
                self._take(row)
                await asyncio.sleep(0)  # the opportunity for reads and for cancel
                await self._backlog.room()
                if self._ended_by:
                    break
        finally:
            if inspect.isgenerator(rows):
                self._thread.plainly(rows.close)
        return self._table.joined()

    async def _follow_async(self, rows: AsyncIterator[Any]) -> dict[str, Any]:
        try:
            async for row in rows:
                self._take(row)
                await asyncio.sleep(0)
                await self._backlog.room()
                if self._ended_by:
                    break
        finally:
            if inspect.isasyncgen(rows):
                await rows.aclose()
        return self._table.joined()

    def _take(self, row: Any) -> None:
        columns = self._table.add(row)
        self._said = _share(columns.get("progress"))
        self._backlog.put()
        body = {"invocation": self.invocation.id, "row": self._rows, "columns": columns}
        if not self._publish("stream", body, self._backlog.took):
            self._backlog.took()
        self._rows += 1
        self._between()

    def _measured(self) -> dict[str, Any] | None:
        """The table of what a generator yielded before its end; None for what yields nothing."""
        return self._table.joined() if self._action.stream is not None else None

    async def _write_end(self, ended: Invocation) -> Invocation | None:
        """The invocation as it is kept; None if the host was closed while the disk did not take it."""
        while True:
            try:
                return self._ledger.end(ended)
            except codec.CannotEncodeError as error:
                ended = self._failed(_unsendable(self.invocation, error))
            except StorageError as error:
                if self._ledger.closed:
                    return None
                logger.warning("the end of an action cannot be written; trying again", extra={"invocation": ended.id})
                self._publish("problem", error.problem(), lambda: None)
                await asyncio.sleep(RETRY_WRITING_AFTER)

    def _failed(self, error: LabError, result: Any = None) -> Invocation:
        return self.invocation.end("failed", now(), result=result, error=error.problem())

    def _cancelled(self, more: str, result: Any = None) -> Invocation:
        word = _WORDS[self._ended_by or "cancel"]
        error = CancelledError(f"{self.invocation.instrument}.{self._action.name} was {word} before its end.{more}")
        return self.invocation.end("cancelled", now(), result=result, error=error.problem())


def _plain_attribute(driver: object, name: str) -> Any:
    """The value in the object itself; no property, which may send a command."""
    try:
        return object.__getattribute__(driver, "__dict__").get(name)
    except AttributeError:  # it has slots
        return None


def _share(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and 0 <= value <= 1 else None


def _unsendable(invocation: Invocation, error: LabError) -> DriverError:
    return DriverError(
        f"{invocation.instrument}.{invocation.action} was executed, but its result cannot be kept: {error.detail}",
        way_out=error.way_out,
    )
