"""An instrument tells a real hub where it is: kept up from then on, over a restart, until somebody removes it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

LAMP = '''
import asyncio

class Lamp:
    """A lamp."""

    @property
    def brightness(self) -> float:
        return 0.5

    async def glow(self) -> None:
        """For ever."""
        await asyncio.Event().wait()
'''


@pytest.fixture
def lamp(command_line: Any) -> Iterator[str]:
    """The address of an instrument that somebody serves."""
    (command_line.folder / "lamps.py").write_text(LAMP)
    with command_line.start("serve", "lamps:Lamp", "--path", command_line.folder) as process:
        yield next(word for word in process.stdout.readline().split() if word.startswith("http:")).rstrip(",")


@contextmanager
def guarded(command_line: Any) -> Iterator[tuple[str, dict[str, dict[str, str]]]]:
    """A hub that asks for tokens, and the headers of who has one."""
    made = {
        role: command_line.run("token", "create", "--name", role, "--role", role, "--lab", "default", "--json")
        for role in ("observer", "operator", "admin")
    }
    tokens = {role: _token(told) for role, told in made.items()}
    with command_line.hub("--host", "0.0.0.0", "--port", "0") as hub:
        yield hub, {role: {"Authorization": f"Bearer {token}"} for role, token in tokens.items()}


def _token(told: "subprocess.CompletedProcess[str]") -> str:
    import json

    token: str = json.loads(told.stdout)["token"]
    return token


def state_of(hub: str, name: str, **more: Any) -> str:
    state: str = httpx2.get(f"{hub}/api/instruments/{name}", **more).json().get("state", "none")
    return state


def test_what_registers_on_the_loopback_is_kept_up_and_outlives_the_hub(lamp: str, command_line: Any) -> None:
    with command_line.hub("--port", "0") as hub:
        told = httpx2.post(f"{hub}/api/instruments", json={"name": "lamp1", "url": lamp})
        assert (told.status_code, told.json()["accepted"]) == (201, True)
        assert httpx2.post(f"{hub}/api/instruments", json={"name": "lamp1", "url": lamp}).status_code == 200
        while state_of(hub, "lamp1") != "ready":
            pass
        assert httpx2.get(f"{hub}/api/instruments/lamp1/attributes/brightness").json()["value"] == 0.5
        assert command_line.run("connect", "default/lamp1", "get", "brightness").returncode == 0

    with command_line.hub("--port", "0") as hub:
        while state_of(hub, "lamp1") != "ready":
            pass
        assert [each["name"] for each in httpx2.get(f"{hub}/api/registered").json()] == ["lamp1"]
        assert httpx2.delete(f"{hub}/api/instruments/lamp1").status_code == 204
        assert httpx2.get(f"{hub}/api/instruments/lamp1").status_code == 404
        assert httpx2.get(f"{hub}/api/registered").json() == []


def test_what_a_run_has_is_not_removed_before_its_end(lamp: str, command_line: Any) -> None:
    with command_line.hub("--port", "0") as hub:
        httpx2.post(f"{hub}/api/instruments", json={"name": "lamp1", "url": lamp})
        while state_of(hub, "lamp1") != "ready":
            pass
        submitted = {"experiment": "name: glow\nsteps:\n  - do: lamp1.glow\n"}
        run = httpx2.post(f"{hub}/api/runs", json=submitted).json()["id"]
        while httpx2.get(f"{hub}/api/runs/{run}").json()["state"] != "running":
            pass

        refused = httpx2.delete(f"{hub}/api/instruments/lamp1")
        httpx2.post(f"{hub}/api/runs/{run}/abort")
        ended = httpx2.get(f"{hub}/api/runs/{run}/wait", params={"timeout": 30}, timeout=40).json()

        assert (refused.status_code, refused.json()["run"]) == (409, run)
        assert ended["state"] == "aborted"
        assert httpx2.delete(f"{hub}/api/instruments/lamp1").status_code == 204


def test_with_tokens_a_person_accepts_it_and_until_then_nothing_is_asked_of_it(lamp: str, command_line: Any) -> None:
    with guarded(command_line) as (hub, headers):
        body = {"name": "lamp1", "url": lamp}
        assert httpx2.post(f"{hub}/api/instruments", json=body).status_code == 401
        assert httpx2.post(f"{hub}/api/instruments", json=body, headers=headers["observer"]).status_code == 403
        told = httpx2.post(f"{hub}/api/instruments", json=body, headers=headers["operator"])
        assert (told.status_code, told.json()["accepted"], told.json()["by"]) == (202, False, "operator")
        assert state_of(hub, "lamp1", headers=headers["observer"]) == "proposed"
        asked = httpx2.get(f"{hub}/api/instruments/lamp1/attributes", headers=headers["admin"])
        assert asked.status_code == 503
        assert "Accept it" in asked.json()["way_out"]

        accept = f"{hub}/api/instruments/lamp1/accept"
        assert httpx2.post(accept, headers=headers["operator"]).status_code == 403
        assert httpx2.post(accept, headers=headers["admin"]).json()["accepted_by"].startswith("admin")
        while state_of(hub, "lamp1", headers=headers["observer"]) != "ready":
            pass
        assert httpx2.delete(f"{hub}/api/instruments/lamp1", headers=headers["operator"]).status_code == 403
        trail = command_line.run("audit", "--lab", "default", "--json").stdout
        assert "POST /api/instruments/lamp1/accept" in trail


@pytest.mark.parametrize("body", [{}, {"name": "x"}, {"name": "x", "url": "http://127.0.0.1:1", "more": 1}, [], "x"])
def test_what_is_no_registration_is_refused(command_line: Any, body: Any) -> None:
    with command_line.hub("--port", "0") as hub:
        told = httpx2.post(f"{hub}/api/instruments", json=body)
    assert told.status_code == 422
    assert told.json()["type"].startswith("urn:labretto")


def test_the_hub_is_no_instrument(command_line: Any) -> None:
    with command_line.hub("--port", "0") as hub:
        told = httpx2.post(f"{hub}/api/instruments", json={"name": "hub", "url": hub})
    assert told.status_code == 422
    assert "the hub itself" in told.json()["detail"]


def test_the_list_is_in_the_labs_folder(lamp: str, command_line: Any, labretto_home: Path) -> None:
    with command_line.hub("--port", "0") as hub:
        httpx2.post(f"{hub}/api/instruments", json={"name": "lamp1", "url": lamp})
    assert (labretto_home / "default/registered.json").exists()
