"""A simulated two-axis stage that carries the sample library under a fixed tip.

It moves as a motion controller does: told once where to go, it goes there by itself, also when the process that told it
is killed (the motion stands on the bench). Which samples there are is told in `library`.
"""

import asyncio
import threading
import time
from dataclasses import asdict, replace
from typing import Annotated

from annotated_types import Interval, Unit

from labretto.instrument.describe import effect
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.library import SAMPLES, SampleLibrary, SampleName
from labretto.instrument.simulated.motion import Motion, Place
from labretto.instrument.simulated.waiting import Wait

__all__ = ["Millimetre", "SampleStage"]

TRAVEL = 100.0
Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=TRAVEL)]
FASTEST = 500.0
Velocity = Annotated[float, Unit("mm/s"), Interval(gt=0, le=FASTEST)]
Acceleration = Annotated[float, Unit("mm/s^2"), Interval(gt=0, le=5000)]


class SampleStage:
    """An x-y stage under a fixed tip, 100 mm by 100 mm, with sixteen samples A1 to D4 on it."""

    def __init__(
        self,
        velocity: Velocity = 20.0,
        acceleration: Acceleration = 100.0,
        *,
        bench: str | None = None,
        name: str = "stage",
    ) -> None:
        """Switch on; a stage that was here before is found where it is, also in mid-motion.

        Args:
            velocity: highest speed, mm/s.
            acceleration: mm/s².
            bench: the folder shared with the other simulated instruments (see `Bench`).
            name: what the bench calls it.
        """
        self._bench = Bench(bench)
        self._name = name
        self._lock = threading.Lock()  # `stop` comes from another thread
        self._wait = Wait()
        known = self._bench.motion(name) or Motion((0.0, 0.0), (0.0, 0.0), time.time(), velocity, acceleration)
        self._velocity, self._acceleration = velocity, acceleration
        self._write(known)

    @property
    def x(self) -> Millimetre:
        """Where the tip is, to the right of home."""
        return self._place()[0]

    @property
    def y(self) -> Millimetre:
        """Where the tip is, above home."""
        return self._place()[1]

    @property
    def sample(self) -> SampleName | None:
        """The sample under the tip, or null between samples."""
        found = SampleLibrary.at(*self._place())
        return found.name if found else None

    @property
    def moving(self) -> bool:
        """Whether the stage is on its way."""
        return time.time() < self._motion.arrives

    @property
    def velocity(self) -> Velocity:
        """Highest speed of the next move."""
        return self._velocity

    @velocity.setter
    def velocity(self, value: Velocity) -> None:
        if not 0 < value <= FASTEST:
            raise ValueError(f"{self._name}.velocity: {value} mm/s is not above 0 and up to {FASTEST:g} mm/s")
        self._velocity = value

    @effect("absolute")
    async def move(self, x: Millimetre, y: Millimetre) -> None:
        """Move the tip to a place."""
        await self._go("move", (float(x), float(y)))

    @effect("absolute")
    async def move_to(self, sample: SampleName) -> None:
        """Move the tip to the centre of a sample."""
        if sample not in SAMPLES:
            raise ValueError(f"{self._name}.move_to: no sample {sample!r}; there are {', '.join(SAMPLES)}")
        await self._go("move_to", (SAMPLES[sample].x, SAMPLES[sample].y), sample=sample)

    @effect("absolute")
    async def home(self) -> None:
        """Move to x = 0, y = 0."""
        await self._go("home", (0.0, 0.0))

    def stop(self) -> None:
        """Halt at once, where the stage is; a running move ends with an error that says so."""
        with self._lock:
            self._write(self._motion.halted(time.time()))
            self._wait.interrupt()

    def _place(self) -> Place:
        return self._motion.position(time.time())

    def _write(self, motion: Motion) -> None:
        self._bench.write(self._name, asdict(motion))
        self._motion = motion

    async def _go(self, action: str, target: Place, **told: str) -> None:
        if not all(0 <= value <= TRAVEL for value in target):
            raise ValueError(f"{self._name}.{action}: {target} mm is outside 0 to {TRAVEL:g} mm; nothing moved")
        if self._wait.going_on:
            raise RuntimeError(f"{self._name}.{action}: already on the way to {self._motion.target} mm; stop it first")
        with self._bench.physical(self._name, action, x=target[0], y=target[1], **told):
            seconds = self._depart(target)
            try:
                arrived = await self._wait.over(seconds)
            except asyncio.CancelledError:
                self.stop()
                raise
            if not arrived:
                raise RuntimeError(self._stopped_text(action, target))
            self._arrive(target)

    def _depart(self, target: Place) -> float:
        """Begin the motion; answers the seconds until the arrival."""
        with self._lock:
            now = time.time()
            settings = replace(self._motion.halted(now), velocity=self._velocity, acceleration=self._acceleration)
            self._write(settings.towards(target, now))
            self._wait.begin()
            return self._motion.arrives - now

    def _arrive(self, target: Place) -> None:
        with self._lock:  # written down, because the loop's clock and the bench's may differ by a hair
            self._write(self._motion.resting(target, time.time()))

    def _stopped_text(self, action: str, target: Place) -> str:
        x, y = self._place()
        return (
            f"{self._name}.{action}: stopped at x={x:.3f} mm, y={y:.3f} mm on the way to "
            f"x={target[0]:g} mm, y={target[1]:g} mm; look, then move again"
        )
