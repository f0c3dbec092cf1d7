"""Checks: who may act. They take the lease, which raises the host's highest number by two or three."""

from __future__ import annotations

from typing import Any

from labretto.errors import LabError, LeaseError, NotFoundError
from labretto.instrument.invocation import new_id
from labretto.network.conformance.candidate import Candidate, counted_up, said, spelled
from labretto.network.conformance.judging import Checks, Failed, NotApplicable, expect
from labretto.network.messages import Find, GiveBack, Health, Invoke, Read, Take, Write

checks = Checks()

HOLDER = "the conformance suite"


async def _taken(host: Candidate, **more: Any) -> int:
    try:
        lease = await host.ask(Take(HOLDER, **more))
    except NotFoundError:
        raise NotApplicable("leases are not given here; only their numbers are checked") from None
    except LabError as error:
        raise Failed(said(Take(HOLDER, **more)), "the lease", spelled(error)) from error
    expect(isinstance(lease.get("number"), int), said(Take(HOLDER)), "a lease with its number", lease)
    return int(lease["number"])


async def _raised(host: Candidate) -> int:
    """The highest number that the host has seen, which is above 0."""
    try:
        number = await _taken(host)
    except NotApplicable:
        number = await host.highest_lease() + 1
        await host.invoke(host.repeatable()[0], lease=number)
    else:
        await host.answered(GiveBack(number))
    return number


@checks.add("A number lower than the highest seen is refused, naming the highest, and nothing is done")
async def _(host: Candidate) -> None:
    action, number = host.repeatable()[0], await _raised(host)
    before, identity = await host.counted(action), new_id()
    refused = await host.refused(Invoke(action.name, host.parameters(action), identity, number - 1), LeaseError)
    expect(refused.fields.get("highest") == number, f"Act under lease {number - 1}", f"`highest`: {number}", refused)
    after = await host.counted(action)
    expect(counted_up(before, after, 0), f"Act under lease {number - 1}", "nothing is done", f"{after} times")
    found = await host.found_again(identity, action)
    expect(found["state"] == "not arrived", said(Find(identity)), '"not arrived"', found)


@checks.add("While a lease is held only its number acts, and the refusal names the holder; reading needs none")
async def _(host: Candidate) -> None:
    action = host.repeatable()[0]
    number = await _taken(host)
    try:
        for lease in (None, number - 1, number + 1):
            refused = await host.refused(Invoke(action.name, host.parameters(action), new_id(), lease), LeaseError)
            named = refused.fields.get("holder") == HOLDER
            expect(named, f"Act under lease {lease}", f"`holder`: {HOLDER!r}", spelled(refused))
        done = await host.invoke(action, lease=number)
        expect(done["state"] == "succeeded", f"Act under lease {number}", "it is done", done)
        await host.answered(Health())
        await host.answered(Find(new_id()))
        if host.description.attributes:
            await host.answered(Read(host.attribute(writable=False).name))
    finally:
        await host.answered(GiveBack(number))
    await host.invoke(action)


@checks.add("Nothing is set under a lower number either")
async def _(host: Candidate) -> None:
    attribute = host.attribute(writable=True)
    value = await host.value(attribute.name)
    number = await _raised(host)
    await host.refused(Write(attribute.name, value, number - 1), LeaseError)


@checks.add("What was answered once is answered to everybody: the same id needs no lease")
async def _(host: Candidate) -> None:
    action, identity = host.repeatable()[0], new_id()
    number = await _taken(host)
    try:
        done = await host.invoke(action, identity, lease=number)
        again = await host.invoke(action, identity)
        expect(again["ended"] == done["ended"], "The same id, without the lease", "the same answer", again)
    finally:
        await host.answered(GiveBack(number))


@checks.add("To take over raises the number, and the former holder can do nothing more")
async def _(host: Candidate) -> None:
    action = host.repeatable()[0]
    first = await _taken(host)
    second = None
    try:
        await host.refused(Take("somebody else"), LeaseError)
        second = (await host.answered(Take("somebody else", over=True)))["number"]
        expect(second > first, "Take it over", f"a number above {first}", second)
        await host.refused(Invoke(action.name, host.parameters(action), new_id(), first), LeaseError)
        await host.refused(GiveBack(first), LeaseError)
    finally:
        await host.answered(GiveBack(second if second is not None else first))
