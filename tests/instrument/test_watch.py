"""While an action runs it is told how far it is, that it takes too long, and that it does not end though it should."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from labretto.errors import ConflictError
from labretto.instrument import watch
from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger


class Row(NamedTuple):
    progress: float
    current: float


class Slow:
    def __init__(self) -> None:
        self._gate = threading.Event()
        self._at = threading.Event()
        self.progress = 1.0  # left by what was done before

    def ramp(self) -> None:
        self._at.set()
        self._gate.wait(20)
        self._gate.clear()
        self.progress = 0.4
        self._at.set()
        self._gate.wait(20)

    def scan(self) -> Iterator[Row]:
        yield Row(0.25, 1.0)
        self._gate.wait(20)

    async def deaf(self) -> None:
        while not self._gate.is_set():
            try:
                self._at.set()
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                continue


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
async def host(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    monkeypatch.setattr(watch, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(watch, "_OVERRUN_FROM", 0.0)
    async with Host(lambda: slow, describe(Slow, name="slow"), Ledger()) as host:
        yield host
        slow._gate.set()


async def heard(host: Host, topic: str) -> dict[str, Any]:
    """The next event of this topic."""
    coming: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    end = host.listen(lambda told, body: coming.set_result(body) if told == topic and not coming.done() else None)
    try:
        return await asyncio.wait_for(coming, 10)
    finally:
        end()


async def test_a_plain_attribute_of_the_driver_says_how_far_it_is(host: Host, slow: Slow) -> None:
    begun = await host.invoke("ramp", {})
    await asyncio.to_thread(slow._at.wait, 10)
    assert host.find(begun.id).progress is None  # what stood there before says nothing
    hearing = asyncio.create_task(heard(host, "progress"))
    await asyncio.sleep(0)
    slow._gate.set()

    told = await hearing

    assert (told["action"], told["progress"]) == ("ramp", 0.4)
    assert host.running()[0].progress == 0.4
    assert host.running()[0].as_dict()["progress"] == 0.4
    slow._gate.set()
    assert (await host.wait(begun.id)).progress is None


async def test_a_field_of_the_rows_says_how_far_it_is(host: Host, slow: Slow) -> None:
    hearing = asyncio.create_task(heard(host, "progress"))
    await asyncio.sleep(0)
    begun = await host.invoke("scan", {})

    assert (await hearing)["progress"] == 0.25
    slow._gate.set()
    done = await host.wait(begun.id)
    assert list(done.result["progress"]) == [0.25]


async def test_how_long_it_usually_takes_is_said_and_taking_much_longer_is_told_once(host: Host, slow: Slow) -> None:
    host._ledger.durations.add("scan", 0.002)

    told: list[str] = []
    host.listen(lambda topic, body: told.append(topic))
    hearing = asyncio.create_task(heard(host, "overrun"))
    await asyncio.sleep(0)
    begun = await host.invoke("scan", {})
    assert begun.expected_seconds == 0.002

    overrun = await hearing
    assert (overrun["invocation"], overrun["expected_seconds"]) == (begun.id, 0.002)
    assert overrun["seconds"] >= 0.006
    assert host.find(begun.id).state == "running"
    slow._gate.set()
    await host.wait(begun.id)
    assert told.count("overrun") == 1


async def test_what_has_not_ended_at_the_deadline_of_its_cancel_is_told_as_such(host: Host, slow: Slow) -> None:
    begun = await host.invoke("deaf", {})
    await asyncio.to_thread(slow._at.wait, 10)
    hearing = asyncio.create_task(heard(host, "overdue"))
    await asyncio.sleep(0)

    asked = await host.cancel_and_wait(begun.id, 0.01)

    assert asked.state == "running"
    assert asked.cancelling is not None
    assert (asked.cancelling["within"], asked.cancelling["overdue"]) == (0.01, True)
    assert (await hearing)["cancelling"]["overdue"] is True
    slow._gate.set()
    host.cancel(begun.id, 60)
    done = await host.wait(begun.id)
    assert (done.state, done.cancelling) == ("cancelled", None)


async def test_a_sooner_deadline_counts_and_a_later_one_does_not(host: Host, slow: Slow) -> None:
    begun = await host.invoke("deaf", {})
    await asyncio.to_thread(slow._at.wait, 10)

    withins = [(host.cancel(begun.id, within).cancelling or {})["within"] for within in (30, 60, 20)]

    assert withins == [30, 30, 20]
    slow._gate.set()
    await host.cancel_and_wait(begun.id, 10)


async def test_what_ends_within_its_deadline_is_answered_with_its_end(host: Host, slow: Slow) -> None:
    begun = await host.invoke("scan", {})
    slow._gate.set()
    asked = asyncio.create_task(host.cancel_and_wait(begun.id, 60))

    try:
        assert (await asked).state in ("cancelled", "succeeded")
    except ConflictError:  # it was over already
        assert host.find(begun.id).over
