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
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labretto.access import gate_of
from labretto.catalog.live import Changes
from labretto.catalog.search import Index
from labretto.catalog.store import Catalog
from labretto.errors import ConflictError
from labretto.instrument.reading import isoformat, now
from labretto.lab import Lab, load_lab
from labretto.network.background import OwnThread
from labretto.network.directory import HubFile, remove_file, write_file
from labretto.network.http import bound, check_certificate, run_app
from labretto.network.liveness import hold
from labretto.network.supervise import Supervisor
from labretto.orchestrator.api import record_routes, run_routes
from labretto.orchestrator.heritage import GrowingData, helao_routes
from labretto.orchestrator.hosts import host_routes
from labretto.orchestrator.instruments import instrument_routes
from labretto.orchestrator.journal import SqliteJournal
from labretto.orchestrator.notifying import Notifier, channels_of
from labretto.orchestrator.people import People
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.queue_api import queue_routes
from labretto.orchestrator.stopping import stop_routes
from labretto.orchestrator.supervised import SupervisedInstruments
from labretto.orchestrator.tasks_api import task_routes
from labretto.orchestrator.timekeeping import Timekeeping
from labretto.orchestrator.tracing import tracing
from labretto.web.app import build
from labretto.web.metrics import Metrics, metrics_routes
from labretto.web.streams import Streams, stream_routes

logger = logging.getLogger(__name__)

_STOP_WITHIN = 10.0
"""Seconds in which a hub in the background lets its instruments go."""


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
        InvalidError: it shall speak HTTPS, and its certificate is none.
        StorageError: the lab's folder cannot be written.
    """
    address = host or lab.host
    check_certificate(lab.access.tls)
    gate = gate_of(lab.folder, address, lab.name, names=lab.access.names, trail_when_open=True)
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
        url = _url(address, listener, "https" if lab.access.tls else "http")
        channels = channels_of(lab, url)
        if channels:  # before the instruments: one that does not come up is told
            notifier = Notifier(channels, lab.notify.on, journal, changes)
            await stack.enter_async_context(notifier.telling())
        if lab.telemetry:
            await stack.enter_async_context(tracing(lab.telemetry, lab.name, journal, changes))
        supervisor = Supervisor(lab)
        instruments = SupervisedInstruments(lab, supervisor, changes)
        await stack.enter_async_context(supervisor)
        stack.callback(instruments.close)
        await asyncio.gather(instruments.meet(), loading)
        catalog = Catalog(lab.folder / "records")
        time = Timekeeping(lab.folder, journal, instruments)
        stack.callback(time.close)
        orchestrator = Orchestrator(
            journal=journal,
            catalog=catalog,
            index=index,
            instruments=instruments,
            changes=changes,
            limit=lab.runs_at_once,
            autostart=lab.orchestrator.autostart,
            foresight=time.foresight,
        )
        await stack.enter_async_context(orchestrator)
        people = await stack.enter_async_context(People(orchestrator))
        routers = [
            run_routes(orchestrator),
            queue_routes(orchestrator),
            stop_routes(orchestrator),
            record_routes(orchestrator),
            task_routes(people),
            instrument_routes(instruments, orchestrator),
            host_routes(instruments, orchestrator),
        ]
        routers += await stack.enter_async_context(time.keeping(orchestrator))
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
        await stack.enter_async_context(run_app(app, listener, websockets=True, tls=lab.access.tls))
        stack.callback(streams.close)
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


def _url(host: str, listener: socket.socket, scheme: str) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"
