"""Polled readings and alarms are told, listed and acknowledged on every wire alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest

from labretto.errors import ConflictError, InvalidError, NotFoundError
from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.instrument.overlay import Overlay
from labretto.lab import AlarmLimit
from labretto.network import http
from labretto.network.client import Instrument, open_instrument

Serve = Callable[..., AbstractAsyncContextManager[str]]
ALARMS = {"x": [AlarmLimit(above=50.0, hysteresis=5.0, severity="critical")]}


@pytest.fixture
async def host(rig: Any) -> AsyncIterator[Host]:
    overlay = Overlay(poll={"x": 0.01}, dead_band={"x": 0.5}, alarms=ALARMS)
    async with Host(lambda: rig, describe(type(rig), name="rig", overlay=overlay), Ledger()) as host:
        yield host
        rig._released.set()


async def heard(instrument: Instrument) -> asyncio.Queue[tuple[str, dict[str, Any]]]:
    """What is told of `x` from now on."""
    events: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()

    def listener(topic: str, body: dict[str, Any]) -> None:
        if topic == "alarm" or (topic == "attribute" and body["attribute"] == "x"):
            events.put_nowait((topic, body))

    instrument.listen(listener)
    await instrument.hearing()
    return events


async def the_next(events: asyncio.Queue[tuple[str, dict[str, Any]]], wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            topic, body = await events.get()
            if topic == wanted:
                return body


async def test_what_moves_is_told_without_anybody_asking(instrument: Instrument, rig: Any) -> None:
    events = await heard(instrument)
    rig._x = 7.0
    while (body := await the_next(events, "attribute"))["value"] != 7.0:
        pass
    assert (body["unit"], body["status"]) == ("mm", "ok")


async def test_an_alarm_is_told_listed_and_acknowledged(instrument: Instrument, rig: Any) -> None:
    events = await heard(instrument)
    rig._x = 60.0
    told = await the_next(events, "alarm")
    assert (told["condition"], told["active"], told["reading"]["value"]) == ("above 50 mm", True, 60.0)

    (alarm,) = await instrument.alarms()
    assert (await instrument.health())["alarms"] == 1
    assert alarm.as_dict() == told

    seen = await instrument.acknowledge(alarm.id, "Ada", "I look at it.")
    assert (seen.by, seen.note) == ("Ada", "I look at it.")
    assert (await the_next(events, "alarm"))["by"] == "Ada"

    with pytest.raises(ConflictError, match="Ada has acknowledged"):
        await instrument.acknowledge(alarm.id, "Bob")
    rig._x = 45.0
    assert (await the_next(events, "alarm"))["active"] is False
    assert await instrument.alarms() == []


async def test_an_alarm_that_is_not_there_cannot_be_seen(instrument: Instrument) -> None:
    with pytest.raises(NotFoundError, match="no alarm"):
        await instrument.acknowledge("nothing", "Ada")


async def test_who_wants_a_new_look_gets_one(instrument: Instrument, rig: Any) -> None:
    rig._x = 3.0
    assert (await instrument.read("x", fresh=True)).value == 3.0


async def test_the_description_says_what_is_polled_and_where_the_alarms_are(instrument: Instrument) -> None:
    described = instrument.description.attributes["x"]
    assert (described.poll, described.dead_band) == (0.01, 0.5)
    assert described.alarms == ({"above": 50.0, "hysteresis": 5.0, "severity": "critical"},)


@pytest.mark.parametrize("body", [[], {"by": "x"}, "text", 3])
async def test_an_acknowledgement_says_nothing_but_a_note(host: Host, body: Any) -> None:
    async with http.serve(host) as address, httpx2.AsyncClient(base_url=address) as client:
        answer = await client.post("/alarms/x/acknowledge", json=body)
    assert answer.status_code == InvalidError.status


async def test_an_alarm_is_an_event_of_the_thing_description(host: Host, rig: Any) -> None:
    async with http.serve(host) as address, httpx2.AsyncClient(base_url=address, timeout=30) as client:
        event = (await client.get("/thing-description")).json()["events"]["alarm"]
        assert event["data"]["properties"]["condition"]["type"] == "string"
        async with client.stream("GET", event["forms"][0]["href"]) as response:
            lines = response.aiter_lines()
            assert (await anext(lines)).startswith(":")
            rig._x = 60.0
            data = next(iter([line async for line in _until_data(lines)]))
    assert '"above 50 mm"' in data


async def _until_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        if line.startswith("data:"):
            yield line
            return


async def test_a_client_opened_later_gets_the_list(served: Serve, host: Host, rig: Any) -> None:
    rig._x = 60.0
    await host.read("x", fresh=True)
    async with served(host) as address, await open_instrument(address) as instrument:
        assert [alarm.condition for alarm in await instrument.alarms()] == ["above 50 mm"]
