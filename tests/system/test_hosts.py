"""Real host processes under a real hub process, killed at will: who dies with whom, and that nobody is left.

Every wait is for a lock, a pipe or a change that is told; no time is waited out.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from labretto.errors import UnreachableError
from labretto.instrument.invocation import new_id
from labretto.instrument.ledger import Ledger
from labretto.lab import Lab, load_lab
from labretto.network import status as statuses
from labretto.network.client import open_instrument
from labretto.network.directory import find, read_host
from labretto.network.liveness import held, hold, holder, released, wait_until_released
from labretto.network.supervise import Status, Supervisor

DRIVERS = '''
import os, pathlib, sys, time

class Lamp:
    """A lamp that can do what a real driver does to its process."""

    def __init__(self, begin_with: str = "") -> None:
        print("the lamp is made")
        exec(begin_with)

    @property
    def brightness(self) -> float:
        return 0.5

    def block_until(self, file: str) -> str:
        """Block the driver's thread until a named pipe is written to."""
        return pathlib.Path(file).read_text()

    def block(self, seconds: float) -> float:
        """Block the driver's thread."""
        time.sleep(seconds)
        return seconds

    def die(self) -> None:
        print("the lamp dies", flush=True)
        os._exit(3)
'''

LAMP = """
[instruments.lamp]
driver = "drivers:Lamp"
"""
OTHER = LAMP.replace("lamp]", "other]")

HUB = """
import asyncio, sys
from labretto.lab import load_lab
from labretto.network.liveness import hold
from labretto.network.supervise import Supervisor

async def main():
    lab = load_lab(sys.argv[1])
    with hold(lab.hub_lock):
        async with Supervisor(lab, grace=float(sys.argv[2])) as supervisor:
            await supervisor.settled()
            print("up", flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def make_lab(tmp_path: Path) -> Callable[[str], Lab]:
    """A lab from the text of its file, with the module `drivers` beside it."""
    (tmp_path / "drivers.py").write_text(DRIVERS)
    (tmp_path / "socket.py").write_text("raise RuntimeError('not for Labretto')")

    def make(text: str) -> Lab:
        file = tmp_path / "demo.toml"
        file.write_text(text)
        return load_lab(file)

    return make


@pytest.fixture
def lab(make_lab: Callable[[str], Lab]) -> Lab:
    """One lamp; a process takes its time to start."""
    return make_lab(LAMP)


@pytest.fixture
def lamps(make_lab: Callable[[str], Lab]) -> Lab:
    """Two."""
    return make_lab(LAMP + OTHER)


@pytest.fixture(autouse=True)
def _nobody_is_left(labretto_home: Path) -> Iterator[None]:
    """After each test no host lives, and none had to be killed by this fixture."""
    yield
    left = [lock.parent for lock in labretto_home.glob("**/lock") if held(lock)]
    for folder in left:
        if host := read_host(folder):
            os.kill(host.pid, signal.SIGKILL)
    assert left == []


@contextlib.asynccontextmanager
async def supervised(lab: Lab) -> AsyncIterator[Supervisor]:
    with hold(lab.hub_lock):
        async with Supervisor(lab) as supervisor:
            await supervisor.settled()
            yield supervisor


@contextlib.contextmanager
def hub_process(lab: Lab, *, grace: float) -> Iterator[subprocess.Popen[str]]:
    """Another process that supervises the lab; killed at the end, if not before."""
    command = [sys.executable, "-P", "-c", HUB, str(lab.file), str(grace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


async def changed(supervisor: Supervisor, name: str, state: str) -> Status:
    """The next status of `name` that has this state."""
    found: asyncio.Future[Status] = asyncio.get_running_loop().create_future()

    def look(status: Status) -> None:
        if (status.name, status.state) == (name, state) and not found.done():
            found.set_result(status)

    end = supervisor.listen(look)
    try:
        return await found
    finally:
        end()


def pid_of(supervisor: Supervisor, name: str = "lamp") -> int:
    pid = supervisor.status()[name].pid
    assert pid is not None
    return pid


async def test_hosts_answer_keep_a_log_and_leave_no_process(lamps: Lab) -> None:
    async with supervised(lamps) as supervisor:
        assert [(status.state, status.reason) for status in supervisor.status().values()] == [("ready", "")] * 2
        assert (await (await supervisor.instrument("lamp")).read("brightness")).value == 0.5
        assert find("demo/lamp") == supervisor.status()["lamp"].address
        assert "the lamp is made" in supervisor.log("lamp")

    assert not held(lamps.host_folder("lamp") / "lock")
    assert not held(lamps.host_folder("other") / "lock")


async def test_a_killed_host_is_started_again_where_it_was(lamps: Lab) -> None:
    async with supervised(lamps) as supervisor:
        before, untouched = supervisor.status()["lamp"], supervisor.status()["other"]
        lamp = await supervisor.instrument("lamp")
        restarting = asyncio.create_task(changed(supervisor, "lamp", "restarting"))
        await asyncio.sleep(0)

        os.kill(pid_of(supervisor), signal.SIGKILL)

        assert "killed by SIGKILL" in (await restarting).reason
        assert await supervisor.reachable("lamp") is lamp
        assert supervisor.status()["lamp"].addresses == before.addresses
        assert supervisor.status()["lamp"].pid != before.pid
        assert supervisor.status()["other"] == untouched


async def test_an_action_that_takes_its_host_along_is_known_as_interrupted(lab: Lab) -> None:
    async with supervised(lab) as supervisor:
        lamp, identity = await supervisor.instrument("lamp"), new_id()
        with pytest.raises(UnreachableError):
            await lamp.invoke("die", {}, identity=identity)

        found = await (await supervisor.reachable("lamp")).find(identity)

    assert found.state == "interrupted"


async def test_all_leave_in_time_although_one_is_blocked(lab: Lab, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    async with supervised(lab) as supervisor:
        lamp, identity = await supervisor.instrument("lamp"), new_id()
        await lamp.invoke("block_until", {"file": str(tmp_path / "never")}, identity=identity, wait=False)

    assert not held(lab.host_folder("lamp") / "lock")
    ledger = Ledger(lab.host_folder("lamp") / "ledger.db")
    assert ledger.find(identity).state == "interrupted"  # type: ignore[union-attr]
    ledger.close()


async def test_a_host_that_ignores_its_signals_is_killed(lab: Lab) -> None:
    async with supervised(lab) as supervisor:
        os.kill(pid_of(supervisor), signal.SIGSTOP)

    assert not held(lab.host_folder("lamp") / "lock")


async def test_a_driver_that_never_gets_ready_can_be_started_again_and_ends_with_the_hub(
    make_lab: Callable[[str], Lab], tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    stuck = f"open('{pipe}', 'w').close(); open('{pipe}').read()"
    lab = make_lab(f'[instruments.lamp]\ndriver = "drivers:Lamp"\nsettings = {{ begin_with = "{stuck}" }}\n')
    with hold(lab.hub_lock):
        async with Supervisor(lab) as supervisor:
            assert await asyncio.to_thread(pipe.read_text) == ""
            assert supervisor.status()["lamp"].state == "starting"
            first = holder(lab.host_folder("lamp") / "lock")

            again = asyncio.create_task(supervisor.restart("lamp"))

            assert await asyncio.to_thread(pipe.read_text) == ""
            assert holder(lab.host_folder("lamp") / "lock") != first
            again.cancel()


async def test_restarting_one_does_not_touch_the_others(lamps: Lab) -> None:
    async with supervised(lamps) as supervisor:
        before = {name: pid_of(supervisor, name) for name in ("lamp", "other")}

        await supervisor.restart("lamp")

        assert supervisor.status()["lamp"].state == "ready"
        assert pid_of(supervisor) != before["lamp"]
        assert pid_of(supervisor, "other") == before["other"]


async def test_a_driver_that_cannot_be_imported_is_quoted_and_stops_nobody(make_lab: Callable[[str], Lab]) -> None:
    lab = make_lab(LAMP + "[instruments.broken]\ndriver = 'broken:Lamp'\n")
    assert lab.file is not None
    module = lab.file.parent / "broken.py"
    module.write_text("raise RuntimeError('no dongle')\n")
    async with supervised(lab) as supervisor:
        broken = supervisor.status()["broken"]
        assert (broken.state, supervisor.status()["lamp"].state) == ("stopped", "ready")
        assert "RuntimeError: no dongle" in broken.reason
        assert broken.problem is not None
        assert "Traceback" in broken.problem["traceback"]
        with pytest.raises(UnreachableError, match="no dongle"):
            await supervisor.instrument("broken")

        module.write_text("from drivers import Lamp\n")
        await supervisor.restart("broken")

        assert (await (await supervisor.instrument("broken")).read("brightness")).value == 0.5


async def test_a_driver_that_dies_at_once_is_a_crash_loop(
    make_lab: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statuses, "FIRST_PAUSE", 0.01)
    lab = make_lab("[instruments.lamp]\ndriver = 'drivers:Lamp'\nsettings = { begin_with = 'os._exit(7)' }\n")
    with hold(lab.hub_lock):
        async with Supervisor(lab) as supervisor:
            status = await changed(supervisor, "lamp", "crash loop")

            assert "5 deaths within 30 s" in status.reason
            assert "ended with status 7" in status.reason
            with pytest.raises(UnreachableError, match="crash loop"):
                await supervisor.instrument("lamp")


async def test_a_hub_that_comes_back_in_time_keeps_the_hosts(lab: Lab) -> None:
    with hub_process(lab, grace=60.0) as hub:
        before = {name: read_host(lab.host_folder(name)) for name in lab.instruments}
        hub.send_signal(signal.SIGKILL)
        await released(lab.hub_lock)

        async with supervised(lab) as supervisor:
            for name, file in before.items():
                assert file is not None
                assert pid_of(supervisor, name) == file.pid
            assert (await (await supervisor.instrument("lamp")).read("brightness")).value == 0.5

    assert not held(lab.host_folder("lamp") / "lock")


async def test_a_host_that_lab_toml_does_not_know_any_more_is_ended(lamps: Lab, make_lab: Callable[[str], Lab]) -> None:
    with hub_process(lamps, grace=60.0) as hub:
        hub.send_signal(signal.SIGKILL)
        await released(lamps.hub_lock)
        other = read_host(lamps.host_folder("other"))

        async with supervised(make_lab(OTHER)) as supervisor:
            assert not held(lamps.host_folder("lamp") / "lock")
            assert other is not None
            assert pid_of(supervisor, "other") == other.pid


async def test_a_host_that_runs_with_earlier_settings_is_kept_and_says_so(
    lab: Lab, make_lab: Callable[[str], Lab]
) -> None:
    with hub_process(lab, grace=60.0) as hub:
        hub.send_signal(signal.SIGKILL)
        await released(lab.hub_lock)
        before = read_host(lab.host_folder("lamp"))
        assert before is not None

        changed_lab = make_lab(LAMP + "settings = { begin_with = 'print(7)' }\n")
        async with supervised(changed_lab) as supervisor:
            status = supervisor.status()["lamp"]
            assert (status.state, status.pid) == ("ready", before.pid)
            assert "restart it" in status.reason

            await supervisor.restart("lamp")

            assert supervisor.status()["lamp"].reason == ""
            assert "7" in supervisor.log("lamp")


async def test_an_adopted_host_is_watched_as_well(lab: Lab) -> None:
    with hub_process(lab, grace=60.0) as hub:
        hub.send_signal(signal.SIGKILL)
        await released(lab.hub_lock)

        async with supervised(lab) as supervisor:
            before = pid_of(supervisor)
            os.kill(before, signal.SIGKILL)

            assert (await (await supervisor.reachable("lamp")).read("brightness")).value == 0.5
            assert pid_of(supervisor) != before


async def test_without_a_hub_the_hosts_leave(lab: Lab) -> None:
    with hub_process(lab, grace=0.1) as hub:
        hub.send_signal(signal.SIGKILL)

        for name in lab.instruments:
            await released(lab.host_folder(name) / "lock")


async def test_an_action_that_runs_is_finished_before_its_host_leaves(lamps: Lab, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with hub_process(lamps, grace=0.0) as hub:
        address, identity = find("demo/lamp"), new_id()
        async with await open_instrument(address) as lamp:
            await lamp.invoke("block_until", {"file": str(pipe)}, identity=identity, wait=False)
        hub.send_signal(signal.SIGKILL)
        await released(lamps.host_folder("other") / "lock")
        assert held(lamps.host_folder("lamp") / "lock")

        pipe.write_text("done")

        await released(lamps.host_folder("lamp") / "lock")
    ledger = Ledger(lamps.host_folder("lamp") / "ledger.db")
    found = ledger.find(identity)
    ledger.close()
    assert found is not None
    assert (found.state, found.result) == ("succeeded", "done")


SERVE = """
import json, sys
from labretto.errors import LabError
from labretto.lab import LabInstrument
from labretto.network.serve import order_alone, serve
entry = LabInstrument(name="lamp", driver="drivers:Lamp", port=int(sys.argv[1]) or None)
try:
    sys.exit(serve(order_alone(entry), ready=lambda file: print(json.dumps(file.as_dict()), flush=True)))
except LabError as error:
    sys.exit(str(error))
"""


@contextlib.contextmanager
def served_alone(folder: Path, port: int = 0) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-c", SERVE, str(port)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, text=True, **streams) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith("{"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_instrument_served_alone_leaves_with_status_0(
    make_lab: Callable[[str], Lab], tmp_path: Path, labretto_home: Path, number: int
) -> None:
    make_lab("")
    with served_alone(tmp_path) as process:
        wait_until_ready(process)

        process.send_signal(number)

        assert process.wait() == 0
    assert {path.name for path in (labretto_home / "instruments/lamp").iterdir()} == {"ledger.db", "lock"}


async def test_a_signal_ends_it_although_an_action_blocks(
    make_lab: Callable[[str], Lab], tmp_path: Path, labretto_home: Path
) -> None:
    make_lab("")
    os.mkfifo(tmp_path / "never")
    with served_alone(tmp_path) as process:
        wait_until_ready(process)
        async with await open_instrument(find("lamp")) as lamp:
            await lamp.invoke("block_until", {"file": str(tmp_path / "never")}, wait=False)
            process.send_signal(signal.SIGINT)

            assert await asyncio.to_thread(process.wait) == 0
    assert not (labretto_home / "instruments/lamp/host.json").exists()


def test_a_port_in_use_is_said_with_status_1(
    make_lab: Callable[[str], Lab], tmp_path: Path, labretto_home: Path
) -> None:
    make_lab("")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with served_alone(tmp_path, port) as process:
            output, errors = process.communicate()
    assert process.returncode == 1
    assert (
        errors
        == f"Port {port} cannot be used: address already in use. Choose another, or stop the process that has it.\n"
    )
    assert output == ""
    wait_until_released(labretto_home / "instruments/lamp/lock")
