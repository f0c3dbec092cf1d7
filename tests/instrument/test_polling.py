"""Attributes that are looked at by themselves: told without anybody asking, one look at a time, never an old answer.

What is waited for is what the host tells; the periods are short so that the tests are.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple

import pytest
from annotated_types import Unit

from labretto.errors import InvalidError
from labretto.instrument import readings
from labretto.instrument.describe import describe, polled
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.instrument.polling import Polling


class Row(NamedTuple):
    value: Annotated[float, Unit("degC")]


class Oven:
    """Its temperature is what the test says."""

    def __init__(self) -> None:
        self._temperature = 20.0
        self._looks = 0
        self._opened = threading.Event()

    @property
    @polled(every=0.01, dead_band=0.5)
    def temperature(self) -> Annotated[float, Unit("degC")]:
        self._looks += 1
        if self._temperature < 0:
            raise OSError("the thermocouple is broken")
        return self._temperature

    @temperature.setter
    def temperature(self, to: float) -> None:
        self._temperature = to

    @property
    @polled(every=3600.0)
    def door(self) -> str:
        return f"look {self._looks}"

    def bake(self) -> None:
        self._opened.wait(30)

    def ramp(self) -> Iterator[Row]:
        self._temperature = 300.0
        while not self._opened.is_set():
            yield Row(self._temperature)

    async def hold(self) -> None:
        self._temperature = 400.0
        await asyncio.to_thread(self._opened.wait, 30)

    def heat(self, to: float) -> None:
        self._temperature = to


@asynccontextmanager
async def hosting() -> AsyncIterator[tuple[Host, Any, "Told"]]:
    oven = Oven()
    told = Told()
    host = Host(lambda: oven, describe(Oven, name="oven"), Ledger())
    host.listen(told)
    async with host:
        try:
            yield host, oven, told
        finally:
            oven._opened.set()


class Told:
    """What the host tells of attributes."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._came = asyncio.Event()

    def __call__(self, topic: str, body: dict[str, Any]) -> None:
        if topic == "attribute":
            self.all.append(body)
            self._came.set()

    async def until(self, **wanted: Any) -> Mapping[str, Any]:
        """The next one of `temperature` with these words."""
        async with asyncio.timeout(30):
            while True:
                for body in self.all:
                    if body["attribute"] == "temperature" and wanted.items() <= body.items():
                        self.all.remove(body)
                        return body
                self._came.clear()
                await self._came.wait()


async def test_a_change_is_told_without_anybody_asking() -> None:
    async with hosting() as (_, oven, told):
        await told.until(value=20.0)
        oven._temperature = 21.0
        assert (await told.until(value=21.0))["unit"] == "degC"


async def test_a_driver_that_cannot_be_read_is_told_and_looked_at_again() -> None:
    async with hosting() as (_, oven, told):
        await told.until(value=20.0)
        oven._temperature = -1.0
        assert "thermocouple" in (await told.until(status="error"))["detail"]
        oven._temperature = 20.0
        await told.until(status="ok")


async def test_a_sign_of_life_comes_although_nothing_changes() -> None:
    async with hosting() as (_, _, told):
        first = await told.until(value=20.0)
        assert (await told.until(value=20.0))["time"] > first["time"]


async def test_while_an_action_blocks_it_is_told_that_the_reading_is_old() -> None:
    async with hosting() as (host, oven, told):
        await told.until(value=20.0)
        await host.invoke("bake", {})
        assert "bake" in (await told.until(status="stale"))["detail"]
        oven._opened.set()
        await told.until(status="ok")


@pytest.mark.parametrize(("action", "value"), [("ramp", 300.0), ("hold", 400.0)])
async def test_between_rows_and_while_a_coroutine_waits_it_is_looked_at_all_the_same(action: str, value: float) -> None:
    async with hosting() as (host, _, told):
        await told.until(value=20.0)
        await host.invoke(action, {})
        await told.until(value=value, status="ok")


async def test_reading_after_an_action_answers_what_is_after_it() -> None:
    async with hosting() as (host, oven, _):
        for to in range(100):
            await host.wait((await host.invoke("heat", {"to": float(to)})).id)
            assert (await host.read("temperature")).value == float(to)
        assert oven._looks < 10_000


async def test_what_was_written_is_what_is_read() -> None:
    async with hosting() as (host, _, _):
        for to in range(100):
            await host.write("temperature", float(to))
            assert (await host.read("temperature")).value == float(to)


async def test_who_asks_again_within_the_period_costs_no_look() -> None:
    async with hosting() as (host, _, _):
        first = await host.read("door")
        assert await host.read("door") is first
        assert host.recent("door") is first
        assert await host.read("door", fresh=True) is not first


async def test_a_closed_host_looks_no_more() -> None:
    async with hosting() as (host, oven, told):
        await told.until(value=20.0)
        await host.close()
        assert host.recent("temperature") is None
    looks = oven._looks
    await asyncio.to_thread(host._thread._ended.wait, 30)
    assert oven._looks == looks


async def test_one_attribute_is_looked_at_at_a_time_and_a_slow_one_gets_no_more_than_half_of_the_time() -> None:
    loop = asyncio.get_running_loop()
    looks: list[tuple[float, float]] = []
    enough = asyncio.Event()

    async def look(name: str) -> None:
        began = loop.time()
        await asyncio.to_thread(threading.Event().wait, 0.02)
        looks.append((began, loop.time()))
        if len(looks) == 5:
            enough.set()

    polling = Polling({"slow": 0.001}, look, lambda name: None)
    async with asyncio.timeout(30):
        await enough.wait()
    await polling.end()

    for (began, ended), (following, _) in itertools.pairwise(looks):
        assert following - ended >= (ended - began) * 0.9


async def test_while_a_look_does_not_come_back_there_is_a_word_about_all(monkeypatch: pytest.MonkeyPatch) -> None:
    silent: asyncio.Queue[str] = asyncio.Queue()
    never = asyncio.Event()

    async def look(name: str) -> None:
        await never.wait()

    polling = Polling({"a": 0.001, "b": 3600.0}, look, silent.put_nowait)
    async with asyncio.timeout(30):
        assert {await silent.get(), await silent.get()} == {"a", "b"}
    await polling.end()
    assert readings.HEARTBEAT == 10


@pytest.mark.parametrize("words", [{"every": 0}, {"every": -1}, {"every": 1, "dead_band": -0.1}])
def test_a_period_that_is_none_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="not possible"):
        polled(**words)
