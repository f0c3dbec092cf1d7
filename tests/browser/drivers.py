"""Drivers that the browser tests need beside the simulated ones: one without a stop, one that must not be repeated."""

import time
from typing import Annotated

from annotated_types import Interval, Unit

Microlitre = Annotated[float, Unit("uL"), Interval(ge=1, le=500)]


class Balance:
    """A balance; nothing in it can be stopped."""

    @property
    def weight(self) -> Annotated[float, Unit("g")]:
        """What lies on the pan."""
        return 12.5

    def tare(self) -> None:
        """Set to zero."""


class Dispenser:
    """A dispenser whose drops cannot be taken back."""

    def dispense(self, volume: Microlitre, seconds: float = 0.0) -> Microlitre:
        """Dispense `volume` within `seconds`; answers what came out."""
        time.sleep(seconds)
        return volume

    def stop(self) -> None:
        """Close the valve."""
