"""The kit that kills: doses are asked for while their host dies again and again, then what matter did is compared.

`Doser` does what an orchestrator has to: it makes an id and notes it before it sends, asks again with the same id when
no answer comes, and where a dose was interrupted it decides as a person would, after a look at the instrument.
`faults` compares what was told with the subject's log, where nothing can be embellished. What dies is in
`labretto.network.conformance.mortal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labretto.errors import UnreachableError
from labretto.instrument.invocation import new_id
from labretto.network.client import open_connection
from labretto.network.conformance.host import Point
from labretto.network.conformance.mortal import Mortal
from labretto.network.connection import Connection, back_off
from labretto.network.messages import Find, Health, Invoke, Request

VOLUME = 1.0


# Who asks -------------------------------------------------------------------------------------------------------------


@dataclass
class Attempt:
    """One asking for a dose, under an id of its own, which is its mark too."""

    number: int
    """Which dose it is about."""
    identity: str
    told: str = ""
    """The state that the host told at the end."""
    decision: str = ""
    """What a person decided where it was interrupted: "happened" or "repeat"."""


@dataclass
class Story:
    """What was asked and told, written down before it was sent."""

    attempts: list[Attempt] = field(default_factory=list)
    lies: list[str] = field(default_factory=list)
    """Answers that were wrong when they were given."""
    lost: int = 0
    """How often no answer came."""


class Doser:
    """Asks for doses over one connection, whatever happens to the host and to the link."""

    def __init__(self, connection: Connection, log: Path) -> None:
        self.story = Story()
        self._connection = connection
        self._log = log

    async def dose(self, number: int) -> None:
        """See to it that dose `number` is poured once; returns when its outcome is known."""
        while True:
            attempt = Attempt(number, new_id())
            self.story.attempts.append(attempt)
            attempt.told = str((await self._outcome(attempt))["state"])
            if attempt.told not in ("interrupted", "cannot tell"):
                return
            attempt.decision = "happened" if attempt.identity in begun(self._log) else "repeat"
            if attempt.decision == "happened":
                return

    async def _outcome(self, attempt: Attempt) -> dict[str, Any]:
        request = Invoke("dose", {"volume": VOLUME, "mark": attempt.identity}, attempt.identity)
        for pause in back_off():
            try:
                return dict(await self._connection.ask(request))
            except UnreachableError:
                self.story.lost += 1
            await asyncio.sleep(pause)
            await self._look_for(attempt)
        raise AssertionError

    async def _look_for(self, attempt: Attempt) -> None:
        """Ask what became of it, and hold the answer against what had happened before it was asked."""
        had_begun = attempt.identity in begun(self._log)
        with contextlib.suppress(UnreachableError):
            found = await self._connection.ask(Find(attempt.identity, "dose"))
            if had_begun and found["state"] == "not arrived":
                self.story.lies.append(f"{attempt.identity} had begun, and was told not to have arrived")

    async def ask(self, request: Request) -> Any:
        """The answer, asked for until it comes."""
        for pause in back_off():
            try:
                return await self._connection.ask(request)
            except UnreachableError:
                await asyncio.sleep(pause)
        raise AssertionError

    async def remembered(self) -> dict[str, str]:
        """Id → what the host tells of it now."""
        ids = [attempt.identity for attempt in self.story.attempts]
        return {identity: (await self.ask(Find(identity, "dose")))["state"] for identity in ids}


@contextlib.asynccontextmanager
async def doser(address: str, log: Path) -> AsyncIterator[Doser]:
    """Who asks for doses at `address`, once somebody answers there."""
    connection = await _opened(address)
    try:
        yield Doser(connection, log)
    finally:
        await connection.close()


async def _opened(address: str) -> Connection:
    """Not sooner: of an id that is older than its ledger a host cannot tell whether it was there before."""
    for pause in back_off():
        try:
            connection = await open_connection(address)
        except UnreachableError:
            await asyncio.sleep(pause)
            continue
        try:
            await connection.ask(Health())
        except UnreachableError:
            await connection.close()
            await asyncio.sleep(pause)
        else:
            return connection
    raise AssertionError


# What is tried --------------------------------------------------------------------------------------------------------


async def killed_at(mortal: Mortal, point: Point) -> list[str]:
    """Let the host die at `point` of a dose, start it again, and answer every fault found."""
    at_boot = point in ("before the record", "at boot")
    await mortal.start("during" if at_boot else point)
    async with doser(mortal.address, mortal.log) as asking:
        dosing = asyncio.ensure_future(asking.dose(1))
        await mortal.dead()
        if at_boot:
            await mortal.start(point)
            await mortal.dead()
        await mortal.start()
        await dosing
        await asking.dose(2)
        return await _faults(asking, mortal)


async def killed_at_random(
    mortal: Mortal, times: int, chance: random.Random, *, longest: float = 0.05, forgetful: bool = False
) -> list[str]:
    """Kill the host so often while doses are asked for, and answer every fault found.

    Args:
        mortal: the host; dead.
        times: how often.
        chance: where the moments come from.
        longest: seconds that it lives at most once it answers.
        forgetful: it may say of what is long over that it cannot tell, as a board with little memory does.
    """
    await mortal.start()
    async with doser(mortal.address, mortal.log) as asking:
        over = asyncio.Event()
        dosing = asyncio.ensure_future(_dose_until(over, asking))
        for _ in range(times):
            await asking.ask(Health())
            await asyncio.sleep(chance.uniform(0, longest))  # the stimulus; nothing waits for it
            await mortal.kill()
            await mortal.start()
        over.set()
        await dosing
        return await _faults(asking, mortal, forgetful=forgetful)


async def _dose_until(over: asyncio.Event, asking: Doser) -> None:
    number = 0
    while not over.is_set():
        number += 1
        await asking.dose(number)


async def _faults(asking: Doser, mortal: Mortal, *, forgetful: bool = False) -> list[str]:
    """What is wrong, also after one more death in peace."""
    before = await asking.remembered()
    await mortal.kill()
    await mortal.start()
    after = await asking.remembered()
    if forgetful:
        told = {attempt.identity: attempt.told for attempt in asking.story.attempts}
        before, after = (
            {identity: told[identity] if state == "cannot tell" else state for identity, state in each.items()}
            for each in (before, after)
        )
    changed = [f"{i} was {before[i]}, and after a restart {after[i]}" for i in before if before[i] != after[i]]
    return changed + faults(asking.story, acts(mortal.log), after)


# What is found --------------------------------------------------------------------------------------------------------


def acts(log: Path) -> list[tuple[str, str]]:
    """What the subject did: (phase, mark)."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(act["phase"], act["mark"]) for act in map(json.loads, lines)]


def begun(log: Path) -> set[str]:
    """Marks of what has begun."""
    return {mark for phase, mark in acts(log) if phase == "begin"}


def faults(story: Story, done: Sequence[tuple[str, str]], remembered: Mapping[str, str]) -> list[str]:
    """Everything that the contract forbids.

    Args:
        story: what was asked and told.
        done: what matter did.
        remembered: id → what the host tells now, asked after everything.
    """
    begins = Counter(mark for phase, mark in done if phase == "begin")
    ends = Counter(mark for phase, mark in done if phase == "end")
    found = [*story.lies]
    found += [f"{mark} began {times} times" for mark, times in begins.items() if times > 1]
    for attempt in story.attempts:
        found += _of_one(attempt, begins, ends, remembered[attempt.identity])
    return found + _without_decision(story, begins)


def _of_one(attempt: Attempt, begins: Counter[str], ends: Counter[str], now: str) -> list[str]:
    mark = attempt.identity
    found = []
    if "succeeded" in (attempt.told, now) and not ends[mark]:
        found.append(f"{mark} is reported done and did not end")
    if now == "not arrived" and begins[mark]:
        found.append(f"{mark} has begun and is told not to have arrived")
    if now != attempt.told:
        found.append(f"{mark} was told {attempt.told}, and now {now}")
    if now not in ("succeeded", "interrupted"):
        found.append(f"{mark} is {now}, which no dose should be")
    return found


def _without_decision(story: Story, begins: Counter[str]) -> list[str]:
    """Doses that were poured more often than somebody decided."""
    poured: Counter[int] = Counter()
    allowed: Counter[int] = Counter()
    for attempt in story.attempts:
        poured[attempt.number] += begins[attempt.identity]
        allowed[attempt.number] += attempt.decision == "repeat"
    return [
        f"dose {number} began {times} times with {allowed[number]} decisions to repeat it"
        for number, times in poured.items()
        if times > 1 + allowed[number]
    ]
