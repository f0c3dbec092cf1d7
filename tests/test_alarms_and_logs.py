"""Through a real hub: alarms, logs and a changed driver, by HTTP and by the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

DRIVER = '''
"""An oven whose temperature stands in a file."""
import pathlib
from typing import Annotated
from annotated_types import Unit

print("the oven's module is read")

class Oven:
    def __init__(self, file: str) -> None:
        self._file = pathlib.Path(file)

    @property
    def temperature(self) -> Annotated[float, Unit("degC")]:
        return float(self._file.read_text())
'''
LAB = """
[instruments.oven]
driver = "ovens:Oven"
settings = { file = "FILE" }
poll = { temperature = 0.05 }
alarms.temperature = { above = 800, severity = "critical" }
"""


@pytest.fixture
def folder(command_line: Any) -> Path:
    folder: Path = command_line.folder
    (folder / "ovens.py").write_text(DRIVER)
    (folder / "temperature").write_text("20")
    (folder / "lab.toml").write_text('name = "bakery"\n' + LAB.replace("FILE", str(folder / "temperature")))
    return folder


@pytest.fixture
def hub(folder: Path, command_line: Any) -> Iterator[str]:
    with command_line.hub("lab.toml", "--port", "0") as hub:
        yield hub


def alarms(hub: str) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = httpx2.get(f"{hub}/api/alarms").json()
    return answer


def raised(hub: str, folder: Path) -> dict[str, Any]:
    """The alarm, once the oven is too hot: its host looks by itself."""
    (folder / "aside").write_text("900")
    (folder / "aside").replace(folder / "temperature")
    while not (listed := alarms(hub)):
        pass
    return listed[0]


def test_an_alarm_is_raised_by_itself_and_acknowledged_through_the_hub(
    hub: str, folder: Path, command_line: Any
) -> None:
    assert alarms(hub) == []
    alarm = raised(hub, folder)
    assert (alarm["instrument"], alarm["condition"], alarm["severity"]) == ("oven", "above 800 degC", "critical")
    assert "above 800 degC" in command_line.run("alarms").stdout

    told = json.loads(command_line.run("alarms", "--seen", alarm["id"], "--note", "I look.", "--json").stdout)

    assert told[0]["note"] == "I look."
    assert told[0]["by"]
    again = httpx2.post(f"{hub}/api/instruments/oven/alarms/{alarm['id']}/acknowledge")
    assert again.status_code == 409
    assert httpx2.post(f"{hub}/api/instruments/oven/alarms/nothing/acknowledge").status_code == 404
    assert command_line.run("alarms", "--seen", "nothing").returncode == 3


def test_an_alarm_comes_over_the_change_stream_as_the_whole_list(hub: str, folder: Path) -> None:
    from websockets.sync.client import connect

    with connect(hub.replace("http", "ws") + "/live") as live:
        raised(hub, folder)
        while True:
            frame = live.recv(timeout=30)
            if isinstance(frame, str):
                told = [each for each in json.loads(frame)["changes"] if each["topic"] == "alarms"]
                if any(each["body"]["alarms"] for each in told):
                    break
    assert told[-1]["body"]["instrument"] == "oven"
    assert told[-1]["body"]["alarms"][0]["condition"] == "above 800 degC"


def test_what_a_host_wrote_is_shown(hub: str, command_line: Any) -> None:
    lines = httpx2.get(f"{hub}/api/instruments/oven/log").json()["lines"]
    assert "the oven's module is read" in lines
    assert "the oven's module is read" in command_line.run("logs", "oven").stdout
    assert command_line.run("logs", "oven", "-n", "1", "--json", "--hub", hub).stdout.count('"') == 2
    assert "'oven'" in command_line.run("logs", "oven2").stderr
    assert httpx2.get(f"{hub}/api/instruments/nothing/log").status_code == 404
    assert httpx2.get(f"{hub}/api/instruments/oven/log?lines=0").status_code == 422


def test_a_changed_driver_is_loaded_and_a_broken_one_is_not(hub: str, folder: Path, command_line: Any) -> None:
    (folder / "ovens.py").write_text(DRIVER.replace("def temperature", "def heat").replace("temperature", "heat"))
    told = command_line.run("reload", "oven")
    assert told.returncode == 3  # `poll` and `alarms` of lab.toml speak of an attribute that is not there any more
    assert "temperature" in told.stderr

    (folder / "ovens.py").write_text("import nothing_at_all\n")
    told = command_line.run("reload", "oven")
    assert told.returncode == 3
    assert "nothing_at_all" in told.stderr
    assert httpx2.get(f"{hub}/api/instruments/oven/attributes/temperature").json()["value"] == 20.0

    (folder / "ovens.py").write_text(DRIVER + "\n    def vent(self) -> None:\n        pass\n")
    assert "action vent is new" in command_line.run("reload", "oven").stdout
    assert "vent" in httpx2.get(f"{hub}/api/instruments/oven").json()["description"]["actions"]
