"""One life of one host process: started, or found alive after a hub's crash; its end seen and, if need be, made.

A host of ours ends when its process does; one that an earlier hub started is not our child, and ends when its lock
comes free. What follows an end is decided in `labretto.network.supervise`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from labretto.errors import DriverError, LabError, from_problem
from labretto.network.directory import HostFile, read_host
from labretto.network.liveness import held, holder, released
from labretto.network.log import last_lines, open_log
from labretto.network.serve import Order

TRY_WITHIN = 60.0
"""Seconds in which a changed driver has to be imported; large libraries take many."""

LEAVE_WITHIN = 2.0
"""Seconds after SIGTERM in which a host leaves; then it is killed."""


class Life:
    """A host that answers, until its end.

    Args:
        file: what it said of itself.
        ended: returns at its end and says how.
        signal: sends it a signal; does nothing where it is gone.
    """

    def __init__(self, file: HostFile, ended: Awaitable[str], send: Callable[[int], None]) -> None:
        self.file = file
        self._ended = asyncio.ensure_future(ended)
        self._send = send

    async def gone(self) -> str:
        """Return at its end; says how it ended."""
        return await asyncio.shield(self._ended)

    async def end(self) -> None:
        """Make it leave; kill it if it does not. Nothing is left of it when this returns."""
        if not self._ended.done():
            self._send(signal.SIGTERM)
            await asyncio.wait([self._ended], timeout=LEAVE_WITHIN)
        if not self._ended.done():
            self.kill()
            await asyncio.wait([self._ended])

    @property
    def over(self) -> bool:
        """It has ended."""
        return self._ended.done()

    def ask_to_leave(self) -> None:
        """Let it leave, unless an action runs."""
        self._send(signal.SIGUSR1)

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)


async def adopt(order: Order) -> Life | None:
    """The host that lives already, if one does: an earlier hub started it and was killed.

    One that holds the lock but does not answer yet is ended, since nothing can have been asked of it.
    """
    lock = order.folder / "lock"
    if not held(lock):
        return None
    file = read_host(order.folder)
    pid = file.pid if file else holder(lock)

    def send(number: int) -> None:
        if pid is not None and holder(lock) == pid:
            _send(pid, number)

    life = Life(file or HostFile(order.instrument.name, pid or 0, {}, "", ""), _when_released(lock), send)
    if file is not None:
        return life
    await life.end()
    return None


async def start(order: Order) -> Life:
    """A new host process, once it answers.

    Raises:
        LabError: what the host said against it, or `DriverError` with its last words if it died without a word.
    """
    reading, writing = os.pipe()
    try:
        process = await _spawn(order, writing)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        said = await _first_line(reading)
        if said is None or "addresses" not in said:
            raise _problem(order, said, _how(await process.wait()))
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return Life(HostFile(**said), _when_ended(process), lambda number: _send_to_child(process, number))


async def try_out(order: Order) -> dict[str, Any]:
    """What the driver would offer as it is written now, seen in a process of its own; nothing of it is made.

    Raises:
        LabError: it cannot be imported or described, or not within `TRY_WITHIN` seconds.
    """
    reading, writing = os.pipe()
    try:
        process = await _spawn(order, writing, "labretto.network.trial")
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        async with asyncio.timeout(TRY_WITHIN):
            said, status = await _first_line(reading), await process.wait()
    except BaseException as error:
        _send_to_child(process, signal.SIGKILL)
        await process.wait()
        if isinstance(error, TimeoutError):
            raise DriverError(
                f"The driver of {order.instrument.name} was not imported within {TRY_WITHIN:g} s; its host goes on."
            ) from None
        raise
    if said is None or "attributes" not in said:
        raise _problem(order, said, _how(status))
    return said


async def _spawn(order: Order, report: int, module: str = "labretto.network.serve") -> asyncio.subprocess.Process:
    """The order goes in by standard input, so that no file has to be read again and nothing of it is seen by `ps`."""
    folder = order.search_path[-1] if order.search_path else None
    # Simulated instruments of a lab share a bench, as real ones share a room.
    environment = {"LABRETTO_BENCH": str(order.folder.parent.parent / "bench")} | os.environ | {"PYTHONUNBUFFERED": "1"}
    with open_log(order.folder / "log.txt") as log:
        process = await asyncio.create_subprocess_exec(
            # -P: a file of the lab named like one of Python's own modules shall not be taken for it by ours.
            *[sys.executable, "-P", "-m", module, order.instrument.name, str(report)],
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            pass_fds=(report,),
            start_new_session=True,  # Ctrl-C is for the hub, which ends its hosts itself
        )
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(order.as_json().encode())
        process.stdin.close()
    return process


async def _first_line(descriptor: int) -> dict[str, Any] | None:
    """What the new host says; None if it ends without a word."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        line = await reader.readline()
    finally:
        transport.close()
    return dict(json.loads(line)) if line else None


def _problem(order: Order, said: dict[str, Any] | None, how: str) -> LabError:
    if said is not None:
        return from_problem(said)
    words = [line for line in last_lines(order.folder / "log.txt", 20) if line.strip()]
    last = f"; its last words: {words[-1].strip()[:200]}" if words else ""
    return DriverError(
        f"The host of {order.instrument.name} {how} before it answered{last}", traceback="\n".join(words)
    )


async def _when_ended(process: asyncio.subprocess.Process) -> str:
    return _how(await process.wait())


async def _when_released(lock: Path) -> str:
    await released(lock)
    return "ended"


def _how(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _send_to_child(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
