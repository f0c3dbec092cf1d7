"""Host processes that can be killed and come back with the same memory at the same address.

`Nursery` forks ours, `Command` starts anybody's. What is done with them is in `labretto.network.conformance.killing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from labretto.network.conformance.host import Order, Point


class Mortal(Protocol):
    """A host process that can be killed and started again, with the same memory and at the same address."""

    @property
    def address(self) -> str:
        """Where it answers while it lives."""

    @property
    def log(self) -> Path:
        """What its subject did: a line of JSON, {"phase": "begin" or "end", "mark": ...}, each time."""

    async def start(self, point: Point | None = None) -> None:
        """Start it; it need not answer yet. With a `point` it dies there by itself."""

    async def kill(self) -> None:
        """SIGKILL; return when it is dead. Nothing happens if it is."""

    async def dead(self) -> None:
        """Return when it is dead, by whatever cause."""


class Nursery:
    """Hosts of `labretto.network.conformance.host`, forked from one process. Use `async with Nursery(...)`."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._child: int | None = None
        self._dead = asyncio.Event()
        self._dead.set()

    @property
    def address(self) -> str:
        """Where the host answers."""
        return self._order.address

    @property
    def log(self) -> Path:
        """What the subject did."""
        return self._order.log

    async def __aenter__(self) -> Nursery:
        pipe = asyncio.subprocess.PIPE
        words = (sys.executable, "-m", "labretto.network.conformance.host")
        self._process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
        self._born: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends with its input
        await self._process.wait()
        await self._reading
        self._born.exception()  # nobody may be waiting for it

    async def start(self, point: Point | None = None) -> None:
        """Fork a host."""
        assert self._process.stdin is not None
        self._dead.clear()
        self._born = asyncio.get_running_loop().create_future()
        order = asdict(self._order) | {"point": point}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._child = await self._born

    async def kill(self) -> None:
        """SIGKILL the host, not the nursery."""
        if self._child is not None and not self._dead.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
        await self._dead.wait()

    async def dead(self) -> None:
        """Return when the host is dead."""
        await self._dead.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            match line.split():
                case [b"pid", number]:
                    self._born.set_result(int(number))
                case [b"dead"]:
                    self._dead.set()
        self._dead.set()
        if not self._born.done():
            self._born.set_exception(ChildProcessError("the nursery is dead; what it said is on standard error"))


class Command:
    """Any host that a command starts; its subject has to write `log`. Use `async with Command(...)`."""

    def __init__(self, command: Sequence[str], address: str, log: Path, *, folder: Path | None = None) -> None:
        self.address = address
        self.log = log
        self._command = command
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Command:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self, point: Point | None = None) -> None:
        """Start the command in a group of processes of its own; it cannot be told where to die."""
        quiet = asyncio.subprocess.DEVNULL
        words: dict[str, Any] = {"stdin": quiet, "stdout": quiet, "cwd": self._folder, "start_new_session": True}
        self._process = await asyncio.create_subprocess_exec(*self._command, **words)

    async def kill(self) -> None:
        """SIGKILL the whole group."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self.dead()

    async def dead(self) -> None:
        """Return when it is dead."""
        if self._process is not None:
            await self._process.wait()
