"""`labretto demo` as a newcomer types it: to a finished record, again after a crash, and ended by Ctrl-C."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

from labretto.catalog.read import open_record
from labretto.network.liveness import held

SAMPLES = [row + column for row in "ABCD" for column in "1234"]
DEADLINE = 40.0


@pytest.fixture
def demo(command_line: Any) -> Any:
    """`labretto` in processes of its own."""
    return command_line


def page_of(process: "subprocess.Popen[str]") -> str:
    """The address that the demo tells."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "http://" in line, line
    return next(word for word in line.split() if word.startswith("http://"))


def until_steps_end(page: str, count: int) -> str:
    """Return when `count` steps have ended since now; answers the run's id."""
    ended = 0
    with connect(page.replace("http", "ws") + "/live", max_size=None) as live:
        while ended < count:
            frame = live.recv(timeout=DEADLINE)
            for change in json.loads(frame)["changes"] if isinstance(frame, str) else ():
                ended += change["topic"] == "step" and change["body"]["state"] == "succeeded"
    (run,) = httpx2.get(f"{page}/api/runs").json()
    return str(run["id"])


def left_behind(demo: Any) -> list[str]:
    """Processes, and locks that are held."""
    return [*demo.alive().values(), *[str(lock) for lock in demo.home.glob("demo/**/*lock") if held(lock)]]


@pytest.mark.timeout(120)
def test_a_demo_that_is_killed_goes_on_with_the_same_run_and_shows_its_page_after_it(demo: Any) -> None:
    with demo.start("demo", "--once") as killed:
        run = until_steps_end(page_of(killed), 6)
        killed.kill()

    with demo.start("demo", "--port", "0") as process:
        page = page_of(process)
        assert process.stdout is not None
        told = process.stdout.readline()
        record = next(line for line in process.stdout if line.startswith("Record: "))
        assert told == f"Going on with run {run}, which was interrupted.\n"
        assert httpx2.get(page).status_code == 200
        assert [each["id"] for each in httpx2.get(f"{page}/api/runs").json()] == [run]
        process.terminate()
        assert process.wait(DEADLINE) == 0

    check_record(Path(record.removeprefix("Record: ").strip()), run)
    assert left_behind(demo) == []


def check_record(folder: Path, run: str) -> None:
    """It opens in xarray: sixteen complete curves, in volts and amperes."""
    record = open_record(folder)
    data = record.to_xarray()
    assert (record.id, record.state) == (run, "succeeded")
    assert list(data["sample"].values) == SAMPLES
    assert (data["potential"].attrs["units"], data["current"].attrs["units"]) == ("V", "A")
    assert data["current"].shape == (16, 1401)
    assert not data["current"].isnull().any()


@pytest.mark.timeout(120)
def test_the_demo_as_json_is_one_object_that_leads_to_its_record(demo: Any) -> None:
    done = demo.run("demo", "--once", "--json", patience=100)

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["state"], told["name"]) == ("succeeded", "scan of a sample library")
    check_record(Path(told["record"]), told["id"])
    assert left_behind(demo) == []


@pytest.mark.parametrize(("arguments", "status"), [(["--port", "0"], 0), (["--once"], 130)])
def test_ctrl_c_ends_the_demo_and_nothing_is_left(demo: Any, arguments: list[str], status: int) -> None:
    """With its page it goes on until Ctrl-C, which is no failure; with --once there is no finished record."""
    with demo.start("demo", *arguments) as process:
        until_steps_end(page_of(process), 2)

        process.send_signal(signal.SIGINT)

        assert process.wait(DEADLINE) == status
        assert process.stdout is not None
        assert "Traceback" not in process.stdout.read() + demo.errors()
    assert left_behind(demo) == []
