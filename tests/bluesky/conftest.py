"""A laboratory of served drivers, and Bluesky's own RunEngine."""

import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest
from annotated_types import Interval, Unit
from bluesky import RunEngine

from labretto.bluesky import Device, device
from labretto.instrument.describe import effect
from labretto.network.background import start_background

Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=100)]
Image = Annotated[np.ndarray, Unit("count"), ("y", "x")]


class Row(NamedTuple):
    time: Annotated[float, Unit("s")]
    current: Annotated[float, Unit("A")]


class Bench:
    """A stage with a detector on it."""

    def __init__(self) -> None:
        self._place = {"x": 0.0, "y": 5.0}
        self._gain = 1.0
        self._entered, self._released = threading.Event(), threading.Event()
        self._log: list[str] = []

    @property
    def x(self) -> Millimetre:
        return self._place["x"]

    @property
    def y(self) -> Millimetre:
        return self._place["y"]

    @property
    def sample(self) -> str | None:
        return None

    @property
    def gain(self) -> Annotated[float, Interval(gt=0)]:
        return self._gain

    @gain.setter
    def gain(self, value: Annotated[float, Interval(gt=0)]) -> None:
        self._gain = value

    @effect("absolute")
    def move(self, x: Millimetre, y: Millimetre) -> None:
        """Go to a place."""
        self._log.append(f"move {x:g} {y:g}")
        self._place = {"x": x, "y": y}

    @effect("absolute")
    def turn_to(self, angle: Annotated[float, Unit("deg")]) -> None:
        """No attribute tells the angle."""
        if angle > 360:
            raise RuntimeError("the motor is stuck")

    @effect("absolute")
    def creep(self, x: Millimetre) -> None:
        """Takes until it is released or stopped."""
        self._log.append(f"creep {x:g}")
        self._entered.set()
        if not self._released.wait(20) or self._log[-1] == "stop":
            raise RuntimeError("stopped on the way")
        self._place |= {"x": x}

    @effect("read")
    def look(self, exposure: Annotated[float, Unit("s")] = 0.1) -> Image:
        """An image."""
        return np.full((2, 3), self.x * exposure)

    def dispense(self, volume: Annotated[float, Unit("mL")]) -> dict[str, float]:
        """Must not be done twice."""
        self._log.append(f"dispense {volume:g}")
        return {"volume": volume, "pressure": 2.0}

    def expose(self) -> float:
        """Must not be done twice, and takes until it is released."""
        self._log.append("expose")
        self._entered.set()
        self._released.wait(20)
        return 1.0

    @effect("read")
    def sweep(self, rows: int = 3) -> Iterator[Row]:
        """A measurement that yields rows."""
        for number in range(rows):
            yield Row(number * 0.1, number * 1e-3)

    def stop(self) -> None:
        self._log.append("stop")
        self._released.set()


@pytest.fixture
def driver() -> Bench:
    return Bench()


@pytest.fixture
def bench(driver: Bench) -> Iterator[Device]:
    """The bench as a Bluesky device, over a real wire."""
    with start_background(driver, name="bench") as served, device(served.url) as bench:
        yield bench


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    engine = RunEngine(context_managers=[])
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join(5)
    engine.loop.close()


Documents = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def documents(run_engine: RunEngine) -> Documents:
    """What the RunEngine emits, in order."""
    heard: Documents = []
    run_engine.subscribe(lambda name, document: heard.append((name, document)))
    return heard


@pytest.fixture
def of_kind(documents: Documents) -> Callable[[str], list[dict[str, Any]]]:
    """The documents of one kind."""
    return lambda kind: [document for name, document in documents if name == kind]
