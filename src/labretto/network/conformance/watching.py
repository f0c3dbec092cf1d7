"""Checks of what a host need not offer, but has to mean if it does: progress, deadlines, checks, interlocks, alarms."""

from __future__ import annotations

import asyncio

from labretto.errors import ConflictError, InvalidError, LabError, NotFoundError
from labretto.instrument.invocation import new_id
from labretto.network.conformance.candidate import OVER, Candidate, counted_up, said
from labretto.network.conformance.judging import Checks, NotApplicable, expect
from labretto.network.messages import Acknowledge, Alarms, Cancel, Check, Find, Health, Invoke

checks = Checks()

_DEADLINE = 5.0
_LOOKS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Seconds between looks for what comes a moment later."""

_ALARM = frozenset({"id", "instrument", "attribute", "condition", "severity", "active", "raised", "reading"})


@checks.add("What runs says how far it is as a share from 0 to 1, if it says so at all", "hold")
async def _(host: Candidate) -> None:
    async with host.running("hold") as begun:
        for pause in _LOOKS:  # a driver says it a moment after it was begun
            found = await host.found_again(begun["id"], host.action("hold"))
            if found.get("progress") is not None:
                break
            await asyncio.sleep(pause)
        else:
            raise NotApplicable("it does not say how far it is")
        share = found["progress"]
        expect(isinstance(share, float | int) and 0 <= share <= 1, said(Find(begun["id"])), "a share", found)
    over = await host.found_again(begun["id"], host.action("hold"))
    expect(over["state"] in OVER, said(Find(begun["id"])), "its end", over)


@checks.add("To cancel with a deadline is answered at the end, or then, saying that it is overdue", "linger")
async def _(host: Candidate) -> None:
    action = host.action("linger")
    async with host.running("linger") as begun:
        asked = Cancel(begun["id"], action.name, _DEADLINE)
        answer = await host.invocation(asked)
        told = answer.get("cancelling")
        if answer["state"] == "running" and told is None:
            raise NotApplicable("it knows no deadlines")
        kept = answer["state"] == "cancelled" or (told or {}).get("overdue") is True
        expect(kept, said(asked), '"cancelled", or `cancelling` that is overdue', answer)


@checks.add("A deadline that is none is refused, and what runs goes on", "linger")
async def _(host: Candidate) -> None:
    action = host.action("linger")
    async with host.running("linger") as begun:
        try:
            answer = await host.ask(Cancel(begun["id"], action.name, -1.0))
        except InvalidError:
            found = await host.found_again(begun["id"], action)
            expect(found["state"] == "running", said(Find(begun["id"])), '"running", as before', found)
        else:
            if "cancelling" not in answer:
                raise NotApplicable("it knows no deadlines")
            expect(holds=False, asked="Cancel within -1 s", expected="a refusal", came=answer)


@checks.add("Whether something happened is looked for only where it was interrupted; nothing is done")
async def _(host: Candidate) -> None:
    action = host.repeatable()[-1]
    done = await host.invoke(action)
    before = await host.counted(action)
    await host.refused(Check(done["id"], action.name), ConflictError, NotFoundError)
    await host.refused(Check(new_id(), action.name), NotFoundError)
    after = await host.counted(action)
    expect(counted_up(before, after, 0), "Check what is over", f"{action.name} was not called", after)


@checks.add("A host whose limits are not known lets nothing act, and says why")
async def _(host: Candidate) -> None:
    why = (await host.answered(Health())).get("blocked")
    if not why:
        raise NotApplicable("its limits are known")
    for action in host.repeatable():
        await host.refused(Invoke(action.name, host.parameters(action), new_id()), ConflictError)


@checks.add("What an interlock stands against is refused, naming the attribute; its id has not arrived", "locked")
async def _(host: Candidate) -> None:
    action, identity = host.action("locked"), new_id()
    before = await host.counted(action)
    refused = await host.refused(Invoke(action.name, host.parameters(action), identity), ConflictError)
    needs = refused.fields.get("needs")
    expect(needs in host.description.attributes, said(Invoke(action.name, {})), "`needs`: an attribute", refused.fields)
    state = (await host.found_again(identity, action))["state"]
    expect(state in ("not arrived", "cannot tell"), said(Find(identity)), '"not arrived"', state)
    after = await host.counted(action)
    expect(counted_up(before, after, 0), f"{action.name} behind an interlock", "it was not called", after)


@checks.add("Alarms are listed with their limit, their reading and whether they are over; a stranger is none of them")
async def _(host: Candidate) -> None:
    try:
        listed = await host.ask(Alarms())
    except LabError:
        raise NotApplicable("it has no alarms") from None
    expect(isinstance(listed, list), "Alarms", "a list", listed)
    for alarm in listed:
        expect(set(alarm) >= _ALARM, "Alarms", f"each with {', '.join(sorted(_ALARM))}", alarm)
        known = alarm["attribute"] in host.description.attributes
        expect(known, "Alarms", "each of an attribute that is offered", alarm)
    await host.refused(Acknowledge(new_id(), "conformance"), NotFoundError)
