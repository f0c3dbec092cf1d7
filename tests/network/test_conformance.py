"""Any host can be held to the contract: ours on every wire, a board, and ones that break it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any

import pytest
from annotated_types import Interval

from labretto.access.gate import Gate
from labretto.access.tokens import Tokens
from labretto.access.trail import Trail
from labretto.errors import InvalidError, LeaseError, TokenError, UnreachableError
from labretto.instrument.describe import describe, effect
from labretto.instrument.host import Host
from labretto.instrument.invocation import Invocation
from labretto.instrument.ledger import Ledger
from labretto.instrument.limits_file import read_limits
from labretto.instrument.overlay import Overlay
from labretto.lab import AlarmLimit
from labretto.network import http, memory, zmq
from labretto.network.client import open_instrument
from labretto.network.conformance import Subject, watching
from labretto.network.conformance.candidate import permission
from labretto.network.conformance.judging import Finding, Report
from labretto.network.conformance.suite import CHECKS, examine
from labretto.network.connection import back_off
from labretto.network.curve import server_key

REPOSITORY = Path(__file__).resolve().parents[2]
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
    mended = {"the driver has a stop()", "its limits are known", "no action plays 'locked'"}
    assert skipped == {*(f"it is about {other}" for other in others), *mended}
    assert len(report.findings) == len(CHECKS)


def test_each_sentence_stands_there_once() -> None:
    sentences = [check.sentence for check in CHECKS]

    assert len(set(sentences)) == len(sentences) > 40


# A board --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def board(free_port: int, tmp_path: Path) -> Iterator[str]:
    """A board on CPython that serves the reference subject; it says on its output when it listens."""
    path = os.pathsep.join([str(REPOSITORY / "board/src"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    program = [sys.executable, Path(__file__).parent / "board_subject.py", str(free_port)]
    output = tmp_path / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            program, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, stdout=file, stderr=file
        )
    try:
        yield f"http://127.0.0.1:{free_port}"
    finally:
        process.kill()
        process.wait()


async def test_a_board_keeps_the_contract_too(board: str) -> None:
    report = await examine(await answering(board))

    assert failures(report) == []
    assert report.count("passed") > 40
    skipped = {finding.why for finding in report.findings if finding.verdict == "not applicable"}
    assert skipped == {
        "it is about tcp",
        "the driver has a stop()",
        "leases are not given here; only their numbers are checked",
        "it does not say how far it is",
        "it knows no deadlines",
        "its limits are known",
        "no action plays 'locked'",
        "it has no alarms",
    }


async def answering(address: str) -> str:
    """`address`, once somebody answers there."""
    instrument = None
    for pause in back_off():
        try:
            instrument = await open_instrument(address)
        except UnreachableError:
            await asyncio.sleep(pause)
        else:
            await instrument.close()
            return address
    raise AssertionError


# Hosts that break it --------------------------------------------------------------------------------------------------


class DoesItAgain(Host):
    """Takes no notice of the caller's id."""

    async def invoke(self, action: str, parameters: Mapping[str, Any], **words: Any) -> Invocation:
        return await super().invoke(action, parameters, **words | {"identity": None})


class ForgetsWhatRuns(Host):
    """Lets a second action wait for the first instead of refusing it."""

    def _refuse_if_busy(self, asked: str) -> None:
        pass


class PretendsToStop(Host):
    """Answers that it has stopped, whatever it did."""

    async def stop(self) -> dict[str, Any]:
        return {"stopped": True, "seconds": 0.0, "detail": None}


BROKEN = [
    (DoesItAgain, "The same id and body is answered"),
    (DoesItAgain, "is done once, and all get"),
    (ForgetsWhatRuns, "A second action is refused"),
    (PretendsToStop, "To stop is answered"),
]


@pytest.mark.parametrize(("kind", "sentence"), BROKEN)
async def test_a_host_that_breaks_a_sentence_is_found_out(kind: type[Host], sentence: str) -> None:
    checks = [check for check in CHECKS if sentence in check.sentence]
    async with kind(Subject, describe(Subject, name="broken"), Ledger()) as host, memory.serve(host) as address:
        report = await examine(address, permission([], {}, {"hold.seconds": 0.5}), checks=checks)

    (finding,) = report.findings
    assert finding.verdict == "failed"
    assert all([finding.asked, finding.expected, finding.came])
    assert not report.passed


class Lamp:
    """Anybody's instrument: the suite knows none of its actions."""

    def __init__(self) -> None:
        self.__blown = 0
        self._brightness = 0.5

    @property
    def brightness(self) -> Annotated[float, Interval(ge=0, le=1)]:
        return self._brightness

    @brightness.setter
    def brightness(self, to: Annotated[float, Interval(ge=0, le=1)]) -> None:
        self._brightness = to

    @property
    def blown(self) -> int:
        return self.__blown

    @effect("absolute")
    def dim(self, to: Annotated[float, Interval(ge=0, le=1)]) -> float:
        self._brightness = to
        return to

    def blow(self, times: int) -> None:
        self.__blown += times


async def test_what_must_happen_once_is_not_asked_for_unless_it_is_allowed() -> None:
    async with Host(Lamp, describe(Lamp, name="lamp"), Ledger()) as host, memory.serve(host) as address:
        careful = await examine(address)
        async with await open_instrument(address) as lamp:
            assert (await lamp.read("blown")).value == 0
            assert (await lamp.read("brightness")).value == 0.5

            allowed = await examine(address, permission(["once"], {}, {"blow.times": 7}))

            assert (await lamp.read("blown")).value > 7

    assert failures(careful) == failures(allowed) == []
    assert found(careful, "A second action is refused").why == "no action plays 'hold'"


async def test_interlocks_blocked_limits_and_alarms_are_held_to_their_word(served: Serve) -> None:
    overlay = Overlay(alarms={"brightness": [AlarmLimit(above=0.1)]})
    offer = describe(Lamp, name="lamp", overlay=overlay)
    limits = read_limits({"dim": {"needs": {"blown": {"minimum": 5}}}})
    async with Host(Lamp, offer, Ledger(), limits=limits) as host, served(host) as address:
        report = await examine(address, permission([], {"locked": "dim", "place": "dim"}, {}), checks=watching.checks)
        assert found(report, "interlock stands against").verdict == "passed"
        assert found(report, "Alarms are listed").verdict == "passed"
        assert [alarm.condition for alarm in host.alarms()] == ["above 0.1"]
    blocked = read_limits({"nothing": {"needs": {"blown": {"minimum": 5}}}})
    async with Host(Lamp, describe(Lamp, name="lamp"), Ledger(), limits=blocked) as host, served(host) as address:
        report = await examine(address, checks=[check for check in watching.checks if "not known" in check.sentence])
        assert [finding.verdict for finding in report.findings] == ["passed"]


@pytest.mark.parametrize("wire", ["http", "zmq"])
async def test_a_host_that_asks_for_a_token_is_held_to_the_contract_with_one(tmp_path: Path, wire: str) -> None:
    gate = Gate("subject", Tokens(tmp_path, None), Trail(tmp_path))
    token = Tokens(tmp_path, None).create("suite", "operator", None)[0]
    key = server_key(tmp_path)
    async with Host(Subject, describe(Subject, name="subject"), Ledger()) as host:
        served = http.serve(host, gate=gate) if wire == "http" else zmq.serve(host, gate=gate, key=key)
        async with served as address:
            report = await examine(address, token=token)
            assert failures(report) == []
            assert report.count("passed") > 40
            with pytest.raises(TokenError):
                await examine(address, token="a-token-that-nobody-has-ever-seen")


async def test_an_instrument_that_somebody_uses_is_left_alone(subject: str) -> None:
    async with await open_instrument(subject) as instrument:
        lease = await instrument.take("run 7")

        with pytest.raises(LeaseError, match="run 7 has subject; it is not examined"):
            await examine(subject)

        await instrument.give_back(lease.number)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((["twice"], {}, {}), "no effect 'twice'"),
        (([], {"wait": "hold"}, {}), "no role 'wait'"),
        (([], {}, {"to": 1}), "not ACTION.NAME"),
    ],
)
def test_a_permission_that_makes_no_sense_is_refused(words: tuple[Any, ...], said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        permission(*words)


# The command ----------------------------------------------------------------------------------------------------------


async def test_the_command_says_by_its_status_whether_the_contract_is_kept(
    command_line: Any, tmp_path: Path, free_port: int
) -> None:
    """Not over HTTP only: over ZMQ, which another process has to speak as well."""
    offer = describe(Subject, name="subject")
    async with Host(Subject, offer, Ledger()) as kept, zmq.serve(kept) as address:
        done = await asyncio.to_thread(command_line.run, "conformance", address, "--json")
    async with PretendsToStop(Subject, offer, Ledger()) as broken, http.serve(broken) as address:
        failed = await asyncio.to_thread(command_line.run, "conformance", address, "-p", "hold.seconds=0.5")
    nobody = await asyncio.to_thread(command_line.run, "conformance", f"http://127.0.0.1:{free_port}")

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["failed"], told["passed"] + told["not applicable"]) == (0, len(CHECKS))
    assert failed.returncode == 1
    assert "failed  To stop is answered while an action runs" in failed.stdout
    assert 'expected: "cancelled"' in failed.stdout
    assert nobody.returncode == 4
