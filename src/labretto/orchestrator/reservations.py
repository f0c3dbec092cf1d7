"""Which run has which instruments, so that runs with nothing in common act at the same time. Pure.

One rule keeps everybody going: who acts waits for nothing, and who waits has nothing. A run asks for all that it needs
at once, and asking gives back what it had; so no two runs can each have what the other waits for. Of the runs that wait
after standing still (they kept a sample in a furnace while a person answered) the first alone may keep what it had:
what it waits for is had by runs that act, or that stand still, and neither waits for it.

Among those who wait the first in the queue is served first; what it needs is kept for it, so that many small runs
cannot starve a large one. Who waits for whom is decided here; waiting is done in `seat`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Rank = tuple[float, ...]
"""Place in the queue; smaller goes first."""


@dataclass(frozen=True)
class Claim:
    """What a run waits for."""

    run: str
    needs: frozenset[str]
    rank: Rank


@dataclass(frozen=True)
class Obstacle:
    """Why a run waits."""

    instrument: str | None
    """None: as many runs act as may at once."""
    run: str | None = None
    """Who has it, or is ahead for it."""
    ahead: bool = False
    """That run waits as well, but is first."""


class Reservations:
    """Instruments, runs, and how many of them may act.

    Args:
        limit: how many runs may act at once; None: any number.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._has: dict[str, frozenset[str]] = {}
        self._user: dict[str, str] = {}
        self._acting: set[str] = set()
        self._waiting: dict[str, Claim] = {}

    def acts(self, run: str) -> bool:
        """It has all that it asked for."""
        return run in self._acting

    def has(self, run: str) -> frozenset[str]:
        """The instruments of a run."""
        return self._has.get(run, frozenset())

    @property
    def running(self) -> int:
        """How many runs act, or wait to."""
        return len(self._acting) + len(self._waiting)

    @property
    def users(self) -> dict[str, str]:
        """Instrument → the run that has it, or that waits for it first."""
        wanted: dict[str, str] = {}
        for claim in self._in_order():
            _keep_for(claim, wanted)
        return wanted | self._user

    def ask(self, run: str, needs: Iterable[str], rank: Rank) -> list[str]:
        """Let a run wait for all that it needs; if it acts it gives back what it has, unless it needs nothing more.

        Returns:
            The runs that act from now on, this one perhaps among them.
        """
        claim = Claim(run, frozenset(needs), rank)
        if run in self._acting and not claim.needs <= self.has(run):
            self._take(run, frozenset())
        self._acting.discard(run)
        self._waiting[run] = claim
        return self._serve()

    def rest(self, run: str, keep: Iterable[str] = ()) -> list[str]:
        """A run stands still: others may act, but not on what it keeps. Answers the runs that act from now on."""
        self._waiting.pop(run, None)
        self._acting.discard(run)
        self._take(run, self.has(run) & frozenset(keep))
        return self._serve()

    def keep(self, run: str, names: Iterable[str]) -> None:
        """A run stands still and has these, but for what another has."""
        self._take(run, frozenset(name for name in names if self._user.get(name, run) == run))

    def obstacle(self, run: str) -> Obstacle | None:
        """What the run waits for; None if it does not wait."""
        ahead: dict[str, str] = {}
        for claim in self._in_order():
            if claim.run == run:
                return self._against(claim, ahead)
            _keep_for(claim, ahead)
        return None

    def _serve(self) -> list[str]:
        """Give everybody who waits what they wait for, as far as it goes."""
        self._only_the_first_keeps()
        served: list[str] = []
        ahead: dict[str, str] = {}
        for claim in self._in_order():
            if self._against(claim, ahead) is None:
                del self._waiting[claim.run]
                self._take(claim.run, claim.needs)
                self._acting.add(claim.run)
                served.append(claim.run)
            else:
                _keep_for(claim, ahead)
        return served

    def _against(self, claim: Claim, ahead: Mapping[str, str]) -> Obstacle | None:
        """What stands against a claim, where those who are `ahead` wait for these instruments."""
        lacking = sorted(claim.needs - self.has(claim.run))
        if name := next((name for name in lacking if name in self._user), None):
            return Obstacle(name, self._user[name])
        if name := next((name for name in lacking if name in ahead), None):
            return Obstacle(name, ahead[name], ahead=True)
        full = self.limit is not None and len(self._acting) >= self.limit
        return Obstacle(None) if full else None

    def _only_the_first_keeps(self) -> None:
        """Who waits for nothing but the right to act keeps what it has; it stands in nobody's circle."""
        lacking = [claim for claim in self._in_order() if not claim.needs <= self.has(claim.run)]
        for claim in lacking[1:]:
            self._take(claim.run, frozenset())

    def _in_order(self) -> list[Claim]:
        """Who keeps something comes first: others may wait for it."""
        return sorted(self._waiting.values(), key=lambda claim: (not self.has(claim.run), claim.rank, claim.run))

    def _take(self, run: str, names: frozenset[str]) -> None:
        """These are what the run has from now on."""
        for name in self._has.pop(run, ()):
            del self._user[name]
        if names:
            self._has[run] = names
            self._user |= dict.fromkeys(names, run)


def _keep_for(claim: Claim, ahead: dict[str, str]) -> None:
    for name in claim.needs:
        ahead.setdefault(name, claim.run)
