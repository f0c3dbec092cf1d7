"""The driver that is measured: a counter that is read, an action of each effect, an image, and a call that blocks."""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval

from labretto.instrument.describe import effect

IMAGE = np.arange(1_000_000, dtype=np.float64).reshape(1000, 1000)


class Bench:
    """Everything in it costs next to nothing, so that what is measured is what stands around it."""

    def __init__(self) -> None:
        self._count = 0.0

    @property
    def count(self) -> float:
        """Another value at each look, as a thermometer has."""
        self._count += 1.0
        return self._count

    @property
    def polled(self) -> float:
        """The same, but one look in a minute is enough."""
        self._count += 1.0
        return self._count

    @property
    def image(self) -> np.ndarray:
        """1,000 × 1,000 numbers of 8 bytes: 8 MB, another array at each look, as a camera makes them."""
        return IMAGE.copy()

    @effect("read")
    def look(self, at: float) -> float:
        """Answer `at`."""
        return at

    @effect("absolute")
    def move(self, to: Annotated[float, Interval(ge=-1e9, le=1e9)]) -> float:
        """Answer `to`."""
        return to

    def burn(self, power: float) -> float:
        """Undeclared, so it happens at most once."""
        return power

    @effect("read")
    def block(self, seconds: float) -> float:
        """Keep the driver's thread."""
        time.sleep(seconds)
        return seconds

    @effect("read")
    def photograph(self) -> Any:
        """The image, as an action's result."""
        return IMAGE.copy()
