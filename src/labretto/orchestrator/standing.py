"""What holds a run up, and what it lets others use meanwhile: people's words, a halt, instruments that somebody has.

Before each step the run comes through `gate`. What a step acts on it has to itself then, in the lab (`seat`) and at the
hosts (`holding`), in this order. It gives all of it back only at moments when none of its steps is in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from labretto.errors import LeaseError, StorageError, UnreachableError
from labretto.experiment.walk import AbortedError
from labretto.orchestrator.engine import Step
from labretto.orchestrator.holding import Clients, Holding
from labretto.orchestrator.runlog import RunLog
from labretto.orchestrator.seat import Seat

ASK_AGAIN_AFTER = 0.2
"""Seconds until an instrument that somebody else uses, or whose disk is full, is asked again."""
GIVE_WAY_AFTER = 10.0
"""Seconds after which a run lets others act while its instrument does not come back."""

_cleaning: ContextVar[bool] = ContextVar("cleaning", default=False)
"""This branch of the run cleans up: the abort that brought it here does not stop it."""


@contextlib.contextmanager
def cleaning(clean: bool = True) -> Iterator[None]:
    """In this block, and in what is begun in it, clean-up steps are done after an abort."""
    token = _cleaning.set(clean)
    try:
        yield
    finally:
        _cleaning.reset(token)


class Standing:
    """Whether one run may act now.

    Args:
        log: its state, and where it is written that it stands still.
        seat: its place among the runs of the lab.
        holding: its leases at the hosts.
        instruments: to wait for one that does not answer.
        halted: answers whether the lab is halted.
    """

    def __init__(
        self, log: RunLog, *, seat: Seat, holding: Holding, instruments: Clients, halted: Callable[[], bool]
    ) -> None:
        self.seat = seat
        self._log = log
        self._holding = holding
        self._instruments = instruments
        self._halted = halted
        self._troubles: list[str | None] = []
        """What each branch that is held up says."""
        self._left = False
        self._changed = asyncio.Event()
        self._in_flight: dict[str, Step | None] = {}
        """Steps that are being sent or looked after, by path; None as long as the intent is not written."""
        self._landed = asyncio.Event()
        self._getting = asyncio.Lock()
        self._grows = False
        """More is asked for than the run has: no step begins until it has all of it."""
        self._kept: list[frozenset[str] | None] = []
        """What each branch that stands still keeps; None: what `standing` says."""
        self._cleaners = 0
        self._clean_up: set[str] = set()
        """Paths of steps in flight that are clean-up."""
        log.trouble = lambda: self.trouble

    @property
    def trouble(self) -> str | None:
        """Why it stands still now, if something outside holds it up."""
        return next((each for each in self._troubles if each), None) or self.seat.why

    @property
    def leaving(self) -> bool:
        """No further step of this branch will be done."""
        return self.is_left or (self._log.state.aborting and not _cleaning.get())

    @property
    def is_left(self) -> bool:
        """No further step at all will be done, not even to clean up."""
        return self._left or self._log.lost or self._log.state.at_once

    @property
    def cleans_up(self) -> bool:
        """One of its branches does."""
        return self._cleaners > 0

    def clean_up_begins(self) -> None:
        """A branch cleans up from here on; see `clean_up_ends`."""
        self._cleaners += 1

    def clean_up_ends(self) -> None:
        """That one is through."""
        self._cleaners -= 1

    @property
    def stands(self) -> bool:
        """No step may begin now."""
        return self.leaving or self._log.state.pausing or self._halted()

    def look_again(self) -> None:
        """Something that may hold it up has changed: a person's word, a halt, its reset."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until_left(self) -> None:
        """Return when no further step at all is done."""
        while not self.is_left:
            await self._changed.wait()

    def leave(self) -> None:
        """The experiment is over: what still stands still or waits for a person in one of its branches ends."""
        self._left = True
        self.look_again()

    # Steps in flight ----------------------------------------------------------------------------------------------

    def in_flight(self, *, clean_up: bool = True) -> list[Step]:
        """Steps that were sent and have not ended; those of the clean-up too, if so said."""
        return [step for path, step in self._in_flight.items() if step and (clean_up or path not in self._clean_up)]

    @contextlib.asynccontextmanager
    async def flight(self, path: str, *needed: str, step: Step | None = None) -> AsyncIterator[None]:
        """Come through the gate, and hold the instruments as long as the block is.

        Raises:
            AbortedError: a person ended the run.
        """
        await self.gate(*needed)
        with self.watched(path, step):
            yield

    @contextlib.contextmanager
    def watched(self, path: str, step: Step | None) -> Iterator[None]:
        """The step may be acting in this block: nothing is given back."""
        self._in_flight[path] = step
        if _cleaning.get():
            self._clean_up.add(path)
        try:
            yield
        finally:
            self._in_flight.pop(path, None)
            self._clean_up.discard(path)
            self._landed.set()

    def sent(self, path: str, step: Step) -> None:
        """The intent of a step in flight is written."""
        self._in_flight[path] = step

    async def _landing(self) -> None:
        """Return when no step is in flight."""
        while self._in_flight:
            self._landed.clear()
            await self._landed.wait()

    # The gate -----------------------------------------------------------------------------------------------------

    async def gate(self, *needed: str) -> None:
        """Return when a step that acts on `needed` may begin; between this and its beginning nothing is waited for.

        Raises:
            AbortedError: a person ended the run.
        """
        while True:
            await self.may_go_on()
            if self._has(needed):
                return
            async with self._getting:
                if not self.leaving and not self._has(needed):
                    await self._get(needed)

    def _has(self, needed: Sequence[str]) -> bool:
        return not self._grows and self.seat.acts and not self._holding.lacks(*needed) and self.seat.has >= {*needed}

    async def may_go_on(self) -> None:
        """Return when the run is neither paused nor halted; `AbortedError` if a person ended it."""
        while not self.leaving and self.stands:
            reason = "The lab was halted." if self._halted() else "Paused by a person."
            changed = self._changed
            async with self.standing():
                if (self._log.state.word, self._log.state.reason) != ("paused", reason):
                    await self._log.append(("paused", {"reason": reason}))
                await changed.wait()
        if self.leaving:
            raise AbortedError(f"Run {self._log.state.id} was ended by a person.")
        if self._log.state.word == "paused":
            await self._log.append(("resumed", {"lease": await self._holding.renew()}))

    async def take_seat(self) -> None:
        """Return when the run has all that it needs to itself in the lab; it need not wait if a person ends it."""
        if not self.seat.ask() and not self.leaving:
            with contextlib.suppress(AbortedError):  # told at the next step
                await self.held_up(None, self.seat.take())

    async def hold(self, *needed: str) -> None:
        """Take all that it needs, if it can be had; what does not answer now is taken when it is needed."""
        self.seat.want(*needed)
        self._holding.want(*needed)
        with contextlib.suppress(AbortedError):  # told at the next step, which may be one that the journal knows
            await self.gate()

    async def _get(self, needed: Sequence[str]) -> None:
        """Try once to have what is needed; whatever stands against it is waited for."""
        self.seat.want(*needed)
        if not self.seat.acts:
            await self._take_more()
        if not self.seat.acts:  # it was paused meanwhile
            return
        try:
            await self._renew()
            await self._holding.take(*needed)
        except UnreachableError as error:
            reason = f"An instrument does not answer: {error.detail}"
            await self.held_up(reason, self._until_all_answer(needed))
        except LeaseError as error:
            # Waiting for a person it has nothing that another run could use.
            await self._let_go()
            await self.held_up(_taken_over(error), self._holding.until_free(*needed))
        except StorageError as error:
            await self.held_up(error.detail, asyncio.sleep(ASK_AGAIN_AFTER))

    async def _take_more(self) -> None:
        """All of its steps land, then it gives back what it has and waits for the union."""
        self._grows = bool(self.seat.has)
        try:
            if self._in_flight:
                await self.held_up("Needs more instruments, and waits for its own steps to end.", self._landing())
            if not self.seat.ask():
                await self._holding.give_back(keep=self.seat.has)
                await self.held_up(None, self.seat.take(), unless=lambda: self.stands)
        finally:
            self._grows = False

    async def _renew(self) -> None:
        """Who was challenged says so in the journal first: if the run is another process's by now, it ends here."""
        if self._holding.number:
            return
        challenged = self._holding.challenged
        number = await self._holding.renew()
        if challenged:
            await self._log.append(("resumed", {"lease": number}))

    async def _until_all_answer(self, instruments: Sequence[str]) -> None:
        await asyncio.gather(*(self._instruments.reachable(name) for name in instruments))

    # Standing still -----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def standing(self, keep: Collection[str] | None = None) -> AsyncIterator[None]:
        """This branch does not act in the block, and others may, but not on what another branch acts on.

        Args:
            keep: what nobody else may act on. None: people may act on everything, since they look after it, but no
                other run may once this one has acted: it would find its stage where the other has left it.
        """
        kept = None if keep is None else frozenset(keep)
        self._kept.append(kept)
        try:
            await self._let_go()
            yield
        finally:
            self._kept.remove(kept)

    async def _let_go(self) -> None:
        """Let others act, unless a step of another branch is in flight."""
        if self._in_flight:
            return
        await self._holding.give_back(keep=frozenset[str]().union(*filter(None, self._kept)))
        if not self._in_flight:  # begun while the hosts were told
            keep = self.kept_by(self._kept)
            self.seat.rest(self._own if keep is None else keep)

    @staticmethod
    def kept_by(branches: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
        """What branches that stand still keep together; see `standing`."""
        said = [kept for kept in branches if kept is not None]
        return frozenset[str]().union(*said) if said and len(said) == len(branches) else None

    def has_to_itself(self, instrument: str) -> bool:
        """Nobody else may act on it, not even a person who does not take it over."""
        kept = any(kept and instrument in kept for kept in self._kept)
        return instrument in self.seat.has and (self.seat.acts or kept)

    @property
    def _own(self) -> frozenset[str]:
        """What no other run may have, though this one stands still."""
        return self.seat.has if self._log.state.acted else frozenset()

    async def until(self, done: Callable[[], bool], keep: Collection[str] | None = None) -> None:
        """Stand still until something is so, or the run ends."""
        async with self.standing(keep):
            while not done() and not self.leaving:
                await self._changed.wait()

    async def until_reachable(self, instrument: str, error: UnreachableError) -> None:
        """Return when an instrument answers. A run that has not acted lets others act if it does not come soon."""
        await self.held_up(f"{instrument} does not answer: {error.detail}", self._reachable(instrument))

    async def _reachable(self, instrument: str) -> None:
        coming = asyncio.ensure_future(self._instruments.reachable(instrument))
        try:
            await asyncio.wait({coming}, timeout=GIVE_WAY_AFTER)
            if not coming.done() and len(self._in_flight) <= 1:
                keep = {step.instrument for step in self.in_flight()}
                await self._holding.give_back(keep=keep)
                self.seat.rest(keep | self._own)
            await coming
        finally:
            coming.cancel()

    async def held_up(
        self, reason: str | None, until: Coroutine[Any, Any, object], *, unless: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait for something outside, saying why.

        Args:
            reason: one sentence; None if it is the seat's to say.
            until: what is waited for.
            unless: what makes the waiting needless; looked at when a person's word or a halt has changed.

        Raises:
            AbortedError: a person ended the run, and with it the waiting.
        """
        self._troubles.append(reason)
        self._log.tell_run()
        waiting = asyncio.ensure_future(until)
        try:
            while not waiting.done() and not self.leaving and not unless():
                changed = asyncio.ensure_future(self._changed.wait())
                try:
                    await asyncio.wait({waiting, changed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
            if waiting.done():
                waiting.result()
            elif self.leaving:
                stood = reason or self.seat.why or "it could not go on yet."
                raise AbortedError(f"Run {self._log.state.id} was ended by a person while it stood still: {stood}")
        finally:
            waiting.cancel()
            self._troubles.remove(reason)
            self._log.tell_run()


def _taken_over(error: LeaseError) -> str:
    words = error.fields
    if "holder" not in words:
        return error.detail
    has = "has" if str(words["holder"]).startswith("run ") else "has taken over"
    return f"Waits for {words.get('instrument')}, which {words['holder']} {has}."
