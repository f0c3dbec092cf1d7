"""Leases: who alone may act on an instrument, since when, and under which number.

A number comes from one counter per lab and only ever rises, so who was away and comes back with an old one is refused,
however sure it is of itself. The present lease and the highest number seen stand in the ledger: a host that starts
again refuses the same. Nothing here ends an action; who may *ask* for a lease is decided in `labretto.access`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labretto.errors import InvalidError, LeaseError
from labretto.instrument.ledger import Ledger
from labretto.instrument.reading import isoformat, now

HIGHEST = 2**53
"""No number is larger: JSON carries none beyond it exactly, and a counter must have somewhere to rise to."""


@dataclass(frozen=True)
class Lease:
    """One holder's right to act."""

    number: int
    holder: str
    """In words, such as "run 019aa4c8-..." or "Ada"."""
    since: datetime
    until: datetime | None = None
    """When it ends by itself; None: only when it is given back or taken over."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form that every wire and the ledger carry."""
        until = isoformat(self.until) if self.until else None
        return {"number": self.number, "holder": self.holder, "since": isoformat(self.since), "until": until}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Lease:
        """The lease that `as_dict` wrote."""
        until = datetime.fromisoformat(body["until"]) if body.get("until") else None
        return cls(int(body["number"]), str(body["holder"]), datetime.fromisoformat(body["since"]), until)


class Leases:
    """The lease of one instrument; every change is on the disk before it is answered.

    Args:
        instrument: its name, for what is said.
        ledger: where the lease and the highest number stand.
        clock: what time it is.
    """

    def __init__(self, instrument: str, ledger: Ledger, clock: Callable[[], datetime] = now) -> None:
        self._instrument = instrument
        self._ledger = ledger
        self._clock = clock
        self._held = Lease.from_dict(ledger.held) if ledger.held else None

    @property
    def held(self) -> Lease | None:
        """The lease that holds now; None if nobody has one, or its time is over."""
        held = self._held
        return None if held is None or (held.until is not None and held.until <= self._clock()) else held

    def check(self, number: int | None, asked: str) -> None:
        """Refuse an act that may not be done under `number`; remember a number that is higher than all before.

        Raises:
            LeaseError: somebody else has the instrument, or the number is an old one.
        """
        held = self.held
        if held is not None and number != held.number:
            raise self._is_held(held, f"{asked} was refused")
        if number is None or number == self._ledger.lease:
            return
        if self._checked(number) < self._ledger.lease:
            raise self._is_over(number)
        self._ledger.keep_lease(number, None)

    def take(self, holder: str, number: int | None, *, until: datetime | None = None, over: bool = False) -> Lease:
        """The lease of `holder`, who had none before, renews his own, or takes it `over` from somebody else.

        Args:
            holder: in words.
            number: higher than all before, or the present one to renew it; None: one more than the highest.
            until: when it ends by itself.
            over: take it from whoever has it, which is told to all who listen.

        Raises:
            LeaseError: somebody else has it, or the number is an old one; says the `highest`.
        """
        number = self._ledger.lease + 1 if number is None else self._checked(number)
        holder = _holder(holder)
        held = self.held
        if held is not None and held.holder != holder and not over:
            raise self._is_held(held, f"it was not given to {holder}")
        taken = held is not None and held.holder != holder
        if number < self._ledger.lease or (taken and number == self._ledger.lease):
            raise self._is_over(number)
        since = held.since if held is not None and held.number == number else self._clock()
        lease = Lease(number, holder, since, until)
        self._ledger.keep_lease(number, lease.as_dict())
        self._held = lease
        return lease

    def give_back(self, number: int) -> None:
        """Let others act again; nothing happens if nobody has it.

        Raises:
            LeaseError: somebody else has it.
        """
        held = self.held
        if held is not None and held.number != number:
            raise self._is_held(held, f"lease {number} cannot be given back")
        self._ledger.keep_lease(self._ledger.lease, None)
        self._held = None

    def _checked(self, number: int) -> int:
        if not 0 <= number <= HIGHEST:
            raise InvalidError(f"Lease {number} on {self._instrument} is not between 0 and {HIGHEST}.")
        return number

    def _is_held(self, held: Lease, what: str) -> LeaseError:
        since = isoformat(held.since)
        return LeaseError(
            f"{held.holder} has {self._instrument} since {since} (lease {held.number}); {what}.",
            way_out="Wait until it is given back, or take it over, which everybody will see.",
            holder=held.holder,
            since=since,
            highest=self._ledger.lease,
        )

    def _is_over(self, number: int) -> LeaseError:
        highest = self._ledger.lease
        return LeaseError(
            f"Lease {number} on {self._instrument} is over: number {highest} acts here.",
            way_out="Take the instrument again to get a higher number.",
            highest=highest,
        )


def lease_as_dict(instrument: str, lease: Lease | None) -> dict[str, Any]:
    """What all are told of an instrument's lease; without holder and number where nobody has it."""
    nobody = {"number": None, "holder": None, "since": None, "until": None}
    return {"instrument": instrument, **(lease.as_dict() if lease else nobody)}


def _holder(text: str) -> str:
    holder = " ".join(str(text).split())[:200]
    if not holder:
        raise InvalidError("A lease needs a holder.", way_out="Say who takes it, in a few words.")
    return holder
