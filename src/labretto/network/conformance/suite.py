"""The suite: every sentence of the contract, asked of one host.

A check that is not answered within `ANSWER_WITHIN` seconds has failed; the next ones are asked all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from labretto.errors import LabError, LeaseError
from labretto.network.client import open_connection
from labretto.network.conformance import acting, http_words, identity, leases, looking, watching, zmq_frames
from labretto.network.conformance.candidate import Candidate, Permission, spelled
from labretto.network.conformance.judging import Check, Failed, Finding, NotApplicable, Report
from labretto.network.credentials import token_for
from labretto.network.messages import Health

ANSWER_WITHIN = 20.0
"""Seconds that a check may take; a board on a slow line needs some, a host of ours none to speak of."""

CHECKS: tuple[Check, ...] = (
    *looking.checks,
    *identity.checks,
    *acting.checks,
    *leases.checks,
    *watching.checks,
    *http_words.checks,
    *zmq_frames.checks,
)


async def examine(
    address: str,
    permission: Permission | None = None,
    *,
    token: str | None = None,
    checks: Iterable[Check] = CHECKS,
    told: Callable[[Finding], None] = lambda finding: None,
) -> Report:
    """Ask the host at `address` everything that the contract promises.

    Args:
        address: "http://...", "tcp://..." or "memory:NAME".
        permission: what may be done with an instrument that is no `Subject`.
        token: shown there; default: LABRETTO_TOKEN, or this machine's own.
        checks: those to make.
        told: called with each finding as it is made.

    Raises:
        UnreachableError: nobody answers there.
        LeaseError: somebody is at work there.
        FailedError: whoever answers there describes no instrument.
    """
    shown = token_for(address, token)
    connection = await open_connection(address, token)
    try:
        host = await Candidate.found(connection, permission or Permission(), shown)
        await _refuse_if_held(host)
        findings = []
        for check in checks:
            findings.append(await _finding(host, check))
            told(findings[-1])
        return Report(address, host.description.name, host.description.driver, tuple(findings))
    finally:
        await connection.close()


async def _refuse_if_held(host: Candidate) -> None:
    health = await host.ask(Health())
    if lease := health.get("lease"):
        raise LeaseError(
            f"{lease['holder']} has {host.description.name}; it is not examined.",
            way_out="Ask again when it is given back.",
        )


async def _finding(host: Candidate, check: Check) -> Finding:
    scheme = urlsplit(host.connection.address).scheme
    if check.wire and check.wire != scheme:
        return Finding(check.sentence, "not applicable", why=f"it is about {check.wire}")
    if missing := [role for role in check.needs if not host.plays(role)]:
        return Finding(check.sentence, "not applicable", why=f"no action plays {' or '.join(map(repr, missing))}")
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            await check.body(host)
    except NotApplicable as why:
        return Finding(check.sentence, "not applicable", why=str(why))
    except Failed as failed:
        return Finding(check.sentence, "failed", asked=failed.asked, expected=failed.expected, came=failed.came)
    except TimeoutError:
        expected = f"an answer within {ANSWER_WITHIN:g} s"
        return Finding(check.sentence, "failed", asked=check.sentence, expected=expected, came="nothing")
    except LabError as error:
        return Finding(check.sentence, "failed", asked=check.sentence, expected="an answer", came=spelled(error))
    except (KeyError, TypeError, ValueError, AttributeError, LookupError) as error:  # the answer has another shape
        came = f"something else ({type(error).__name__}: {error})"
        return Finding(check.sentence, "failed", asked=check.sentence, expected="an answer as described", came=came)
    return Finding(check.sentence, "passed")
