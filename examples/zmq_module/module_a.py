"""The module of the example: a press that loads a sample cycle by cycle, and its force sensor. Simulated.

A plain class. No socket, no route and no list of commands stands here: what it offers is found out by looking at it.
"""

import asyncio
import random
from typing import Annotated, TypedDict

from annotated_types import Interval, Unit

Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=10)]
Newton = Annotated[float, Unit("N")]
Seconds = Annotated[float, Unit("s"), Interval(ge=0, le=3600)]
Points = Annotated[int, Interval(ge=2, le=10_000)]

STIFFNESS = 200.0
"""N/mm of the fresh sample."""

SOFTENING = 0.99
"""What a cycle leaves of the stiffness; rubber does so (L. Mullins, Rubber Chem. Technol. 42, 339 (1969))."""

NOISE = 0.5
"""N, standard deviation of the force sensor."""


class Cycle(TypedDict):
    """What a cycle left behind."""

    cycle: int
    """Its number, from 1; 0 where there was none."""
    force: Annotated[list[float], Unit("N")]
    """At equal steps of the way in and out again."""


class Press:
    """A press with a force sensor; each cycle goes in to `stroke` and out again."""

    def __init__(self, duration: Seconds = 1.0, points: Points = 50, seed: int | None = None) -> None:
        self._duration = duration
        self._points = points
        self._stroke = 2.0
        self._travel = 0.0
        self._last: Cycle = {"cycle": 0, "force": []}
        self._noise = random.Random(seed)

    @property
    def force(self) -> Newton:
        """At this moment, also during a cycle."""
        stiffness = STIFFNESS * SOFTENING ** self._last["cycle"]
        return stiffness * self._travel + self._noise.gauss(0, NOISE)

    @property
    def last_cycle(self) -> Cycle:
        """Number and force data of the last cycle that was completed."""
        return self._last

    @property
    def stroke(self) -> Millimetre:
        """How far the next cycle goes in."""
        return self._stroke

    @stroke.setter
    def stroke(self, value: Millimetre) -> None:
        self._stroke = value

    @property
    def points(self) -> Points:
        """How often a cycle measures the force."""
        return self._points

    @points.setter
    def points(self, value: Points) -> None:
        self._points = value

    @property
    def duration(self) -> Seconds:
        """How long a cycle takes."""
        return self._duration

    @duration.setter
    def duration(self, value: Seconds) -> None:
        self._duration = value

    async def start_cycle(self) -> Cycle:
        """Load the sample once; answers the cycle's number and force data at its end."""
        stroke, points, pause, force = self._stroke, self._points, self._duration / self._points, []
        try:
            for point in range(points):
                self._travel = stroke * (1 - abs(1 - 2 * point / (points - 1)))
                force.append(self.force)
                await asyncio.sleep(pause)
        finally:
            self.stop()
        self._last = {"cycle": self._last["cycle"] + 1, "force": force}
        return self._last

    def stop(self) -> None:
        """Lift off the sample at once."""
        self._travel = 0.0

    def close(self) -> None:
        """Lift off and let the hardware go."""
        self.stop()
