"""Waiting for matter: until the expected time, or until `stop` from another thread, without looking again and again."""

import asyncio
import threading

__all__ = ["Wait"]


class Wait:
    """One wait at a time, of a task on an event loop; any thread may end it."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._lock = threading.Lock()
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def going_on(self) -> bool:
        """Whether somebody waits."""
        return self._waiting is not None

    def begin(self) -> None:
        """From here on `interrupt` counts.

        Called in the task that will wait, under the lock under which what it waits for begins.
        """
        with self._lock:
            self._waiting = (asyncio.get_running_loop(), asyncio.Event())

    async def over(self, seconds: float) -> bool:
        """Wait `seconds`, 0 or more; True if they passed, False if the wait was interrupted before."""
        if self._waiting is None:
            raise RuntimeError("`begin` comes before `over`")
        try:
            async with asyncio.timeout(seconds):
                await self._waiting[1].wait()
        except TimeoutError:
            return True
        finally:
            with self._lock:
                self._waiting = None
        return False

    def interrupt(self) -> None:
        """End the wait, if there is one."""
        with self._lock:  # while it is held the loop still runs the waiting task
            if self._waiting:
                loop, interrupted = self._waiting
                loop.call_soon_threadsafe(interrupted.set)
