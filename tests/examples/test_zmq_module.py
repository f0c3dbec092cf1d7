"""The example with a module behind a ZMQ socket, from outside: plain `zmq` and `requests` against real processes.

The drivers of this test hold a line to a piece of "hardware", a TCP socket that the test owns: so it is seen when the
hardware is taken and let go, and when an action has begun. Nothing waits for time to pass.
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import zmq

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "zmq_module"
PATIENCE = 20.0

BENCH = '''
"""Drivers that hold a line to a TCP socket of the test."""

import asyncio
import socket
import threading
from typing import Annotated

from annotated_types import Interval


class Line:
    def __init__(self, hardware: int) -> None:
        self._line = socket.create_connection(("127.0.0.1", hardware))
        self._level = 0

    def _say(self, word: str) -> None:
        self._line.sendall(f"{word}\\n".encode())

    @property
    def level(self) -> Annotated[int, Interval(ge=0, le=10)]:
        return self._level

    @level.setter
    def level(self, value: Annotated[int, Interval(ge=0, le=10)]) -> None:
        self._level = value

    def double(self, value: float, times: int = 1) -> float:
        return value * 2**times

    def fail(self) -> None:
        raise RuntimeError("the beaker is on the floor")

    def hold(self) -> str:
        """Blocks in the driver."""
        self._say("holding")
        return self._line.recv(100).decode()

    async def drift(self) -> None:
        """Waits for ever, and lets others in."""
        self._say("drifting")
        await asyncio.Event().wait()

    def close(self) -> None:
        self._say("released")


class Stoppable(Line):
    def __init__(self, hardware: int) -> None:
        super().__init__(hardware)
        self._halted = threading.Event()

    def press(self) -> None:
        """Blocks in the driver until it is stopped."""
        self._say("pressing")
        self._halted.wait()

    def stop(self) -> None:
        self._halted.set()
'''


class Hardware:
    """What a driver of this test is connected to."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(PATIENCE)
        self.port = self._listening.getsockname()[1]
        self._file: Any = None

    def taken(self) -> None:
        """Return when a driver has connected."""
        connection, _ = self._listening.accept()
        connection.settimeout(PATIENCE)
        self._file = connection.makefile("rwb", buffering=0)
        connection.close()

    def wanted(self) -> bool:
        """A driver has connected, or tried to."""
        return bool(select.select([self._listening], [], [], 0)[0])

    def hears(self) -> str:
        """The next word of the driver; empty if its line is cut."""
        try:
            return str(self._file.readline().decode().strip())
        except ConnectionError:
            return ""

    def says(self, word: str) -> None:
        self._file.write(word.encode())

    def break_down(self) -> None:
        """No driver can connect until `mend`."""
        self._listening.close()

    def mend(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._listening.settimeout(PATIENCE)

    def close(self) -> None:
        self._listening.close()
        if self._file:
            self._file.close()


@dataclass
class Running:
    """An experiment and, once asked for, its front."""

    process: "subprocess.Popen[str]"
    config: Path
    port: int
    http: int
    hardware: Hardware

    def ask(self, request: Any, *, patience: float = PATIENCE) -> dict[str, Any]:
        """What a plain REQ client gets."""
        return dict(json.loads(self.ask_bytes(json.dumps(request).encode(), patience=patience)))

    def ask_bytes(self, *frames: bytes, patience: float = PATIENCE) -> bytes:
        with zmq.Context() as context, context.socket(zmq.REQ) as client:
            client.setsockopt(zmq.LINGER, 0)
            client.setsockopt(zmq.RCVTIMEO, int(patience * 1000))
            client.connect(f"tcp://127.0.0.1:{self.port}")
            client.send_multipart(frames)
            return client.recv_multipart()[-1]

    def http_ask(self, path: str, method: str = "GET", **more: Any) -> requests.Response:
        return requests.request(method, f"http://127.0.0.1:{self.http}/{path}", timeout=PATIENCE, **more)

    def status(self, module: str = "bench") -> dict[str, Any]:
        return dict(self.ask({"experiment": "status"})["value"][module])

    @contextmanager
    def meanwhile(self, action: str, word: str, module: str = "bench") -> Iterator["Future[dict[str, Any]]"]:
        """An action that goes on while the block runs; it has told the hardware `word`."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.ask, {module: action})
            assert self.hardware.hears() == word
            yield answer


def until(wanted: Callable[[], Any]) -> Any:
    """What `wanted` answers as soon as that is true, where there is nothing that could be waited for."""
    deadline = time.monotonic() + PATIENCE
    while not (found := wanted()):
        assert time.monotonic() < deadline, "it did not come about"
    return found


def write_config(folder: Path, ports: list[int], hardware: Hardware, driver: str, *, alone: bool = False) -> Path:
    """The example's config.yml on free ports, quicker, with a module of this test beside the example's or instead."""
    text = (EXAMPLE / "config.yml").read_text()
    for old, new in (("5555", ports[0]), ("5556", ports[1]), ("duration: 1.0", "duration: 0.02")):
        assert text.count(old) == 1
        text = text.replace(old, str(new))
    if alone:
        text = text.partition("  module_a:")[0]
    text += f"\n  bench:\n    driver: bench:{driver}\n    settings: {{hardware: {hardware.port}}}\n"
    (folder / "bench.py").write_text(BENCH)
    (folder / "module_a.py").write_text((EXAMPLE / "module_a.py").read_text())
    (folder / "config.yml").write_text(text)
    return folder / "config.yml"


def environment(home: Path, **more: str) -> dict[str, str]:
    return os.environ | {"LABRETTO_HOME": str(home), "PYTHONUNBUFFERED": "1"} | more


def start(config: Path, home: Path) -> "subprocess.Popen[str]":
    """`start_experiment`, as a shell would start it."""
    command = [sys.executable, EXAMPLE / "start_experiment.py", config]
    with (config.parent / "errors.txt").open("a") as errors:
        return subprocess.Popen(command, env=environment(home), text=True, stdout=subprocess.PIPE, stderr=errors)


def ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert "Ctrl-C ends" in process.stdout.readline()


@contextmanager
def experiment(
    folder: Path, home: Path, ports: list[int], driver: str = "Stoppable", *, alone: bool = False
) -> Iterator[Running]:
    """An experiment whose modules are up."""
    hardware = Hardware()
    config = write_config(folder, ports, hardware, driver, alone=alone)
    process = start(config, home)
    try:
        hardware.taken()
        ready(process)
        yield Running(process, config, ports[0], ports[2], hardware)
    finally:
        process.kill()
        process.communicate()
        hardware.close()


@contextmanager
def front(running: Running, home: Path) -> Iterator[None]:
    """`uvicorn main:app` in the example's folder."""
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(running.http), "--no-access-log"]
    settings = environment(home, EXPERIMENT_CONFIG=str(running.config))
    with subprocess.Popen(command, env=settings, cwd=EXAMPLE, text=True, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            assert any("Uvicorn running" in line for line in process.stderr)
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, command_line_of_the_module: Any) -> Iterator[Running]:
    """An experiment and its front, for the tests that leave them as they were."""
    home, folder = command_line_of_the_module.home, tmp_path_factory.mktemp("example")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [each.getsockname()[1] for each in sockets]
        stack.close()
        found = stack.enter_context(experiment(folder, home, ports))
        stack.enter_context(front(found, home))
        yield found


@pytest.fixture
def begin(tmp_path: Path, command_line: Any, free_ports: Any) -> Callable[..., Any]:
    """Starts an experiment of this test alone, with its own module and, if asked for, the example's."""
    return lambda driver="Stoppable", *, alone=True: experiment(
        tmp_path, command_line.home, free_ports(3), driver, alone=alone
    )


# Plain zmq ----------------------------------------------------------------------------------------------------------


def test_a_plain_req_client_gets_the_attributes_as_json(running):
    answer = running.ask({"module_a": "attributes"})

    assert answer["message"] == "attributes"
    assert {"force", "last_cycle", "stroke", "points", "duration"} == set(answer["value"])


def test_parameters_are_what_can_be_set(running):
    assert running.ask({"module_a": "parameters"})["value"] == {"stroke": 2, "points": 50, "duration": 0.02}


def test_a_cycle_is_started_and_the_last_one_has_its_number_and_force_data(running):
    before = running.ask({"module_a": "last_cycle"})["value"]["cycle"]

    ended = running.ask({"module_a": "start_cycle"})["value"]

    assert ended["cycle"] == before + 1
    assert len(ended["force"]) == 50
    assert max(ended["force"]) == pytest.approx(2 * 200, rel=0.1)  # stroke times stiffness
    assert running.ask({"module_a": "last_cycle"}) == {"message": "last_cycle", "value": ended}


def test_what_a_module_offers_is_found_by_looking_at_its_driver(running):
    described = running.ask({"bench": "description"})["value"]

    assert set(described["attributes"]) == {"level"}
    assert set(described["actions"]) == {"double", "fail", "hold", "drift", "press"}
    assert described["attributes"]["level"]["schema"]["maximum"] == 10


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"module_b": "attributes"}, "module module_b not known"),
        ({"": "attributes"}, "module  not known"),
        ({"module_a": "fly"}, "command fly of module_a not known"),
        ({"module_a": "_travel"}, "command _travel of module_a not known"),
        ({"module_a": "__class__"}, "command __class__ of module_a not known"),
        ({"module_a": "close"}, "command close of module_a not known"),
        ({"module_a": {"set": {"fly": 1}}}, "attribute fly of module_a not known"),
        ({"module_a": {"set": {"start_cycle": 1}}}, "attribute start_cycle of module_a not known"),
        ({"module_a": {"call": {"stroke": {}}}}, "action stroke of module_a not known"),
        ({"experiment": "fly"}, "command fly of the experiment not known"),
        ({"experiment": {"call": {"restart": {"module": "module_b"}}}}, "module module_b not known"),
    ],
)
def test_what_is_not_known_is_told_so(request_, error, running):
    answer = running.ask(request_)

    assert (answer["error"], answer["status"]) == (error, 404)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\x00\xfe",
        b"{",
        b"[]",
        b"null",
        b'"module_a"',
        b"{}",
        b'{"module_a": "attributes", "bench": "level"}',
        b'{"module_a": null}',
        b'{"module_a": {}}',
        b'{"module_a": {"set": {}}}',
        b'{"module_a": {"set": {"stroke": 1, "points": 2}}}',
        b'{"module_a": {"set": {"stroke": 1}, "call": {}}}',
        b'{"module_a": {"call": {"start_cycle": 5}}}',
        b'{"module_a": ["attributes"]}',
        b"[" * 100_000,
        b'{"module_a":' * 100_000,
    ],
)
def test_malformed_bytes_get_an_error_and_the_socket_lives_on(body, running):
    answer = json.loads(running.ask_bytes(body))

    assert answer["status"] == 422
    assert answer["error"]
    assert "value" in running.ask({"bench": "level"})


def test_messages_of_any_shape_are_answered_or_cut_off_and_the_socket_lives_on(running):
    several = json.loads(running.ask_bytes(b'{"bench": "level"}', b"and", b"more"))
    with pytest.raises(zmq.Again):
        running.ask_bytes(b"x" * (9 * 1024 * 1024), patience=0.3)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.RCVTIMEO, 20_000)
        dealer.connect(f"tcp://127.0.0.1:{running.port}")
        dealer.send_multipart([b'{"bench": "level"}'])
        bare = dealer.recv_multipart()
        dealer.send_multipart([b"number 7", b'{"bench": "level"}'])
        numbered = dealer.recv_multipart()
        dealer.send_multipart([b""])
        empty = dealer.recv_multipart()
    with socket.create_connection(("127.0.0.1", running.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")

    assert several["status"] == 422
    assert json.loads(bare[0])["message"] == "level"
    assert (numbered[0], json.loads(numbered[1])["message"]) == (b"number 7", "level")
    assert json.loads(empty[0])["status"] == 422
    assert "value" in running.ask({"bench": "level"})


def test_an_action_with_parameters_answers_its_result(running):
    assert running.ask({"bench": {"call": {"double": {"value": 3, "times": 2}}}}) == {"message": "double", "value": 12}


def test_a_failing_action_answers_the_drivers_own_words(running):
    answer = running.ask({"bench": "fail"})

    assert "the beaker is on the floor" in answer["error"]
    assert answer["status"] == 502


def test_several_clients_are_answered_while_one_waits_for_an_action(running):
    with running.meanwhile("hold", "holding") as holding, ThreadPoolExecutor(8) as clients:
        levels = list(clients.map(lambda _: running.ask({"bench": "level"}), range(24)))
        cycle = running.ask({"module_a": "start_cycle"})
        second = running.ask({"bench": "hold"})
        assert not holding.done()
        running.hardware.says("enough")

        assert holding.result(PATIENCE) == {"message": "hold", "value": "enough"}
    assert levels == [{"message": "level", "value": 0}] * 24
    assert cycle["message"] == "start_cycle"
    assert second["status"] == 409
    assert "hold() runs since" in second["error"]


def test_a_client_that_leaves_while_it_waits_keeps_nobody_from_being_answered(running):
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.connect(f"tcp://127.0.0.1:{running.port}")
        client.send_json({"bench": "hold"})
        assert running.hardware.hears() == "holding"
    assert "value" in running.ask({"bench": "level"})
    running.hardware.says("go on")
    until(lambda: running.ask({"bench": "double"})["status"] != 409)


# The front ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["attributes", "parameters", "description", "last_cycle", "stroke"])
def test_a_get_answers_what_the_socket_answers(command, running):
    answer = running.http_ask(f"module_a/{command}")

    assert answer.status_code == 200
    told, by_socket = answer.json(), running.ask({"module_a": command})
    for noisy in (told, by_socket):
        if command == "attributes":
            del noisy["value"]["force"]
    assert told == by_socket
    assert list(told) == ["message", "value"]


def test_a_cycle_is_started_by_get_or_post(running):
    by_get = running.http_ask("module_a/start_cycle")
    by_post = running.http_ask("module_a/start_cycle", "POST", json={})
    bare = running.http_ask("module_a/start_cycle", "POST")

    assert [answer.status_code for answer in (by_get, by_post, bare)] == [200, 200, 200]
    assert by_post.json()["value"]["cycle"] == by_get.json()["value"]["cycle"] + 1
    assert running.http_ask("module_a/last_cycle").json()["value"] == bare.json()["value"]


def test_put_sets_an_attribute_and_answers_it_read_back(running):
    answer = running.http_ask("bench/level", "PUT", json={"value": 7})

    assert (answer.status_code, answer.json()) == (200, {"message": "level", "value": 7})
    assert running.ask({"bench": "level"})["value"] == 7
    assert running.http_ask("bench/level", "PUT", json={"value": 0}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        ("GET", "module_b/attributes", None, 404, "module module_b not known"),
        ("GET", "module_a/fly", None, 404, "command fly of module_a not known"),
        ("PUT", "bench/level", {"value": 11}, 422, "bench.level=11 is above 10"),
        ("PUT", "bench/level", {"value": "high"}, 422, "bench.level='high' does not fit"),
        ("PUT", "bench/double", {"value": 1}, 404, "attribute double of bench not known"),
        ("PUT", "module_a/force", {"value": 1}, 409, "module_a.force cannot be set"),
        ("POST", "bench/double", {}, 422, "value"),
        ("POST", "bench/level", {}, 404, "action level of bench not known"),
        ("GET", "bench/double", None, 422, "value"),
        ("GET", "bench/fail", None, 502, "the beaker is on the floor"),
        ("GET", "module_a/%2e%2e", None, 404, "not known"),
    ],
)
def test_what_cannot_be_done_has_its_status_and_says_why(method, path, body, status, told, running):
    answer = running.http_ask(path, method, json=body)

    assert answer.status_code == status
    assert told in answer.json()["error"]


def test_a_body_that_does_not_fit_is_refused(running):
    assert running.http_ask("bench/level", "PUT", json={"level": 1}).status_code == 422
    unreadable = running.http_ask("bench/level", "PUT", data=b"\xff{")
    assert (unreadable.status_code, set(unreadable.json())) == (422, {"error", "status", "way_out"})
    assert running.http_ask("bench/level", "PUT", data=b'{"value": "\\ud800"}').status_code == 422
    assert running.http_ask("bench/double", "POST", json=[1]).status_code == 422
    assert running.ask({"bench": "level"})["value"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch;prerender"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://elsewhere.example"},
        {"Host": "elsewhere.example"},
    ],
)
def test_nothing_begins_because_a_browser_looks_ahead_or_shows_a_page_from_elsewhere(headers, running):
    before = running.ask({"module_a": "last_cycle"})

    assert running.http_ask("module_a/start_cycle", headers=headers).status_code == 403
    assert running.ask({"module_a": "last_cycle"}) == before


def test_the_pages_that_explain_it_need_nothing_from_outside(running):
    page, document = running.http_ask("docs"), running.http_ask("openapi.json").json()

    assert page.status_code == 200
    assert "https://" not in page.text
    assert set(document["paths"]) == {"/{module}/{command}", "/{module}/{attribute}"}
    assert "503" in document["paths"]["/{module}/{command}"]["get"]["responses"]


# Crashes ------------------------------------------------------------------------------------------------------------


def test_a_crashed_module_is_told_at_once_and_comes_back_when_it_can(begin, command_line):
    with begin(alone=False) as running, front(running, command_line.home):
        killed = running.status()["pid"]
        with running.meanwhile("drift", "drifting") as drifting:
            running.hardware.break_down()
            os.kill(killed, signal.SIGKILL)

            told = drifting.result(PATIENCE)  # who waited is told, too
        down = running.http_ask("bench/level")
        pauses = set[float]()
        until(lambda: pauses.add(running.status()["seconds"] or 0.0) or len(pauses - {0.0}) >= 2)
        beside = running.http_ask("module_a/stroke")
        assert running.http_ask("bench/level").status_code == 503
        running.hardware.mend()
        running.hardware.taken()
        up = until(lambda: (answer := running.http_ask("bench/level")).status_code == 200 and answer)

        assert (told["error"], told["status"]) == ("module bench went down before it answered.", 503)
        assert (down.status_code, down.headers["Retry-After"]) == (503, "1")
        assert re.match("module bench (is |went down)", down.json()["error"])  # the death may just be being noticed
        assert min(pauses - {0.0}) * 2 <= max(pauses)
        assert beside.status_code == 200
        assert up.json() == {"message": "level", "value": 0}
        assert running.status()["pid"] != killed


def test_a_module_is_started_again_on_request(begin):
    with begin() as running:
        before = running.status()["pid"]
        with ThreadPoolExecutor(1) as pool:
            restarted = pool.submit(running.ask, {"experiment": {"call": {"restart": {"module": "bench"}}}})
            assert running.hardware.hears() == "released"
            running.hardware.taken()

            assert restarted.result(PATIENCE)["value"]["state"] == "ready"
        assert running.status()["pid"] != before


def test_a_killed_experiment_is_told_at_once_and_its_successor_finds_the_modules_at_work(begin, command_line):
    with begin() as running, front(running, command_line.home):
        pid = running.status()["pid"]
        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(running.http_ask, "bench/hold")
            assert running.hardware.hears() == "holding"
            running.process.kill()
            cut_off = holding.result(PATIENCE)
        nobody = running.http_ask("bench/level")

        successor = start(running.config, command_line.home)
        try:
            ready(successor)
            adopted = running.status()["pid"]
            running.hardware.says("go on")
            level = until(lambda: (answer := running.http_ask("bench/level")).ok and answer)
        finally:
            successor.send_signal(signal.SIGTERM)
            successor.communicate()

        assert [answer.status_code for answer in (cut_off, nobody)] == [503, 503]
        assert "before it answered" in cut_off.json()["error"]
        assert "start_experiment.py" in nobody.json()["way_out"]
        assert adopted == pid
        assert level.json()["message"] == "level"
        assert successor.returncode == 0


# The end ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "action", "begun", "last_words"),
    [
        ("Stoppable", None, None, ["released", ""]),
        ("Stoppable", "drift", "drifting", ["released", ""]),
        ("Stoppable", "press", "pressing", ["released", ""]),
        ("Line", "drift", "drifting", ["released", ""]),
        ("Line", "hold", "holding", [""]),  # it cannot be interrupted: the line is cut with its process
    ],
)
def test_ctrl_c_lets_the_hardware_go_and_ends_with_status_0_whatever_runs(
    driver, action, begun, last_words, begin, command_line
):
    with begin(driver) as running, ExitStack() as stack:
        answer = stack.enter_context(running.meanwhile(action, begun)) if action else None
        running.process.send_signal(signal.SIGINT)

        assert running.process.wait(PATIENCE) == 0
        assert [running.hardware.hears() for _ in last_words] == last_words
        assert answer is None or "error" in answer.result(PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port))
        assert [line for line in command_line.alive().values() if "start_experiment" in line or "serve" in line] == []
        assert (running.config.parent / "errors.txt").read_text() == ""


def test_what_cannot_be_run_is_refused_with_the_reason_before_any_hardware_is_touched(tmp_path, command_line):
    hardware = Hardware()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = write_config(tmp_path, [taken.getsockname()[1], 1, 2], hardware, "Line")
        unknown = tmp_path / "unknown.yml"
        unknown.write_text("name: x\nmodules: {}\nexperiment_sockett: {port: 1}\n")
        reserved = tmp_path / "reserved.yml"
        reserved.write_text("name: x\nmodules: {experiment: {driver: 'bench:Line'}}\n")
        files = [config, unknown, reserved, tmp_path / "missing.yml"]
        started = [start(file, command_line.home) for file in files]

        assert [process.wait(PATIENCE) for process in started] == [1, 1, 1, 1]
    for process in started:
        process.communicate()
    errors = (tmp_path / "errors.txt").read_text()
    for told in ("in use", "experiment_sockett", "the experiment itself is", "No such file"):
        assert told in errors
    assert "Traceback" not in errors
    assert not hardware.wanted()
    hardware.close()


def test_two_experiments_of_one_configuration_cannot_own_the_same_hardware(begin, command_line):
    with begin() as running:
        second = start(running.config, command_line.home)
        second.communicate(timeout=PATIENCE)

        assert second.returncode == 1
        assert f"held by the process {running.process.pid}" in (running.config.parent / "errors.txt").read_text()
        assert "value" in running.ask({"bench": "level"})
