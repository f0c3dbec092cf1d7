"""Checks: what is offered, attributes, limits. Nothing here begins an action."""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_args

from labretto.errors import ConflictError, InvalidError, LimitError, NotFoundError, RefusedError
from labretto.instrument.describe import Action
from labretto.instrument.invocation import Effect, new_id
from labretto.network.conformance.candidate import Candidate, counted_up, outside
from labretto.network.conformance.judging import Checks, NotApplicable, expect
from labretto.network.messages import Cancel, Find, Health, Invoke, Read, ReadAll, Write

checks = Checks()


@checks.add("It says what it offers: attributes and actions with their schemas, and each action's effect")
async def _(host: Candidate) -> None:
    asked = "What do you offer?"
    for name, action in host.body["actions"].items():
        expect(action.get("effect") in get_args(Effect), asked, f"{name} has one of {get_args(Effect)}", action)
        expect(isinstance(action.get("result"), dict), asked, f"{name} has a schema of its result", action)
    for name, attribute in host.body["attributes"].items():
        said = isinstance(attribute.get("schema"), dict) and isinstance(attribute.get("writable"), bool)
        expect(said, asked, f"{name} says its schema and whether it can be set", attribute)
    expect(isinstance(host.body["stop"], bool), asked, "whether there is a software stop", host.body["stop"])


@checks.add("Health says whether it is busy, what runs, and which ledger remembers")
async def _(host: Candidate) -> None:
    health = await host.answered(Health())
    idle = health.get("status") == "idle" and health.get("running") is None
    expect(idle, "How are you?", 'status "idle" and nothing running', health)
    expect(bool((health.get("ledger") or {}).get("birth")), "How are you?", "the ledger's birth", health)


@checks.add("A reading has a value, a unit, a time and a status")
async def _(host: Candidate) -> None:
    readings = await host.answered(ReadAll())
    expect(set(readings) == set(host.description.attributes), "Every attribute", "all that are offered", list(readings))
    for name, reading in readings.items():
        _expect_reading(f"Every attribute: {name}", reading)
    for name in host.description.attributes:
        if readings[name]["status"] != "error":
            one = await host.answered(Read(name))
            _expect_reading(f"Read {name}", one)
            unit = host.description.attributes[name].unit
            expect(one["unit"] == unit, f"Read {name}", f"the unit {unit!r}, as described", one)


def _expect_reading(asked: str, reading: Any) -> None:
    whole = isinstance(reading, dict) and {"value", "unit", "time", "status"} <= set(reading)
    expect(whole, asked, "value, unit, time and status", reading)
    expect(reading["status"] in ("ok", "stale", "error"), asked, "a status ok, stale or error", reading)
    try:
        aware = datetime.fromisoformat(reading["time"]).tzinfo is not None
    except (TypeError, ValueError):
        aware = False
    expect(aware, asked, "a time in ISO 8601 with its zone", reading)


@checks.add("An attribute that is not there is not found")
async def _(host: Candidate) -> None:
    for name in ("no_such_attribute", "../health", "%2e%2e", "naïve"):
        await host.refused(Read(name), NotFoundError)
    await host.refused(Read("x" * 2_000), RefusedError)  # a board has no room for it
    await host.refused(Write("no_such_attribute", 1), NotFoundError)


@checks.add("An action that is not there is not found")
async def _(host: Candidate) -> None:
    await host.refused(Invoke("no_such_action", {}, new_id()), NotFoundError)
    await host.refused(Invoke("no_such_action", {}), NotFoundError)


@checks.add("What is set is read back")
async def _(host: Candidate) -> None:
    attribute = host.attribute(writable=True)
    before = await host.value(attribute.name)  # what stands there already does no harm
    reading = await host.answered(Write(attribute.name, before))
    expect(reading["value"] == before, f"Set {attribute.name} to {before!r}", "the same, read back", reading)


@checks.add("What is read-only cannot be set")
async def _(host: Candidate) -> None:
    attribute = host.attribute(writable=False)
    await host.refused(Write(attribute.name, await host.value(attribute.name)), ConflictError)


@checks.add("A value outside its limits is refused, and what was there stays")
async def _(host: Candidate) -> None:
    attribute = host.attribute(writable=True)
    if (beyond := outside(attribute.schema)) is None:
        raise NotApplicable("no attribute that can be set has limits")
    before = await host.value(attribute.name)
    await host.refused(Write(attribute.name, beyond), LimitError)
    after = await host.value(attribute.name)
    expect(after == before, f"Read {attribute.name} after that", f"{before!r}, as before", after)


@checks.add("A value of another kind is refused")
async def _(host: Candidate) -> None:
    attribute = host.attribute(writable=True)
    if attribute.schema.get("type") not in ("number", "integer"):
        raise NotApplicable("no attribute that can be set is a number")
    for value in ("far away", [1], {"to": 1}, None):
        await host.refused(Write(attribute.name, value), InvalidError)


@checks.add("A parameter outside its limits is refused before anything moves; its id has not arrived")
async def _(host: Candidate) -> None:
    action, wrong = _with_limits(host)
    before, identity = await host.counted(action), new_id()
    await host.refused(Invoke(action.name, wrong, identity), LimitError)
    await _expect_nothing(host, action, identity, before)


@checks.add("A parameter that is unknown, missing or of another kind is refused before anything moves")
async def _(host: Candidate) -> None:
    for action in host.repeatable():
        before, identity = await host.counted(action), new_id()
        for wrong in _misfits(action, host.parameters(action)):
            await host.refused(Invoke(action.name, wrong, identity), InvalidError)
        await _expect_nothing(host, action, identity, before)


def _with_limits(host: Candidate) -> tuple[Action, dict[str, Any]]:
    for action in host.repeatable():
        for name, parameter in action.parameters.items():
            if (beyond := outside(parameter.schema)) is not None:
                return action, host.parameters(action) | {name: beyond}
    raise NotApplicable("no parameter has limits")


def _misfits(action: Action, fitting: dict[str, Any]) -> list[dict[str, Any]]:
    wrong = [fitting | {"no_such_parameter": 1}]
    for name, parameter in action.parameters.items():
        if parameter.required:
            wrong.append({key: value for key, value in fitting.items() if key != name})
        if parameter.schema.get("type") in ("number", "integer"):
            wrong += [fitting | {name: "far away"}, fitting | {name: []}]
    return wrong


async def _expect_nothing(host: Candidate, action: Action, identity: str, before: int | None) -> None:
    """Nothing of `identity` has happened."""
    asked = f"What became of the refused {action.name}?"
    state = (await host.found_again(identity, action))["state"]
    expect(state in ("not arrived", "cannot tell"), asked, '"not arrived"', state)
    after = await host.counted(action)
    expect(counted_up(before, after, 0), asked, f"{action.name} was not called", f"it was called {after} times")


@checks.add("An id that is no UUID is refused")
async def _(host: Candidate) -> None:
    action = host.repeatable()[-1]
    for identity in ("first", "1", "019aa4c8-1c5e-7cc3-9a52"):
        await host.refused(Invoke(action.name, host.parameters(action), identity), InvalidError)
        await host.refused(Find(identity, action.name), InvalidError)


@checks.add("To cancel what was never asked for is refused")
async def _(host: Candidate) -> None:
    action = host.repeatable()[-1]
    await host.refused(Cancel(new_id(), action.name), NotFoundError, ConflictError)
