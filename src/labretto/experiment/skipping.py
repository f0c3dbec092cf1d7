"""A coroutine run at once whatever it waits for: its event loop has a clock that jumps to the next thing to do.

So a dry run is walked by the same code as the run, branches, time-outs and all, in no time and always the same way.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Skipping(selectors.DefaultSelector):
    """Nobody writes to it from outside, so there is never anything to wait for but the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("a dry run waits for what nobody will do")
        self.now += max(0.0, timeout)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock begins at 0 and jumps."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Seconds since it began, in its own time."""
        return self._skipping.now

    def skip(self, seconds: float) -> None:
        """Let time pass for a coroutine beside which nothing else goes on: cheaper than waiting."""
        self._skipping.now += seconds


def run_at_once(work: Callable[[Loop], Coroutine[Any, Any, T]]) -> T:
    """Run `work(loop)` to its end; not to be called in a thread that runs an event loop.

    Raises:
        RuntimeError: it waits for ever.
    """
    loop = Loop()
    try:
        return loop.run_until_complete(work(loop))
    finally:
        loop.close()
