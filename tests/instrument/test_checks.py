"""A driver that can look whether an action happened is asked after an interruption, and says one of three words."""

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest

from labretto.errors import ConflictError, DriverError, NotFoundError
from labretto.instrument.checks import Checked, outcome_of
from labretto.instrument.describe import Overlay, describe, effect
from labretto.instrument.host import Host
from labretto.instrument.invocation import Invocation, new_id
from labretto.instrument.ledger import Ledger
from labretto.instrument.reading import now


class Valve:
    """Has a sensor."""

    def __init__(self) -> None:
        self._asked: list[Any] = []
        self._says: Any = "done"

    def turn(self, to: int) -> int:
        return to

    def check_turn(self, to: int) -> Any:
        self._asked.append(to)
        if isinstance(self._says, Exception):
            raise self._says
        return self._says

    async def flush(self) -> None:
        return None

    async def check_flush(self) -> str:
        await asyncio.sleep(0)
        return "partly"

    @effect("once")
    def burn(self) -> None:
        return None

    def check_burn(self) -> str:
        return "an action of its own: burn is declared"

    def alarm(self, level: int) -> None:
        return None

    def check_alarm(self) -> str:
        return "an action of its own: it takes other parameters"

    def door(self) -> None:
        return None

    def check_door(self) -> bool:
        return True


def test_a_check_is_no_action_and_makes_its_action_checkable() -> None:
    offer = describe(Valve, name="valve")

    assert set(offer.description.actions) == {
        *("turn", "flush", "burn", "check_burn", "alarm", "check_alarm", "door", "check_door")
    }
    effects = {name: action.effect for name, action in offer.description.actions.items()}
    assert (effects["turn"], effects["flush"], effects["burn"], effects["door"]) == (
        *("checkable", "checkable"),
        *("once", "once"),
    )
    assert offer.checks == {"turn": "check_turn", "flush": "check_flush"}


def test_what_is_declared_checkable_has_its_check_whatever_that_is_said_to_answer() -> None:
    offer = describe(Valve, name="valve", overlay=Overlay(effects={"door": "checkable", "turn": "once"}))

    assert offer.checks == {"door": "check_door", "flush": "check_flush"}
    assert "check_turn" in offer.description.actions


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        ("done", ("done", None)),
        (("done", 4.2), ("done", 4.2)),
        (("not done", None), ("not done", None)),
        (True, ("done", None)),
        (False, ("not done", None)),
        ("partly", ("partly", None)),
    ],
)
def test_a_check_says_one_of_three_words(answer: Any, meaning: Any) -> None:
    assert outcome_of("valve.check_turn", answer) == meaning


@pytest.mark.parametrize("answer", [None, 1, "perhaps", ("done", 1, 2), ["done"], ("done", object())])
def test_what_is_none_of_the_three_words_says_nothing(answer: Any) -> None:
    with pytest.raises(DriverError, match=r"valve\.check_turn"):
        outcome_of("valve.check_turn", answer)


def after_a_crash(tmp_path: Path, action: str, parameters: dict[str, Any]) -> tuple[str, Ledger]:
    """A ledger whose last host died while it did an action."""
    identity = new_id()
    with_crash = Ledger(tmp_path / "ledger.db")
    with_crash.begin(Invocation(identity, "valve", action, parameters, "checkable", "running", now(), now()))
    with_crash.close()
    return identity, Ledger(tmp_path / "ledger.db")


async def test_an_interrupted_action_is_looked_at_with_its_own_parameters(tmp_path: Path) -> None:
    valve = Valve()
    valve._says = ("done", 3)
    identity, ledger = after_a_crash(tmp_path, "turn", {"to": 3})
    async with Host(lambda: valve, describe(Valve, name="valve"), ledger) as host:
        assert await host.check(identity) == Checked(identity, "turn", "done", 3)
        assert valve._asked == [3]
        assert host.find(identity).state == "interrupted"
        valve._says = RuntimeError("the sensor is off")
        with pytest.raises(DriverError, match="the sensor is off"):
            await host.check(identity)
        assert (await host.wait((await host.invoke("turn", {"to": 4})).id)).state == "succeeded"


async def test_a_check_may_be_a_coroutine(tmp_path: Path) -> None:
    identity, ledger = after_a_crash(tmp_path, "flush", {})
    async with Host(Valve, describe(Valve, name="valve"), ledger) as host:
        assert (await host.check(identity)).outcome == "partly"


async def test_only_what_was_interrupted_and_has_a_check_is_looked_at(tmp_path: Path) -> None:
    identity, ledger = after_a_crash(tmp_path, "burn", {})
    async with Host(Valve, describe(Valve, name="valve"), ledger) as host:
        with pytest.raises(NotFoundError, match="cannot check 'burn'"):
            await host.check(identity)
        with pytest.raises(NotFoundError, match="No invocation"):
            await host.check(new_id())
        done = await host.wait((await host.invoke("turn", {"to": 1})).id)
        with pytest.raises(ConflictError, match="turn is succeeded, not interrupted"):
            await host.check(done.id)


def test_an_annotation_with_the_three_words_is_a_check() -> None:
    class Pump:
        def fill(self, volume: float) -> None:
            return None

        def check_fill(self, volume: float) -> Literal["done", "not done", "partly"]:
            return "done"

    assert describe(Pump, name="pump").checks == {"fill": "check_fill"}
