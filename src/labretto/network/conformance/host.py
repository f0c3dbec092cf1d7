"""A host process that dies where it is told to: the reference subject with a ledger that kills at a named point.

`python -m labretto.network.conformance.host` reads orders, one line of JSON each, from its standard input and forks a
host for each: so a host that was killed is back within milliseconds, and hundreds of deaths fit into a test. Nothing
of this is used by hosts in service; the ledger itself knows nothing of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, get_args

from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.invocation import Invocation
from labretto.instrument.ledger import Ledger
from labretto.network.conformance.subject import Subject

Point = Literal["before accepted", "after begin", "during", "before end", "after end", "before the record", "at boot"]
"""Where a process dies: before the ledger has the start of a `dose`; after it, before the driver is called; in the
driver; before the ledger has the end; after it, before the answer leaves; before and after what a host that boots
records as interrupted."""

POINTS: tuple[Point, ...] = get_args(Point)


@dataclass(frozen=True)
class Order:
    """What one host process does."""

    folder: str
    """Ledger and log stand here."""
    address: str
    """Where it answers: http://HOST:PORT or tcp://HOST:PORT."""
    point: Point | None = None
    """Where it dies; None: nowhere by itself."""

    @property
    def log(self) -> Path:
        """What the subject did."""
        return Path(self.folder) / "physical.log"


class MortalLedger(Ledger):
    """A ledger that kills its process at one point of the life of a `dose`."""

    def __init__(self, path: Path, point: Point | None) -> None:
        self._point = point
        super().__init__(path)

    def begin(self, invocation: Invocation) -> None:
        """Write the start, unless the process dies before."""
        self._die_if(invocation, "before accepted")
        super().begin(invocation)
        self._die_if(invocation, "after begin")

    def end(self, invocation: Invocation) -> Invocation:
        """Write the end, unless the process dies before."""
        self._die_if(invocation, "before end")
        kept = super().end(invocation)
        self._die_if(invocation, "after end")
        return kept

    def interrupt(self, invocation: Invocation, why: str) -> None:
        """Record what the host finds interrupted when it boots, unless the process dies before."""
        self._die_if(invocation, "before the record")
        super().interrupt(invocation, why)
        self._die_if(invocation, "at boot")

    def _die_if(self, invocation: Invocation, point: Point) -> None:
        if self._point == point and invocation.action == "dose":
            die()


def die() -> None:
    """Die as by a power cut: no handler, no `finally`, no buffer written."""
    os.kill(os.getpid(), signal.SIGKILL)


async def live(order: Order) -> None:
    """Serve the subject until the process dies; says on standard output when it answers."""
    ledger = MortalLedger(Path(order.folder) / "ledger.db", order.point)
    pour = die if order.point == "during" else None
    async with AsyncExitStack() as stack:
        offer = describe(Subject, name="subject")
        host = await stack.enter_async_context(Host(lambda: Subject(str(order.log), pour), offer, ledger))
        if order.address.startswith("http:"):
            from labretto.network import http

            await stack.enter_async_context(http.serve(host, order.address))
        else:
            from labretto.network import zmq

            await stack.enter_async_context(zmq.serve(host, order.address))
        _say("ready")
        await asyncio.Event().wait()


def main() -> None:
    """Fork a host for each order on standard input; say when it answers and when it is dead."""
    from labretto.network import http, zmq  # noqa: F401 - once here, and every fork has it

    for line in sys.stdin:
        order = Order(**json.loads(line))
        child = os.fork()
        if child == 0:
            _child(order)
        _say(f"pid {child}")
        os.waitpid(child, 0)
        _say("dead")


def _child(order: Order) -> NoReturn:
    try:
        asyncio.run(live(order))
    finally:
        os._exit(1)


def _say(word: str) -> None:
    os.write(1, word.encode() + b"\n")


if __name__ == "__main__":
    main()
