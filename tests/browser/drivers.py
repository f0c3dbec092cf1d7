"""Drivers that the browser tests need beside the simulated ones: without a stop, not to be repeated, deaf to all."""

import sys
import time
from pathlib import Path
from typing import Annotated

from annotated_types import Interval, Unit

Microlitre = Annotated[float, Unit("uL"), Interval(ge=1, le=500)]

Bar = Annotated[float, Unit("bar"), Interval(ge=0, le=10)]


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

    def __init__(self) -> None:
        sys.stdout.write("the dispenser is made\n")
        self._pressure = 1.0

    @property
    def pressure(self) -> Bar:
        """In the line."""
        return self._pressure

    @pressure.setter
    def pressure(self, to: float) -> None:
        self._pressure = to

    def dispense(self, volume: Microlitre, seconds: float = 0.0) -> Microlitre:
        """Dispense `volume` within `seconds`; answers what came out."""
        time.sleep(seconds)
        return volume

    def stop(self) -> None:
        """Close the valve."""


class Deaf:
    """A burner that ignores everything, its stop too, until somebody pulls the plug: the file `plug`."""

    def __init__(self, folder: str) -> None:
        self._plug = Path(folder) / "plug"

    def burn(self) -> None:
        """Blocks."""
        self._until_the_plug_is_pulled()

    def stop(self) -> None:
        """Blocks as well."""
        self._until_the_plug_is_pulled()

    def _until_the_plug_is_pulled(self) -> None:
        while not self._plug.exists():
            time.sleep(0.01)
