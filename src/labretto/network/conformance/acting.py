"""Checks: what holds while an action runs: reading, refusing a second one, cancelling, stopping, telling."""

from __future__ import annotations

import asyncio
from typing import Any

from labretto.errors import BusyError, ConflictError, NoStopError
from labretto.instrument.invocation import new_id
from labretto.network.conformance.candidate import OVER, Candidate, said
from labretto.network.conformance.judging import Checks, NotApplicable, expect
from labretto.network.messages import Cancel, Find, Health, Invoke, Read, ReadAll, Stop, Write

checks = Checks()


@checks.add("Attributes are read while an action runs", "hold")
async def _(host: Candidate) -> None:
    names = [name for name in host.description.attributes if (await _status(host, name)) != "error"]
    if not names:
        raise NotApplicable("there is no attribute that can be read")
    async with host.running("hold"):
        for name in names:
            reading = await host.answered(Read(name))
            expect(reading["status"] in ("ok", "stale"), f"Read {name} meanwhile", "a reading, ok or stale", reading)
        await host.answered(ReadAll())


async def _status(host: Candidate, name: str) -> str:
    return str((await host.answered(ReadAll()))[name]["status"])


@checks.add("A second action is refused, naming what runs and since when", "hold")
async def _(host: Candidate) -> None:
    second = next((action for action in host.repeatable() if action.exclusive), None)
    if second is None:
        raise NotApplicable("every action may run beside another")
    before, identity = await host.counted(second), new_id()
    async with host.running("hold") as begun:
        refused = await host.refused(Invoke(second.name, host.parameters(second), identity), BusyError)
        told = refused.fields
        expect(told.get("running") == begun["id"], "A second action", f"`running`: {begun['id']}", told)
        expect(told.get("action") == begun["action"], "A second action", f"`action`: {begun['action']}", told)
        expect(bool(told.get("since")), "A second action", "`since`: when it began", told)
        found = await host.found_again(identity, second)
        expect(found["state"] == "not arrived", said(Find(identity)), '"not arrived": it may be sent later', found)
    expect(before == await host.counted(second), "A second action", "it is not done", "it was done")


@checks.add("Nothing is set while an action runs", "hold")
async def _(host: Candidate) -> None:
    attribute = host.attribute(writable=True)
    value = await host.value(attribute.name)
    async with host.running("hold"):
        await host.refused(Write(attribute.name, value), BusyError)


@checks.add("Health says what runs", "hold")
async def _(host: Candidate) -> None:
    async with host.running("hold") as begun:
        health = await host.answered(Health())
        expect(health.get("status") == "busy", "How are you?", 'the status "busy"', health)
        running = health.get("running") or {}
        expect(running.get("id") == begun["id"], "How are you?", f"what runs: {begun['id']}", health)
    health = await host.answered(Health())
    expect(health.get("running") is None, "How are you, afterwards?", "nothing running", health)


@checks.add("To stop is answered while an action runs, and the action ends", "hold")
async def _(host: Candidate) -> None:
    if not host.description.stop:
        raise NotApplicable("the driver has no stop()")
    action = host.action("hold")
    async with host.running("hold") as begun:
        answer = await host.answered(Stop())
        expect(answer.get("stopped") is True, "Stop", '"stopped": true', answer)
        expect(isinstance(answer.get("seconds"), float | int), "Stop", '"seconds" that it took', answer)
    end = await host.invoke(action, begun["id"])
    expect(end["state"] == "cancelled", "What became of the stopped action?", '"cancelled"', end)


@checks.add("A driver without a stop never answers that it has stopped")
async def _(host: Candidate) -> None:
    if host.description.stop:
        raise NotApplicable("the driver has a stop()")
    await host.refused(Stop(), NoStopError)


@checks.add("An action that can be cancelled ends as cancelled", "linger")
async def _(host: Candidate) -> None:
    action = host.action("linger")
    async with host.running("linger") as begun:
        asked = Cancel(begun["id"], action.name)
        answer = await host.invocation(asked)
        expect(answer["id"] == begun["id"], said(asked), "the invocation", answer)
        end = await host.invoke(action, begun["id"])
    expect(end["state"] == "cancelled", said(asked), 'it ends as "cancelled"', end)
    expect(end["result"] is None, said(asked), "no result", end)
    expect(bool((end["error"] or {}).get("detail")), said(asked), "problem details that say so", end)


@checks.add("To cancel what is over is a conflict, and changes nothing")
async def _(host: Candidate) -> None:
    action = host.repeatable()[-1]
    done = await host.invoke(action)
    await host.refused(Cancel(done["id"], action.name), ConflictError)
    found = await host.found_again(done["id"], action)
    expect(found["state"] == done["state"], said(Find(done["id"])), f"{done['state']!r}, as before", found)


@checks.add("A measurement answers all its rows as columns, and tells each row to who listens", "measure")
async def _(host: Candidate) -> None:
    action = host.action("measure")
    told: list[tuple[str, dict[str, Any]]] = []
    news = asyncio.Event()

    def hear(topic: str, body: dict[str, Any]) -> None:
        told.append((topic, body))
        news.set()

    end = host.connection.listen(hear)
    try:
        await host.connection.hearing()
        done = await host.invoke(action)
        while not any(topic == "invocation" and _ended(body, done) for topic, body in told):
            news.clear()
            await news.wait()
    finally:
        end()
    columns = {name: _plain(column) for name, column in done["result"].items()}
    expect(set(columns) == set(action.stream or ()), f"{action.name}'s result", f"columns {action.stream}", done)
    rows = [body for topic, body in told if topic == "stream" and body["invocation"] == done["id"]]
    expect(len({len(column) for column in columns.values()}) == 1, f"{action.name}", "columns of one length", columns)
    if all(not isinstance(value, list) for row in rows for value in map(_plain, row["columns"].values())):
        live = {name: [_plain(row["columns"][name]) for row in rows] for name in columns}
        expect(live == columns, f"{action.name}, heard live", f"the rows of the result: {columns}", live)


def _ended(body: dict[str, Any], done: dict[str, Any]) -> bool:
    return body["id"] == done["id"] and body["state"] in OVER


def _plain(column: Any) -> Any:
    """An array, or what a board sends for one, as a list."""
    return column.tolist() if hasattr(column, "tolist") else column
