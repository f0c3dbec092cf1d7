"""The command line: what each command answers, with which status, and that no user ever meets a traceback.

Statuses: 0 done, 1 failed, 2 wrong usage, 3 refused, 4 not reachable, 130 Ctrl-C. What is printed on a terminal and the
prompt of `labretto connect` are in test_terminal.py.
"""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

from labretto import cli
from labretto.catalog.read import open_record
from labretto.errors import (
    BusyError,
    DriverError,
    InvalidError,
    LabError,
    NotFoundError,
    StorageError,
    UnreachableError,
)

DRIVER = '''
import threading

class Lamp:
    """A lamp."""

    def __init__(self, fault: str = "") -> None:
        if fault:
            raise RuntimeError(fault)
        self._stopped = threading.Event()
        self._brightness = 0.5

    @property
    def brightness(self) -> float:
        """How bright it is."""
        return self._brightness

    @brightness.setter
    def brightness(self, value: float) -> None:
        self._brightness = value

    def double(self, value: float) -> float:
        """Twice the value."""
        return 2 * value

    def burn_out(self) -> None:
        """Always fails."""
        raise RuntimeError("the filament is broken")

    def shine(self) -> None:
        """Goes on until it is stopped."""
        self._stopped.clear()
        if not self._stopped.wait(60):
            raise TimeoutError("nobody stopped it")

    def stop(self) -> None:
        self._stopped.set()
'''
LAB = '[instruments.lamp]\ndriver = "drivers:Lamp"\n'
DOUBLE = """
name: doubled
parameters:
  value: {default: 1.5, minimum: 0}
steps:
  - do: lamp.double
    name: twice
    with: {value: "${value}"}
  - save: {value: "${value}", twice: "${twice}"}
"""
FAULTY = """name: faulty
steps:
  - do: lamp.duble
    with: {value: 1}
  - do: lamp.double
    with: {value: "${valeu}"}
"""

Result = tuple[int, str, str]
Labretto = Callable[..., Result]


def in_process(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Labretto:
    """`labretto ARGUMENTS` in this process: status, standard output, standard error."""

    def labretto(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["labretto", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("TERM", "dumb")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output, errors = capsys.readouterr()
        assert "Traceback" not in output + errors
        assert isinstance(ended.value.code, int)
        return ended.value.code, output, errors

    return labretto


@pytest.fixture
def labretto(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Labretto:
    """The command line in an empty folder with nothing running."""
    monkeypatch.chdir(tmp_path)
    return in_process(capsys, monkeypatch)


# Without a hub ----------------------------------------------------------------------------------------------------

OPTIONS = {
    "demo": ["--once", "--port", "--json"],
    "up": ["--host", "--port", "--tls-cert", "--tls-key", "--log", "--verbose"],
    "serve": ["--name", "--host", "--port", "--setting", "--path", "--helao", "--announce", "--log", "--verbose"],
    "run": ["--parameter", "--lab", "--hub", "--wait", "--no-wait", "--json"],
    "records": ["--state", "--after", "--before", "--lab", "--limit", "--json"],
    "connect": ["--json"],
    "conformance": ["--allow", "--use", "--parameter", "--token", "--json"],
    "export": ["--format", "--out", "--lab"],
    "reload": ["--hub", "--json"],
    "logs": ["--lines", "--follow", "--hub", "--json"],
    "find": ["--seconds", "--json"],
    "alarms": ["--seen", "--note", "--hub", "--json"],
    "halt": ["--reset", "--hub", "--json"],
    "answer": ["--choice", "--file", "--why", "--hub", "--json"],
    "record": ["--lab", "--json"],
    "forecast": ["--parameter", "--lab", "--hub", "--json"],
    "doctor": ["--json"],
    "audit": ["--limit", "--lab", "--json"],
    "version": [],
}


@pytest.mark.parametrize("command", OPTIONS)
def test_each_command_explains_itself_and_its_options(labretto: Labretto, command: str) -> None:
    status, output, errors = labretto(command, "--help")

    assert (status, errors) == (0, "")
    assert [option for option in [*OPTIONS[command], "--help"] if option not in output] == []


def test_the_commands_are_those_listed(labretto: Labretto) -> None:
    assert {command.name or command.callback.__name__ for command in cli.app.registered_commands} == set(OPTIONS)  # type: ignore[union-attr]
    status, output, _ = labretto("-h")
    assert status == 0
    assert [command for command in OPTIONS if command not in output] == []


def test_the_version_is_that_of_the_package(labretto: Labretto) -> None:
    from importlib.metadata import version

    assert labretto("version") == labretto("--version") == (0, f"{version('labretto')}\n", "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidError(""), 3),
        (NotFoundError(""), 3),
        (BusyError(""), 3),
        (StorageError(""), 3),
        (UnreachableError(""), 4),
        (DriverError(""), 1),
        (LabError(""), 1),
    ],
)
def test_the_status_tells_what_the_caller_can_do(error: LabError, status: int) -> None:
    assert cli.exit_status(error) == status


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("nonsense", 2, "No such command 'nonsense'"),
        ("connect", 2, "Missing argument"),
        ("up --port 70000", 2, "65535"),
        ("up --nonsense", 2, "--nonsense"),
        ("records --limit 0", 2, "--limit"),
        ("run", 2, "Missing argument"),
        ("up missing.toml", 3, "missing.toml cannot be read: no such file"),
        ("up .", 3, "is a directory"),
        ("up --host 0.0.0.0", 3, "LABRETTO_TOKEN"),
        ("run scan.yaml", 3, "No hub runs here. Start one: labretto up"),
        ("run scan.yaml --hub attic", 3, "No hub of the lab 'attic'"),
        ("run scan.yaml --hub http://127.0.0.1:9", 3, "scan.yaml cannot be read"),
        ("run scan.yaml --lab missing.toml", 3, "missing.toml cannot be read"),
        ("run scan.yaml -p value", 3, "'value' is not NAME=VALUE"),
        ("connect nobody list", 3, "No instrument 'nobody' lives on this machine"),
        ("connect http://127.0.0.1:9 list", 4, "http://127.0.0.1:9 is not reachable"),
        ("records --lab attic", 3, "The lab 'attic' has no records"),
        ("serve nowhere:Lamp", 3, "There is no module 'nowhere'"),
        ("serve lamp", 3, "'lamp' is not module:Class"),
        ("serve json:Lamp", 3, "has no class 'Lamp'"),
        ("serve json:dumps", 3, "not a class"),
        ("serve json:JSONDecoder --setting strict", 3, "'strict' is not NAME=VALUE"),
        ("serve json:JSONDecoder --setting nonsense=1", 3, "nonsense"),
        ("serve json:JSONDecoder --name a/b", 3, "cannot be the name of an instrument"),
        ("serve labretto.instrument.simulated.stage:SampleStage --setting velocity=-1", 3, "velocity"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_status(labretto: Labretto, line: str, status: int, words: str) -> None:
    found, output, errors = labretto(*line.split())

    assert found == status
    assert words in errors
    assert output == ""


def test_a_broken_lab_file_is_told_with_all_its_faults_and_their_lines(labretto: Labretto, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text('prot = 8001\n[instruments.lamp]\ndrivr = "drivers:Lamp"\n')

    status, _, errors = labretto("up", "lab.toml")

    assert status == 3
    assert "line 1, column 1: the key prot is not known. Did you mean 'port'?" in errors
    assert "line 3, column 1: the key instruments.lamp.drivr is not known. Did you mean 'driver'?" in errors


def test_a_lab_file_that_is_no_toml_is_told_with_its_line(labretto: Labretto, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text("name = \n")

    status, _, errors = labretto("up", "lab.toml")

    assert status == 3
    assert "line 1, column 8" in errors


def test_a_driver_whose_constructor_raises_is_quoted(labretto: Labretto, tmp_path: Path) -> None:
    (tmp_path / "attic_lamp.py").write_text(DRIVER)

    status, _, errors = labretto("serve", "attic_lamp:Lamp", "--path", ".", "--setting", 'fault="no current"')

    assert status == 1
    assert "RuntimeError: no current" in errors


def test_a_port_in_use_is_told(labretto: Labretto, tmp_path: Path) -> None:
    (tmp_path / "cellar_lamp.py").write_text(DRIVER)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        served = labretto("serve", "cellar_lamp:Lamp", "--path", ".", "--port", port)
        hub = labretto("up", "--port", port)

    assert (served[0], hub[0]) == (3, 3)
    assert str(port) in served[2]
    assert f"http://127.0.0.1:{port} is in use" in hub[2]
    assert "--port" in hub[2]


def test_where_nothing_was_measured_no_records_are_found(labretto: Labretto) -> None:
    assert labretto("records") == (0, "No records are found.\n", "")
    assert labretto("records", "--json") == (0, "[]\n", "")


def test_help_does_not_wait_for_the_heavy_rooms() -> None:
    program = (
        "import sys; from labretto import cli; sys.argv = ['labretto', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {"fastapi", "zmq", "numpy", "pandas", "pyarrow", "xarray", "uvicorn", "labretto.hub", "labretto.terminal"}

    assert heavy & loaded == set()


def test_up_without_a_file_is_an_empty_lab(command_line: Any) -> None:
    with command_line.hub("--port", "0") as hub:
        assert httpx2.get(f"{hub}/api/lab").json()["name"] == "default"
        assert httpx2.get(f"{hub}/api/instruments").json() == []
    assert command_line.alive() == {}


def test_a_served_driver_is_found_by_its_name_and_leaves_at_ctrl_c(command_line: Any) -> None:
    (command_line.folder / "drivers.py").write_text(DRIVER)
    with command_line.start("serve", "drivers:Lamp", "--name", "desk_lamp") as process:
        line = process.stdout.readline()
        got = command_line.run("connect", "desk_lamp", "get", "brightness", "--json")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0

    assert line.startswith("desk_lamp: http://127.0.0.1:")
    assert json.loads(got.stdout)["value"] == 0.5
    assert command_line.errors() == ""
    assert command_line.alive() == {}


# With a hub -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(command_line_of_the_module: Any) -> Iterator[str]:
    """The address of a hub with a lamp."""
    folder = command_line_of_the_module.folder
    (folder / "drivers.py").write_text(DRIVER)
    (folder / "lab.toml").write_text('name = "lamps"\n' + LAB)
    (folder / "double.yaml").write_text(DOUBLE)
    (folder / "faulty.yaml").write_text(FAULTY)
    (folder / "fail.yaml").write_text("name: fails\nsteps:\n  - do: lamp.burn_out\n")
    (folder / "shine.yaml").write_text("name: shines\nsteps:\n  - do: lamp.shine\n")
    with command_line_of_the_module.hub("lab.toml", "--port", "0") as address:
        yield address


@pytest.fixture
def at_hub(
    hub: str, command_line_of_the_module: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Labretto:
    """The command line in the folder and the home of the module's hub."""
    monkeypatch.setenv("LABRETTO_HOME", str(command_line_of_the_module.home))
    monkeypatch.chdir(command_line_of_the_module.folder)
    return in_process(capsys, monkeypatch)


def test_a_run_with_parameters_says_where_its_record_is(at_hub: Labretto) -> None:
    status, output, errors = at_hub("run", "double.yaml", "-p", "value=4")

    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert lines[-3] == "doubled: succeeded"
    record = open_record(Path(lines[-1].removeprefix("Record: ")))
    assert lines[-2] == f"Run {record.id}: succeeded"
    assert record.rows[0]["twice"] == 8.0


def test_a_run_as_json_is_one_object(at_hub: Labretto) -> None:
    status, output, errors = at_hub("run", "double.yaml", "--json")

    told = json.loads(output)
    assert (status, errors, told["state"]) == (0, "", "succeeded")
    assert open_record(Path(told["record"])).rows[0]["twice"] == 3.0


def test_the_parts_of_a_bar_go_nowhere_in_a_pipe(at_hub: Labretto) -> None:
    _, output, _ = at_hub("run", "double.yaml")

    assert "\x1b" not in output
    assert "━" not in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["faulty.yaml"], "line 3, column"),
        (["faulty.yaml"], "Did you mean double?"),
        (["faulty.yaml"], "line 6, column"),
        (["double.yaml", "-p", "value=-1"], "value"),
        (["double.yaml", "-p", "vlaue=1"], "vlaue"),
        (["double.yaml", "-p", "what=1"], "what"),
        (["missing.yaml"], "The experiment missing.yaml cannot be read: no such file or directory."),
        (["."], "cannot be read: is a directory."),
        (["line.py"], "line.py is a Python module, not an experiment file. Submit its function from Python"),
    ],
)
def test_what_can_never_run_is_refused_with_its_place_and_nothing_is_submitted(
    at_hub: Labretto, hub: str, arguments: list[str], words: str
) -> None:
    before = httpx2.get(f"{hub}/api/runs").json()

    status, output, errors = at_hub("run", *arguments)

    assert (status, output) == (3, "")
    assert words in errors
    assert httpx2.get(f"{hub}/api/runs").json() == before


def test_a_step_that_fails_fails_the_run_in_the_drivers_words(at_hub: Labretto) -> None:
    status, output, errors = at_hub("run", "fail.yaml")

    assert status == 1
    assert "the filament is broken" in errors
    assert "Record: " in output


def test_who_does_not_wait_gets_the_runs_id(at_hub: Labretto, hub: str) -> None:
    status, output, _ = at_hub("run", "double.yaml", "--no-wait")

    run = output.strip()
    assert status == 0
    assert httpx2.get(f"{hub}/api/runs/{run}/wait?timeout=20", timeout=30).json()["state"] == "succeeded"


def test_ctrl_c_ends_the_watching_and_not_the_run(hub: str, command_line_of_the_module: Any) -> None:
    line = command_line_of_the_module
    with (
        connect(hub.replace("http", "ws") + "/live") as live,
        line.start("run", "shine.yaml", stderr=subprocess.PIPE) as process,
    ):
        until_begun(live, "shine")
        assert process.stdout.readline() == "shines: running\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        said = process.stderr.read()

    (run,) = [run["id"] for run in httpx2.get(f"{hub}/api/runs?state=running").json()]
    assert said == f"The run goes on; `labretto runs abort {run}` ends it.\n"
    httpx2.post(f"{hub}/api/runs/{run}/abort").raise_for_status()
    httpx2.post(f"{hub}/api/instruments/lamp/stop").raise_for_status()
    assert httpx2.get(f"{hub}/api/runs/{run}/wait?timeout=20", timeout=30).json()["state"] == "aborted"
    assert "Traceback" not in line.errors()


def until_begun(live: Any, action: str) -> None:
    while True:
        for change in json.loads(live.recv(timeout=30))["changes"]:
            body = change["body"]
            if change["topic"] == "invocation" and body["action"] == action and body["state"] == "running":
                return


def test_a_hub_that_dies_while_a_run_is_watched_is_told_and_the_run_is_not_lost(command_line: Any) -> None:
    (command_line.folder / "drivers.py").write_text(DRIVER)
    (command_line.folder / "lab.toml").write_text('name = "mortal"\n' + LAB)
    (command_line.folder / "shine.yaml").write_text("name: shines\nsteps:\n  - do: lamp.shine\n")
    with command_line.start("up", "lab.toml", "--port", "0") as hub:
        address = hub.stdout.readline().split()[1]
        with connect(address.replace("http", "ws") + "/live") as live, command_line.start("run", "shine.yaml") as run:
            until_begun(live, "shine")
            assert run.stdout.readline() == "shines: running\n"
            hub.kill()
            assert run.wait(20) == 4
    assert "went away while run" in command_line.errors()
    assert "Traceback" not in command_line.errors()


def test_run_with_a_lab_of_its_own_needs_no_hub(command_line: Any) -> None:
    (command_line.folder / "drivers.py").write_text(DRIVER)
    (command_line.folder / "lab.toml").write_text('name = "own"\n' + LAB)
    (command_line.folder / "double.yaml").write_text(DOUBLE)

    done = command_line.run("run", "double.yaml", "--lab", "lab.toml", "--json", "-p", "value=2")

    assert (done.returncode, done.stderr) == (0, "")
    assert open_record(Path(json.loads(done.stdout)["record"])).rows[0]["twice"] == 4.0
    assert command_line.alive() == {}


def test_records_are_found_by_name_state_and_number(at_hub: Labretto) -> None:
    at_hub("run", "double.yaml")
    at_hub("run", "fail.yaml")

    def found(*arguments: object) -> list[dict[str, Any]]:
        status, output, errors = at_hub("records", "--json", *arguments)
        assert (status, errors) == (0, "")
        return list(json.loads(output))

    assert {record["name"] for record in found("doub")} == {"doubled"}
    assert {record["state"] for record in found("--state", "failed")} == {"failed"}
    assert [record["name"] for record in found("--limit", 1)] == ["fails"]
    assert found("--before", "2001-01-01") == []
    assert len(found("--after", "2001-01-01", "--lab", "lamps")) >= 2
    assert found("no such words") == []
    assert all(Path(record["folder"]).is_dir() for record in found())


def test_records_on_paper_have_one_line_each(at_hub: Labretto) -> None:
    at_hub("run", "double.yaml")

    status, output, _ = at_hub("records", "doubled", "--limit", 1)

    assert status == 0
    heading, line = output.splitlines()
    assert heading.split() == ["submitted", "state", "name", "who", "run"]
    assert "succeeded" in line
    assert "doubled" in line


def test_a_time_that_is_none_is_refused(at_hub: Labretto) -> None:
    status, _, errors = at_hub("records", "--after", "yesterday")

    assert status == 3
    assert "yesterday" in errors


def test_a_reader_that_leaves_early_is_no_fault(hub: str, command_line_of_the_module: Any) -> None:
    line = command_line_of_the_module
    for arguments in ("connect lamp list --json", "connect lamp list", "records", "--help"):
        before = line.errors()
        with line.start(*arguments.split()) as process:
            process.stdout.close()
            assert process.wait(20) == 0, arguments
        assert line.errors() == before
