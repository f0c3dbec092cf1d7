"""Hosts that announce themselves are found by their name, on the loopback with real multicast; nothing is trusted."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labretto.errors import FailedError, InvalidError, UnreachableError
from labretto.instrument.describe import Description, describe
from labretto.lab import Lab, LabInstrument, parse_lab
from labretto.network import announce, keeper
from labretto.network.announce import announcing, digest, find_announced
from labretto.network.background import start_background
from labretto.network.doctor.elsewhere import check_elsewhere
from labretto.network.liveness import hold
from labretto.network.supervise import Supervisor


class Lamp:
    """A lamp."""

    @property
    def brightness(self) -> float:
        return 0.5


class Torch(Lamp):
    """Another one."""

    def flash(self) -> None:
        """Shine once."""


LAMP, TORCH, LIGHT, LOUD, QUIET = (f"{word}{os.getpid()}" for word in ("lamp", "torch", "light", "loud", "quiet"))
"""Other tests on this machine may announce something too, and its loopback is one."""


def described(driver: type = Lamp, name: str = LAMP) -> Description:
    return describe(driver, name=name).description


KEY = "A" * 43
HERE = {"http": "http://127.0.0.1:5001", "zmq": f"tcp://127.0.0.1:5002#curve={KEY}"}


@pytest.fixture(scope="module", autouse=True)
def _multicast() -> None:
    """Skip where this machine's loopback carries none."""
    with contextlib.ExitStack() as stack:
        hears = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        tells = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        here = socket.inet_aton("127.0.0.1")
        try:
            hears.bind(("", 0))
            hears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + here)
            hears.settimeout(2)
            tells.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
            tells.sendto(b"heard?", ("224.0.0.251", hears.getsockname()[1]))
            hears.recv(10)
        except OSError as error:
            pytest.skip(f"the loopback of this machine carries no multicast ({error}); mDNS is not tested here")


async def test_what_is_announced_is_found_with_its_port_and_key() -> None:
    async with announcing(described(), HERE, "127.0.0.1"):
        (found,) = await find_announced(30, wanted=LAMP, key=KEY)
        assert (found.name, found.url) == (LAMP, "http://127.0.0.1:5001")
        assert (found.description, found.key, found.zmq) == (digest(described()), KEY, 5002)
        assert found.with_key(KEY) == f"tcp://127.0.0.1:5002#curve={KEY}"
    assert await find_announced(0.5, wanted=LAMP) == []


async def test_two_of_one_name_are_both_found_and_not_mixed_up() -> None:
    other = {"http": "http://127.0.0.1:6001"}
    async with announcing(described(), HERE, "127.0.0.1"), announcing(described(), other, "127.0.0.1"):
        found = await find_announced(3)
    assert {each.url for each in found if each.name == LAMP} == {"http://127.0.0.1:5001", "http://127.0.0.1:6001"}


def test_the_description_says_when_what_is_offered_is_another() -> None:
    assert digest(described()) == digest(described())
    assert digest(described()) != digest(described(Torch))


@pytest.mark.parametrize(
    "told", [{}, {"name": "../x"}, {"name": ""}, {"name": "x", "zmq": "abc"}, {"name": "x", "zmq": "9" * 40}]
)
def test_what_an_announcement_says_is_not_believed_to_be_well_formed(told: dict[str, str | None]) -> None:
    found = announce._found(told, ["192.0.2.7"], 80)
    assert all((each.name, each.zmq) == ("x", 0) for each in found)


@pytest.mark.filterwarnings("ignore")  # zeroconf leaves a socket that it could not use to the garbage collector
async def test_where_there_is_no_network_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "_own_addresses", lambda where: ["192.0.2.77"])
    with pytest.raises(FailedError, match="not possible here"):
        async with announcing(described(), HERE, "192.0.2.77"):
            pass


# A lab that names what it means -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def supervised(**words: Any) -> AsyncIterator[Supervisor]:
    lab = Lab(name="demo", instruments={LIGHT: LabInstrument(name=LIGHT, **words)})
    with hold(lab.hub_lock):
        async with Supervisor(lab) as supervisor:
            yield supervisor


async def test_a_lab_finds_what_it_names_and_nothing_else() -> None:
    lamp = await asyncio.to_thread(start_background, Lamp)
    torch = await asyncio.to_thread(start_background, Torch)
    try:
        async with (
            announcing(described(), {"http": lamp.url}, "127.0.0.1"),
            announcing(described(Torch, TORCH), {"http": torch.url}, "127.0.0.1"),
            supervised(discover=TORCH) as supervisor,
        ):
            client = await asyncio.wait_for(supervisor.instrument(LIGHT), 30)
            assert "flash" in client.description.actions
    finally:
        await asyncio.to_thread(lamp.stop)
        await asyncio.to_thread(torch.stop)


async def test_a_name_that_nobody_announces_is_unreachable_and_found_when_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announce, "LOOK_FOR", 1.0)
    lamp = await asyncio.to_thread(start_background, Lamp)
    try:
        async with supervised(discover=True) as supervisor:
            await supervisor.settled()
            status = supervisor.status()[LIGHT]
            assert status.state == "unreachable"
            assert f"Nobody announces '{LIGHT}'" in status.reason
            async with announcing(described(name=LIGHT), {"http": lamp.url}, "127.0.0.1"):
                client = await asyncio.wait_for(supervisor.reachable(LIGHT), 30)
                assert (await client.read("brightness")).value == 0.5
    finally:
        await asyncio.to_thread(lamp.stop)


async def test_of_two_that_announce_one_name_the_one_with_the_key_is_taken_or_none() -> None:
    other = {"http": "http://127.0.0.1:6001"}
    async with announcing(described(), HERE, "127.0.0.1"), announcing(described(), other, "127.0.0.1"):
        assert await where(discover=LAMP, key=KEY) == f"tcp://127.0.0.1:5002#curve={KEY}"
        with pytest.raises(UnreachableError, match="Several announce"):
            await where(discover=LAMP)


async def where(**words: Any) -> str:
    return await keeper.LinkKeeper(LabInstrument(name="light", **words), lambda status: None)._where()


async def test_without_a_key_no_token_is_shown_to_whoever_announces_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABRETTO_TOKEN", "a-token-that-is-long-enough-to-be-one")
    for words, shown in (
        ({"discover": True}, ""),
        ({"discover": True, "key": KEY}, None),
        ({"url": "tcp://h:1"}, None),
    ):
        entry = LabInstrument(name="light", **words)  # type: ignore[arg-type]
        assert keeper.LinkKeeper(entry, lambda status: None)._token() == shown


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("discover = true\nurl = 'http://h:1'", "both a url and a discover"),
        ("discover = true\ndriver = 'a:B'", "both a driver and a discover"),
        ("discover = true\ntoken_file = 'x'", "anybody can announce a name"),
        ("discover = true\nkey = 'short'", "key"),
        ("url = 'http://h:1'\nkey = '" + KEY + "'", "means nothing beside a url"),
        ("discover = '../x'", "discover"),
        ("discover = false", "neither a driver nor a url"),
    ],
)
def test_what_a_lab_says_wrongly_is_refused(tmp_path: Path, said: str, why: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_lab(f"[instruments.light]\n{said}", tmp_path / "lab.toml")
    assert why in str(caught.value.fields["faults"])


async def test_the_doctor_looks_for_what_announces_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "LOOK_FOR", 1.0)
    lamp = await asyncio.to_thread(start_background, Lamp)
    lab = Lab(name="demo", instruments={LAMP: LabInstrument(name=LAMP, discover=True)})
    try:
        (missing,) = await asyncio.to_thread(lambda: [*check_elsewhere(lab)])
        assert (missing.state, f"Nobody announces '{LAMP}'" in missing.detail) == ("fault", True)
        async with announcing(described(), {"http": lamp.url}, "127.0.0.1"):
            findings = await asyncio.to_thread(lambda: [*check_elsewhere(lab)])
        assert [finding.state for finding in findings] == ["ok", "ok"]
    finally:
        await asyncio.to_thread(lamp.stop)


# Whole processes ---------------------------------------------------------------------------------------------------


def test_a_host_that_is_told_to_announces_itself_and_one_that_is_not_does_not(command_line: Any) -> None:
    (command_line.folder / "lamps.py").write_text("class Lamp:\n    def flash(self) -> None: ...\n")
    path = ("--path", command_line.folder)
    with (
        command_line.start("serve", "lamps:Lamp", "--name", LOUD, "--announce", *path) as loud,
        command_line.start("serve", "lamps:Lamp", "--name", QUIET, *path) as quiet,
    ):
        assert loud.stdout is not None
        assert quiet.stdout is not None
        url = loud.stdout.readline().split()[1].rstrip(",")
        quiet.stdout.readline()
        found: list[dict[str, str]] = []
        while LOUD not in [each["name"] for each in found]:
            found = _found(command_line.run("find", "--seconds", "2", "--json"))
        assert QUIET not in [each["name"] for each in found]
        assert url in [each["url"] for each in found if each["name"] == LOUD]


def _found(told: "subprocess.CompletedProcess[str]") -> list[dict[str, str]]:
    answer: list[dict[str, str]] = json.loads(told.stdout)
    return answer
