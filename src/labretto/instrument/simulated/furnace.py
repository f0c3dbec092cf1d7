"""A simulated tube furnace: its temperature follows the set point with a first-order lag.

The heating program is written on the bench when it begins; temperature and set point follow from it and the time, so
the furnace goes on heating when the process that told it is killed, as a real one does.
"""

import asyncio
import threading
import time
from dataclasses import asdict, dataclass
from math import exp, log
from typing import Annotated

from annotated_types import Interval, Unit

from labretto.instrument.describe import effect
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.waiting import Wait

__all__ = ["Celsius", "Furnace", "Program"]

AMBIENT, HOTTEST = 20.0, 1200.0
TOLERANCE = 0.5  # degC: a ramp has ended when the sample is this near to the set point

Celsius = Annotated[float, Unit("degC"), Interval(ge=AMBIENT, le=HOTTEST)]
HeatingRate = Annotated[float, Unit("degC/min"), Interval(gt=0, le=600)]


@dataclass(frozen=True)
class Program:
    """A ramp of the set point, then a hold; the temperature follows. Seconds are the furnace's own.

    Source: D. E. Seborg, T. F. Edgar, D. A. Mellichamp, Process Dynamics and Control, 2nd ed. (2004), section 5.2:
    step and ramp response of a first-order process.
    """

    temperature: float
    """At the beginning, degC."""
    setpoint: float
    """At the beginning, degC."""
    to: float
    """Of the set point at the ramp's end, degC."""
    ramp: float
    """Seconds that the ramp takes; 0 for a jump."""
    lag: float
    """Time constant, s."""
    began: float
    """Unix time."""
    pace: float
    """The furnace's seconds per second of Unix time."""

    def elapsed(self, now: float) -> float:
        """The furnace's seconds from the beginning until the Unix time `now`."""
        return (now - self.began) * self.pace

    def setpoint_after(self, elapsed: float) -> float:
        """Set point `elapsed` seconds after the beginning, degC."""
        if elapsed >= self.ramp:
            return self.to
        return self.setpoint + (self.to - self.setpoint) * max(0.0, elapsed) / self.ramp

    def temperature_after(self, elapsed: float) -> float:
        """Temperature `elapsed` seconds after the beginning, degC."""
        if elapsed <= 0:
            return self.temperature
        if elapsed > self.ramp:
            return self.to + (self._at_ramp_end() - self.to) * exp(-(elapsed - self.ramp) / self.lag)
        behind = self.lag * (self.to - self.setpoint) / self.ramp  # how far it trails a long ramp
        return (
            self.setpoint_after(elapsed)
            - behind
            + (self.temperature - self.setpoint + behind) * exp(-elapsed / self.lag)
        )

    def _at_ramp_end(self) -> float:
        return self.temperature_after(self.ramp)

    @property
    def settled(self) -> float:
        """Seconds after the beginning until the temperature stays within the tolerance of the set point."""
        away = abs(self._at_ramp_end() - self.to)
        return self.ramp + (self.lag * log(away / TOLERANCE) if away > TOLERANCE else 0.0)


class Furnace:
    """A tube furnace with one thermocouple at the sample."""

    def __init__(
        self,
        lag: Annotated[float, Unit("s")] = 60.0,
        time_scale: float = 1.0,
        *,
        bench: str | None = None,
        name: str = "furnace",
    ) -> None:
        """Switch on, cold, or as warm as the bench says it is.

        Args:
            lag: time constant of the temperature, s.
            time_scale: simulated seconds per real second.
            bench: the folder shared with the other simulated instruments (see `Bench`).
            name: what the bench calls it.

        Raises:
            ValueError: if lag or time_scale is not above 0.
        """
        if not (lag > 0 and time_scale > 0):
            raise ValueError(f"{name}: lag={lag} and time_scale={time_scale} must be above 0")
        self._bench, self._name = Bench(bench), name
        self._lag, self._time_scale = lag, time_scale
        self._lock = threading.Lock()  # `stop` comes from another thread
        self._wait = Wait()
        known = self._bench.read(name)
        cold = Program(AMBIENT, AMBIENT, AMBIENT, ramp=0.0, lag=lag, began=time.time(), pace=time_scale)
        self._write(Program(**known) if known else cold)

    @property
    def temperature(self) -> Annotated[float, Unit("degC")]:
        """At the sample, not at the wall."""
        return self._program.temperature_after(self._elapsed())

    @property
    def setpoint(self) -> Celsius:
        """What the temperature follows; a new one is followed at once, without a ramp."""
        return self._program.setpoint_after(self._elapsed())

    @setpoint.setter
    def setpoint(self, value: Celsius) -> None:
        self._check("setpoint", value)
        with self._bench.physical(self._name, "setpoint", to=value):
            self._follow(value, ramp=0.0)

    @property
    def ramping(self) -> bool:
        """Whether a ramp is under way: its end and the lag after it included."""
        return self._wait.going_on

    @effect("absolute")
    async def ramp(self, to: Celsius, rate: HeatingRate = 10.0) -> Annotated[float, Unit("degC")]:
        """Heat or cool to `to`; answers the temperature reached."""
        self._check("ramp", to)
        if not rate > 0:
            raise ValueError(f"{self._name}.ramp: {rate} degC/min is not above 0; nothing changed")
        with self._bench.physical(self._name, "ramp", to=to, rate=rate):
            self._follow(to, ramp=abs(to - self.setpoint) / rate * 60, wait=True)
            try:
                reached = await self._wait.over(self._program.settled / self._time_scale)
            except asyncio.CancelledError:
                self.stop()
                raise
            if not reached:
                where = f"at {self.temperature:.1f} degC on the way to {to:g} degC"
                raise RuntimeError(f"{self._name}.ramp: stopped {where}; the heater is off")
            return self.temperature

    def stop(self) -> None:
        """Switch the heater off; the furnace cools down by itself, and a running ramp ends with an error."""
        with self._lock:
            self._write(self._towards(AMBIENT, ramp=0.0))
            self._wait.interrupt()

    def _elapsed(self) -> float:
        return self._program.elapsed(time.time())

    def _check(self, what: str, value: float) -> None:
        if not AMBIENT <= value <= HOTTEST:
            limits = f"{AMBIENT:g} to {HOTTEST:g} degC"
            raise ValueError(f"{self._name}.{what}: {value} degC is outside {limits}; nothing changed")
        if self._wait.going_on:
            raise RuntimeError(f"{self._name}.{what}: a ramp to {self._program.to:g} degC is under way; stop it first")

    def _follow(self, to: float, *, ramp: float, wait: bool = False) -> None:
        with self._lock:
            self._write(self._towards(to, ramp=ramp))
            if wait:
                self._wait.begin()

    def _towards(self, to: float, *, ramp: float) -> Program:
        """The program that begins now, from the temperature and the set point of now."""
        now, lag, pace = time.time(), self._lag, self._time_scale
        return Program(self.temperature, self.setpoint, to, ramp=ramp, lag=lag, began=now, pace=pace)

    def _write(self, program: Program) -> None:
        self._bench.write(self._name, asdict(program))
        self._program = program
