"""A run's place at the table of instruments: it waits here until it has all that it needs, and says what for.

Who gets what is decided in `reservations`; nothing polls. What a run needs only grows: what it has used once it will
be taken to use again, so it is asked for together with the rest after every rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from labretto.orchestrator.reservations import Obstacle, Rank, Reservations


class Seats:
    """The seats of one lab.

    Args:
        limit: how many runs may act at once; None: any number.
        named: a run's id → how it is called for people.
        changed: called when somebody may wait for something else than before.
    """

    def __init__(self, limit: int | None, named: Callable[[str], str], changed: Callable[[], None]) -> None:
        self.table = Reservations(limit)
        self._named = named
        self._changed = changed
        self._waiting: dict[str, asyncio.Event] = {}

    def of(self, run: str, rank: Rank, needs: Iterable[str]) -> Seat:
        """The seat of a run, which has nothing yet."""
        return Seat(self, run, rank, needs)

    def ask(self, run: str, needs: Collection[str], rank: Rank) -> asyncio.Event:
        """What is set when the run has all of it."""
        told = self._waiting.setdefault(run, asyncio.Event())
        told.clear()
        self._tell(self.table.ask(run, needs, rank))
        return told

    def rest(self, run: str, keep: Collection[str]) -> None:
        """Let others act; see `Reservations.rest`. A branch of the run that waits asks again."""
        if told := self._waiting.pop(run, None):
            told.set()
        self._tell(self.table.rest(run, keep))

    def why(self, run: str) -> str | None:
        """What a run waits for, in one sentence; None if it does not wait."""
        obstacle = self.table.obstacle(run)
        return None if obstacle is None else self._sentence(obstacle)

    def users(self) -> dict[str, str]:
        """Instrument → the run that has it or waits for it first, as it is called."""
        return {name: self._named(run) for name, run in self.table.users.items()}

    def _sentence(self, obstacle: Obstacle) -> str:
        if obstacle.instrument is None or obstacle.run is None:
            return "Waits for its turn: as many runs act as may at once."
        has = "waits for before it" if obstacle.ahead else "has"
        return f"Waits for {obstacle.instrument}, which {self._named(obstacle.run)} {has}."

    def _tell(self, served: Iterable[str]) -> None:
        for run in served:
            if told := self._waiting.pop(run, None):
                told.set()
        self._changed()


class Seat:
    """The seat of one run."""

    def __init__(self, seats: Seats, run: str, rank: Rank, needs: Iterable[str]) -> None:
        self.needs = frozenset(needs)
        """Everything that it will act on, as far as is known."""
        self._seats = seats
        self._run = run
        self._rank = rank

    @property
    def acts(self) -> bool:
        """It has all that it needs, and may act."""
        return self._seats.table.acts(self._run) and self.needs <= self._seats.table.has(self._run)

    @property
    def has(self) -> frozenset[str]:
        """What nobody else may act on."""
        return self._seats.table.has(self._run)

    @property
    def why(self) -> str | None:
        """What it waits for, in one sentence; None if it does not wait."""
        return self._seats.why(self._run)

    def want(self, *names: str) -> None:
        """Name what it will act on, so that it is asked for with the rest."""
        self.needs |= frozenset(names)

    def ask(self) -> bool:
        """Ask for all that it needs; answers whether it has it now. Else it is in the queue for it."""
        if not self.acts:
            self._seats.ask(self._run, self.needs, self._rank)
        return self.acts

    async def take(self) -> None:
        """Return when it has all that it needs. Who does not wait any more asks for nothing any more."""
        while not self.acts:
            told = self._seats.ask(self._run, self.needs, self._rank)
            try:
                await told.wait()
            except BaseException:
                self.rest(self.has)
                raise

    def keep(self, names: Iterable[str]) -> None:
        """Have again what it had before a crash, and stand still."""
        self._seats.table.keep(self._run, names)

    def rest(self, keep: Iterable[str] = ()) -> None:
        """Let others act; what it keeps they cannot have."""
        self._seats.rest(self._run, frozenset(keep))
