"""An event loop that waits for other threads only: for a driver without coroutines of its own.

asyncio's own loop waits in the kernel for sockets, and is woken through one. A driver whose methods are plain has no
sockets in its loop; so this one waits on a lock, which takes less than half of that. Should the driver open a socket in
it all the same (a plain method may answer a coroutine), it waits as asyncio does from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import threading
from collections.abc import Mapping
from typing import Any


class QuietLoop(asyncio.SelectorEventLoop):
    """Waits on a lock until the first file is registered."""

    def __init__(self) -> None:
        self._waiting = _Waiting()
        super().__init__(self._waiting)

    # asyncio's own names: what it does with a pair of sockets, the waiting does itself.

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        self._waiting.end()


class _Waiting(selectors.BaseSelector):
    """A selector without files, as long as there are none."""

    def __init__(self) -> None:
        self._asleep = threading.Lock()
        self._asleep.acquire()
        self._files: selectors.BaseSelector | None = None
        self._ears: tuple[socket.socket, socket.socket] | None = None

    def end(self) -> None:
        """End the wait of now, or else the next one. From any thread."""
        with contextlib.suppress(RuntimeError):  # somebody has done so already
            self._asleep.release()
        if self._ears is not None:
            with contextlib.suppress(OSError):  # it is full of such bytes, or closed
                self._ears[1].send(b"\0")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait; the files that are ready, if there are any."""
        if self._files is not None:
            return self._select_files(self._files, timeout)
        if timeout is None:
            self._asleep.acquire()
        elif timeout > 0:
            self._asleep.acquire(timeout=timeout)
        else:
            self._asleep.acquire(blocking=False)
        return []

    def _select_files(
        self, files: selectors.BaseSelector, timeout: float | None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = files.select(timeout)
        own = [each for each in ready if each[0].data is self]
        if own and self._ears is not None:
            with contextlib.suppress(BlockingIOError):
                self._ears[0].recv(4_096)
        return [each for each in ready if each[0].data is not self]

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Wait for this file too."""
        if self._files is None:
            self._files = selectors.DefaultSelector()
            self._ears = socket.socketpair()
            for ear in self._ears:
                ear.setblocking(False)
            self._files.register(self._ears[0], selectors.EVENT_READ, self)
            self.end()  # who ended the wait a moment ago did not know of the ears
        return self._files.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Wait for it no longer."""
        if self._files is None:
            raise KeyError(fileobj)
        return self._files.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """The files."""
        return {} if self._files is None else self._files.get_map()

    def close(self) -> None:
        """Let the files go."""
        if self._files is not None:
            self._files.close()
        for ear in self._ears or ():
            ear.close()
