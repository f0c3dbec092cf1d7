"""node-wot, the W3C's reference consumer of Thing Descriptions, uses an instrument that it knows nothing of.

The instrument is a process of its own (`labretto serve`), the consumer another (node_wot/consume.cjs).
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from labretto.instrument.invocation import new_id

CONSUMER = Path(__file__).parent / "node_wot" / "consume.cjs"

DRIVER = '''
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Interval, Unit

from labretto.instrument.describe import effect

Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=100)]


class Row(NamedTuple):
    time: Annotated[float, Unit("s")]
    current: Annotated[float, Unit("A")]


class Stage:
    """Moves, and counts how often."""

    def __init__(self) -> None:
        self._x = 1.5
        self._moves = 0

    @property
    def x(self) -> Millimetre:
        return self._x

    @x.setter
    def x(self, to: Millimetre) -> None:
        self._x = to

    @property
    def moves(self) -> int:
        return self._moves

    @property
    def firmware(self) -> str:
        return "2.1"

    @property
    def spectrum(self) -> Annotated[np.ndarray, ("row", "column"), Unit("V")]:
        return np.array([[1.0, np.nan], [2.0, 3.0]])

    @effect("absolute")
    def move(self, to: Millimetre, speed: Annotated[float, Unit("mm/s")] = 1.0) -> Millimetre:
        """Go to a place."""
        self._x = to
        self._moves += 1
        return to

    def scan(self, rows: int) -> Iterator[Row]:
        """A measurement."""
        for number in range(rows):
            yield Row(number * 0.5, number * 1.0)

    def look_away(self) -> None:
        """Answers nothing."""

    def fail(self) -> None:
        raise ValueError("the shutter is stuck")

    def stop(self) -> None:
        """Make safe."""
'''


@pytest.fixture(scope="module")
def saw(node: Path, node_wot: Path, command_line_of_the_module: Any) -> dict[str, Any]:
    """What the consumer saw of the instrument, from its Thing Description on."""
    line = command_line_of_the_module
    (line.folder / "drivers.py").write_text(DRIVER)
    with line.start("serve", "drivers:Stage", "--name", "stage") as process:
        assert process.stdout is not None
        said = next((each for each in process.stdout if "http://" in each), "")
        assert said, line.errors()
        address = next(word for word in said.split() if word.startswith("http://")).rstrip(".,/")
        done = subprocess.run(
            [node, CONSUMER, f"{address}/.well-known/wot", new_id()],
            env=os.environ | {"NODE_PATH": str(node_wot)},
            capture_output=True,
            text=True,
            check=False,
            timeout=40,
        )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_it_finds_the_thing_description(saw: dict[str, Any]) -> None:
    assert saw["title"] == "stage"
    assert saw["id"].startswith("urn:uuid:")


def test_it_reads_properties(saw: dict[str, Any]) -> None:
    assert saw["read"] == 1.5
    assert saw["all"] == ["x", "firmware"]


def test_it_reads_an_array_in_which_something_is_no_number(saw: dict[str, Any]) -> None:
    assert saw["array"] == [[1.0, None], [2.0, 3.0]]


def test_it_writes_a_property(saw: dict[str, Any]) -> None:
    assert saw["written"] == 12.5


def test_it_is_told_that_a_value_is_refused(saw: dict[str, Any]) -> None:
    assert saw["refused"].startswith("Client error")


def test_it_observes_a_property(saw: dict[str, Any]) -> None:
    assert saw["observed"] == [12.5, 3.0]


def test_it_invokes_an_action_and_gets_its_output(saw: dict[str, Any]) -> None:
    assert saw["moved"] == 3.0
    assert saw["scanned"] == {"time": [0.0, 0.5], "current": [0.0, 1.0]}
    assert saw["nothing"] is None


def test_it_is_told_by_events_what_becomes_of_an_action(saw: dict[str, Any]) -> None:
    assert saw["states"] == ["running", "succeeded"]


def test_it_may_ask_again_under_the_same_id(saw: dict[str, Any]) -> None:
    assert saw["once"] == [4.0, 4.0]
    assert saw["moves"] == 2


def test_it_is_told_that_an_action_failed(saw: dict[str, Any]) -> None:
    assert saw["failed"].startswith("Server error")


def test_it_stops_the_instrument(saw: dict[str, Any]) -> None:
    assert saw["stopped"] is True
