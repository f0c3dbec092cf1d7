"""A notebook starts an instrument and goes on working."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from labretto.errors import ConflictError, DriverError, InvalidError
from labretto.network.background import start_background
from labretto.network.directory import known


class Motor:
    """A motor."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self.closed = threading.Event()

    @property
    def speed(self) -> float:
        return self._speed

    def close(self) -> None:
        self.closed.set()


class Broken:
    def __init__(self) -> None:
        raise OSError("no device")


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """No thread of a server outlives its test."""
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("server of")] == []


def got(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def test_it_answers_when_start_returns_and_is_gone_after_stop() -> None:
    motor = start_background(Motor, settings={"speed": 2.0})

    assert got(f"{motor.url}/attributes/speed")["value"] == 2.0
    assert known()["motor"] == motor.address
    motor.stop()
    motor.stop()
    assert known() == {}
    assert repr(motor) == "<Background motor: stopped>"


def test_it_takes_the_port_and_the_name_it_is_given(free_port: int) -> None:
    with start_background(Motor, name="left", port=free_port) as motor:
        assert motor.url == f"http://127.0.0.1:{free_port}"
        assert got(motor.url)["name"] == "left"


def test_an_instance_is_served_and_closed_at_the_end() -> None:
    driver = Motor(3.0)

    with start_background(driver) as motor:
        assert got(f"{motor.url}/attributes/speed")["value"] == 3.0
    assert driver.closed.is_set()


def test_a_driver_may_be_named_by_text() -> None:
    with start_background("labretto.instrument.simulated.stage:SampleStage", name="stage") as stage:
        assert got(f"{stage.url}/attributes/x")["unit"] == "mm"


def test_a_cell_can_be_run_again() -> None:
    first = start_background(Motor)
    with start_background(Motor, settings={"speed": 9.0}) as second:
        assert got(f"{second.url}/attributes/speed")["value"] == 9.0
        assert "stopped" in repr(first)


def test_it_works_beside_a_running_loop() -> None:
    """A notebook's cells run inside one."""

    async def cell() -> float:
        with start_background(Motor) as motor:
            return float((await asyncio.to_thread(got, f"{motor.url}/attributes/speed"))["value"])

    assert asyncio.run(cell()) == 1.0


def test_a_port_in_use_is_told_and_nothing_stays() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ConflictError, match="address already in use"):
        start_background(Motor, port=other.getsockname()[1])


def test_what_the_constructor_says_is_told() -> None:
    with pytest.raises(DriverError, match="OSError: no device"):
        start_background(Broken)


@pytest.mark.parametrize("words", [{"name": "a b"}, {"port": 0}, {"effects": {"move": "sometimes"}}, {"colour": 1}])
def test_what_cannot_be_meant_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        start_background(Motor, **words)


def test_a_script_that_ends_without_stopping_what_it_serves_ends_in_silence() -> None:
    """The process lets no thread begin any more by then, also none that would wait for the driver."""
    program = "import labretto, pathlib; labretto.start(type('Lamp', (), {'flash': lambda self: None}), name='lamp')"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)

    assert (done.returncode, done.stderr) == (0, "")
