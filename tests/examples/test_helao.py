"""The HELAO tutorial from outside: plain `requests` against the processes of `labretto up examples/helao/lab.toml`.

Every row of the heritage contract is here. Nothing waits for time to pass: a run's end is asked for with the hub's own
waiting route, a begin is seen by asking until it is there.
"""

import ast
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import requests

import labretto

HERE = Path(__file__).resolve()
EXAMPLE = HERE.parents[2] / "examples" / "helao"
NAMES = ("hello", "motor", "potentiostat", "shaky_hand")
PATIENCE = 20.0
LONG = 600.0
"""Seconds of a move that no test waits for: it is stopped."""

SHAKY_HAND = '''
"""A driver with underscores in its names and bad days."""

from typing import NamedTuple

import numpy as np


class Point(NamedTuple):
    time: float
    height: float


class ShakyHand:
    """Raises, answers arrays, streams."""

    def drop(self) -> None:
        raise RuntimeError("the beaker is on the floor")

    def read_back(self, value: int = 1) -> dict[str, int]:
        return {"value": value}

    def draw(self) -> dict[str, object]:
        return {"picture": np.arange(50.0), "missing": float("nan")}
'''


@dataclass(frozen=True)
class Servers:
    """Where the four servers of the tutorial answer."""

    file: Path
    ports: dict[str, int]

    def url(self, server: str) -> str:
        return f"http://127.0.0.1:{self.ports[server]}"

    def get(self, server: str, route: str, **query: Any) -> requests.Response:
        return requests.get(f"{self.url(server)}/{route}", params=query, timeout=60)

    def add(self, experiment: Any) -> requests.Response:
        text = experiment if isinstance(experiment, str) else json.dumps(experiment)
        return requests.post(f"{self.url('orchestrator')}/addExperiment", params={"experiment": text}, timeout=60)

    def done(self, answer: requests.Response) -> str:
        """The state of a run that was added, when it is over."""
        route = f"api/runs/{answer.headers['Labretto-Run']}/wait"
        run = self.get("orchestrator", route, timeout=PATIENCE).json()
        assert run["ended"] is not None, run
        return str(run["state"])

    def data(self) -> dict[str, dict[str, Any]]:
        answer = self.get("orchestrator", "getData")
        assert answer.status_code == 200, answer.text
        found: dict[str, dict[str, Any]] = answer.json()
        return found

    def newest(self) -> dict[str, Any]:
        return list(self.data().values())[-1]

    def stop(self, server: str) -> requests.Response:
        return requests.post(f"{self.url(server)}/stop", timeout=60)

    def is_busy(self, server: str) -> bool:
        return bool(self.get(server, "health").json()["running"])


def until(wanted: Callable[[], Any]) -> Any:
    """What `wanted` answers as soon as that is true, where there is nothing that could be waited for."""
    deadline = time.monotonic() + PATIENCE
    while not (found := wanted()):
        assert time.monotonic() < deadline, "it did not come about"
    return found


def move(*loc: float) -> dict[str, Any]:
    return {"soe": ["motor/move_1"], "params": {"move_1": {"loc": json.dumps(loc)}}}


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(closing(socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def write_lab(folder: Path, *, potentiostat: bool = True) -> Servers:
    """The example's lab.toml on free ports, with quick moves and one more instrument."""
    ports = dict(zip((*NAMES, "orchestrator"), free_ports(5), strict=True))
    text = (EXAMPLE / "lab.toml").read_text()
    for server, port in {"orchestrator": 5003, "hello": 5000, "motor": 5001, "potentiostat": 5002}.items():
        text, count = re.subn(rf"^port = {port}$", f"port = {ports[server]}", text, flags=re.MULTILINE)
        assert count == 1
    text = text.replace("duration = 5.0", "duration = 0.05")
    text = re.sub(r"^driver = ", f"path = {json.dumps(str(EXAMPLE))}\ndriver = ", text, flags=re.MULTILINE)
    if not potentiostat:
        text, _, _ = text.partition("[instruments.potentiostat]")
    text += f'\n[instruments.shaky_hand]\ndriver = "shaky:ShakyHand"\nport = {ports["shaky_hand"]}\n'
    (folder / "shaky.py").write_text(SHAKY_HAND)
    (folder / "helao.toml").write_text(text)
    return Servers(folder / "helao.toml", ports)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, command_line_of_the_module: Any) -> Iterator[Servers]:
    """The four servers of the tutorial, and one instrument with bad days."""
    written = write_lab(tmp_path_factory.mktemp("helao"))
    with command_line_of_the_module.hub(written.file):
        yield written


@pytest.fixture
def slow_motor(servers: Servers) -> Iterator[Servers]:
    """Moves do not end by themselves."""
    url = f"{servers.url('motor')}/attributes/duration"
    assert requests.put(url, json={"value": LONG}, timeout=60).ok
    yield servers
    servers.stop("motor")
    until(lambda: not servers.is_busy("motor"))
    assert requests.put(url, json={"value": 0.05}, timeout=60).ok


@contextmanager
def asked_meanwhile(servers: Servers, server: str, route: str, **query: Any) -> Iterator["Future[requests.Response]"]:
    """A request that goes on while the block runs; the instrument is stopped at its end."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(servers.get, server, route, **query)
        until(lambda: answer.done() or servers.is_busy(server))
        try:
            yield answer
        finally:
            servers.stop(server)


# hello ------------------------------------------------------------------------------------------------------------


def test_hello_greets(servers):
    answer = servers.get("hello", "hello", s="jack")

    assert (answer.status_code, answer.json()) == (200, {"greeting": "hello jack"})


@pytest.mark.parametrize("name", ["5", '"quoted"', "", "jäck & jill", "[1, 2]"])
def test_text_is_taken_as_it_is(name, servers):
    assert servers.get("hello", "hello", s=name).json() == {"greeting": f"hello {name}"}


# motor ------------------------------------------------------------------------------------------------------------


def test_a_move_answers_where_the_motor_is_once_it_has_ended(servers):
    answer = requests.get(f"{servers.url('motor')}/move?loc=[5,5,5]", timeout=60)

    assert (answer.status_code, answer.json()) == (200, {"position": [5, 5, 5]})
    assert servers.get("motor", "getPos").json() == {"position": [5, 5, 5]}


def test_the_position_is_answered_while_the_motor_moves(slow_motor):
    with asked_meanwhile(slow_motor, "motor", "move", loc="[90, 90, 90]") as moving:
        answer = slow_motor.get("motor", "getPos")

        assert not moving.done()
        assert answer.status_code == 200
        assert all(place < 90 for place in answer.json()["position"])


def test_a_second_move_is_refused_at_once_with_what_runs_and_until_when(slow_motor):
    with asked_meanwhile(slow_motor, "motor", "move", loc="[10, 10, 10]") as moving:
        answer = slow_motor.get("motor", "move", loc="[1, 1, 1]")

        assert not moving.done()
        assert answer.status_code == 409
        assert re.search(r"motor is busy: move\(.*\) runs since .*Z.* busy until .*Z", answer.json()["detail"])
        assert slow_motor.get("motor", "health").json()["running"]["parameters"] == {"loc": [10, 10, 10]}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("loc=[5,5]", ["loc=[5, 5]", "list of 3 (number"]),
        ("loc=[5,5,5,5]", ["loc=[5, 5, 5, 5]", "list of 3 (number"]),
        ("loc=far", ["loc='far'", "list of 3 (number"]),
        ("loc=[5,5", ["loc='[5,5'", "list of 3 (number"]),
        ("loc=", ["loc=''", "list of 3 (number"]),
        ('loc=[5,5,"x"]', ["loc", "'x'", "number"]),
        ("loc=[5,5,NaN]", ["loc='[5,5,NaN]'", "number"]),
        ("loc=null", ["loc=None", "list of 3 (number"]),
        ("loc=[5,5,500]", ["loc[2]=500", "100", "mm"]),
        ("", ["loc", "list of 3 (number"]),
        ("loc=[1,1,1]&loc=[2,2,2]", ["loc", "more than once"]),
        ("loc=[1,1,1]&speed=5", ["speed", "loc"]),
    ],
)
def test_a_place_that_is_not_three_numbers_is_refused_and_nothing_moves(query, told, servers):
    before = servers.get("motor", "getPos").json()

    answer = requests.get(f"{servers.url('motor')}/move?{query}", timeout=60)

    assert answer.status_code == 422
    problem = answer.json()
    assert [word for word in told if word not in f"{problem['detail']} {problem['way_out']}"] == []
    assert not servers.is_busy("motor")
    assert servers.get("motor", "getPos").json() == before


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 405),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}, 403),
        ("GET", {"Purpose": "prefetch"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ("GET", {"Origin": "http://elsewhere.example"}, 403),
        ("GET", {"Host": "elsewhere.example"}, 403),
    ],
)
def test_nothing_moves_because_a_browser_looks_ahead_or_shows_a_page_from_elsewhere(method, headers, status, servers):
    before = servers.get("motor", "getPos").json()

    answer = requests.request(method, f"{servers.url('motor')}/move?loc=[77,7,7]", headers=headers, timeout=60)

    assert answer.status_code == status
    assert servers.get("motor", "getPos").json() == before


def test_an_unknown_route_is_told_to_be_unknown(servers):
    assert servers.get("motor", "fly").status_code == 404


def test_a_stopped_move_is_told_to_have_been_stopped(slow_motor):
    with asked_meanwhile(slow_motor, "motor", "move", loc="[50, 50, 50]") as moving:
        assert slow_motor.stop("motor").json()["stopped"] is True
        answer = moving.result(PATIENCE)

    assert answer.status_code == 409
    assert "stopped before its end" in answer.json()["detail"]


# potentiostat -----------------------------------------------------------------------------------------------------


def test_a_sweep_shows_the_peak_that_randles_and_sevcik_foretell(servers):
    # 0.1 V/s over a disc of 0.0707 cm^2 in 1 mmol/L of ferrocyanide, D = 6.7e-6 cm^2/s, at 298 K
    foretold = 2.69e5 * 0.0707 * 1e-6 * (6.7e-6 * 0.1) ** 0.5

    answer = servers.get("potentiostat", "measureVoltage", Vmin=-0.1, Vmax=0.6, t=7)

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert len(data["time"]) == len(data["potential"]) == len(data["current"]) > 100
    assert (data["potential"][0], data["potential"][-1]) == pytest.approx((-0.1, 0.6))
    assert max(data["current"]) == pytest.approx(foretold, rel=0.05)


def test_imposed_currents_raise_the_potential(servers):
    data = servers.get("potentiostat", "measureCurrents", Is="[1e-7, 5e-6]", dt=0.5).json()["data"]

    assert set(data["current"]) == {1e-7, 5e-6}
    assert data["potential"][-1] > data["potential"][0] + 0.05


def test_at_rest_the_cell_is_open(servers):
    assert servers.get("potentiostat", "current").json() == {"data": 0}
    assert -0.5 < servers.get("potentiostat", "voltage").json()["data"] < 0.5


def test_voltage_and_current_are_answered_while_it_measures(servers):
    with asked_meanwhile(servers, "potentiostat", "measureVoltage", Vmin=0, Vmax=0.5, t=3600) as measuring:
        voltage, current = (servers.get("potentiostat", name) for name in ("voltage", "current"))
        second = servers.get("potentiostat", "measureVoltage", Vmin=0, Vmax=1, t=1)

        assert not measuring.done()
        assert isinstance(voltage.json()["data"], float)
        assert isinstance(current.json()["data"], float)
        assert second.status_code == 409
        assert "measureVoltage" in second.json()["detail"]


@pytest.mark.parametrize(
    ("route", "query", "told"),
    [
        ("measureVoltage", {"Vmin": 0, "Vmax": 5, "t": 1}, "Vmax=5 V is above 2"),
        ("measureVoltage", {"Vmin": 0, "Vmax": 1, "t": 0}, "t=0 s is not above 0"),
        ("measureVoltage", {"Vmin": 0, "Vmax": 1}, "'t'"),
        ("measureCurrents", {"Is": "[]", "dt": 1}, "Is=[]"),
        ("measureCurrents", {"Is": "1", "dt": 1}, "Is=1"),
    ],
)
def test_what_it_cannot_measure_is_refused(route, query, told, servers):
    answer = servers.get("potentiostat", route, **query)

    assert answer.status_code == 422
    assert told in answer.json()["detail"]


# orchestrator -----------------------------------------------------------------------------------------------------


def test_an_experiment_is_done_in_its_order_and_its_data_is_kept(servers):
    number = len(servers.data())
    experiment = {
        "soe": ["motor/move_1", "motor/move_2", "motor/getPos_1", "hello/hello_1", "potentiostat/voltage"],
        "params": {
            "move_1": {"loc": "[5, 5, 5]"},
            "move_2": {"loc": [1, 2, 3]},
            "getPos_1": {},
            "hello_1": {"s": "jack"},
        },
    }

    added = servers.add(experiment)

    assert (added.status_code, added.json()) == (200, None)
    assert servers.done(added) == "succeeded"
    data = servers.data()[f"experiment_{number}"]
    assert list(data) == ["move_1", "move_2", "getPos_1", "hello_1", "voltage"]
    assert data["move_1"] == {"position": [5, 5, 5]}
    assert data["move_2"] == data["getPos_1"] == {"position": [1, 2, 3]}
    assert data["hello_1"] == {"greeting": "hello jack"}
    assert isinstance(data["voltage"]["data"], float)


def test_while_an_action_runs_its_entry_says_here_and_the_next_experiment_waits(slow_motor):
    number = len(slow_motor.data())
    first, second = (
        slow_motor.add(move(30, 30, 30)),
        slow_motor.add({"soe": ["hello/hello"], "params": {"hello": {"s": "you"}}}),
    )
    until(lambda: slow_motor.is_busy("motor"))

    assert slow_motor.data()[f"experiment_{number}"] == {"move_1": "here"}
    assert f"experiment_{number + 1}" not in slow_motor.data()

    slow_motor.stop("motor")
    assert slow_motor.done(second) == "succeeded"
    data = slow_motor.data()
    assert "stopped before its end" in data[f"experiment_{number}"]["move_1"]
    assert data[f"experiment_{number + 1}"] == {"hello": {"greeting": "hello you"}}
    abort = f"{slow_motor.url('orchestrator')}/api/runs/{first.headers['Labretto-Run']}/abort"
    assert requests.post(abort, timeout=60).ok
    assert slow_motor.done(first) == "aborted"
    assert "stopped before its end" in slow_motor.data()[f"experiment_{number}"]["move_1"]


@pytest.mark.parametrize(
    ("experiment", "told"),
    [
        ("this is not JSON", "not JSON"),
        ('{"soe": ["motor/move_1"]', "not JSON"),
        ("", "not JSON"),
        ("[" * 100_0, "not JSON"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
        ('"soe"', "no JSON object"),
        ({}, "no `soe`"),
        ({"params": {}}, "no `soe`"),
        ({"name": "x", "steps": [{"read": "motor.position"}]}, "no `soe`"),
        ({"soe": []}, "soe"),
        ({"soe": "motor/move_1"}, "soe"),
        ({"soe": [5]}, "5"),
        ({"soe": ["motor"]}, "motor"),
        ({"soe": ["rotom/move_1"], "params": {"move_1": {"loc": "[5, 5, 5]"}}}, "no instrument 'rotom'"),
        ({"soe": ["motor/fly_1"], "params": {"fly_1": {}}}, "no action 'fly'"),
        ({"soe": ["motor/move_1"]}, "loc"),
        ({"soe": ["motor/move_1"], "params": {}}, "loc"),
        ({"soe": ["motor/move_1"], "params": {"move_2": {"loc": "[5, 5, 5]"}}}, "loc"),
        ({"soe": ["motor/move_1"], "params": 5}, "params"),
        ({"soe": ["motor/move_1"], "params": {"move_1": None}}, "move_1"),
        ({"soe": ["motor/move_1"], "params": {"move_1": {"loc": "[5, 5]"}}}, "2 values, fewer than 3"),
        ({"soe": ["motor/move_1"], "params": {"move_1": {"loc": "[5, 5, 500]"}}}, "500 mm is above 100 mm"),
        ({"soe": ["motor/move_1"], "params": {"move_1": {"loc": "here"}}}, "here"),
        ({"soe": ["motor/move_1"], "params": {"move_1": {"loc": "[5, 5, 5]", "v": 1}}}, "no parameter 'v'"),
    ],
)
def test_what_can_never_run_is_refused_by_its_name_and_the_queue_goes_on(experiment, told, servers):
    before = servers.data()

    answer = servers.add(experiment)

    assert answer.status_code == 422, answer.text
    assert told in answer.json()["detail"]
    assert servers.data() == before
    assert servers.done(servers.add(move(1, 1, 1))) == "succeeded"
    assert servers.newest() == {"move_1": {"position": [1, 1, 1]}}


def test_without_an_experiment_there_is_nothing_to_add(servers):
    assert requests.post(f"{servers.url('orchestrator')}/addExperiment", timeout=60).status_code == 422


def test_an_experiment_too_long_for_an_address_may_come_as_the_body(servers):
    experiment = move(4, 4, 4) | {"note": "x" * 1_000_000}

    added = requests.post(f"{servers.url('orchestrator')}/addExperiment", json=experiment, timeout=60)

    assert servers.done(added) == "succeeded"
    assert servers.newest() == {"move_1": {"position": [4, 4, 4]}}


def test_names_with_underscores_are_found_whole(servers):
    experiment: dict[str, Any] = {
        "soe": ["shaky_hand/read_back_1", "shaky_hand/read_back", "shaky_hand/read_back_12"],
        "params": {"read_back_1": {"value": "7"}, "read_back": {"value": 8}, "read_back_12": {}},
    }

    assert servers.done(servers.add(experiment)) == "succeeded"
    assert servers.newest() == {
        "read_back_1": {"value": 7},
        "read_back": {"value": 8},
        "read_back_12": {"value": 1},
    }


def test_a_failure_is_a_text_with_the_instruments_own_words_and_the_next_experiment_runs(servers):
    failing = servers.add(
        {"soe": ["shaky_hand/drop_1", "hello/hello_1"], "params": {"drop_1": {}, "hello_1": {"s": "x"}}}
    )
    following = servers.add(move(2, 2, 2))

    assert servers.done(failing) == "failed"
    assert servers.done(following) == "succeeded"
    *_, failed, moved = servers.data().values()
    assert list(failed) == ["drop_1"]
    assert "the beaker is on the floor" in failed["drop_1"]
    assert moved == {"move_1": {"position": [2, 2, 2]}}


def test_arrays_are_told_as_lists(servers):
    assert servers.done(servers.add({"soe": ["shaky_hand/draw_1"], "params": {"draw_1": {}}})) == "succeeded"

    assert servers.newest() == {"draw_1": {"picture": list(range(50)), "missing": None}}


def test_an_experiment_that_came_by_the_hubs_own_route_is_told_too_if_it_has_the_old_form(servers):
    count = len(servers.data())
    url = f"{servers.url('orchestrator')}/api/runs"
    plain = requests.post(url, json={"experiment": "name: look\nsteps:\n  - read: motor.position\n"}, timeout=60)
    old = requests.post(url, json={"experiment": move(3, 3, 3)}, timeout=60)
    for run in (plain, old):
        requests.get(f"{url}/{run.json()['id']}/wait", params={"timeout": PATIENCE}, timeout=60)

    data = servers.data()
    assert len(data) == count + 1
    assert data[f"experiment_{count}"] == {"move_1": {"position": [3, 3, 3]}}


def test_a_killed_hub_comes_back_with_its_data_and_adopts_the_move_that_went_on(command_line, tmp_path):
    servers = write_lab(tmp_path, potentiostat=False)
    killed = command_line.start("up", servers.file)
    assert "http://" in killed.stdout.readline(), command_line.errors()
    assert servers.done(servers.add(move(1, 1, 1))) == "succeeded"
    assert servers.done(servers.add({"soe": ["shaky_hand/draw_1"], "params": {"draw_1": {}}})) == "succeeded"
    before = servers.data()
    requests.put(f"{servers.url('motor')}/attributes/duration", json={"value": 1}, timeout=60)
    in_flight, queued = (
        servers.add(move(9, 9, 9)),
        servers.add({"soe": ["hello/hello"], "params": {"hello": {"s": "x"}}}),
    )
    until(lambda: servers.is_busy("motor"))

    killed.kill()
    killed.wait(PATIENCE)
    killed.stdout.close()
    with command_line.hub(servers.file):
        assert [servers.done(run) for run in (in_flight, queued)] == ["succeeded", "succeeded"]
        after = servers.data()

        assert list(after) == [f"experiment_{number}" for number in range(4)]
        assert after == before | {
            "experiment_2": {"move_1": {"position": [9, 9, 9]}},
            "experiment_3": {"hello": {"greeting": "hello x"}},
        }
        (step,) = servers.get("orchestrator", f"api/runs/{in_flight.headers['Labretto-Run']}").json()["steps"]
        assert (step["attempt"], step["origin"]) == (1, "adopted")


# In the background of a notebook, and without the compat table ------------------------------------------------------


def test_a_server_started_in_the_background_of_a_notebook_answers_until_it_is_stopped():
    driver = {"path": EXAMPLE, "settings": {"duration": 0.05}, "compat": {"getPos": "position"}}
    with labretto.start("motor:Motor", helao=True, **driver) as motor:
        assert requests.get(f"{motor.url}/move?loc=[5,5,5]", timeout=60).json() == {"position": [5, 5, 5]}
        assert requests.get(f"{motor.url}/getPos", timeout=60).json() == {"position": [5, 5, 5]}

    with pytest.raises(requests.ConnectionError):
        requests.get(f"{motor.url}/getPos", timeout=60)


def test_without_the_word_in_the_configuration_no_get_acts():
    with labretto.start("motor:Motor", path=EXAMPLE, compat={"getPos": "position"}) as motor:
        assert requests.get(f"{motor.url}/move?loc=[5,5,5]", timeout=60).status_code == 404
        assert requests.get(f"{motor.url}/getPos", timeout=60).status_code == 404
        assert requests.get(f"{motor.url}/attributes/position", timeout=60).json()["value"] == [0, 0, 0]


def test_a_hub_in_the_background_whose_lab_does_not_have_the_word_has_none_of_the_old_routes(monkeypatch, tmp_path):
    monkeypatch.setenv("LABRETTO_BENCH", str(tmp_path))
    with labretto.start_lab(port=0) as hub:
        assert requests.get(f"{hub.url}/api/lab", timeout=60).ok
        assert requests.get(f"{hub.url}/getData", timeout=60).status_code == 404
        assert requests.post(f"{hub.url}/addExperiment", params={"experiment": "{}"}, timeout=60).status_code == 404

    with pytest.raises(requests.ConnectionError):
        requests.get(f"{hub.url}/api/lab", timeout=60)


def test_the_tutorials_notebook_as_a_script_ends_with_its_data(command_line):
    command = [sys.executable, EXAMPLE / "background.py", *map(str, free_ports(4))]
    environment = {**os.environ, "LABRETTO_HOME": str(command_line.home)}

    ended = subprocess.run(
        command, env=environment, cwd=EXAMPLE, capture_output=True, text=True, check=False, timeout=50
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("{'greeting': 'hello jack'}\n{'position': [5.0, 5.0, 5.0]}\n")
    assert ended.stdout.splitlines()[-1].endswith("'getPos_1': {'position': [1.0, 2.0, 3.0]}}")
    assert command_line.alive() == {}


@pytest.mark.parametrize(
    ("compat", "told"),
    [
        ({"getPos": "postion"}, "no action or attribute 'postion'"),
        ({"health": "position"}, "a route of every instrument"),
    ],
)
def test_a_compat_table_that_does_not_fit_is_refused_before_the_server_answers(compat, told):
    with pytest.raises(labretto.InvalidError, match=told):
        labretto.start("motor:Motor", path=EXAMPLE, helao=True, compat=compat)


def test_the_notebook_says_what_the_script_says():
    cells = json.loads((EXAMPLE / "tutorial.ipynb").read_text())["cells"]
    noted = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    notebook, script = (
        {
            ast.unparse(each)
            for each in ast.parse(text).body
            if not isinstance(each, ast.Expr) or "print" in ast.unparse(each)
        }
        for text in (noted, (EXAMPLE / "background.py").read_text())
    )

    only_in_one = {each for each in notebook ^ script if "_port" not in each}
    assert only_in_one == {"import sys"}  # the script's ports can be chosen
