"""A lease lets one act and refuses all others; its number only rises, over the death of its host too."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labretto.errors import InvalidError, LeaseError
from labretto.instrument.leases import HIGHEST, Lease, Leases, lease_as_dict
from labretto.instrument.ledger import Ledger

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Leases]]:
    """Opens the leases of one instrument again, as a host that starts does."""
    ledgers: list[Ledger] = []

    def open_again() -> Leases:
        if ledgers:
            ledgers[-1].close()
        ledgers.append(Ledger(tmp_path / "ledger.db"))
        return Leases("stage", ledgers[-1], clock)

    yield open_again
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def leases(opened: Callable[[], Leases]) -> Leases:
    return opened()


def test_where_nobody_has_it_everybody_may_act_unless_their_number_is_an_old_one(leases: Leases) -> None:
    leases.check(None, "move")
    leases.check(5, "move")
    leases.check(5, "move")
    leases.check(None, "move")
    with pytest.raises(LeaseError, match="Lease 4 on stage is over: number 5 acts here") as refused:
        leases.check(4, "move")
    assert refused.value.fields == {"highest": 5}


@pytest.mark.parametrize("number", [None, 4, 6, HIGHEST])
def test_while_it_is_held_only_its_own_number_acts(leases: Leases, number: int | None) -> None:
    leases.take("run 1", 5)
    leases.check(5, "move")
    with pytest.raises(LeaseError, match=r"^run 1 has stage since 2026-11-21T12:00:00.000000Z \(lease 5\); move was"):
        leases.check(number, "move")
    assert leases.held == Lease(5, "run 1", NOON)


def test_it_is_held_over_the_death_of_its_host(opened: Callable[[], Leases]) -> None:
    opened().take("run 1", 5, until=NOON + timedelta(hours=1))

    again = opened()
    with pytest.raises(LeaseError, match="run 1 has stage"):
        again.check(None, "move")
    again.give_back(5)

    assert opened().held is None
    with pytest.raises(LeaseError, match="number 5 acts here"):
        opened().check(4, "move")


def test_a_holder_comes_back_with_a_higher_number_and_the_old_one_is_over(leases: Leases) -> None:
    leases.take("run 1", 5)

    assert leases.take("run 1", 6).number == 6

    with pytest.raises(LeaseError, match="lease 6"):
        leases.check(5, "move")
    with pytest.raises(LeaseError, match="Lease 5 on stage is over"):
        leases.take("run 1", 5)


def test_a_lease_is_renewed_under_its_own_number_and_since_when_stays(leases: Leases, clock: Clock) -> None:
    leases.take("run 1", 5, until=NOON + timedelta(minutes=1))
    clock.time += timedelta(seconds=30)

    renewed = leases.take("run 1", 5, until=NOON + timedelta(minutes=2))

    assert renewed == Lease(5, "run 1", NOON, NOON + timedelta(minutes=2))


def test_after_its_time_it_holds_nobody_off(leases: Leases, clock: Clock) -> None:
    leases.take("run 1", 5, until=NOON + timedelta(minutes=1))
    clock.time += timedelta(minutes=1)

    leases.check(None, "move")
    leases.give_back(4)
    assert leases.take("Ada", 6).holder == "Ada"


def test_whoever_takes_it_over_needs_a_higher_number_than_the_holder(leases: Leases) -> None:
    leases.take("run 1", 5)
    with pytest.raises(LeaseError, match="it was not given to Ada"):
        leases.take("Ada", 6)
    with pytest.raises(LeaseError, match="is over"):
        leases.take("Ada", 5, over=True)

    assert leases.take("Ada", None, over=True).number == 6


def test_giving_back_what_nobody_has_is_no_fault(leases: Leases) -> None:
    leases.give_back(3)
    leases.take("run 1", 5)
    leases.give_back(5)
    leases.give_back(5)
    leases.check(None, "move")


@pytest.mark.parametrize(("holder", "number"), [("", 1), (" \n", 1), ("Ada", -1), ("Ada", HIGHEST + 1)])
def test_what_is_no_lease_is_refused(leases: Leases, holder: str, number: int) -> None:
    with pytest.raises(InvalidError):
        leases.take(holder, number)
    assert leases.held is None


def test_a_number_that_no_counter_could_follow_is_refused(leases: Leases) -> None:
    with pytest.raises(InvalidError, match="is not between"):
        leases.check(10**19, "move")
    leases.check(1, "move")


@pytest.mark.parametrize("until", [None, NOON])
def test_a_lease_comes_back_from_its_json(until: Any) -> None:
    lease = Lease(5, "Ada", NOON, until)
    assert Lease.from_dict(lease.as_dict()) == lease
    assert lease_as_dict("stage", lease)["holder"] == "Ada"
    assert lease_as_dict("stage", None) == dict.fromkeys(("number", "holder", "since", "until")) | {
        "instrument": "stage"
    }
