"""A simulated camera that looks down on the sample under the tip.

A sample is a disc whose brightness tells its composition; the light is uneven, as a ring lamp's is; photons come by
chance. Which sample is under the tip is known from the bench; without a stage the camera sees the empty table.
"""

import threading
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Interval, Unit

from labretto.instrument.describe import effect
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.library import SAMPLES, SPOT, Sample
from labretto.instrument.simulated.motion import Place

__all__ = ["Camera"]

Array = npt.NDArray[np.float64]
Exposure = Annotated[float, Unit("s"), Interval(ge=0.001, le=10)]
Photograph = Annotated[npt.NDArray[np.uint16], Unit("count"), ("y", "x")]

PIXEL = 0.025  # mm
TABLE = 4000.0  # photoelectrons per second and pixel from the empty table
BRIGHTNESS = (60_000.0, 25_000.0, 40_000.0)  # the same from a sample of one metal alone, in the order of METALS
OFFSET, READ_NOISE = 100.0, 3.0  # counts; one count is one photoelectron
FULL = 65_535  # counts: the converter's end


class Camera:
    """A monochrome camera over the tip, 16 bits deep, with 25 µm on the sample per pixel."""

    def __init__(
        self,
        width: int = 320,
        height: int = 240,
        *,
        seed: int = 1,
        time_scale: float = 1.0,
        bench: str | None = None,
        stage: str = "stage",
        name: str = "camera",
    ) -> None:
        """Switch on.

        Args:
            width: of a photograph, pixels.
            height: of a photograph, pixels.
            seed: of the noise.
            time_scale: simulated seconds per real second; 0 does not wait for the exposure.
            bench: the folder shared with the stage (see `Bench`).
            stage: what the bench calls the stage that carries the samples.
            name: what the bench calls this instrument.

        Raises:
            ValueError: if width or height is below 1, or time_scale below 0.
        """
        if not (width >= 1 and height >= 1 and time_scale >= 0):
            raise ValueError(f"{name}: {width} x {height} pixels at time_scale={time_scale} cannot be")
        self._size = (height, width)
        self._chance = np.random.default_rng(seed)
        self._time_scale = time_scale
        self._bench, self._stage, self._name = Bench(bench), stage, name
        self._halt = threading.Event()  # of the exposure that runs; `stop` comes from another thread

    @property
    def width(self) -> int:
        """Of a photograph, in pixels."""
        return self._size[1]

    @property
    def height(self) -> int:
        """Of a photograph, in pixels."""
        return self._size[0]

    @effect("read")
    def photograph(self, exposure: Exposure = 0.1) -> Photograph:
        """Take a photograph of what is under the tip; the first row is at the greatest y, as on a screen."""
        if not 0.001 <= exposure <= 10:
            raise ValueError(f"{self._name}.photograph: {exposure} s is outside 0.001 to 10 s; nothing was exposed")
        self._halt = threading.Event()
        with self._bench.physical(self._name, "photograph", exposure=exposure):
            light = self._light()
            if self._halt.wait(exposure / self._time_scale if self._time_scale else 0):
                raise RuntimeError(f"{self._name}.photograph: stopped during the exposure; there is no picture")
            return self._expose(light * exposure)

    def stop(self) -> None:
        """Close the shutter at once; a running exposure ends with an error that says so."""
        self._halt.set()

    def _light(self) -> Array:
        """Photoelectrons per second at each pixel."""
        y, x = self._places(self._bench.tip(self._stage) or (-1e3, -1e3))
        scene = np.full(self._size, TABLE)
        for sample in SAMPLES.values():
            inside = (x[None, :] - sample.x) ** 2 + (y[:, None] - sample.y) ** 2 < SPOT**2
            scene[inside] = _brightness(sample)
        return scene * self._lamp()

    def _places(self, tip: Place) -> tuple[Array, Array]:
        """Stage coordinates of the rows and of the columns, mm; the tip is in the middle."""
        height, width = self._size
        rows, columns = np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64)
        y: Array = tip[1] - PIXEL * (rows - (height - 1) / 2)
        x: Array = tip[0] + PIXEL * (columns - (width - 1) / 2)
        return y, x

    def _lamp(self) -> Array:
        """Brightness of the light, 1 in the middle, falling off to the corners."""
        y, x = self._places((0.0, 0.0))
        return np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) / 10.0**2)

    def _expose(self, electrons: Array) -> npt.NDArray[np.uint16]:
        """Counts of one exposure: chance of the photons, noise of the amplifier, end of the converter.

        Source: J. R. Janesick, Photon Transfer (2007), chapter 2: shot noise and read noise.
        """
        counts = self._chance.poisson(electrons) + OFFSET + self._chance.normal(0.0, READ_NOISE, self._size)
        return np.clip(np.rint(counts), 0, FULL).astype(np.uint16)


def _brightness(sample: Sample) -> float:
    return sum(share * bright for share, bright in zip(sample.composition, BRIGHTNESS, strict=True))
