"""Instruments that somebody else's hosts serve: whether they answer, and whether their clock is ours.

A clock that is wrong puts wrong times into the record, makes leases end early or late, and lets an answer from before
a crash look younger than it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from labretto.access.tokens import read_secret
from labretto.errors import LabError
from labretto.lab import Lab, LabInstrument
from labretto.network.announce import announced_address
from labretto.network.client import Instrument, open_instrument
from labretto.network.credentials import token_for
from labretto.network.doctor.finding import Finding, fault, faults_of, note, ok

ANSWER_WITHIN = 5.0
NOTED_SKEW, WRONG_SKEW = 1.0, 30.0
"""Seconds between two clocks."""


def check_elsewhere(lab: Lab, within: float = ANSWER_WITHIN) -> Iterator[Finding]:
    """Every instrument with a url, or that announces itself, all asked at once."""
    elsewhere = [entry for entry in lab.instruments.values() if entry.discover or entry.url]
    entries = [entry for entry in elsewhere if not (entry.url or "").startswith("memory:")]
    for findings in asyncio.run(_all(entries, within)):
        yield from findings


async def _all(entries: list[LabInstrument], within: float) -> list[list[Finding]]:
    return await asyncio.gather(*(_one(entry, within) for entry in entries))


async def _one(entry: LabInstrument, within: float) -> list[Finding]:
    subject, url = f"{entry.name}.url", entry.url or ""
    try:
        token = read_secret(entry.token_file) if entry.token_file else "" if entry.discover and not entry.key else None
        if entry.discover:
            url = await announced_address(entry)
        async with asyncio.timeout(within):
            return await _asked(entry.name, url, token)
    except TimeoutError:
        return [fault(subject, f"{url} did not answer within {within:g} s.", "Is it on, and is the address right?")]
    except (httpx2.HTTPError, OSError) as error:
        return [fault(subject, f"{url}: {error or type(error).__name__}.", "Is it on, and is the address right?")]
    except LabError as error:
        return list(faults_of(subject, error))


async def _asked(name: str, url: str, token: str | None) -> list[Finding]:
    instrument: Instrument = await open_instrument(url, token=token)
    async with instrument:
        sent = time.time()
        health = await instrument.health()
        received = time.time()
    return [_health(name, url, health), await _clock(name, url, token, (health.get("time"), sent, received))]


def _health(name: str, url: str, health: Mapping[str, Any]) -> Finding:
    subject, status = f"{name}.url", health.get("status")
    if health.get("blocked"):
        return fault(subject, f"{url} lets nothing act: {health['blocked']}.", "Correct that where it is served.")
    if status == "stopped":
        return note(subject, f"{url} answers, but is stopped.", "Start it again where it is served.")
    return ok(subject, f"{url} answers, {status}.")


async def _clock(name: str, url: str, token: str | None, told: tuple[Any, float, float]) -> Finding:
    """The other clock: the time that it told of itself, else the Date of an answer."""
    subject, (said, sent, received) = f"{name}.clock", told
    with contextlib.suppress(ValueError, TypeError):
        return clock_finding(subject, skew(datetime.fromisoformat(said).timestamp(), sent, received, 0.001))
    if url.startswith("http"):
        sent, date = time.time(), await _date(url, token)
        with contextlib.suppress(ValueError, TypeError):
            return clock_finding(subject, skew(parsedate_to_datetime(date).timestamp(), sent, time.time()))
    return note(subject, f"{url} does not tell its time.", "Its clock cannot be compared from here; look there.")


async def _date(url: str, token: str | None) -> str:
    shown = token_for(url, token)
    headers = {"authorization": f"Bearer {shown}"} if shown else {}
    async with httpx2.AsyncClient(trust_env=False, headers=headers, timeout=None) as client:
        answer = await client.get(f"{url.rstrip('/')}/health")
    return str(answer.headers.get("date", ""))


def skew(told: float, sent: float, received: float, resolution: float = 1.0) -> float:
    """Seconds by which another clock is surely ahead of ours (negative: behind); 0 if they may agree.

    Args:
        told: what it said, cut off to `resolution`, between our `sent` and our `received`.
        sent: our time before it was asked.
        received: our time after its answer.
        resolution: of a Date header, one second.
    """
    least, most = told - received, told + resolution - sent
    return max(least, 0.0) or min(most, 0.0)


def clock_finding(subject: str, seconds: float) -> Finding:
    """What a skew means."""
    if abs(seconds) <= NOTED_SKEW:
        return ok(subject, "Its clock agrees with ours within a second.")
    which = "ahead of" if seconds > 0 else "behind"
    why = "times in records are wrong by that, leases end early or late, and what a crash left may read 'cannot tell'"
    detail = f"Its clock is {abs(seconds):.0f} s {which} ours: {why}."
    found = fault if abs(seconds) > WRONG_SKEW else note
    return found(subject, detail, "Let both set their clocks by NTP (timedatectl set-ntp true).")
