"""Any host can be held to the contract: ours on every wire, a board, and ones that break it."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from labretto.errors import LeaseError, UnreachableError
from labretto.instrument.describe import describe, effect
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.network.conformance import Subject
from labretto.network.conformance.candidate import Permission
from labretto.network.conformance.judging import Finding, Report
from labretto.network.conformance.suite import CHECKS, examine

Serve = Callable[..., AbstractAsyncContextManager[str]]


def failures(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.verdict == "failed"]


def found(report: Report, words: str) -> Finding:
    (finding,) = [finding for finding in report.findings if words in finding.sentence]
    return finding


@pytest.fixture
async def subject(served: Serve, tmp_path: Path) -> AsyncIterator[str]:
    """Where the reference subject is served, on each wire in turn."""
    offer = describe(Subject, name="subject")
    async with Host(Subject, offer, Ledger(tmp_path / "ledger.db")) as host, served(host) as address:
        yield address


async def test_a_host_of_ours_keeps_the_whole_contract_on_every_wire(subject: str, transport: str) -> None:
    report = await examine(subject)

    assert failures(report) == []
    others = {"memory": {"http", "tcp"}, "http": {"tcp"}, "zmq": {"http"}}[transport]
    skipped = {finding.why for finding in report.findings if finding.verdict == "not applicable"}
    assert skipped == {*(f"it is about {other}" for other in others), "the driver has a stop()"}
    assert len(report.findings) == len(CHECKS)


def test_each_sentence_stands_there_once() -> None:
    sentences = [check.sentence for check in CHECKS]

    assert len(set(sentences)) == len(sentences) > 40
