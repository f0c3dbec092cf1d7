"""The hub: everything of one lab composed into the one process of `labretto up`.

Lock, journal, catalog, supervised instruments, orchestrator, page: each is made here and nowhere else, in the order in
which they need each other. What each does is in its room.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labretto.access import gate_of
from labretto.catalog.live import Changes
from labretto.catalog.search import Index
from labretto.catalog.store import Catalog
from labretto.errors import ConflictError, LabError
from labretto.instrument.reading import isoformat, now
from labretto.lab import Lab, load_lab
from labretto.network.background import OwnThread
from labretto.network.client import Instrument
from labretto.network.directory import HubFile, remove_file, write_file
from labretto.network.http import bound, run_app
from labretto.network.liveness import hold
from labretto.network.supervise import Status, Supervisor
from labretto.orchestrator.api import record_routes, run_routes
from labretto.orchestrator.heritage import GrowingData, helao_routes
from labretto.orchestrator.instruments import instrument_routes
from labretto.orchestrator.journal import SqliteJournal
from labretto.orchestrator.people import People
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.tasks_api import task_routes
from labretto.web.app import build
from labretto.web.metrics import Metrics, metrics_routes
from labretto.web.streams import Streams, stream_routes

logger = logging.getLogger(__name__)

_STOP_WITHIN = 10.0
"""Seconds in which a hub in the background lets its instruments go."""


class SupervisedInstruments:
    """The lab's instruments as the orchestrator and the page see them: clients, descriptions, changes told."""

    def __init__(self, lab: Lab, supervisor: Supervisor, changes: Changes) -> None:
        self._lab = lab
        self._supervisor = supervisor
        self._changes = changes
        self._descriptions: dict[str, Mapping[str, Any]] = {}
        self._watched: dict[str, Instrument] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_listening = supervisor.listen(self._on_status)

    async def instrument(self, name: str) -> Instrument:
        """A connected client; see `Supervisor.instrument`."""
        return await self._supervisor.instrument(name)

    async def reachable(self, name: str) -> Instrument:
        """Return when the instrument answers; see `Supervisor.reachable`."""
        return await self._supervisor.reachable(name)

    def descriptions(self) -> Mapping[str, Mapping[str, Any]]:
        """Name → description (JSON form) of every instrument that has answered."""
        return self._descriptions

    def why_unknown(self, name: str) -> str | None:
        """Why an instrument of the lab has never answered; None if the lab has none of that name."""
        status = self._supervisor.status().get(name)
        return f"{name} is {status.state}{f': {status.reason}' if status.reason else ''}" if status else None

    def status(self) -> list[dict[str, Any]]:
        """Each instrument's name, state, reason and address, in the order of lab.toml."""
        return [status.as_dict() for status in self._supervisor.status().values()]

    async def restart(self, name: str) -> None:
        """End its host, if it lives, and start it anew; see `Supervisor.restart`."""
        await self._supervisor.restart(name)

    async def meet(self) -> None:
        """Return when every instrument that is up has been asked what it offers."""
        await self._supervisor.settled()
        for name, status in self._supervisor.status().items():
            if status.state == "ready":
                await self._look(name)

    async def read_all(self) -> None:
        """Read every attribute and tell it; for the page, while somebody looks."""
        ready = [name for name, status in self._supervisor.status().items() if status.state == "ready"]
        await asyncio.gather(*(self._read(name) for name in ready))

    def close(self) -> None:
        """Stop listening."""
        self._stop_listening()
        for task in self._tasks:
            task.cancel()

    def _on_status(self, status: Status) -> None:
        self._changes.publish("instrument", status.as_dict() | {"description": self._descriptions.get(status.name)})
        if status.state == "ready":
            task = asyncio.get_running_loop().create_task(self._look(status.name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look(self, name: str) -> None:
        """Ask what it offers (a restart may have changed that), and listen to what it does."""
        try:
            client = await self._supervisor.instrument(name)
            await client.describe()
        except LabError as error:
            logger.warning("an instrument was not met", extra={"instrument": name, "why": str(error)})
            return
        known = self._descriptions.get(name)
        self._descriptions[name] = client.description.as_dict() | self._old_names(name)
        if self._watched.get(name) is not client:
            self._watched[name] = client
            client.listen(self._on_event)
        if known != self._descriptions[name]:
            status = self._supervisor.status()[name]
            self._changes.publish("instrument", status.as_dict() | {"description": self._descriptions[name]})

    def _old_names(self, name: str) -> dict[str, Any]:
        """What an experiment of the old form may call its attributes and actions (`labretto.experiment.soe`)."""
        return {"compat": self._lab.instruments[name].compat} if self._lab.compat.helao else {}

    def _on_event(self, topic: str, body: dict[str, Any]) -> None:
        if topic == "invocation":
            self._changes.publish("invocation", {**body, "result": None})
        elif topic in ("lease", "progress", "overrun", "overdue"):
            self._changes.publish(topic, body)

    async def _read(self, name: str) -> None:
        try:
            readings = await (await self._supervisor.instrument(name)).read_all()
        except LabError:
            return  # its status says why, and is told already
        body = {attribute: reading.as_dict() for attribute, reading in readings.items()}
        self._changes.publish("readings", {"instrument": name, "readings": body})


@dataclass(frozen=True)
class RunningHub:
    """A hub that answers."""

    lab: Lab
    url: str
    orchestrator: Orchestrator
    changes: Changes


@contextlib.asynccontextmanager
async def running(lab: Lab, *, host: str | None = None, port: int | None = None) -> AsyncIterator[RunningHub]:
    """Run the hub of `lab` while the block runs.

    Args:
        lab: what to run.
        host, port: where to listen instead of what the lab says; port 0: any free one.

    Raises:
        ConflictError: another hub owns this lab's folder, or the port is in use.
        ForbiddenError: it would listen beyond the loopback without a token.
        StorageError: the lab's folder cannot be written.
    """
    address = host or lab.host
    gate = gate_of(lab.folder, address, lab.name, names=lab.access.names, trail_when_open=True)
    # Simulated instruments share a bench as real ones share a room; hosts inherit it.
    os.environ.setdefault("LABRETTO_BENCH", str(lab.folder / "bench"))
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_only_hub_of(lab))
        listener = stack.enter_context(contextlib.closing(_listening(address, lab.port if port is None else port)))
        journal = SqliteJournal(lab.folder / "journal.db")
        stack.callback(journal.close)
        index = stack.enter_context(Index(lab.folder / "catalog.db"))
        changes = Changes()
        stack.callback(changes.close)
        # The first array of a run would wait for this import otherwise.
        loading = asyncio.get_running_loop().run_in_executor(None, importlib.import_module, "pyarrow")
        supervisor = Supervisor(lab)
        instruments = SupervisedInstruments(lab, supervisor, changes)
        await stack.enter_async_context(supervisor)
        stack.callback(instruments.close)
        await asyncio.gather(instruments.meet(), loading)
        catalog = Catalog(lab.folder / "records")
        orchestrator = Orchestrator(
            journal=journal, catalog=catalog, index=index, instruments=instruments, changes=changes
        )
        await stack.enter_async_context(orchestrator)
        people = await stack.enter_async_context(People(orchestrator))
        routers = [
            run_routes(orchestrator),
            record_routes(orchestrator),
            task_routes(people),
            instrument_routes(instruments, orchestrator),
        ]
        streams = Streams(changes, journal)
        routers.append(stream_routes(streams, journal))
        if lab.compat.helao:
            data = await stack.enter_async_context(GrowingData(journal, catalog, changes))
            routers.append(helao_routes(orchestrator, data))
        metrics = Metrics(
            changes,
            journal,
            instruments,
            lab.folder,
            viewers={"page": lambda: app.state.live.viewers, "stream": lambda: streams.readers},
            halted=lambda: orchestrator.halted,
            lab=lab.name,
            version=version("labretto"),
        )
        journal.on_commit(metrics.on_commit)
        await stack.enter_async_context(metrics.counting())
        routers.append(metrics_routes(metrics))
        app = build(
            routers=routers,
            changes=changes,
            look=instruments.read_all,
            bound=address,
            gate=gate,
            lab=lab.name,
            version=version("labretto"),
        )
        await stack.enter_async_context(run_app(app, listener, websockets=True))
        stack.callback(streams.close)
        url = _url(address, listener)
        elsewhere = {name: str(entry.url) for name, entry in lab.instruments.items() if entry.url}
        write_file(lab.hub_file, HubFile(lab.name, url, os.getpid(), isoformat(now()), elsewhere).as_dict())
        stack.callback(remove_file, lab.hub_file)
        yield RunningHub(lab, url, orchestrator, changes)


class BackgroundLab:
    """A lab whose hub answers from a thread of this process, each instrument in a process of its own.

    It ends with `stop()`, at the end of a `with`, or with this process.
    """

    def __init__(self, lab: Lab, port: int | None) -> None:
        self._thread = OwnThread(f"hub of {lab.name}", running(lab, port=port))
        self.url = self._thread.value.url
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the hub and its instruments. A second call does nothing."""
        atexit.unregister(self.stop)
        self._thread.stop(within=_STOP_WITHIN)

    def __enter__(self) -> BackgroundLab:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<BackgroundLab: {self.url if self._thread.alive else 'stopped'}>"


def start_lab(file: Path | str | None = None, *, port: int | None = None) -> BackgroundLab:
    """Run the hub of a lab in the background of a notebook or a script; returns when it answers.

    Args:
        file: the lab.toml; None for an empty lab.
        port: where to listen instead of what the file says; 0: any free one.

    Raises:
        NotFoundError, InvalidError: the file is not there, or wrong.
        ConflictError: another hub owns this lab's folder, or the port is in use.
    """
    return BackgroundLab(load_lab(file), port)


def serve(
    lab: Lab, *, host: str | None = None, port: int | None = None, ready: Callable[[RunningHub], Any] = lambda hub: None
) -> bool:
    """Run the hub of `lab` until SIGINT or SIGTERM; answers False if one of them was its end.

    Args:
        lab, host, port: see `running`.
        ready: called once it answers; an awaitable that it returns runs beside the hub, whose end is the hub's end.
    """
    return asyncio.run(_serve(lab, host, port, ready))


async def _serve(lab: Lab, host: str | None, port: int | None, ready: Callable[[RunningHub], Any]) -> bool:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with running(lab, host=host, port=port) as hub:
        beside = ready(hub)
        waiting = [asyncio.ensure_future(ended.wait())]
        if beside is not None:
            waiting.append(asyncio.ensure_future(beside))
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            if task.done():
                task.result()
            task.cancel()
        return not ended.is_set()


@contextlib.contextmanager
def _only_hub_of(lab: Lab) -> Iterator[None]:
    """Own the folder of `lab` while the block runs."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(lab.hub_lock))
        except ConflictError as error:
            raise ConflictError(
                f"A hub of the lab {lab.name!r} runs already: {error.detail}",
                way_out="Use that one, or end it first; another lab takes another name in lab.toml.",
                **error.fields,
            ) from None
        yield


def _listening(host: str, port: int) -> socket.socket:
    """A listening socket, taken before any hardware is touched."""
    try:
        return bound(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    except ConflictError as error:
        raise ConflictError(
            f"The hub cannot listen: {error.detail}",
            way_out="Choose another port with --port, or end what listens there.",
        ) from error


def _url(host: str, listener: socket.socket) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
