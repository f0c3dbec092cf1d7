"""How something that was begun is going, in the form in which Bluesky asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Status:
    """What `set`, `trigger`, `stage`, `kickoff` and `complete` answer at once.

    Args:
        future: what is being done.
        what: the same in words, such as "stage.move(x=1, y=0)".
    """

    def __init__(self, future: Future[Any], what: str) -> None:
        self._future = future
        self._what = what

    @property
    def done(self) -> bool:
        """It has ended, well or not."""
        return self._future.done()

    @property
    def success(self) -> bool:
        """It has ended well."""
        return self.done and self._error() is None

    def exception(self, timeout: float | None = 0.0) -> BaseException | None:
        """What it failed with; None if it ended well.

        Raises:
            TimeoutError: it has not ended within `timeout` seconds; None: wait for ever.
        """
        return self._error(timeout)

    def add_callback(self, callback: Callable[[Status], None]) -> None:
        """Call `callback(status)` at its end, or now if that was before."""
        self._future.add_done_callback(lambda _: callback(self))

    def wait(self, timeout: float | None = None) -> None:
        """Return when it has ended well.

        Raises:
            LabError: it failed.
            TimeoutError: it has not ended within `timeout` seconds; it goes on.
        """
        if (error := self._error(timeout)) is not None:
            raise error

    async def ended(self) -> None:
        """`wait` for one who is in an event loop, which goes on meanwhile."""
        await asyncio.shield(asyncio.wrap_future(self._future))

    def __repr__(self) -> str:
        word = "running" if not self.done else "done" if self.success else f"failed: {self._error()}"
        return f"<{self._what}: {word}>"

    def _error(self, timeout: float | None = 0.0) -> BaseException | None:
        return self._future.exception(timeout)
