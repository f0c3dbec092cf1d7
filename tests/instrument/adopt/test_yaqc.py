"""A daemon of yaq, in a process of its own, adopted through yaq's own client."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from yaqc import Client

from labretto.errors import LimitError

from .conftest import Hosting

CONFIGURATION = """
[hardware]
port = {port}
limits = [0, 10]
units = "mm"
velocity = 1000.0
"""

PROGRAM = """
from asyncio.base_events import BaseEventLoop

create_server = BaseEventLoop.create_server

async def create_and_tell(*arguments, **words):
    server = await create_server(*arguments, **words)
    print("listening", flush=True)  # the daemon itself does not say when
    return server

BaseEventLoop.create_server = create_and_tell

from yaqd_fakes._fake_continuous_hardware import FakeContinuousHardware

FakeContinuousHardware.main()
"""


@pytest.fixture
def daemon(tmp_path: Path, free_port: int) -> Iterator[int]:
    """The port of a daemon that answers."""
    (tmp_path / "yaq.toml").write_text(CONFIGURATION.format(port=free_port))
    command = [sys.executable, "-c", PROGRAM, "--config", str(tmp_path / "yaq.toml")]
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            assert "listening\n" in process.stdout, "the daemon has ended"
            yield free_port
        finally:
            process.kill()


async def test_properties_of_a_daemon_are_attributes_with_its_units_and_limits(hosting: Hosting, daemon: int) -> None:
    async with hosting(Client, port=daemon) as host:
        destination = host.description.attributes["destination"]
        assert destination.schema == {"type": "number", "minimum": 0.0, "maximum": 10.0, "unit": "mm"}
        assert not host.description.attributes["position"].writable

        assert (await host.write("destination", 4)).value == 4.0
        with pytest.raises(LimitError, match="is above 10 mm"):
            await host.write("destination", 11)
        assert (await host.read("destination")).value == 4.0


async def test_its_other_messages_are_actions(hosting: Hosting, daemon: int) -> None:
    async with hosting(Client, port=daemon) as host:
        begun = await host.invoke("in_limits", {"position": 5})
        assert (await host.wait(begun.id)).result is True
        assert not {"shutdown", "send", "set_position"} & set(host.description.actions)
