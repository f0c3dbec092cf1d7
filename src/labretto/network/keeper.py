"""One instrument kept up: its host process lives, dies and lives again; or its host is elsewhere and is only asked.

A keeper is a task with a status that it tells at every change, and a client that it shares. What one life of a host
process is stands in `labretto.network.life`; all keepers of a lab together in `labretto.network.supervise`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from labretto.access.tokens import owner_token, read_secret
from labretto.errors import BusyError, ConflictError, DriverError, LabError, RefusedError, UnreachableError
from labretto.instrument.describe import Description
from labretto.instrument.differences import differences
from labretto.instrument.reading import isoformat, now
from labretto.lab import Lab, LabInstrument
from labretto.network.announce import announced_address
from labretto.network.client import Instrument, open_instrument
from labretto.network.connection import back_off
from labretto.network.directory import HostFile
from labretto.network.life import LEAVE_WITHIN, Life, adopt, start, try_out
from labretto.network.load import written_at
from labretto.network.serve import Order, order_in_lab
from labretto.network.status import (
    FIRST_PAUSE,
    HUB_STOPPED,
    LONGEST_PAUSE,
    LOOP_DEATHS,
    LOOP_WITHIN,
    Listener,
    State,
    Status,
    pause_before,
)
from labretto.network.wires import ports

logger = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks at a host elsewhere, and the longest that an answer may take."""


_MEND: dict[State, str] = {"unreachable": "", "proposed": "Accept it on the page, or remove it."}


class Keeper:
    """Keeps one instrument up; subclasses know how."""

    def __init__(self, entry: LabInstrument, tell: Listener) -> None:
        self.entry = entry
        self.status = Status(entry.name, "stopped", "not started yet")
        self._tell = tell
        self._changed = asyncio.Event()
        self._client: Instrument | None = None
        self._opening = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._warned = ""

    def begin(self) -> None:
        """Start keeping."""
        self._be("starting")
        self._task = asyncio.create_task(self._keep(), name=f"keeper of {self.entry.name}")

    async def settled(self) -> None:
        """Return when the state is not "starting"."""
        while self.status.state == "starting":
            await self._next_change()

    async def restart(self) -> None:
        """Begin a new life."""
        raise NotImplementedError

    async def instrument(self) -> Instrument:
        """A connected client."""
        while True:
            match self.status.state:
                case "ready":
                    if client := await self._connected():
                        return client
                case "starting" | "restarting":
                    await self._next_change()
                case _:
                    raise self._down()

    async def reachable(self) -> Instrument:
        """A client of a host that answers."""
        for pause in back_off():
            changed = self._changed
            try:
                client = await self.instrument()
                await client.health()
            except UnreachableError:
                # A host that is down says so when it is up; one that has just died looks ready for a moment.
                down = self.status.state not in ("ready", "unreachable")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), None if down else pause)
            else:
                return client
        raise AssertionError("back_off never ends")

    async def remove(self) -> None:
        """End it, and say that the lab has it no more."""
        await self.close()
        self._be("removed", "somebody has removed it")

    async def close(self) -> None:
        """End it."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._forget_client()
        self._be("stopped", HUB_STOPPED)

    async def _keep(self) -> None:
        raise NotImplementedError

    def _be(self, state: State, reason: str = "", **more: Any) -> None:
        self.status = Status(self.entry.name, state, reason, since=isoformat(now()), **more)
        fields = {"instrument": self.entry.name, "reason": reason}
        logger.log(self._level(state, reason), "%s is %s", self.entry.name, state, extra=fields)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._tell(self.status)

    def _level(self, state: State, reason: str) -> int:
        """Whoever has started a hub and looks at no page sees what does not come up; each reason once."""
        if state == "ready" or reason in (HUB_STOPPED, self._warned):
            self._warned = "" if state == "ready" else self._warned
            return logging.INFO
        if state not in ("restarting", "crash loop", "stopped", "unreachable"):
            return logging.INFO
        self._warned = reason
        return logging.WARNING

    async def _next_change(self) -> None:
        await self._changed.wait()

    async def _connected(self) -> Instrument | None:
        """The client of the present address; None if the host went away meanwhile."""
        async with self._opening:
            address, changed = self.status.address, self._changed
            if address is None or (self._client and self._client.address == address):
                return self._client if address else None
            await self._forget_client()
            try:
                self._client = await open_instrument(address, token=self._token())
            except UnreachableError:
                # It answered a moment ago: its end is about to be told.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), FIRST_PAUSE)
                return None
            return self._client

    def _token(self) -> str | None:
        """What its host asks for, where that is not what everybody shows."""
        return None

    async def _forget_client(self) -> None:
        if self._client:
            client, self._client = self._client, None
            await client.close()

    def _down(self) -> UnreachableError:
        status = self.status
        return UnreachableError(
            f"{status.name} is {status.state}: {status.reason}",
            way_out=_MEND.get(status.state, "Mend it, then start it again."),
            instrument=status.name,
        )


class HostKeeper(Keeper):
    """Keeps a host process of ours up."""

    def __init__(self, entry: LabInstrument, tell: Listener, lab: Lab, grace: float) -> None:
        super().__init__(entry, tell)
        self._lab = lab
        self._grace = grace
        self._asked = asyncio.Event()
        self._life: Life | None = None
        self._ports: dict[str, int] = {}
        self._sent_away: Life | None = None

    def _token(self) -> str | None:
        return owner_token(self._lab.folder)

    def _order(self) -> Order:
        return order_in_lab(self._lab, self.entry.name, grace=self._grace, ports=self._ports)

    async def restart(self) -> None:
        """End the present life, if there is one, and begin a new one."""
        self._be("starting", "asked to start again")
        self._asked.set()

    async def close(self) -> None:
        """End the host too."""
        await super().close()
        if self._life:  # the keeper was cancelled while it ended it
            await self._life.end()

    async def _keep(self) -> None:
        deaths: list[float] = []
        while True:
            self._asked.clear()
            problem = await self._live()
            if problem is None:
                deaths.clear()
                continue
            deaths.append(asyncio.get_running_loop().time())
            if await self._pause(problem, pause_before(deaths)):
                deaths.clear()

    async def _live(self) -> LabError | None:
        """One life from its start to its end; None if somebody asked for another."""
        order = self._order()
        try:
            life = await self._begin(order)
        except LabError as error:
            return error
        if life is None:
            return None
        try:
            file = life.file
            self._ports = ports(file.addresses)
            self._be_ready(file)
            await _first(self._asked.wait(), life.gone(), self._notice_changes(file))
            return (
                None
                if self._asked.is_set() or life is self._sent_away
                else DriverError(f"The host {await life.gone()}.")
            )
        finally:
            await life.end()

    def _be_ready(self, file: HostFile) -> None:
        self._be("ready", self._outdated(file), address=file.address, addresses=file.addresses, pid=file.pid)

    def _outdated(self, file: HostFile) -> str:
        """What a start would change; empty if nothing."""
        if file.fingerprint != self._order().fingerprint:
            return "runs as lab.toml or its limits said before; restart it"
        return "" if written_at(file.source) in (file.written, 0) else "its driver's file has changed; reload it"

    async def _notice_changes(self, file: HostFile) -> None:
        """Say, as long as it lives, whether it is as its files say now."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._outdated(file) != self.status.reason:
                self._be_ready(file)

    async def leave_if_idle(self) -> None:
        """End the present life, unless an action runs, and begin a new one; returns when the old host has gone.

        Raises:
            BusyError: an action runs; nothing was ended.
        """
        life = self._life
        if life is None or self.status.state != "ready":
            await self.restart()
            return
        self._sent_away = life
        life.ask_to_leave()
        try:
            await asyncio.wait_for(life.gone(), LEAVE_WITHIN)
        except TimeoutError:
            self._sent_away = None
            raise BusyError(f"An action runs on {self.entry.name}; its host was not ended.") from None
        self._be("starting", "is loaded anew")

    async def reload(self) -> list[str]:
        """Try out the driver as it is written now, then end the host and begin one with it; answers what is different.

        Raises:
            BusyError: an action runs.
            InvalidError, NotFoundError: the driver cannot be imported, described or made so; the host goes on.
            UnreachableError: the new host does not come up.
        """
        before = await self._described()
        await try_out(self._order())
        await self.leave_if_idle()
        await self.settled()
        if self.status.state != "ready":  # it would come up by itself only if somebody mended what it died of
            raise self._down()
        return differences(before, await (await self.instrument()).describe())

    async def _described(self) -> Description | None:
        """What the host that lives offers; None if none does. Raises `BusyError` if an action runs on it."""
        if self.status.state != "ready":
            return None
        client = await self.instrument()
        if running := (await client.health()).get("running"):
            what, since = running["action"], running.get("started")
            raise BusyError(
                f"{self.entry.name} is busy: {what} runs since {since}; it was not loaded anew.",
                way_out="Wait for its end, or stop it.",
                running=running["id"],
                action=what,
            )
        return await client.describe()

    async def _begin(self, order: Order) -> Life | None:
        """A host that answers; None if somebody asked for another meanwhile, since a driver may be stuck."""
        beginning = asyncio.create_task(_adopted_or_started(order))
        try:
            await _first(self._asked.wait(), _done(beginning))
        finally:
            if not beginning.done():
                beginning.cancel()
                await _done(beginning)
            if not beginning.cancelled() and beginning.exception() is None:
                self._life = beginning.result()
        return None if beginning.cancelled() else beginning.result()

    async def _pause(self, problem: LabError, seconds: float | None) -> bool:
        """Wait before the next life, for ever if only a person can help; true if somebody asked for it."""
        told = {"problem": problem.problem()}
        if isinstance(problem, RefusedError) and not isinstance(problem, ConflictError):
            self._be("stopped", str(problem), **told)  # the next start would end the same way
            seconds = None
        elif seconds is None:
            self._be("crash loop", f"{LOOP_DEATHS} deaths within {LOOP_WITHIN:g} s; the last: {problem}", **told)
        else:
            self._be("restarting", str(problem), seconds=seconds, **told)
        try:
            await asyncio.wait_for(self._asked.wait(), seconds)
        except TimeoutError:
            self._be("starting", str(problem), **told)
            return False
        return True


class ProposedKeeper(Keeper):
    """Keeps nothing: what has registered itself is not asked anything before somebody has accepted it."""

    def begin(self) -> None:
        """Say that it waits for a person."""
        self._be("proposed", f"it has registered itself as {self.entry.url}; somebody has to accept it")

    async def restart(self) -> None:
        """Refused: that is not what it waits for."""
        raise self._down()


class LinkKeeper(Keeper):
    """Keeps the connection to a host that somebody else runs; on another machine there is no lock to wait for.

    Args:
        entry, tell: as of every keeper.
        no_token: show none where none is named: it is not lab.toml that says where to.
    """

    def __init__(self, entry: LabInstrument, tell: Listener, *, no_token: bool = False) -> None:
        super().__init__(entry, tell)
        self._shows_none = no_token or (bool(entry.discover) and not entry.key)
        self._asked = asyncio.Event()

    async def restart(self) -> None:
        """Connect anew; the host elsewhere is not touched."""
        self._be("starting", "asked to connect again")
        self._asked.set()

    async def _keep(self) -> None:
        while True:
            await self._forget_client()
            client = self._client = await self._opened()
            while not self._asked.is_set():
                self._be("ready", address=client.address)
                await self._lost(client)

    def _token(self) -> str | None:
        """Read anew each time: a token that has ended is replaced without a restart."""
        return read_secret(self.entry.token_file) if self.entry.token_file else "" if self._shows_none else None

    async def _where(self) -> str:
        """Its address; the one that is announced now, where lab.toml says a name."""
        return await announced_address(self.entry) if self.entry.discover else str(self.entry.url)

    async def _opened(self) -> Instrument:
        for pause in back_off(FIRST_PAUSE, LONGEST_PAUSE):
            self._asked.clear()  # this attempt is what was asked for
            try:
                return await open_instrument(await self._where(), token=self._token())
            except LabError as error:
                self._unreachable(error)
                await self._sleep(pause)
        raise AssertionError("back_off never ends")

    async def _lost(self, client: Instrument) -> None:
        """Return when the host has been away and answers again, or when somebody asked for a new connection."""
        while not await self._sleep(LOOK_EVERY):
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await client.health()
            except (LabError, TimeoutError) as error:
                silent = UnreachableError(f"It has not answered within {LOOK_EVERY:g} s.", address=client.address)
                self._unreachable(error if isinstance(error, LabError) else silent)
                await _first(self._asked.wait(), client.reachable())
                return

    def _unreachable(self, error: LabError) -> None:
        if self.status.state != "unreachable":
            self._be("unreachable", error.detail, problem=error.problem())

    async def _sleep(self, seconds: float) -> bool:
        """Wait; true as soon as somebody asks for a new connection."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._asked.wait(), seconds)
        return self._asked.is_set()


async def _adopted_or_started(order: Order) -> Life:
    return await adopt(order) or await start(order)


async def _done(task: asyncio.Task[Any]) -> None:
    """Return when `task` has ended, however."""
    await asyncio.wait([task])


async def _first(*calls: Coroutine[Any, Any, Any]) -> None:
    """Return when the first of them does, and end the others."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
