"""A small lab: one instrument under a real host, reached in memory, and an orchestrator that can be torn down and
built again on the same files.

The world behind the driver outlives hosts and orchestrators, as matter does: what was done stands in `World.done`.
"""

import asyncio
import contextlib
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from annotated_types import Interval, Unit

from labretto.catalog.live import Changes
from labretto.catalog.read import Record, open_record
from labretto.catalog.search import Index
from labretto.catalog.store import Catalog
from labretto.errors import NotFoundError
from labretto.instrument.describe import describe, effect
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.network import memory
from labretto.network.client import Instrument, open_instrument
from labretto.orchestrator.journal import Event, SqliteJournal
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.submission import Submission

Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=100)]
Volt = Annotated[float, Unit("V")]


class Point(NamedTuple):
    potential: Volt
    current: Annotated[float, Unit("A")]


@dataclass
class World:
    """What happened to the matter, and where the test holds it up."""

    done: list[str] = field(default_factory=list)
    at: float = 0.0
    says: Any = "done"
    """What a look at it shows."""
    blocked: threading.Event = field(default_factory=threading.Event)
    """Set when an action has come to where it waits for the test."""
    go: threading.Event = field(default_factory=threading.Event)
    """Lets it go on."""

    async def comes_to_a_halt(self) -> None:
        assert await asyncio.to_thread(self.blocked.wait, 20)


class Rig:
    """An instrument with an action of each kind."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def x(self) -> Millimetre:
        """Where it stands."""
        return self._world.at

    @x.setter
    def x(self, value: Millimetre) -> None:
        self._world.done.append(f"set {value:g}")
        self._world.at = value

    @property
    def broken(self) -> float:
        """A gauge whose cable is off once it has been read once."""
        if "cut" in self._world.done:
            raise OSError("no carrier")
        return 1.0

    @effect("absolute")
    def move(self, x: Millimetre) -> Millimetre:
        """Go to x."""
        self._world.done.append(f"move {x:g}")
        self._world.at = x
        return x

    @effect("once")
    def dose(self, volume: float) -> float:
        """Dispense."""
        self._world.done.append(f"dose {volume:g}")
        return volume

    def _wait(self, what: str) -> float:
        self._world.done.append(what)
        self._world.blocked.set()
        assert self._world.go.wait(20)
        return 1.0

    def flaky(self, fails: int) -> float:
        """Raises so many times, then works."""
        self._world.done.append("flaky")
        if self._world.done.count("flaky") <= fails:
            raise ValueError("the shutter is stuck")
        return 1.0

    @effect("once")
    def count(self) -> int:
        """How often this was asked for."""
        self._world.done.append("count")
        return self._world.done.count("count")

    @effect("once")
    def burn(self) -> float:
        """Blocks in the driver, which ignores everything, until the test lets it go."""
        return self._wait("burn")

    @effect("absolute")
    def settle(self) -> float:
        """The same, but harmless to repeat."""
        return self._wait("settle")

    def shut(self) -> float:
        """The same, but one can look whether it happened."""
        return self._wait("shut")

    def check_shut(self) -> Any:
        """Looks."""
        self._world.done.append("check")
        return self._world.says

    @effect("read")
    def stare(self) -> float:
        """The same, but it only looks."""
        return self._wait("stare")

    @effect("once")
    async def soak(self) -> float:
        """Waits where it can be cancelled."""
        self._world.done.append("soak")
        self._world.blocked.set()
        await asyncio.Event().wait()
        return 1.0

    @effect("absolute")
    async def warm(self) -> float:
        """The same the first time, but harmless to repeat; the second time it is warm at once."""
        self._world.done.append("warm")
        if self._world.done.count("warm") == 1:
            await asyncio.Event().wait()
        return 1.0

    def fail(self) -> float:
        """Raises."""
        self._world.done.append("fail")
        raise ValueError("the shutter is stuck")

    @effect("read")
    def curve(self, points: int) -> Iterator[Point]:
        """Measures a curve; after the second point it waits for the test if that has asked for it."""
        self._world.done.append("curve")
        for k in range(points):
            if k == 2 and "hold" in self._world.done:
                self._world.blocked.set()
                assert self._world.go.wait(20)
            yield Point(k / 10, k * 1e-6)

    @effect("read")
    def picture(self, size: int) -> Annotated[Any, Unit("lx")]:
        """An array."""
        import numpy as np

        return np.arange(float(size * size)).reshape(size, size)

    @effect("read")
    def odd(self) -> Any:
        """What is not JSON."""
        import datetime

        import numpy as np

        when = datetime.datetime(2026, 11, 21, 8, tzinfo=datetime.UTC)
        return {"nan": float("nan"), "raw": b"\x00\xff", "when": when, "whole": np.int64(7), "part": np.float32(0.5)}

    def stop(self) -> None:
        """Let everything rest."""
        self._world.done.append("stop")
        self._world.go.set()


class Instruments:
    """What the orchestrator needs of a lab."""

    def __init__(self) -> None:
        self.clients: dict[str, Instrument] = {}

    async def instrument(self, name: str) -> Instrument:
        if name not in self.clients:
            raise NotFoundError(f"There is no instrument {name!r}.")
        return self.clients[name]

    async def reachable(self, name: str) -> None:
        await self.clients[name].reachable()

    def descriptions(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: client.description.as_dict() for name, client in self.clients.items()}

    def why_unknown(self, name: str) -> str | None:
        return f"{name} is down" if name == "absent" else None

    def status(self) -> list[dict[str, Any]]:
        return [{"name": name, "state": "ready", "address": each.address} for name, each in self.clients.items()]


def copy_database(old: Path, new: Path) -> None:
    """What stands in `old` now, in `new`."""
    with contextlib.closing(sqlite3.connect(old)) as source, contextlib.closing(sqlite3.connect(new)) as copy:
        source.backup(copy)


class Mortal(SqliteJournal):
    """A journal whose hub dies at one of its events: it comes back from `append` no more.

    Args:
        path: the file.
        dies_after: number of the event of a run after which it dies; None: never.
        written: whether that event still reaches the disk.
    """

    def __init__(self, path: Path, dies_after: int | None = None, *, written: bool = True) -> None:
        super().__init__(path)
        self.dies_after = dies_after
        self.written = written
        self.dead = asyncio.Event()
        self.flushed: Path | None = None
        """Where what a power cut would leave is kept up to date; None: nowhere."""
        self._path = path

    async def append(self, run: str, expected: int, entries: Any, **more: Any) -> list[Event]:
        last = expected + len(entries)
        if self.dies_after is None or last < self.dies_after:
            events = await super().append(run, expected, entries, **more)
            if self.flushed and more.get("flush"):
                copy_database(self._path, self.flushed)
            return events
        if self.written and not self.dead.is_set():
            await super().append(run, expected, entries, **more)
        self.dead.set()
        await asyncio.Event().wait()
        raise AssertionError


class Hub:
    """An orchestrator at work."""

    def __init__(self, orchestrator: Orchestrator, journal: Mortal) -> None:
        self.orchestrator = orchestrator
        self.journal = journal

    async def submit(self, experiment: str, function: str | None = None, **parameters: Any) -> str:
        row = await self.orchestrator.submit(Submission(experiment, parameters, function, who="ada"))
        return row.id

    async def ended(self, run: str) -> str:
        return (await asyncio.wait_for(self.orchestrator.ended(run), 20)).state

    async def does(self, experiment: str, function: str | None = None, **parameters: Any) -> str:
        """Submit and wait; the run's id."""
        run = await self.submit(experiment, function, **parameters)
        await self.ended(run)
        return run

    async def comes_to(self, run: str, state: str, *, reason: str = "") -> dict[str, Any]:
        """Return when the run is in a state; driven by the change stream."""
        after = self.orchestrator.changes.sequence
        async with asyncio.timeout(20):
            while True:
                summary = self.orchestrator.summary(run)
                if summary["state"] == state and reason in (summary["reason"] or ""):
                    return summary
                batch = await self.orchestrator.changes.wait(after)
                assert batch is not None
                after = batch.sequence

    async def told(self, topic: str, fits: Callable[[Mapping[str, Any]], bool]) -> None:
        """Return when viewers have been told such a thing, lately or from now on."""
        after = max(0, self.orchestrator.changes.sequence - 1000)
        async with asyncio.timeout(20):
            while True:
                batch = await self.orchestrator.changes.wait(after)
                assert batch is not None
                if any(change.topic == topic and fits(change.body) for change in batch.changes):
                    return
                after = batch.sequence

    def events(self, run: str) -> list[dict[str, Any]]:
        return [event.as_dict() for event in self.journal.read(run)]

    def kinds(self, run: str) -> list[str]:
        return [event["kind"] for event in self.events(run)]

    def error(self, run: str) -> dict[str, Any]:
        return dict(self.events(run)[-1]["error"])

    def record(self, run: str) -> Record:
        return open_record(self.orchestrator.catalog.find(run))


class Lab:
    """The files of a lab, its instrument, and hubs that come and go."""

    def __init__(self, folder: Path, *, ledgers: bool = True) -> None:
        self.folder = folder
        self._on_disk = ledgers
        self.world = World()
        self.others: dict[str, World] = {}
        self.instruments = Instruments()
        self.host: Host | None = None
        self._serving: AbstractAsyncContextManager[str] | None = None
        self._hosts = AsyncExitStack()
        self._ledgers = 0

    async def open(self) -> None:
        await self.start_host()
        self.instruments.clients["rig"] = await open_instrument("memory:rig")

    async def also(self, name: str, kind: type[Rig] = Rig, **more: Any) -> World:
        """Another instrument of the same kind, with a world of its own."""
        world = self.others[name] = World()
        made = Host(lambda: kind(world), describe(kind, name=name), Ledger(None), **more)
        host = await self._hosts.enter_async_context(made)
        await self._hosts.enter_async_context(memory.serve(host))
        self.instruments.clients[name] = await open_instrument(f"memory:{name}")
        return world

    async def close(self) -> None:
        for world in (self.world, *self.others.values()):
            world.go.set()
        for client in self.instruments.clients.values():
            await client.close()
        await self.unplug()
        await self._hosts.aclose()

    async def start_host(self, file: str = "") -> None:
        """On the newest ledger, or on another."""
        ledger = Ledger(self.folder / (file or f"ledger{self._ledgers}.db") if self._on_disk else None)
        make = Host(lambda: Rig(self.world), describe(Rig, name="rig"), ledger)
        self.host = await self._hosts.enter_async_context(make)
        await self.plug_in()

    async def plug_in(self) -> None:
        assert self.host is not None
        self._serving = memory.serve(self.host)
        await self._serving.__aenter__()

    async def unplug(self) -> None:
        """The link is gone, the host goes on."""
        if self._serving:
            serving, self._serving = self._serving, None
            await serving.__aexit__(None, None, None)

    async def kill_host(self) -> None:
        """What stays is the ledger as it is on the disk now; the host that was there can reach nobody any more."""
        await self.unplug()
        old, self._ledgers = self.folder / f"ledger{self._ledgers}.db", self._ledgers + 1
        copy_database(old, self.folder / f"ledger{self._ledgers}.db")

    @contextlib.asynccontextmanager
    async def hub(
        self, dies_after: int | None = None, *, written: bool = True, limit: int | None = None
    ) -> AsyncIterator[Hub]:
        """A hub on this lab's files; leaving the block is its death at that moment."""
        journal = Mortal(self.folder / "journal.db", dies_after, written=written)
        with contextlib.closing(journal), Index(self.folder / "catalog.db") as index:
            parts: dict[str, Any] = {"journal": journal, "catalog": Catalog(self.folder / "records"), "index": index}
            parts |= {"instruments": self.instruments, "changes": Changes(), "limit": limit}
            async with Orchestrator(**parts) as orchestrator:
                yield Hub(orchestrator, journal)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    await lab.open()
    yield lab
    await lab.close()


@pytest.fixture
async def hub(lab: Lab) -> AsyncIterator[Hub]:
    async with lab.hub() as hub:
        yield hub


@pytest.fixture
def world(lab: Lab) -> World:
    return lab.world


@pytest.fixture
def files_at_most() -> Callable[[int], AbstractContextManager[None]]:
    """In its block no file grows beyond so many bytes: a disk that is full, without filling one."""

    @contextlib.contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


def tasks_left() -> list[str]:
    """What the orchestrator has not ended in this loop."""
    codes = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
    return [code.co_qualname for code in codes if code and "labretto/orchestrator" in code.co_filename]


def steps(*lines: str) -> str:
    """An experiment with these steps, each as flow YAML."""
    return "name: test\nsteps:\n" + "".join(f"  - {line}\n" for line in lines)


def do(action: str, name: str = "", on: str = "rig", **parameters: Any) -> str:
    """One action as flow YAML."""
    inner = ", ".join(f"{key}: {value}" for key, value in parameters.items())
    return f"{{do: {on}.{action}, with: {{{inner}}}{f', name: {name}' if name else ''}}}"


def python(body: str, head: str = "") -> str:
    """A Python experiment `test(run, n)` with this body."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"import asyncio, threading, sys, time\n{head}\nasync def test(run, n: int = 2):\n{lines}\n"
