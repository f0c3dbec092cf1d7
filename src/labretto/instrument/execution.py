"""One action being executed in the driver's thread: plain method, coroutine or generator, between two ledger entries.

Decides nothing about whether it may run (`labretto.instrument.host` did); makes sure that *started* is written before
the driver is called, *ended* before anybody is told, and that what a driver raises or returns becomes an outcome.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from labretto.errors import CancelledError, DriverError, LabError, StorageError
from labretto.instrument import codec
from labretto.instrument.describe import Action
from labretto.instrument.invocation import Invocation
from labretto.instrument.ledger import Ledger
from labretto.instrument.reading import now

logger = logging.getLogger(__name__)

RETRY_WRITING_AFTER = 1.0
"""Seconds between attempts to write an end that the disk does not take; nothing else is begun meanwhile."""


def driver_error(asked: str, error: BaseException) -> DriverError:
    """What a driver raised, with its own words and traceback."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    trace = "".join(traceback.format_exception(error))
    return DriverError(f"{asked}: the driver raised {text}", traceback=trace)


class Execution:
    """One invocation on its way through the driver's thread.

    Args:
        invocation: as accepted.
        arguments: what the method is called with, validated.
        action: its description.
        driver: the instance.
        ledger: where begin and end are written.
        publish: called in the driver's thread with ("stream", body) for each row of a generator.
        between: called in the driver's thread between two rows, the opportunity to read attributes.
    """

    def __init__(
        self,
        invocation: Invocation,
        arguments: dict[str, Any],
        action: Action,
        driver: object,
        ledger: Ledger,
        publish: Callable[[str, dict[str, Any]], None],
        between: Callable[[], None],
    ) -> None:
        self.invocation = invocation
        self._arguments = arguments
        self._action = action
        self._driver = driver
        self._ledger = ledger
        self._publish = publish
        self._between = between
        self._ended_by: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._function = getattr(type(driver), action.name)

    @property
    def blocks(self) -> bool:
        """While it runs the driver's thread cannot do anything else at any moment."""
        return self._action.exclusive and not inspect.iscoroutinefunction(self._function)

    @property
    def cancellable(self) -> bool:
        """It gives opportunities to end: at an `await`, or between two rows."""
        return inspect.iscoroutinefunction(self._function) or inspect.isgeneratorfunction(self._function)

    def ended_by(self, word: str) -> None:
        """Note that "cancel" or "stop" was asked for, so that the outcome can say it."""
        self._ended_by = word

    def cancel(self) -> None:
        """End at the next opportunity. Called in the driver's thread."""
        if self._task is not None and inspect.iscoroutinefunction(self._function):
            self._task.cancel()

    def start(self, begun: Callable[[LabError | None], None], over: Callable[[Invocation], None]) -> None:
        """Write *started*, tell `begun`, call the driver, write *ended*, tell `over`. Called in the driver's loop."""
        if self._write_start(begun):
            self._task = asyncio.get_running_loop().create_task(self._run(over))

    def start_beside(self, begun: Callable[[LabError | None], None], over: Callable[[Invocation], None]) -> None:
        """The same for an action that may run beside others: in a thread of its own."""

        def run() -> None:
            if self._write_start(begun):
                asyncio.run(self._run(over))

        threading.Thread(target=run, name=f"{self.invocation.instrument}.{self._action.name}", daemon=True).start()

    def _write_start(self, begun: Callable[[LabError | None], None]) -> bool:
        try:
            self._ledger.begin(self.invocation)
        except LabError as error:
            begun(error)
            return False
        begun(None)
        return True

    async def _run(self, over: Callable[[Invocation], None]) -> None:
        over(self._write_end(await self._outcome()))

    async def _outcome(self) -> Invocation:
        try:
            result = await self._call()
        except asyncio.CancelledError:
            return self._cancelled("")
        except Exception as error:  # noqa: BLE001 - a driver may raise anything; it becomes the outcome
            if self._ended_by:
                return self._cancelled(f" The driver said: {type(error).__name__}: {error}")
            return self._failed(driver_error(f"{self.invocation.instrument}.{self._action.name}", error))
        return self._cancelled("") if self._ended_by else self.invocation.end("succeeded", now(), result=result)

    async def _call(self) -> Any:
        bound = getattr(self._driver, self._action.name)
        if inspect.isgeneratorfunction(self._function):
            return await self._follow(bound(**self._arguments))
        answer = bound(**self._arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def _follow(self, rows: Iterator[Any]) -> dict[str, Any]:
        """Send each row on as it comes; answer the table of all."""
        table: dict[str, list[Any]] = {name: [] for name in self._action.stream or ()}
        for number, row in enumerate(rows):
            columns = _columns(row)
            for name, value in columns.items():
                table.setdefault(name, []).append(value)
            self._publish("stream", {"invocation": self.invocation.id, "row": number, "columns": columns})
            self._between()
            await asyncio.sleep(0)  # the opportunity for reads and for cancel
            if self._ended_by:
                rows.close()  # type: ignore[attr-defined]
                break
        return {name: _joined(values) for name, values in table.items()}

    def _write_end(self, ended: Invocation) -> Invocation:
        while True:
            try:
                self._ledger.end(ended)
            except StorageError as error:
                logger.exception("the end of an action cannot be written; trying again", extra={"invocation": ended.id})
                self._publish("problem", error.problem())
                time.sleep(RETRY_WRITING_AFTER)
            except codec.CannotEncodeError as error:
                ended = self._failed(_unsendable(self.invocation, error))
            else:
                return ended

    def _failed(self, error: LabError) -> Invocation:
        return self.invocation.end("failed", now(), error=error.problem())

    def _cancelled(self, more: str) -> Invocation:
        word = {"stop": "stopped", "cancel": "cancelled"}.get(self._ended_by or "", "cancelled")
        error = CancelledError(f"{self.invocation.instrument}.{self._action.name} was {word} before its end.{more}")
        return self.invocation.end("cancelled", now(), error=error.problem())


def _unsendable(invocation: Invocation, error: LabError) -> DriverError:
    return DriverError(
        f"{invocation.instrument}.{invocation.action} was executed, but its result cannot be kept: {error.detail}",
        way_out=error.way_out,
    )


def _columns(row: Any) -> dict[str, Any]:
    """The named fields of a row: a NamedTuple, a dataclass or a mapping."""
    if hasattr(row, "_asdict"):
        return dict(row._asdict())
    if hasattr(row, "__dataclass_fields__"):
        return {name: getattr(row, name) for name in row.__dataclass_fields__}
    return dict(row)


def _joined(values: list[Any]) -> Any:
    """One column from its pieces: chunks (arrays) are put end to end, numbers become a list."""
    if any(codec.is_array(value) and value.shape != () for value in values):
        import numpy as np

        return np.concatenate([np.atleast_1d(value) for value in values])
    return values
