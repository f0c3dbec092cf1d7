"""The tutorial's motor: three axes, simulated. Nothing here knows that it will be on a network."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from annotated_types import Interval, Len, Unit

Coordinate = Annotated[float, Unit("mm"), Interval(ge=-100, le=100)]
Location = Annotated[list[Coordinate], Len(3, 3)]
Seconds = Annotated[float, Unit("s"), Interval(ge=0, le=3600)]


@dataclass(frozen=True)
class Way:
    """A straight way, at one speed."""

    start: list[float]
    target: list[float]
    began: float
    arrives: float

    def at(self, now: float) -> list[float]:
        """Where the motor is at the Unix time `now`."""
        if now >= self.arrives:
            return self.target
        share = max(0.0, (now - self.began) / (self.arrives - self.began))
        return [a + share * (b - a) for a, b in zip(self.start, self.target, strict=True)]


class Motor:
    """Three axes that depart and arrive together; every move takes the same time."""

    def __init__(self, duration: Seconds = 5.0) -> None:
        self._duration = duration
        self._rest([0.0, 0.0, 0.0])

    @property
    def position(self) -> Location:
        """Where it is now, also on the way."""
        return self._way.at(time.time())

    @property
    def busy_until(self) -> datetime | None:
        """When the running move will have ended; null at rest."""
        moving = self._way.arrives > time.time()
        return datetime.fromtimestamp(self._way.arrives, UTC) if moving else None

    @property
    def duration(self) -> Seconds:
        """How long the next move takes."""
        return self._duration

    @duration.setter
    def duration(self, value: Seconds) -> None:
        self._duration = value

    async def move(self, loc: Location) -> dict[str, Location]:
        """Go to a place; answers where it is then."""
        now = time.time()
        self._way = way = Way(self.position, list(loc), now, now + self._duration)
        try:
            await asyncio.sleep(self._duration)
        except asyncio.CancelledError:
            self.stop()
            raise
        if self._way is not way:
            raise RuntimeError(f"stopped at {self.position} on the way to {loc}")
        self._rest(way.target)
        return {"position": self.position}

    def stop(self) -> None:
        """Halt where it is, at once."""
        self._rest(self.position)

    def _rest(self, place: list[float]) -> None:
        self._way = Way(place, place, 0.0, 0.0)
