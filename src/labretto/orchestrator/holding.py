"""Who may act on the lab's instruments: leases that runs and people take from hosts, with numbers of the lab's counter.

A run has the lease of each of its instruments while it acts, and none while it stands still and others may act. After
a crash it takes them again under a higher number, so what is left of its old process can do nothing. What a lease is
and who is refused is decided at the host (`labretto.instrument.leases`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from labretto.errors import (
    ForbiddenError,
    LabError,
    LeaseError,
    NotFoundError,
    RefusedError,
    StorageError,
    UnreachableError,
)
from labretto.instrument.leases import Lease
from labretto.network.client import Instrument
from labretto.orchestrator.journal import Journal

logger = logging.getLogger(__name__)

LOOK_AGAIN_AFTER = 5.0
"""Seconds after which an instrument that somebody else has is looked at even if nothing was heard of it."""
GIVE_BACK_WITHIN = 2.0
"""Seconds that a host gets to take a lease back; after that it is done behind the run's back."""
_RUN = "run "
_TAKEN_WHEN_NEEDED = (UnreachableError, NotFoundError)


class Clients(Protocol):
    """Where instruments are found."""

    async def instrument(self, name: str) -> Instrument:
        """A connected client, to be asked for again before each use."""

    async def reachable(self, name: str) -> object:
        """Return when the instrument answers, however long that takes."""


class Holding:
    """The leases of one run.

    Args:
        run: its id.
        journal: has the counter.
        instruments: where they are taken.
        left: called with the name of an instrument, and the number of the lease that its host did not take back.
    """

    def __init__(self, run: str, journal: Journal, instruments: Clients, left: Callable[[str, int], None]) -> None:
        self.number = 0
        """Under which leases are taken now; 0: a new number is needed."""
        self.challenged = False
        """Somebody took one over since the last number."""
        self._holder = f"{_RUN}{run}"
        self._journal = journal
        self._instruments = instruments
        self._left = left
        self.ledgers: dict[str, str] = {}
        """Instrument → birth id of the ledger that its host was last seen with."""
        self._held: dict[str, int] = {}
        self._due: set[str] = set()
        """What is wanted and was not asked for since the run last stood still."""
        self._taking = asyncio.Lock()

    async def renew(self) -> int:
        """A number higher than all before."""
        self.number, self.challenged = await self._journal.next_lease(), False
        return self.number

    def want(self, *names: str) -> None:
        """Name what will be needed, so that it is taken together."""
        self._due |= set(names)

    def number_for(self, name: str) -> int | None:
        """What an act on `name` is sent with."""
        return self._held.get(name, self.number or None)

    def lacks(self, *needed: str) -> bool:
        """There is something to take."""
        return bool((self._due | set(needed)) - self._held.keys())

    async def take(self, *needed: str) -> None:
        """Take what is needed, and what is wanted and can be reached: all of it, in the order of names, or nothing.

        Raises:
            LeaseError: somebody else has one of them; says which `instrument`.
            UnreachableError, StorageError: the host of one that is needed cannot answer now.
        """
        async with self._taking:
            taken: dict[str, int] = {}
            try:
                for name in sorted((self._due | set(needed)) - self._held.keys()):
                    with contextlib.nullcontext() if name in needed else contextlib.suppress(*_TAKEN_WHEN_NEEDED):
                        taken[name] = await self._take(name)
            except BaseException:
                await self._give_all_back(taken)
                raise
            self._held |= taken
            self._due.clear()  # what does not answer now is taken when it is needed

    async def _take(self, name: str) -> int:
        client = await self._instruments.instrument(name)
        await self.see(name, client)
        number = self.number or await self.renew()
        try:
            return await self._taken(client, number)
        except LeaseError as error:
            error.fields["instrument"] = name
            raise
        except StorageError:
            raise
        except RefusedError as error:  # a board knows numbers and no leases
            logger.info("%s gives no leases: %s", name, error.detail)
            return number

    async def _taken(self, client: Instrument, number: int) -> int:
        try:
            return (await client.take(self._holder, number)).number
        except LeaseError as error:
            ours = _run_of(error.fields.get("holder"), self._journal) is not None
            if "holder" in error.fields and not ours:
                raise
            # Seen there: a higher number than the lab's counter had given, or a run of ours that cannot act on it now,
            # since this run has it to itself in the lab; its lease could not be given back when it stood still.
            self.number = await self._journal.next_lease(above=int(error.fields.get("highest", 0)))
            return (await client.take(self._holder, self.number, over=ours)).number

    async def see(self, name: str, client: Instrument) -> str | None:
        """Look which ledger the host has; one that does not say leaves what was known."""
        told = (await client.health()).get("ledger")
        birth = told.get("birth") if isinstance(told, Mapping) else None
        if birth:
            self.ledgers[name] = str(birth)
        return self.ledgers.get(name)

    def lost(self, name: str) -> None:
        """Somebody has taken it over."""
        self._held.pop(name, None)
        self.number, self.challenged = 0, True

    async def until_free(self, *needed: str) -> None:
        """Return when nobody else has what is needed or wanted, or when that cannot be seen."""
        await asyncio.gather(*(self._until_free(name) for name in (self._due | set(needed)) - self._held.keys()))

    async def _until_free(self, name: str) -> None:
        with contextlib.suppress(LabError):
            client = await self._instruments.instrument(name)
            told = asyncio.Event()
            end = client.listen(lambda topic, body: told.set() if topic == "lease" else None)
            try:
                while (lease := await client.lease()) and lease.holder != self._holder:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(told.wait(), LOOK_AGAIN_AFTER)
                    told.clear()
            finally:
                end()

    async def give_back(self, *, keep: Collection[str] = ()) -> None:
        """Let others act until something is taken again; what is kept stays under the number it was taken with."""
        held, self.number = self._held, 0
        self._held = {name: number for name, number in held.items() if name in keep}
        self._due |= held.keys() - self._held.keys()
        await self._give_all_back({name: number for name, number in held.items() if name not in keep})

    async def _give_all_back(self, taken: Mapping[str, int]) -> None:
        await asyncio.gather(*(self._give_back(name, number) for name, number in taken.items()))

    async def _give_back(self, name: str, number: int) -> None:
        try:
            async with asyncio.timeout(GIVE_BACK_WITHIN):
                await (await self._instruments.instrument(name)).give_back(number)
        except (LabError, TimeoutError) as error:
            # Refused: somebody else has it by now, or it gives no leases.
            if not isinstance(error, RefusedError) or isinstance(error, StorageError):
                self._left(name, number)


async def give_back_later(name: str, number: int, instruments: Clients) -> None:
    """Give a lease back as soon as the host answers."""
    with contextlib.suppress(LabError):
        await instruments.reachable(name)
        await (await instruments.instrument(name)).give_back(number)


async def tidy(name: str, journal: Journal, instruments: Clients, acting: Callable[[str, str], bool]) -> None:
    """When `name` answers, give back the lease that a run of ours left there and that does not act now."""
    with contextlib.suppress(LabError):
        await instruments.reachable(name)
        client = await instruments.instrument(name)
        lease = await client.lease()
        run = _run_of(lease.holder, journal) if lease else None
        if lease and run and not acting(run, name):
            await client.give_back(lease.number)


async def take_over(client: Instrument, journal: Journal, actor: str | None) -> Lease:
    """A person takes an instrument from whoever has it, for everybody to see."""
    holder = person(actor)
    number = await journal.next_lease()
    try:
        return await client.take(holder, number, over=True)
    except LeaseError as error:
        number = await journal.next_lease(above=int(error.fields.get("highest", 0)))
        return await client.take(holder, number, over=True)


async def number_of(client: Instrument, actor: str | None) -> int | None:
    """The number under which a person may act on what they have taken over; None if they have not."""
    lease = await client.lease()
    return lease.number if lease and lease.holder == person(actor) else None


def person(actor: str | None) -> str:
    """How a person is called who acts through the hub."""
    if actor and actor.startswith(_RUN):
        raise ForbiddenError(f"{actor[:80]!r} is the name of a run, not of a person.")
    return actor or "a person at the hub"


def _run_of(holder: object, journal: Journal) -> str | None:
    """The run of this lab that `holder` names; None if it names none."""
    if not isinstance(holder, str) or not holder.startswith(_RUN):
        return None
    run = holder.removeprefix(_RUN)
    try:
        journal.row(run)
    except (NotFoundError, StorageError):
        return None
    return run
