"""The driver's own thread: the driver is made, called and let go in it, and nowhere else; `stop()` apart.

The thread runs an asyncio loop, for drivers with coroutines. A driver without any is called as if there were no loop,
so that it may use `asyncio.run` inside. Whatever a driver raises, SystemExit too, the thread lives on.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
import traceback
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Callable
from typing import Any, TypeVar

from labretto.errors import DriverError, LabError, UnreachableError
from labretto.instrument.quiet_loop import QuietLoop

T = TypeVar("T")

logger = logging.getLogger(__name__)

Told = Callable[[T | None, LabError | None], None]
"""Called once, with an answer or with the error in its place; must not block."""


def said(error: BaseException) -> str:
    """What a driver raised, in one line that every wire can carry."""
    # Not str(error): an exception of a driver may fail at that too, or hold bytes of a serial line as surrogates.
    lines = traceback.format_exception_only(type(error), error)
    return _sendable("".join(lines).strip())


def driver_error(asked: str, error: BaseException) -> DriverError:
    """What a driver raised, with its own words and traceback."""
    trace = _sendable("".join(traceback.format_exception(error)))
    return DriverError(f"{asked}: the driver raised {said(error)}", traceback=trace)


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def without_loop(call: Callable[[], T]) -> T:
    """`call()` as if no loop ran in this thread."""
    loop = _get_running_loop()
    _set_running_loop(None)
    try:
        return call()
    finally:
        _set_running_loop(loop)


class DriverThread:
    """One driver and its thread.

    Args:
        name: of the instrument.
        make: makes the driver.
        asynchronous: the driver has coroutines; its plain methods see the running loop too.
        at_end: called in the thread when the driver has been let go, at the very end.
    """

    def __init__(
        self, name: str, make: Callable[[], object], *, asynchronous: bool, at_end: Callable[[], None]
    ) -> None:
        self.driver: object = None
        self._name = name
        self._make = make
        self._asynchronous = asynchronous
        self._at_end = at_end
        self._waiting: set[asyncio.Future[Any]] = set()
        self._owed: dict[object, Told[Any]] = {}
        """Those to be told directly, without the front."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._beside: list[threading.Thread] = []
        self._ended = threading.Event()
        self._gone = asyncio.Event()
        """The same, for the front loop."""
        self._thread: threading.Thread | None = None

    async def open(self) -> None:
        """Start the thread and make the driver in it.

        Raises:
            DriverError: the driver could not be made.
        """
        self._front = asyncio.get_running_loop()
        self.loop = asyncio.new_event_loop() if self._asynchronous else QuietLoop()
        self._thread = threading.Thread(target=self._live, name=f"driver {self._name}", daemon=True)
        self._thread.start()
        self.driver = await self.call(self._name, self._make)

    def plainly(self, call: Callable[[], T]) -> T:
        """`call()`, in the driver's thread, in the way this driver wants to be called."""
        return call() if self._asynchronous else without_loop(call)

    async def call(self, asked: str, call: Callable[[], T]) -> T:
        """What `call()` answers in the driver's thread, when its turn comes.

        Raises:
            DriverError: whatever the driver raised.
            UnreachableError: the thread ended before.
        """
        answer: asyncio.Future[T] = self._front.create_future()
        self._waiting.add(answer)
        answer.add_done_callback(self._waiting.discard)

        def run() -> None:
            if answer.cancelled():  # who asked has left, and nothing has been sent to the hardware yet
                return
            try:
                value = self.plainly(call)
            except BaseException as error:  # noqa: BLE001 - a driver may raise anything; it is told to who asked
                self.tell(_fail, answer, error if isinstance(error, DriverError) else driver_error(asked, error))
            else:
                self.tell(_answer, answer, value)

        self.soon(run)
        return await answer

    def post(self, asked: str, call: Callable[[], T], told: Told[T]) -> None:
        """The same without a future: `told` is called in the driver's thread, one hop earlier than the front knows it.

        Where the thread ends before, `told` is called with an `UnreachableError`. From any thread.
        """
        ticket = object()
        self._owed[ticket] = told

        def run() -> None:
            owed = self._owed.pop(ticket, None)
            if owed is None:  # told already that the thread ends
                return
            try:
                value = self.plainly(call)
            except BaseException as error:  # noqa: BLE001 - a driver may raise anything; it is told to who asked
                owed(None, error if isinstance(error, DriverError) else driver_error(asked, error))
            else:
                owed(value, None)

        if not self.soon(run):
            self._fail_owed(ticket)

    async def call_and_await(self, asked: str, call: Callable[[], Any]) -> Any:
        """The same for what may be a coroutine; others get their turn while it waits."""
        answer: asyncio.Future[Any] = self._front.create_future()
        self._waiting.add(answer)
        answer.add_done_callback(self._waiting.discard)

        async def run() -> None:
            try:
                value = self.plainly(call)
                value = await value if inspect.isawaitable(value) else value
            except BaseException as error:  # noqa: BLE001 - a driver may raise anything; it is told to who asked
                self.tell(_fail, answer, driver_error(asked, error))
            else:
                self.tell(_answer, answer, value)

        def begin() -> None:
            task = self.loop.create_task(run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self.soon(begin)
        return await answer

    def soon(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Call something of ours, which does not raise, in the driver's thread when its turn comes.

        Answers False if the thread has ended.
        """
        try:
            self.loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def tell(self, call: Callable[..., None], *arguments: Any) -> bool:
        """From the driver's thread: call something in the front loop; answers False if that is not there any more."""
        try:
            self._front.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop is closed: nobody is there to be told
            return False
        return True

    @property
    def heard(self) -> bool:
        """The front is there still."""
        return not self._front.is_closed()

    def beside(self, run: Callable[[], None], name: str) -> None:
        """Run something of ours in a thread of its own, which this one outlives."""
        self._beside = [thread for thread in self._beside if thread.is_alive()]
        thread = threading.Thread(target=run, name=f"{self._name}.{name}", daemon=True)
        self._beside.append(thread)
        thread.start()

    async def stop(
        self, within: float, *, blocked: bool, make_safe: Callable[[Any], Any] = lambda driver: driver.stop()
    ) -> str | None:
        """Call the driver's `stop()` at once, in a fresh thread; answer None, or why it cannot be said to have stopped.

        `make_safe` is what to call instead with a driver that has no `stop`. A `stop()` that is a coroutine runs where
        the driver's other coroutines run, unless that thread is `blocked`.
        """
        finished: asyncio.Future[str | None] = self._front.create_future()

        def run() -> None:
            try:
                waited = make_safe(self.driver)
                if inspect.isawaitable(waited):
                    self._wait_for(waited, blocked=blocked)
            except BaseException as error:  # noqa: BLE001 - a driver may raise anything; it is told to the caller
                self.tell(_answer, finished, f"stop() raised {said(error)}")
            else:
                self.tell(_answer, finished, None)

        threading.Thread(target=run, name=f"stop {self._name}", daemon=True).start()
        try:
            return await asyncio.wait_for(finished, within)
        except TimeoutError:
            return f"stop() has not returned within {within} s"

    def _wait_for(self, waited: Any, *, blocked: bool) -> None:
        async def wait() -> None:
            await waited

        if blocked:
            asyncio.run(wait())
        else:
            asyncio.run_coroutine_threadsafe(wait(), self.loop).result()

    async def close(self, within: float) -> None:
        """Let the driver go and end the thread; if the driver blocks, that happens when it comes back.

        Waits no longer than `within` seconds. Who still waits for an answer of the driver is told that none will come.
        """
        if self._thread is None:
            self._at_end()
            return
        self.soon(self.loop.stop)
        with contextlib.suppress(TimeoutError):
            # Not by a thread of the loop's: a process that ends, as a script does, lets no thread begin any more.
            await asyncio.wait_for(self._gone.wait(), within)
        if self._ended.is_set():
            self._thread.join()
        closed = self._closed()
        for answer in tuple(self._waiting):
            _fail(answer, closed)
        for ticket in tuple(self._owed):
            self._fail_owed(ticket)

    def _fail_owed(self, ticket: object) -> None:
        owed = self._owed.pop(ticket, None)
        if owed is not None:
            owed(None, self._closed())

    def _closed(self) -> UnreachableError:
        return UnreachableError(f"{self._name} was closed before it answered.")

    # In the thread ------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._end_tasks())
            for thread in self._beside:
                thread.join()
            self.loop.run_until_complete(self._let_go())
        finally:
            self.loop.close()
            self._at_end()
            self._ended.set()
            self.tell(self._gone.set)

    async def _end_tasks(self) -> None:
        """What the driver itself began in the loop, or what an action was doing when it did not end in time."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _let_go(self) -> None:
        """Call the driver's `close()` if its class has one: an object that answers to every name may have none."""
        if callable(inspect.getattr_static(type(self.driver), "close", None)):
            try:
                closed = self.plainly(lambda: self.driver.close())  # type: ignore[attr-defined]
                if inspect.isawaitable(closed):
                    await closed
            except BaseException:
                logger.exception("the driver's close() raised", extra={"instrument": self._name})
        await asyncio.get_running_loop().shutdown_asyncgens()


def _answer(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
