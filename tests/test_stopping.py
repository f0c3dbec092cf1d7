"""Pause, resume, abort, cancel and halt while an action blocks in a driver that ignores everything.

Each from the command line and from Python, against a hub and a host in processes of their own. The driver blocks until
a file is there; what matter did stands in another.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labretto.errors import ConflictError, LabError
from labretto.orchestrator.client import Hub, RunHandle

from .test_cli import Labretto, in_process

DRIVER = '''
import time
from pathlib import Path

class Deaf:
    """Ignores everything."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def burn(self) -> None:
        """Blocks until the file `go` is there."""
        self._did("burn")
        while not (self._folder / "go").exists():
            time.sleep(0.005)

    def cool(self) -> None:
        """What a clean-up does."""
        self._did("cool")

    def _did(self, what: str) -> None:
        with (self._folder / "done").open("a") as done:
            done.write(what + "\\n")


class Polite(Deaf):
    """Can be stopped."""

    def stop(self) -> None:
        self._did("stop")
        (self._folder / "go").touch()
'''
EXPERIMENT = "name: night\nsteps:\n  - do: {0}.burn\n  - do: {0}.burn\nfinally:\n  - do: {0}.cool\n"


@pytest.fixture(scope="module")
def address(command_line_of_the_module: Any) -> Iterator[str]:
    folder = command_line_of_the_module.folder
    (folder / "deaf.py").write_text(DRIVER)
    lab = 'name = "loud"\n'
    for name, kind in (("deaf", "Deaf"), ("polite", "Polite")):
        (folder / name).mkdir()
        lab += f'[instruments.{name}]\ndriver = "deaf:{kind}"\nsettings = {{ folder = "{folder / name}" }}\n'
    (folder / "lab.toml").write_text(lab)
    with command_line_of_the_module.hub("lab.toml", "--port", 0) as address:
        yield address


class Night:
    """A run whose action blocks, and what it did."""

    def __init__(self, hub: Hub, folder: Path, instrument: str, tmp_path: Path) -> None:
        self.folder = folder / instrument
        for file in self.folder.iterdir():
            file.unlink()
        experiment = tmp_path / "night.yaml"
        experiment.write_text(EXPERIMENT.format(instrument))
        self.hub = hub
        self.run: RunHandle = hub.submit(experiment)
        while not (self.folder / "done").exists():  # matter tells nobody
            time.sleep(0.01)

    def until(self, fits: Any) -> dict[str, Any]:
        """The run's status as soon as it fits; told by the hub."""
        if fits(status := self.run.status()):
            return status
        for _ in self.hub.events(follow=True):
            if fits(status := self.run.status()):
                return status
        raise AssertionError

    def let_go(self) -> None:
        (self.folder / "go").touch()

    @property
    def done(self) -> list[str]:
        return (self.folder / "done").read_text().split()


@pytest.fixture
def hub(address: str) -> Iterator[Hub]:
    with Hub(address) as hub:
        yield hub


@pytest.fixture
def night(hub: Hub, command_line_of_the_module: Any, tmp_path: Path) -> Iterator[Night]:
    night = Night(hub, command_line_of_the_module.folder, "deaf", tmp_path)
    yield night
    hub.reset()
    night.let_go()
    if night.run.status()["ended"] is None:
        night.run.abort()
    with contextlib.suppress(LabError):
        night.run.wait(20)


@pytest.fixture
def labretto(capsys: Any, monkeypatch: Any, hub: Hub) -> Labretto:
    ask = in_process(capsys, monkeypatch)
    return lambda *words: ask(*words, "--hub", hub.address)


def test_a_run_is_paused_and_resumed(night: Night, labretto: Labretto) -> None:
    assert "is running, and stands still before its next step" in labretto("runs", "pause", "night")[1]
    assert night.run.status()["pausing"] is True
    night.let_go()
    assert night.until(lambda status: status["state"] == "paused")["reason"] == "Paused by a person."
    assert night.done == ["burn"]
    assert "Paused by a person" in labretto("runs")[1]

    assert labretto("runs", "resume", night.run.id)[1].rstrip().endswith(("night goes on", "night is running"))

    assert night.run.wait(20).state == "succeeded"
    assert night.done == ["burn", "burn", "cool"]
    night.run.again()  # what the fixture ends


def test_a_run_is_aborted_when_its_action_has_ended_and_cleans_up(night: Night, labretto: Labretto) -> None:
    assert "night ends: what it does now is waited for" in labretto("runs", "abort", night.run.id[-8:])[1]
    assert night.done == ["burn"]
    night.let_go()

    with pytest.raises(LabError, match="ended by a person"):
        night.run.wait(20)
    assert night.done == ["burn", "cool"]


def test_an_action_that_cannot_be_cancelled_says_so_and_goes_on(night: Night, labretto: Labretto) -> None:
    with pytest.raises(ConflictError, match="blocks in its driver"):
        night.run.cancel()

    status, _, said = labretto("runs", "cancel", "night", "deaf.burn", "--within", 1)

    assert status == 3
    assert "blocks in its driver and cannot be cancelled" in said
    assert night.run.state == "running"


def test_a_halt_says_what_has_no_software_stop_and_no_further_step_begins(night: Night, labretto: Labretto) -> None:
    told = {each["instrument"]: each for each in json.loads(labretto("halt", "--json")[1])["stopped"]}
    assert (told["deaf"]["stopped"], told["deaf"]["no_software_stop"]) == (False, True)
    assert told["polite"]["stopped"] is True
    night.let_go()
    night.until(lambda status: status["reason"] == "The lab was halted.")
    assert night.done == ["burn"]
    assert labretto("runs")[1].startswith("The lab was halted by ")
    assert "no run takes another step until `labretto halt --reset`" in labretto("queue")[1]

    assert "deaf: NOT stopped" in labretto("halt")[1]
    assert "runs go on" in labretto("halt", "--reset")[1]
    night.until(lambda status: status["state"] == "succeeded")


def test_a_halt_from_python_reaches_a_driver_whose_action_blocks(
    hub: Hub, command_line_of_the_module: Any, tmp_path: Path
) -> None:
    night = Night(hub, command_line_of_the_module.folder, "polite", tmp_path)

    stopped = {each["instrument"]: each["stopped"] for each in hub.halt()}

    assert stopped == {"deaf": False, "polite": True}
    assert night.done[:2] == ["burn", "stop"]
    hub.reset()
    asked = night.until(lambda status: status["state"] in ("waiting", "succeeded"))
    if asked["state"] == "waiting":
        night.run.answer("abort")
