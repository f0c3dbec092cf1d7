"""The hub's hold on its instruments: host processes started, watched, started again, adopted and ended.

Each instrument has a keeper (`labretto.network.keeper`), a task that lives through one host process after another. A
death is seen by the process ending or by its lock coming free, never by asking. What happens inside a host process
stands in `labretto.network.serve`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection

from labretto.errors import ConflictError, NotFoundError
from labretto.lab import NAME, Lab, LabInstrument, did_you_mean
from labretto.network.client import Instrument
from labretto.network.keeper import HostKeeper, Keeper, LinkKeeper, ProposedKeeper
from labretto.network.life import adopt
from labretto.network.liveness import holder
from labretto.network.log import last_lines
from labretto.network.registry import Entry, Registrant, Registry, as_lab_instrument
from labretto.network.serve import GRACE, Order
from labretto.network.status import Listener, Status

__all__ = ["Status", "Supervisor"]

logger = logging.getLogger(__name__)


class Supervisor:
    """All instruments of a lab. Use `async with Supervisor(lab) as supervisor`, holding `lab.hub_lock`.

    Args:
        lab: what to run.
        grace: seconds for which hosts outlive a hub that was killed.
    """

    def __init__(self, lab: Lab, *, grace: float = GRACE) -> None:
        self.lab = lab
        self._listeners: list[Listener] = []
        self._keepers = {name: _keeper(lab, entry, self._tell, grace) for name, entry in lab.instruments.items()}
        self._registry = Registry(lab.folder, lab.instruments)
        self._keepers |= {name: self._registered_keeper(entry) for name, entry in self._registry.entries().items()}

    async def __aenter__(self) -> Supervisor:
        if holder(self.lab.hub_lock) != os.getpid():
            raise RuntimeError("hold lab.hub_lock first: hosts whose hub does not hold it leave")
        await self._end_strangers()
        for keeper in self._keepers.values():
            keeper.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def status(self) -> dict[str, Status]:
        """How every instrument is, in the order of lab.toml."""
        return {name: keeper.status for name, keeper in self._keepers.items()}

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every change from now on; the answer ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def settled(self) -> None:
        """Return when no instrument is still on its first way up: each is ready, or says why not."""
        await asyncio.gather(*(keeper.settled() for keeper in self._keepers.values()))

    async def instrument(self, name: str) -> Instrument:
        """A client connected to `name`, kept open and shared; waits while its host starts. Do not close it.

        It is the same object as long as the host's address is: ask for it again before each use.

        Raises:
            NotFoundError: the lab has no such instrument.
            UnreachableError: it is down until somebody starts it again, and says why.
        """
        return await self._keeper(name).instrument()

    async def reachable(self, name: str) -> Instrument:
        """A client of `name`, once its host answers; waits as long as that takes, also for somebody to mend it."""
        return await self._keeper(name).reachable()

    async def restart(self, name: str) -> None:
        """End the host of `name` within two seconds and start it anew; also brings back one that is down.

        An action that runs is interrupted. Returns when the new one is ready, or when it is known why not.
        """
        keeper = self._keeper(name)
        await keeper.restart()
        await keeper.settled()

    def registered(self) -> dict[str, Entry]:
        """Instruments that lab.toml does not have: name → what is known of their registering."""
        return self._registry.entries()

    async def register(self, name: str, url: str, who: Registrant, own: Collection[int] = ()) -> tuple[Entry, bool]:
        """Take an instrument that tells where it is; see `Registry.register`. Kept up at once if it is accepted."""
        entry, changed = self._registry.register(name, url, who, own)
        if changed:
            await self._keep(entry)
        return entry, changed

    async def accept(self, name: str, by: str) -> Entry:
        """Trust an instrument that has registered itself; see `Registry.accept`."""
        entry = self._registry.accept(name, by)
        if isinstance(self._keepers[name], ProposedKeeper):
            await self._keep(entry)
        return entry

    async def remove(self, name: str) -> None:
        """Forget an instrument that has registered itself; see `Registry.remove`."""
        self._registry.remove(name)
        await self._keepers.pop(name).remove()

    async def _keep(self, entry: Entry) -> None:
        former = self._keepers.get(entry.name)
        keeper = self._keepers[entry.name] = self._registered_keeper(entry)
        if former:
            await former.close()
        keeper.begin()

    def _registered_keeper(self, entry: Entry) -> Keeper:
        described = as_lab_instrument(entry)
        if entry.accepted_by is None:
            return ProposedKeeper(described, self._tell)
        return LinkKeeper(described, self._tell, no_token=True)

    async def reload(self, name: str) -> list[str]:
        """Start the host of `name` anew with its driver as it is written now; answers what is different.

        The driver is tried out first, so one that is broken leaves the old host as it is.

        Raises:
            BusyError: an action runs on it.
            ConflictError: its host is not ours to start.
            LabError: what is wrong with the driver, as `labretto.network.life.try_out`.
        """
        keeper = self._keeper(name)
        if not isinstance(keeper, HostKeeper):
            raise ConflictError(f"The host of {name} is not started here.", way_out="Load it anew where it runs.")
        return await keeper.reload()

    def log(self, name: str, most: int = 200) -> list[str]:
        """The last lines that the host of `name` and its driver wrote.

        Raises:
            ConflictError: its host writes elsewhere.
        """
        keeper = self._keeper(name)
        if not isinstance(keeper, HostKeeper):
            raise ConflictError(f"The host of {name} is not started here.", way_out="Its log is where it runs.")
        return last_lines(self.lab.host_folder(name) / "log.txt", most)

    async def close(self) -> None:
        """End all hosts, each within two seconds, all at once; none is left."""
        await asyncio.gather(*(keeper.close() for keeper in self._keepers.values()))

    async def _end_strangers(self) -> None:
        """End hosts that an earlier hub left behind and lab.toml does not know any more."""
        ours = {entry.name for entry in self.lab.instruments.values() if entry.driver}
        names = {lock.parent.name for lock in self.lab.folder.glob("hosts/*/lock")} - ours
        orders = [Order(LabInstrument(name=name), self.lab.host_folder(name)) for name in names if NAME.fullmatch(name)]
        lives = [life for order in orders if (life := await adopt(order))]
        await asyncio.gather(*(life.end() for life in lives))

    def _keeper(self, name: str) -> Keeper:
        if name not in self._keepers:
            way_out = did_you_mean(name, self._keepers) or "Add it to lab.toml."
            raise NotFoundError(f"The lab {self.lab.name} has no instrument {name[:80]!r}.", way_out=way_out)
        return self._keepers[name]

    def _tell(self, status: Status) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(status)
            except Exception:
                logger.exception("a listener raised")


def _keeper(lab: Lab, entry: LabInstrument, tell: Listener, grace: float) -> Keeper:
    return HostKeeper(entry, tell, lab, grace) if entry.driver else LinkKeeper(entry, tell)
