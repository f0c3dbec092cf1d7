"""Between an experiment's loop, which its author's code may block, and the hub's, in which its steps are done.

The end of a run reaches the experiment as a cancellation, which `except Exception` does not catch. Its `finally` blocks
and `except CancelledError` are its clean-up, and their steps are done; a second abort ends those too. What was begun
before the abort is followed to its end before the first clean-up step.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, NoReturn, TypeVar

from labretto.errors import FailedError
from labretto.experiment.walk import AbortedError
from labretto.orchestrator.branches import Branches
from labretto.orchestrator.worker import Walker

T = TypeVar("T")
Step = Callable[[], Coroutine[Any, Any, T]]

_ENDS_WITHIN = 1.0
"""Seconds that a function gets to end when no further step is done; then the run ends without it."""
_DEEP = 100
"""Turns of the loop in which a cancellation from above reaches a branch, unless it is held up by others' clean-up."""


class Crossing:
    """The way of one experiment's steps into the hub and back.

    Args:
        walker: does the steps, in the hub's loop.
        hub: that loop.
    """

    def __init__(self, walker: Walker, hub: asyncio.AbstractEventLoop) -> None:
        self.branches = Branches()
        self._walker = walker
        self._hub = hub
        self._steps: dict[asyncio.Task[Any], bool] = {}
        """In the hub's loop, not over yet; whether each is clean-up."""
        self._aborted: AbortedError | None = None
        """A person ended the run: only clean-up steps are done."""
        self._left: AbortedError | None = None
        """Why no further step at all is done."""
        self._main: asyncio.Task[None] | None = None
        self._refused = 0

    # In the experiment's loop -------------------------------------------------------------------------------------

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the experiment's function as the first branch."""
        self._main = asyncio.current_task()
        assert self._main is not None
        self.branches.root(self._main)
        self._main.get_loop().set_task_factory(self.branches.make_task)
        if self._left is None:
            await work()

    async def do(self, step: Step[T]) -> T:
        """Do a step in the hub, and wait for its outcome."""
        if self._aborted is not None and not self._cleans_up():
            await self._tell(self._aborted)
        try:
            return await self._outcome(asyncio.wrap_future(self._submit(step)))
        except AbortedError as error:
            await self._tell(error)

    async def _outcome(self, step: asyncio.Future[T]) -> T:
        """What comes of a step. A branch that was told itself may be cancelled from above while it cleans up: once."""
        branch, task = self.branches.current, asyncio.current_task()
        if not branch.spared:
            return await step
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            branch.spared = False
            if self._left is not None or step.cancelled() or task is None:
                raise
            task.uncancel()
            return await step

    def do_now(self, step: Step[T]) -> T:
        """The same for code that cannot wait otherwise than by blocking."""
        try:
            return self._submit(step).result()
        except AbortedError as error:
            raise asyncio.CancelledError(error.detail) from error

    def _submit(self, step: Step[T]) -> Future[T]:
        future: Future[T] = Future()
        self._hub.call_soon_threadsafe(self._begin, step, future, self._aborted is not None)
        return future

    def _cleans_up(self) -> bool:
        """This branch knows of the abort, by being told here or by being cancelled by one that was."""
        task = asyncio.current_task()
        return self.branches.current.told or (task is not None and task.cancelling() > 0)

    async def _tell(self, error: AbortedError) -> NoReturn:
        """Let this branch end. It is told once; the branch that waits for it, and all others, come to know by asyncio.

        A branch is cancelled where it waits, from the first one down. One that nobody waits for is told here.
        """
        task, first = asyncio.current_task(), self._aborted is None
        self.branches.current.told = True
        if self._left is None:
            self._aborted = self._aborted or error
            if first:
                self._hub.call_soon_threadsafe(self._walker.cleans_up)
            if first and self._main is not None and task is not self._main:
                self._main.cancel(error.detail)
            if task is not self._main:
                for _ in range(_DEEP):
                    await asyncio.sleep(0)
                self.branches.current.spared = True
        elif self._refused > _DEEP:
            await asyncio.get_running_loop().create_future()  # it catches everything: its thread rests here
        self._refused += 1
        raise asyncio.CancelledError(error.detail) from error

    def ended_by(self, error: BaseException | None) -> Exception | None:
        """What the end of the function means, by an error or without one."""
        cancelled = isinstance(error, asyncio.CancelledError)
        ended = self._left or self._aborted
        if ended is not None and (error is None or cancelled):
            return ended
        if self._aborted is not None:
            said = f"{type(error).__name__}: {error}"
            return AbortedError(f"{self._aborted.detail} Its clean-up failed: {said}", way_out=self._aborted.way_out)
        if error is None or isinstance(error, Exception):
            return error
        return FailedError(f"The experiment raised {type(error).__name__}: {error}.")

    # In the hub's loop --------------------------------------------------------------------------------------------

    def _begin(self, step: Step[T], future: Future[T], clean_up: bool) -> None:
        """Do a step. If the experiment gives up waiting for it, it goes on to its end."""
        if self._left is not None:
            _answer(future, None, self._left)
            return
        task = asyncio.ensure_future(self._cleaning(step) if clean_up else step())
        self._steps[task] = clean_up
        task.add_done_callback(lambda _: self._over(task, future))

    async def _cleaning(self, step: Step[T]) -> T:
        while before := [task for task, clean_up in self._steps.items() if not clean_up]:
            await asyncio.wait(before)
        async with self._walker.cleaning():
            return await step()

    def _over(self, task: asyncio.Task[T], future: Future[T]) -> None:
        clean_up = self._steps.pop(task)
        error = self._left if task.cancelled() else task.exception()
        if isinstance(error, AbortedError) and (clean_up or self._walker.is_left) and self._left is None:
            self._left = error
        _answer(future, None if error else task.result(), error)

    async def end(self, over: asyncio.Future[Exception | None]) -> Exception | None:
        """What the end of the function means; also of one that does not end although every step is refused."""
        left: asyncio.Future[Any] = asyncio.ensure_future(self._walker.until_left())
        either: set[asyncio.Future[Any]] = {over, left}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({over}, timeout=_ENDS_WITHIN)
        finally:
            left.cancel()
        if over.done():
            return over.result()
        self._left = self._left or AbortedError(f"Run {self._walker.state.id} was ended by a person.")
        return self._left

    async def rest(self) -> None:
        """When the function has ended: follow what it began and did not wait for to its end."""
        self._left = self._left or AbortedError(f"The experiment of run {self._walker.state.id} is over.")
        self._walker.leave()
        while self._steps:
            await asyncio.wait(self._steps)

    async def abandon(self) -> None:
        """When the hub closes: let go of everything; the journal says where to go on."""
        self._left = AbortedError(f"The hub closes; run {self._walker.state.id} goes on when it is started again.")
        for step in self._steps:
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)
        if self._main is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed already
                self._main.get_loop().call_soon_threadsafe(self._main.cancel)


def _answer(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if not future.set_running_or_notify_cancel():
        return  # nobody waits any more
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
