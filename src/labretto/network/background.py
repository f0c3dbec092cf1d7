"""An instrument served in the background of this process, from a notebook or a script that goes on working.

The same server as in `labretto serve`, in a thread with its own event loop. It ends with `stop()`, or with the process.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from labretto.errors import InvalidError
from labretto.lab import LabInstrument, check_name
from labretto.network.serve import Order, order_alone, serving

T = TypeVar("T")

STOP_WITHIN = 2.0
"""Seconds to wait for the thread. One whose driver is blocked goes on, and keeps its lock, until the driver returns: a
thread cannot be killed."""

_RUNNING: dict[str, Background] = {}


def start_background(
    driver: type | object | str,
    *,
    name: str | None = None,
    port: int | None = None,
    settings: dict[str, Any] | None = None,
    helao: bool = False,
    **more: Any,
) -> Background:
    """Serve `driver` in the background; returns when it answers.

    One of the same name that this process serves already is stopped first, so that a notebook's cell can be run again.

    Args:
        driver: a class, an instance, or "module:Class".
        name: in the lab; by default the class's name in small letters.
        port: HTTP port; None for a free one.
        settings: arguments of the constructor.
        helao: offer the old routes of the HELAO tutorial as well, where a GET acts.
        more: what else an `[instruments.<name>]` table of lab.toml may say: `effects`, `units`, `hidden`, ...

    Raises:
        ConflictError: another process serves this name, or the port is in use.
        InvalidError, NotFoundError: the driver cannot be served so; says why.
        DriverError: its constructor raised.
    """
    text = driver if isinstance(driver, str) else None
    cls = driver if isinstance(driver, type) else type(driver)
    name = check_name(name or (text or cls.__name__).rpartition(":")[2].lower())
    told = {"name": name, "driver": text or _spelled(cls), "port": port, "settings": settings or {}, **more}
    if already := _RUNNING.get(name):
        already.stop()
    order = replace(order_alone(_entry(told)), helao=helao)
    return Background(order, None if text else driver)


def _entry(told: dict[str, Any]) -> LabInstrument:
    try:
        return LabInstrument.model_validate(told)
    except ValueError as error:
        raise InvalidError(f"{told['name']} cannot be served so: {error}") from None


def _spelled(cls: type) -> str:
    """A class made inside a function has no text that leads to it; this one is for people only."""
    return f"{cls.__module__}:{cls.__qualname__}".replace("<locals>.", "")


class OwnThread(Generic[T]):
    """An asynchronous context that is open in a thread with its own event loop, until `stop()`.

    Raises:
        What the context raises when it is entered.
    """

    def __init__(self, name: str, context: AbstractAsyncContextManager[T]) -> None:
        self._context = context
        self._ready: Future[T] = Future()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        try:
            self.value = self._ready.result()
        except BaseException:
            self._thread.join(STOP_WITHIN)
            raise

    @property
    def alive(self) -> bool:
        """It has not ended."""
        return self._thread.is_alive()

    def stop(self, within: float = STOP_WITHIN) -> None:
        """Leave the context, and wait so many seconds for that."""
        if self.alive:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(within)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._hold())

    async def _hold(self) -> None:
        try:
            async with self._context as value:
                self._ready.set_result(value)
                await self._end.wait()
        except BaseException as error:  # it belongs to the one who asked for the start
            if self._ready.done():
                raise
            self._ready.set_exception(error)


class Background:
    """An instrument that answers from a thread of this process. Use `stop()`, or `with`."""

    def __init__(self, order: Order, driver: object) -> None:
        self._order = order
        self._thread = OwnThread(f"server of {order.instrument.name}", serving(order, driver))
        self._file = self._thread.value.file
        _RUNNING[self.name] = self
        atexit.register(self.stop)

    @property
    def name(self) -> str:
        """As given."""
        return self._order.instrument.name

    @property
    def url(self) -> str:
        """Its HTTP address, such as http://127.0.0.1:5001."""
        return self._file.addresses["http"]

    @property
    def address(self) -> str:
        """Where a client of ours connects."""
        return self._file.address

    @property
    def folder(self) -> Path:
        """Where its ledger stands."""
        return self._order.folder

    def stop(self) -> None:
        """End it: sockets closed, hardware let go. A second call does nothing."""
        atexit.unregister(self.stop)
        if _RUNNING.get(self.name) is self:
            del _RUNNING[self.name]
        self._thread.stop()

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = self.url if self._thread.alive else "stopped"
        return f"<Background {self.name}: {state}>"
