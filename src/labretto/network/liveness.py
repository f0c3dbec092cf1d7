"""Who lives: a file that a process holds locked for its whole life, and waiting for the moment it lets go.

The kernel releases a `flock` when its process ends, however it ends, so a thread that blocks on the lock wakes at that
moment: nobody polls, and no stale file can be mistaken for a living process. Holders lock exclusively; those who look
or wait lock shared and let go at once, so they are never mistaken for a holder.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from labretto.errors import ConflictError, StorageError

_held: set[int] = set()


def _let_go_in_child() -> None:
    """A fork shares its parent's locks: a driver's worker process would keep a dead host's lock."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock `path` while the block runs; the file stays, with our pid in it.

    Raises:
        ConflictError: another process, or another holder in this one, has it; `pid` says which.
        StorageError: the file cannot be made.
    """
    descriptor = _open(path)
    try:
        _lock(descriptor, path)
        _held.add(descriptor)
        os.pwrite(descriptor, f"{os.getpid():<20}\n".encode(), 0)  # one length, so that no reader sees half a pid
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def held(path: Path) -> bool:
    """Whether a process holds the lock `path` now."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _shareable(descriptor)
    finally:
        os.close(descriptor)


def holder(path: Path) -> int | None:
    """The pid of the process that holds the lock `path` now; None if nobody does."""
    try:
        return _parsed(path.read_bytes()) if held(path) else None
    except OSError:
        return None


async def released(path: Path) -> None:
    """Return at the moment nobody holds the lock `path` any more; at once if nobody does."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not gone.done():
            gone.set_result(None)

    def wait() -> None:
        wait_until_released(path)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell)

    # A daemon, not a pool's thread: nothing can wake it before the holder ends, and nobody shall wait for that at exit.
    threading.Thread(target=wait, name=f"waiting for {path.parent.name}", daemon=True).start()
    await gone


def wait_until_released(path: Path) -> None:
    """Block this thread until nobody holds the lock `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be made: {error.strerror}.", way_out="Mend the permissions there, or set LABRETTO_HOME."
        ) from error


def _lock(descriptor: int, path: Path) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _shareable(descriptor):
                pid = _parsed(os.pread(descriptor, 32, 0))
                raise ConflictError(
                    f"{path} is held by the process {pid or 'that is just starting'}.",
                    way_out="Stop that process first; the lock goes with it.",
                    pid=pid,
                ) from None
            time.sleep(0.001)  # somebody looked at the lock at this moment and is about to let go
        else:
            return


def _shareable(descriptor: int) -> bool:
    """Nobody holds it exclusively."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _parsed(content: bytes) -> int | None:
    text = content[:32].strip()
    return int(text) if text.isdigit() else None
