"""A driver's file changes while its host lives: it is tried out first, and a broken one leaves the host as it is.

Also what an action may still do when its host is told to leave. Real processes; waits are for what is told.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from labretto.errors import BusyError, ConflictError, InvalidError, LabError, UnreachableError
from labretto.instrument.invocation import new_id
from labretto.instrument.ledger import Ledger
from labretto.lab import Lab, LabInstrument, load_lab
from labretto.network import keeper
from labretto.network.liveness import hold, wait_until_released
from labretto.network.supervise import Supervisor

LAMP = '''
"""A lamp."""
import asyncio, pathlib, time
from collections.abc import Iterator
from typing import Annotated, NamedTuple
from annotated_types import Unit

class Row(NamedTuple):
    light: float

class Lamp:
    @property
    def brightness(self) -> Annotated[float, Unit("W")]:
        return 0.5

    def read_pipe(self, file: str) -> str:
        return pathlib.Path(file).read_text()

    def watch(self, begun: str, ended: str) -> Iterator[Row]:
        try:
            while True:
                yield Row(1.0)
                pathlib.Path(begun).write_text("begun")
                time.sleep(0.01)
        finally:
            pathlib.Path(ended).write_text("shutter closed")

    async def glow(self, begun: str, ended: str) -> None:
        pathlib.Path(begun).write_text("begun")
        try:
            await asyncio.Event().wait()
        finally:
            pathlib.Path(ended).write_text("shutter closed")
'''
LIMITS = "[instruments.lamp]\ndriver = 'lamp:Lamp'\nlimits = 'limits.toml'\n"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    (tmp_path / "lamp.py").write_text(LAMP)
    (tmp_path / "limits.toml").write_text("")
    file = tmp_path / "demo.toml"
    file.write_text(LIMITS)
    return load_lab(file)


@contextlib.asynccontextmanager
async def supervised(lab: Lab) -> AsyncIterator[Supervisor]:
    with hold(lab.hub_lock):
        async with Supervisor(lab) as supervisor:
            await supervisor.settled()
            yield supervisor


def pid_of(supervisor: Supervisor) -> int:
    pid = supervisor.status()["lamp"].pid
    assert pid is not None
    return pid


async def until_reason(supervisor: Supervisor, wanted: str) -> None:
    came = asyncio.Event()
    end = supervisor.listen(lambda status: came.set() if wanted in status.reason else None)
    if wanted not in supervisor.status()["lamp"].reason:
        await asyncio.wait_for(came.wait(), 30)
    end()


async def test_a_changed_driver_is_served_and_what_is_different_is_told(lab: Lab, tmp_path: Path) -> None:
    async with supervised(lab) as supervisor:
        before = pid_of(supervisor)
        changed = LAMP.replace("read_pipe", "read_line").replace('Unit("W")', 'Unit("mW")')
        (tmp_path / "lamp.py").write_text(changed)

        told = await supervisor.reload("lamp")

        assert pid_of(supervisor) != before
        assert "action read_pipe is gone" in told
        assert "action read_line is new" in told
        assert "attribute brightness: schema.unit: 'W' became 'mW'" in told
        assert (await (await supervisor.instrument("lamp")).read("brightness")).unit == "mW"


async def test_one_that_cannot_be_made_any_more_is_told_at_once_with_what_its_driver_said(
    lab: Lab, tmp_path: Path
) -> None:
    """Its constructor is called only by the new host: trying out does not touch the hardware."""
    async with supervised(lab) as supervisor:
        raising = LAMP + "    def __init__(self) -> None:\n        raise OSError('no lamp at this port')\n"
        (tmp_path / "lamp.py").write_text(raising)

        with pytest.raises(UnreachableError, match="no lamp at this port"):
            await supervisor.reload("lamp")

        with pytest.raises(UnreachableError, match="no lamp at this port"):  # and so it is in a crash loop
            await supervisor.reload("lamp")


async def test_one_that_is_the_same_is_started_anew_and_nothing_is_different(lab: Lab) -> None:
    async with supervised(lab) as supervisor:
        before = pid_of(supervisor)
        assert await supervisor.reload("lamp") == []
        assert pid_of(supervisor) != before


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("class Lamp:\n    def broken(:\n", r"lamp\.py.*line 2"),
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("x = 1 / 0\n", "line 1"),
        ("class Torch:\n    pass\n", "no class 'Lamp'"),
        ("class Lamp:\n    @property\n    def x(self) -> 'Nothing': ...\n", "Nothing"),
        ("import os; os._exit(7)\n", "status 7"),
    ],
)
async def test_a_broken_driver_leaves_the_host_as_it_is(lab: Lab, tmp_path: Path, broken: str, why: str) -> None:
    async with supervised(lab) as supervisor:
        before = pid_of(supervisor)
        (tmp_path / "lamp.py").write_text(broken)

        with pytest.raises(LabError, match=why):
            await supervisor.reload("lamp")

        assert pid_of(supervisor) == before
        assert (await (await supervisor.instrument("lamp")).read("brightness")).value == 0.5
        (tmp_path / "lamp.py").write_text(LAMP)


async def test_limits_that_cannot_be_read_leave_the_host_as_it_is(lab: Lab, tmp_path: Path) -> None:
    async with supervised(lab) as supervisor:
        before = pid_of(supervisor)
        (tmp_path / "limits.toml").write_text("[gone]\nmaximum = 3\n")
        with pytest.raises(InvalidError, match="gone"):
            await supervisor.reload("lamp")
        assert pid_of(supervisor) == before


async def test_while_an_action_runs_nothing_is_loaded_and_it_is_named(lab: Lab, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with supervised(lab) as supervisor:
        client = await supervisor.instrument("lamp")
        before = pid_of(supervisor)
        identity = new_id()
        await client.invoke("read_pipe", {"file": str(pipe)}, identity=identity, wait=False)

        with pytest.raises(BusyError, match="read_pipe runs since") as caught:
            await supervisor.reload("lamp")
        assert caught.value.fields["running"] == identity
        keeping = supervisor._keepers["lamp"]
        assert isinstance(keeping, keeper.HostKeeper)
        with pytest.raises(BusyError, match="was not ended"):  # one that began after it was looked for
            await keeping.leave_if_idle()

        await asyncio.to_thread(pipe.write_text, "go on")
        assert (await client.invoke("read_pipe", {"file": str(pipe)}, identity=identity)).state == "succeeded"
        assert pid_of(supervisor) == before
        assert await supervisor.reload("lamp") == []


async def test_a_host_elsewhere_is_not_loaded_anew_here(free_port: int) -> None:
    entry = LabInstrument(name="lamp", url=f"http://127.0.0.1:{free_port}")
    async with supervised(Lab(name="demo", instruments={"lamp": entry})) as supervisor:
        with pytest.raises(ConflictError, match="not started here"):
            await supervisor.reload("lamp")
        with pytest.raises(ConflictError, match="not started here"):
            supervisor.log("lamp")


async def test_files_that_changed_since_the_start_are_noticed(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK_EVERY", 0.02)
    async with supervised(lab) as supervisor:
        (tmp_path / "limits.toml").write_text("[brightness]\nneeds = {}\n")
        await until_reason(supervisor, "limits said before")
        (tmp_path / "limits.toml").write_text("")
        (tmp_path / "lamp.py").write_text(LAMP + "# changed\n")
        await until_reason(supervisor, "file has changed")
        await supervisor.reload("lamp")
        assert supervisor.status()["lamp"].reason == ""


@pytest.mark.parametrize("action", ["watch", "glow"])
async def test_what_an_action_has_in_finally_is_run_when_its_host_is_told_to_leave(
    lab: Lab, tmp_path: Path, action: str, until_written: Callable[[Path], None]
) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    async with supervised(lab) as supervisor:
        client, identity = await supervisor.instrument("lamp"), new_id()
        words = {"begun": str(begun), "ended": str(ended)}
        await client.invoke(action, words, identity=identity, wait=False)
        await asyncio.to_thread(until_written, begun)
    assert ended.read_text() == "shutter closed"
    found = Ledger(lab.host_folder("lamp") / "ledger.db").find(identity)
    assert found is not None
    assert found.state == "cancelled"


async def test_what_cannot_end_is_recorded_as_interrupted_before_the_host_leaves(lab: Lab, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with supervised(lab) as supervisor:
        client, identity = await supervisor.instrument("lamp"), new_id()
        await client.invoke("read_pipe", {"file": str(pipe)}, identity=identity, wait=False)
        os.kill(pid_of(supervisor), signal.SIGTERM)
        await asyncio.to_thread(wait_until_released, lab.host_folder("lamp") / "lock")
    found = Ledger(lab.host_folder("lamp") / "ledger.db").find(identity)
    assert found is not None
    assert found.state == "interrupted"
    assert "ended before" in str(found.error)


@pytest.fixture
def until_written() -> Callable[[Path], None]:
    """Return when a file is there."""

    def wait(path: Path) -> None:
        while not path.exists():  # the driver is in another process, and tells it by nothing else
            os.sched_yield()

    return wait
