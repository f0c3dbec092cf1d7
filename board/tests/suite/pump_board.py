"""A board with a simulated syringe pump: plain, async and generator actions, units, limits, a stop."""

import asyncio

from microfastapi import Quantity, Rows, effect

Millilitre = Quantity("mL", ge=0, le=10)


class Driver:
    """What all drivers of this test have."""

    @property
    def serial(self) -> str:
        """Burnt into the chip."""
        return "P-7"


class Pump(Driver):
    """A syringe pump."""

    def __init__(self):
        self._volume = 5.0
        self.dispensed = 0
        self.stopped = 0

    @property
    def volume(self) -> Millilitre:
        """In the syringe."""
        return self._volume

    @volume.setter
    def volume(self, value: Millilitre):
        self._volume = value

    @property
    def pressure(self) -> Quantity("bar"):
        raise OSError(5)

    async def dispense(self, volume: Millilitre, speed: Quantity("mL/s", gt=0) = 1.5) -> Millilitre:
        """Push so much out."""
        self.dispensed += 1
        for _ in range(4):
            await asyncio.sleep(0.01)
        self._volume -= volume
        return self._volume

    @effect("absolute")
    def move_to(self, position: int) -> int:
        """To one of the ports."""
        if position == 13:
            raise ValueError("no port 13")
        return position

    @effect("read")
    def measure(self, points: int = 3) -> Rows(time=Quantity("s"), flow=Quantity("mL/s")):
        """The flow, point by point."""
        for number in range(points):
            yield {"time": number * 0.5, "flow": 1.0}

    def stop(self):
        self.stopped += 1

    def _hidden(self):
        pass
