"""Checks: the caller names the job, the host remembers it. Nothing is done twice, and its fate can be asked."""

from __future__ import annotations

import asyncio
from typing import Any

from labretto.errors import ConflictError
from labretto.instrument.describe import Action
from labretto.instrument.invocation import new_id
from labretto.network.conformance.candidate import OVER, Candidate, counted_up, said
from labretto.network.conformance.judging import Checks, NotApplicable, expect
from labretto.network.messages import Find, Invoke

checks = Checks()

AT_ONCE = 50
"""Callers that ask with the same id at the same time."""

LONG_AGO = "01890000-0000-7000-8000-000000000000"
"""An id that was made in June 2023."""


@checks.add("An action answers at its end, with its id, effect, times and result")
async def _(host: Candidate) -> None:
    for action in host.repeatable():
        identity, before = new_id(), await host.counted(action)
        done = await host.invoke(action, identity)
        asked = said(Invoke(action.name, host.parameters(action), identity))
        expect(done["id"] == identity, asked, f"the id {identity}", done)
        expect(done["action"] == action.name, asked, f"the action {action.name}", done)
        expect(done["state"] == "succeeded", asked, 'the state "succeeded"', done)
        expect(done["effect"] == action.effect, asked, f"the effect {action.effect!r}, as described", done)
        expect(all(done.get(at) for at in ("accepted", "started", "ended")), asked, "all three times", done)
        after = await host.counted(action)
        expect(counted_up(before, after, 1), asked, "it is done once", f"{after} times, {before} before")


@checks.add("The same id and body is answered and not done again")
async def _(host: Candidate) -> None:
    for action in host.repeatable():
        identity = new_id()
        first = await host.invoke(action, identity)
        before = await host.counted(action)
        again = [await host.invoke(action, identity) for _ in range(3)]
        _expect_same(action, first, again)
        after = await host.counted(action)
        expect(counted_up(before, after, 0), "The same id, three times more", "nothing is done", f"{after}, {before}")


@checks.add(f"The same id asked by {AT_ONCE} at once is done once, and all get the same answer")
async def _(host: Candidate) -> None:
    action = host.repeatable()[0]
    identity, before = new_id(), await host.counted(action)
    answers = await asyncio.gather(*(host.invoke(action, identity) for _ in range(AT_ONCE)))
    _expect_same(action, answers[0], answers)
    after = await host.counted(action)
    expect(counted_up(before, after, 1), f"{AT_ONCE} at once", "it is done once", f"{after} times, {before} before")


def _expect_same(action: Action, first: dict[str, Any], others: list[dict[str, Any]]) -> None:
    for other in others:
        different = {n: (first[n], other[n]) for n in ("id", "state", "started", "ended") if first[n] != other[n]}
        expect(not different, f"{action.name} with the same id", "the same answer", different)
        # Not ==: a result may hold arrays and NaN.
        expect(repr(first["result"]) == repr(other["result"]), f"{action.name} again", "the same result", other)


@checks.add("The same id for another body is a conflict, and nothing is done")
async def _(host: Candidate) -> None:
    for action in host.repeatable():
        try:
            others = host.others(action)
        except NotApplicable:
            continue
        identity = new_id()
        first, before = await host.invoke(action, identity), await host.counted(action)
        await host.refused(Invoke(action.name, others, identity), ConflictError)
        after = await host.counted(action)
        expect(counted_up(before, after, 0), "The same id, another body", "nothing is done", f"{after}, {before}")
        expect((await host.found_again(identity, action)) == first, "Find it", "the first answer, as before", first)
        return
    raise NotApplicable("no action can be asked for in two ways")


@checks.add("The same id for another action is a conflict, and nothing is done", "look", "place")
async def _(host: Candidate) -> None:
    look, place = host.action("look"), host.action("place")
    identity = new_id()
    await host.invoke(look, identity)
    before = await host.counted(place)
    await host.refused(Invoke(place.name, host.parameters(place), identity), ConflictError)
    expect(counted_up(before, await host.counted(place), 0), "The same id, another action", "nothing is done", "it was")


@checks.add("Asked without an id, the host mints one, and finds it again")
async def _(host: Candidate) -> None:
    action = host.repeatable()[-1]
    request = Invoke(action.name, host.parameters(action))
    one, other = await host.invocation(request), await host.invocation(request)
    expect(one["id"] != other["id"], said(request), "an id for each asking", (one["id"], other["id"]))
    found = await host.found_again(one["id"], action)
    expect(found["state"] == one["state"], said(Find(one["id"], action.name)), f"the state {one['state']!r}", found)


@checks.add("An id that was made now and never sent has not arrived")
async def _(host: Candidate) -> None:
    action = host.repeatable()[0]
    await host.invoke(action)  # a board without a clock learns the time from the first id
    identity = new_id()
    found = await host.found_again(identity, action)
    expect(found["state"] == "not arrived", said(Find(identity)), '"not arrived": safe to send', found)


@checks.add("Of an id older than its ledger the host cannot tell")
async def _(host: Candidate) -> None:
    action = host.repeatable()[0]
    found = await host.found_again(LONG_AGO, action)
    expect(found["state"] == "cannot tell", said(Find(LONG_AGO)), '"cannot tell"', found)


@checks.add("What ended is found with its end, by its id alone too")
async def _(host: Candidate) -> None:
    for action in host.repeatable():
        done = await host.invoke(action)
        for request in (Find(done["id"], action.name), Find(done["id"])):
            found = await host.invocation(request)
            expect(found["state"] == done["state"], said(request), f"the state {done['state']!r}", found)
            expect(found["ended"] == done["ended"], said(request), f"ended {done['ended']}", found)


@checks.add("An action that failed says so with the driver's words; asked again it is not tried again", "fail")
async def _(host: Candidate) -> None:
    action, identity = host.action("fail"), new_id()
    before = await host.counted(action)
    failed = await host.invoke(action, identity)
    asked = said(Invoke(action.name, {}, identity))
    expect(failed["state"] == "failed", asked, 'the state "failed"', failed)
    expect(failed["result"] is None, asked, "no result: a failure is never stored as one", failed)
    problem = failed["error"] or {}
    expect({"type", "title", "status", "detail"} <= set(problem), asked, "problem details in `error`", problem)
    if host.is_subject:
        expect("the valve is stuck" in problem["detail"], asked, "the driver's own words", problem["detail"])
    again = await host.invoke(action, identity)
    expect(again["ended"] == failed["ended"], f"{asked} again", "the same end", again)
    expect(counted_up(before, await host.counted(action), 1), f"{asked} again", "it is done once", "it was done again")


@checks.add("Who does not wait is answered when it has begun, and finds it running", "hold")
async def _(host: Candidate) -> None:
    async with host.running("hold") as begun:
        found = await host.found_again(begun["id"], host.action("hold"))
        expect(found["state"] == "running", said(Find(begun["id"])), '"running"', found)
        expect(found["ended"] is None, said(Find(begun["id"])), "no end yet", found)
    found = await host.found_again(begun["id"], host.action("hold"))
    expect(found["state"] in OVER, said(Find(begun["id"])), "an end", found)


@checks.add("The same id asked while it runs waits for the same end, and does not begin another", "hold")
async def _(host: Candidate) -> None:
    action = host.action("hold")
    async with host.running("hold") as begun:
        identity = begun["id"]
        again = await host.invoke(action, identity, wait=False)
        expect(again["started"] == begun["started"], "The same id, while it runs", "the same begin", again)
        waiting = [asyncio.ensure_future(host.invoke(action, identity)) for _ in range(2)]
    ends = await asyncio.gather(*waiting)
    for end in ends:
        expect(end["state"] in OVER, "The same id, until it is over", "its end", end)
        expect(end["ended"] == ends[0]["ended"], "The same id, until it is over", "the same end", end)
