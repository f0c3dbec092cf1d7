"""A board in a run of the hub: cut off in mid-action, it says so, a person decides, and nothing is done twice."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from labretto.hub import start_lab

PUMP = Path(__file__).parents[2] / "board/examples/pump/main.py"
EXPERIMENT = """
name: two doses
steps:
  - set: pump.speed
    to: 2.0
  - do: pump.dispense
    name: rinse
    with: {volume: 0.1}
  - do: pump.dispense
    name: dose
    with: {volume: 40}
  - do: pump.dispense
    name: last
    with: {volume: 0.2}
  - save: {rinsed: "${rinse}", last: "${last}"}
"""


def until(look: Callable[[], Any], found: Callable[[Any], bool]) -> Any:
    """Looks until what is there is what was waited for; fails after 20 s."""
    end = time.monotonic() + 20
    seen = None
    while time.monotonic() < end:
        try:
            seen = look()
        except requests.ConnectionError:
            seen = "not reachable"
        else:
            if found(seen):
                return seen
        time.sleep(0.02)
    raise AssertionError(seen)


@pytest.fixture
def board(started: Callable[..., Any], free_port: int, tmp_path: Path) -> Iterator[Any]:
    """The pump's address, and a way to start it (again)."""

    class Pump:
        url = f"http://127.0.0.1:{free_port}"

        def boot(self) -> Any:
            process = started(str(PUMP), str(free_port), cwd=tmp_path)
            until(lambda: requests.get(self.url + "/health", timeout=5).status_code, lambda status: status == 200)
            return process

        def running(self) -> Any:
            return requests.get(self.url + "/health", timeout=5).json()["running"]

    return Pump()


@pytest.mark.parametrize("interpreter", ["i386"], indirect=True)
def test_a_person_is_asked_about_an_action_that_a_reset_cut_off(board: Any, tmp_path: Path) -> None:
    process = board.boot()
    lab = tmp_path / "lab.toml"
    lab.write_text(f'name = "with_a_board"\n[instruments.pump]\nurl = "{board.url}"\n')
    with start_lab(lab, port=0) as hub:
        run = requests.post(hub.url + "/api/runs", json={"experiment": EXPERIMENT}, timeout=10).json()
        until(board.running, lambda running: running and running["parameters"] == {"volume": 40})

        process.kill()
        process.wait()
        board.boot()

        def state() -> Any:
            return requests.get(f"{hub.url}/api/runs/{run['id']}", timeout=10).json()

        waiting = until(state, lambda run: run["state"] == "waiting")
        assert board.running() is None
        assert waiting["question"]["kind"] == "interrupted"
        assert waiting["question"]["action"] == "dispense"
        answer = {"choice": "happened", "value": 40.1, "why": "The beaker is full."}
        settled = requests.post(f"{hub.url}/api/runs/{run['id']}/answer", json=answer, timeout=10)
        assert settled.status_code < 300, settled.text
        ended = until(state, lambda run: run["state"] in ("succeeded", "failed"))

        assert ended["state"] == "succeeded"
        data = requests.get(f"{hub.url}/api/records/{run['id']}/data", timeout=10).json()
        assert [{name: value["$value"] for name, value in row.items()} for row in data] == [
            {"rinsed": 0.1, "last": 0.2}
        ]
        pumped = requests.get(board.url + "/attributes/pumped", timeout=5).json()["value"]
        assert pumped == pytest.approx(0.2)  # since the restart: the dose was not pumped again
