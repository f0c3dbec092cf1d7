"""An instrument for tests of the wires, and a process that serves it: `python rig.py ZMQ EVENTS HTTP`.

The process prints its three addresses and lives until its standard input ends.
"""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Interval, Unit

from labretto.instrument.describe import concurrent, describe, effect
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.network import http, zmq

Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=100)]
PATIENCE = 20.0
"""Seconds after which a test that forgot to release the rig fails instead of hanging."""


class Row(NamedTuple):
    time: Annotated[float, Unit("s")]
    current: Annotated[float, Unit("A")]


class Step(NamedTuple):
    progress: float
    current: Annotated[float, Unit("A")]


class Rig:
    """Does what it is told, and keeps the tests informed."""

    def __init__(self) -> None:
        self._x = 1.5
        self._moves: list[float] = []
        self._entered = threading.Event()
        self._scanning = threading.Event()
        self._released = threading.Event()
        self._stopped = threading.Event()

    @property
    def x(self) -> Millimetre:
        """Position of the rig."""
        return self._x

    @x.setter
    def x(self, to: Millimetre) -> None:
        self._x = to

    @property
    def firmware(self) -> str:
        """Cannot be set."""
        return "2.1"

    @property
    def broken(self) -> float:
        """The driver raises when asked."""
        raise OSError("no answer on the bus")

    @property
    def unsendable(self) -> Any:
        """No wire can carry it."""
        return object()

    @property
    def spectrum(self) -> Any:
        """An array."""
        return np.array([[1.0, np.nan], [np.inf, -0.0]])

    @effect("absolute")
    def move(self, to: Millimetre, speed: Annotated[float, Unit("mm/s")] = 1.0) -> Millimetre:
        """Go to a place."""
        self._moves.append(to)
        self._x = to
        return to

    def hold(self) -> str:
        """Blocks in the driver until released or stopped."""
        self._entered.set()
        self._released.wait(PATIENCE)
        return "released"

    async def wait_for_ever(self) -> None:
        """Can be cancelled."""
        self._entered.set()
        await asyncio.sleep(PATIENCE)

    def scan(self, rows: int) -> Iterator[Row]:
        """A measurement."""
        for number in range(rows):
            yield Row(number * 0.1, number * 1e-3)

    def slow_scan(self) -> Iterator[Step]:
        """A measurement that says how far it is, and then takes its time."""
        yield Step(0.5, 1e-3)
        self._scanning.set()
        self._released.wait(PATIENCE)

    def echo(self, value: Any) -> Any:
        """Answers what it is given."""
        return value

    def foreign_values(self) -> dict[str, Any]:
        """What drivers answer in real life."""
        return {
            "scalar": np.float64(2.5),
            "count": np.int32(7),
            "flag": np.bool_(True),
            "not a number": float("nan"),
            "array": np.arange(6, dtype=np.int16).reshape(2, 3),
            "bytes": b"\x00\xff",
            "time": datetime(2026, 11, 21, 4, 21, 35, 120_000, UTC),
            "duration": timedelta(seconds=1.5),
            "pair": (1, 2),
        }

    def fail(self) -> None:
        """The driver raises."""
        raise ValueError("the shutter is stuck")

    def answer_an_object(self) -> Any:
        """The result can be kept nowhere."""
        return object()

    @concurrent
    def look(self) -> str:
        """May run beside others."""
        return "seen"

    def stop(self) -> None:
        self._stopped.set()
        self._released.set()


async def serve_until_the_input_ends(*addresses: str) -> None:
    links: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(Host(Rig, describe(Rig, name="rig"), Ledger()))
        await stack.enter_async_context(zmq.serve(host, addresses[0], events=addresses[1], links=links))
        await stack.enter_async_context(http.serve(host, addresses[2], links=links))
        sys.stdout.write(f"{links['zmq']} {links['events']} {links['http']}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve_until_the_input_ends(*sys.argv[1:]))
