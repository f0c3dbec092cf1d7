"""The hub as a whole: one per lab, nothing left behind when it cannot start, a full disk, a halt.

Real processes: what is tested is how they share folders, ports and disks.
"""

import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from labretto.catalog.read import open_record
from labretto.network.directory import read_host
from labretto.network.liveness import held, holder

DRIVERS = '''
import pathlib

class Lamp:
    """A lamp that counts what it did, on the disk where a kill cannot erase it."""

    def __init__(self, marks: str) -> None:
        self._marks = pathlib.Path(marks)

    def flash(self) -> int:
        """How many flashes there were."""
        return self._mark("flash")

    def flash_when_told(self, file: str) -> int:
        """A flash when a named pipe is written to; how many flashes there were."""
        pathlib.Path(file).read_text()
        return self.flash()

    def _mark(self, word: str) -> int:
        with self._marks.open("a") as file:
            file.write(word + " ")
        return self._marks.read_text().split().count(word)

class Stoppable(Lamp):
    """A lamp with a software stop."""

    def stop(self) -> None:
        self._mark("stop")
'''
PATIENCE = 30.0


@pytest.fixture
def lab(command_line: Any) -> Path:
    """A lab with a lamp that can be stopped and one that cannot."""
    folder: Path = command_line.folder
    (folder / "drivers.py").write_text(DRIVERS)
    tables = [
        f'[instruments.{name}]\ndriver = "drivers:{cls}"\nsettings = {{ marks = "{folder / name}" }}\n'
        for name, cls in (("lamp", "Stoppable"), ("bulb", "Lamp"))
    ]
    (folder / "lab.toml").write_text('name = "lamps"\n' + "".join(tables))
    return folder / "lab.toml"


def marks(lab: Path, name: str) -> list[str]:
    """What a lamp did."""
    file = lab.parent / name
    return file.read_text().split() if file.exists() else []


def submit(hub: str, steps: str) -> str:
    answer = httpx2.post(f"{hub}/api/runs", json={"experiment": f"name: flashes\nsteps:\n{steps}"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def ended(hub: str, run: str) -> dict[str, Any]:
    """The run when it is over."""
    answer = httpx2.get(f"{hub}/api/runs/{run}/wait?timeout={PATIENCE}", timeout=PATIENCE + 5)
    return dict(answer.raise_for_status().json())


@pytest.fixture
def listen() -> Iterator[Callable[[str], Any]]:
    """What a hub tells from now on, as a function that answers the first change that fits."""
    sockets = ExitStack()

    def listening(hub: str) -> Callable[[Callable[[str, dict[str, Any]], bool]], dict[str, Any]]:
        live = sockets.enter_context(connect(hub.replace("http", "ws") + "/live"))
        live.recv(timeout=PATIENCE)

        def told(fits: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
            while True:
                frame = live.recv(timeout=PATIENCE)
                for change in json.loads(frame)["changes"] if isinstance(frame, str) else ():
                    if fits(change["topic"], change["body"]):
                        return dict(change["body"])

        return told

    with sockets:
        yield listening


# Starting ---------------------------------------------------------------------------------------------------------


def test_a_lab_has_one_hub(lab: Path, command_line: Any) -> None:
    with command_line.hub(lab, "--port", "0") as hub:
        second = command_line.run("up", lab, "--port", "0")

        assert second.returncode == 3
        assert "runs already" in second.stderr
        assert "is held by the process" in second.stderr
        assert "Traceback" not in second.stderr
        run = submit(hub, "  - do: lamp.flash\n")
        assert ended(hub, run)["state"] == "succeeded"
    assert marks(lab, "lamp") == ["flash"]
    assert command_line.alive() == {}


def test_a_port_in_use_is_found_before_any_instrument_is_touched(lab: Path, command_line: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = command_line.run("up", lab, "--port", other.getsockname()[1])

    assert done.returncode == 3
    assert "is in use" in done.stderr
    assert not (command_line.home / "lamps" / "hosts").exists()
    assert command_line.alive() == {}


def test_beyond_the_loopback_it_wants_a_token(lab: Path, command_line: Any) -> None:
    lab.write_text('host = "0.0.0.0"\n' + lab.read_text())

    done = command_line.run("up", lab, "--port", "0")

    assert done.returncode == 3
    assert "LABRETTO_TOKEN" in done.stderr
    assert command_line.alive() == {}


def test_beyond_the_loopback_everybody_shows_a_token(lab: Path, command_line: Any) -> None:
    (lab.parent / "flash.yaml").write_text("name: flashes\nsteps:\n  - do: lamp.flash\n")
    secret = {"LABRETTO_TOKEN": "a-token-of-the-environment-that-is-long-enough"}
    with command_line.hub(lab, "--port", "0", "--host", "0.0.0.0", environment=secret) as hub:
        stranger = command_line.run("run", "flash.yaml", LABRETTO_TOKEN="wrong")
        forged = httpx2.post(f"{hub}/api/halt", headers={"Authorization": "Bearer wrong"})
        friend = command_line.run("run", "flash.yaml", **secret)
        owner = command_line.run("run", "flash.yaml")
        with pytest.raises(InvalidStatus, match="401"), connect(hub.replace("http", "ws") + "/live"):
            pass

    assert (stranger.returncode, forged.status_code) == (3, 401)
    assert "not known here" in stranger.stderr
    assert (friend.returncode, friend.stderr) == (0, "")
    assert (owner.returncode, owner.stderr) == (0, ""), "who may read the lab's folder is its owner"
    assert marks(lab, "lamp") == ["flash", "flash"]


def test_an_instrument_that_cannot_be_made_stops_nobody_else(lab: Path, command_line: Any) -> None:
    lab.write_text(lab.read_text() + '[instruments.broken]\ndriver = "drivers:Lamp"\n')
    with command_line.hub(lab, "--port", "0") as hub:
        states = {one["name"]: one["state"] for one in httpx2.get(f"{hub}/api/instruments").json()}
        run = submit(hub, "  - do: bulb.flash\n")
        refused = httpx2.post(f"{hub}/api/runs", json={"experiment": "steps:\n  - do: broken.flash\n"})

        assert ended(hub, run)["state"] == "succeeded"
        assert states == {"lamp": "ready", "bulb": "ready", "broken": "stopped"}
        assert refused.status_code == 503
        assert "marks" in refused.json()["detail"]


def test_an_instrument_is_started_anew_when_somebody_asks(lab: Path, command_line: Any) -> None:
    with command_line.hub(lab, "--port", "0") as hub:
        before = httpx2.get(f"{hub}/api/instruments/lamp").json()["pid"]
        after = httpx2.post(f"{hub}/api/instruments/lamp/restart", timeout=PATIENCE).json()

        assert (after["state"], after["pid"] != before) == ("ready", True)
        assert httpx2.post(f"{hub}/api/instruments/nobody/restart").status_code == 404


# A full disk ------------------------------------------------------------------------------------------------------


def limit_files(pid: int, size: int) -> None:
    """From now on no file of the process grows beyond `size`: to what writes it, a full disk."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_refuses_new_work_and_loses_nothing(
    lab: Path, command_line: Any, listen: Callable[[str], Any]
) -> None:
    """What ends while nothing can be written stays with its host, and is written when it can be."""
    pipe = lab.parent / "pipe"
    os.mkfifo(pipe)
    with command_line.hub(lab, "--port", "0") as hub:
        told = listen(hub)
        pid = holder(command_line.home / "lamps" / "hub.lock")
        assert pid is not None
        steps = f"  - do: lamp.flash_when_told\n    name: flashes\n    with: {{file: {pipe}}}\n"
        run = submit(hub, steps + "  - save: {flashes: '${flashes}'}\n")
        told(lambda topic, body: topic == "invocation" and body["state"] == "running")

        limit_files(pid, 0)
        refused = httpx2.post(f"{hub}/api/runs", json={"experiment": "steps:\n  - do: bulb.flash\n"})
        pipe.write_text("now")
        trouble = told(lambda topic, body: topic == "run" and "journal.db" in (body.get("reason") or ""))
        shown = httpx2.get(f"{hub}/api/runs").json()
        limit_files(pid, resource.RLIM_INFINITY)

        assert (refused.status_code, refused.json()["title"]) == (507, "Cannot be written to disk")
        assert "journal.db" in refused.json()["detail"]
        assert refused.json()["way_out"]
        assert [(each["id"], each["state"]) for each in shown] == [(run, "running")]
        assert trouble["id"] == run
        assert ended(hub, run)["state"] == "succeeded"
        later = submit(hub, "  - do: bulb.flash\n")
        assert ended(hub, later)["state"] == "succeeded"
        record = open_record(Path(httpx2.get(f"{hub}/api/records/{run}").json()["folder"]))
    assert [row["flashes"] for row in record.rows] == [1]
    assert (marks(lab, "lamp"), marks(lab, "bulb")) == (["flash"], ["flash"])


# Halt -------------------------------------------------------------------------------------------------------------


def test_a_halt_stops_every_driver_and_says_who_has_no_stop(lab: Path, command_line: Any) -> None:
    with command_line.hub(lab, "--port", "0") as hub:
        answer = httpx2.post(f"{hub}/api/halt").json()
        refused = httpx2.post(f"{hub}/api/instruments/lamp/actions/flash")
        waits = submit(hub, "  - do: bulb.flash\n")
        assert httpx2.post(f"{hub}/api/halt/reset").json() == {"halted": False, "kept": True}

        stopped = {each["instrument"]: each for each in answer["stopped"]}
        assert answer["halted"] is True
        assert stopped["lamp"]["stopped"] is True
        assert (stopped["bulb"]["stopped"], stopped["bulb"]["no_software_stop"]) == (False, True)
        assert (refused.status_code, refused.json()["way_out"]) == (409, "Reset the halt first.")
        assert ended(hub, waits)["state"] == "succeeded"
    assert (marks(lab, "lamp"), marks(lab, "bulb")) == (["stop"], ["flash"])


def test_a_halt_outlives_the_hub(lab: Path, command_line: Any) -> None:
    with command_line.start("up", lab, "--port", "0") as first:
        hub = first.stdout.readline().split()[1]
        httpx2.post(f"{hub}/api/halt").raise_for_status()
        run = submit(hub, "  - do: bulb.flash\n")
        first.kill()

    with command_line.hub(lab, "--port", "0") as hub:
        assert httpx2.get(f"{hub}/api/halt").json()["halted"] is True
        assert httpx2.post(f"{hub}/api/instruments/lamp/actions/flash").status_code == 409
        assert marks(lab, "bulb") == []

        httpx2.post(f"{hub}/api/halt/reset").raise_for_status()

        assert ended(hub, run)["state"] == "succeeded"
    assert marks(lab, "bulb") == ["flash"]


# Ending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_hub_takes_its_hosts_along_also_in_the_middle_of_an_action(
    lab: Path, command_line: Any, listen: Callable[[str], Any], number: int
) -> None:
    pipe = lab.parent / "never"
    os.mkfifo(pipe)
    with command_line.start("up", lab, "--port", "0") as process:
        hub = process.stdout.readline().split()[1]
        told = listen(hub)
        submit(hub, f"  - do: lamp.flash_when_told\n    with: {{file: {pipe}}}\n")
        told(lambda topic, body: topic == "invocation" and body["state"] == "running")

        process.send_signal(number)

        assert process.wait(PATIENCE) == 0
    folder = command_line.home / "lamps"
    assert command_line.alive() == {}
    assert [lock for lock in folder.glob("**/*lock") if held(lock)] == []
    assert not (folder / "hub.json").exists()
    assert read_host(folder / "hosts" / "lamp") is None
    assert "Traceback" not in command_line.errors()


def test_who_still_waits_when_a_hub_is_ended_is_told_so(
    lab: Path, command_line: Any, listen: Callable[[str], Any]
) -> None:
    pipe = lab.parent / "never"
    os.mkfifo(pipe)
    with command_line.start("up", lab, "--port", "0") as process, ThreadPoolExecutor() as aside:
        hub = process.stdout.readline().split()[1]
        told = listen(hub)
        act = f"{hub}/api/instruments/lamp/actions/flash_when_told"
        waiting = aside.submit(httpx2.post, act, json={"file": str(pipe)}, timeout=PATIENCE)
        told(lambda topic, body: topic == "invocation" and body["state"] == "running")

        process.send_signal(signal.SIGTERM)

        answer = waiting.result(PATIENCE)
        assert process.wait(PATIENCE) == 0
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["detail"] == "The server was ended before it could answer."
    assert "Traceback" not in command_line.errors()


def test_hub_and_hosts_log_json_lines_with_fields(lab: Path, command_line: Any) -> None:
    with command_line.hub(lab, "--port", "0", "--log", "json", "-v") as hub:
        lines = httpx2.get(f"{hub}/api/instruments/lamp/log").json()["lines"]
        assert [json.loads(line)["instrument"] for line in lines] == ["lamp"] * len(lines)
        assert lines

    said = [json.loads(line) for line in command_line.errors().splitlines()]
    assert {"lamp", "bulb"} <= {line.get("instrument") for line in said}
