"""A simulated pump with a reservoir that runs out.

Told once how much to dispense, it dispenses by itself, also when the process that told it is killed: the delivery
stands on the bench, and what is left follows from it and the time. There is no undoing, so `dispense` is an act that
may happen once only.
"""

import asyncio
import threading
import time
from dataclasses import asdict, dataclass
from typing import Annotated

from annotated_types import Interval, Unit

from labretto.instrument.describe import effect
from labretto.instrument.foresight import foresee
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.waiting import Wait

__all__ = ["Delivery", "Pump"]

Volume = Annotated[float, Unit("mL"), Interval(gt=0, le=100)]
FlowRate = Annotated[float, Unit("mL/s"), Interval(gt=0, le=100)]


@dataclass(frozen=True)
class Delivery:
    """Liquid on its way out of the reservoir."""

    before: float
    """In the reservoir when it began, mL."""
    volume: float
    """To be delivered, mL."""
    began: float
    """Unix time."""
    rate: float
    """mL/s."""

    @property
    def ends(self) -> float:
        """Unix time of the last drop."""
        return self.began + self.volume / self.rate

    def delivered(self, now: float) -> float:
        """mL until the Unix time `now`."""
        return self.volume if now >= self.ends else max(0.0, self.rate * (now - self.began))

    def remaining(self, now: float) -> float:
        """mL in the reservoir at the Unix time `now`."""
        return self.before - self.delivered(now)


class Pump:
    """A pump with a reservoir."""

    def __init__(
        self,
        capacity: Annotated[float, Unit("mL")] = 50.0,
        rate: FlowRate = 1.0,
        *,
        bench: str | None = None,
        name: str = "pump",
    ) -> None:
        """Switch on with a full reservoir, or with what the bench says is left.

        Args:
            capacity: of the reservoir, mL.
            rate: of the flow, mL/s.
            bench: the folder shared with the other simulated instruments (see `Bench`).
            name: what the bench calls it.
        """
        self._bench, self._name = Bench(bench), name
        self._capacity, self._rate = capacity, rate
        self._lock = threading.Lock()  # `stop` comes from another thread
        self._wait = Wait()
        known = self._bench.read(name)
        self._write(Delivery(**known) if known else self._resting(capacity))

    @property
    def remaining(self) -> Annotated[float, Unit("mL")]:
        """Liquid in the reservoir."""
        return self._delivery.remaining(time.time())

    @property
    def capacity(self) -> Annotated[float, Unit("mL")]:
        """Of the full reservoir."""
        return self._capacity

    @property
    def dispensing(self) -> bool:
        """Whether liquid flows."""
        return time.time() < self._delivery.ends

    @effect("once")
    @foresee(consumes={"remaining": "volume"})
    async def dispense(self, volume: Volume) -> Annotated[float, Unit("mL")]:
        """Deliver `volume`; answers what is left. Refused, and nothing flows, if there is less than that."""
        self._check(volume)
        with self._bench.physical(self._name, "dispense", volume=volume):
            self._begin(volume)
            try:
                delivered = await self._wait.over(volume / self._rate)
            except asyncio.CancelledError:
                self.stop()
                raise
            if not delivered:
                raise RuntimeError(
                    f"{self._name}.dispense: stopped before {volume:g} mL were out; {self.remaining:.3f} mL are left"
                )
            return self._end(volume)

    @effect("absolute")
    @foresee(refills={"remaining": "capacity"})
    def refill(self) -> Annotated[float, Unit("mL")]:
        """Fill the reservoir up; answers what is in it."""
        with self._bench.physical(self._name, "refill"), self._lock:
            if self.dispensing:
                raise RuntimeError(f"{self._name}.refill: liquid flows; stop it or wait for its end first")
            self._write(self._resting(self._capacity))
        return self.remaining

    def stop(self) -> None:
        """Stop the flow at once; what was delivered stays delivered."""
        with self._lock:
            self._write(self._resting(self.remaining))
            self._wait.interrupt()

    def _check(self, volume: float) -> None:
        if not volume > 0:
            raise ValueError(f"{self._name}.dispense: {volume} mL is not above 0; nothing flowed")
        if self._wait.going_on or self.dispensing:
            raise RuntimeError(f"{self._name}.dispense: liquid flows already; stop it or wait for its end first")
        if volume > self.remaining + 1e-9:
            raise RuntimeError(
                f"{self._name}.dispense: {volume:g} mL asked for, {self.remaining:.3f} mL are left; refill first"
            )

    def _begin(self, volume: float) -> None:
        with self._lock:
            self._write(Delivery(self.remaining, volume, time.time(), self._rate))
            self._wait.begin()

    def _end(self, volume: float) -> float:
        with self._lock:  # written down, because the loop's clock and the bench's may differ by a hair
            self._write(self._resting(max(0.0, self._delivery.before - volume)))
            return self._delivery.before

    def _write(self, delivery: Delivery) -> None:
        self._bench.write(self._name, asdict(delivery))
        self._delivery = delivery

    @staticmethod
    def _resting(volume: float) -> Delivery:
        return Delivery(before=volume, volume=0.0, began=0.0, rate=1.0)
