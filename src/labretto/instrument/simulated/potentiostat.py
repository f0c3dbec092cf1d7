"""A simulated potentiostat: a disc electrode in a solution whose redox couple the sample under the tip decides.

Here are the measurements, their pacing and their noise; the physics of a step is in `electrode`, what a sample changes
in `library`. Every measurement begins in fresh, stirred solution. Without a stage on the bench the cell holds the plain
solution of the constructor; with the tip between two samples it holds the electrolyte alone, and only the double layer
is seen.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf, log
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from annotated_types import Interval, Len, Unit

from labretto.instrument.describe import effect
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.electrode import Couple, Electrode, Experiment
from labretto.instrument.simulated.library import SampleLibrary

__all__ = ["Potentiostat", "VoltammogramRow"]

Array = npt.NDArray[np.float64]
Volt = Annotated[float, Unit("V"), Interval(ge=-2, le=2)]
Ampere = Annotated[float, Unit("A"), Interval(ge=-0.1, le=0.1)]
Seconds = Annotated[float, Unit("s"), Interval(gt=0, le=3600)]
ScanRate = Annotated[float, Unit("V/s"), Interval(gt=0, le=100)]
PotentialStep = Annotated[float, Unit("V"), Interval(ge=2e-4, le=0.02)]
Spacing = Annotated[float, Unit("s"), Interval(ge=1e-4, le=1)]
Cycles = Annotated[int, Interval(ge=1, le=100)]

CHUNK = 0.05  # s of real time between two chunks: what a viewer's eye follows, and how long a read may have to wait
LARGEST_CHUNK = 200  # points: a chunk is computed in about 2 ms
SUBSTEPS = 4  # steps of the simulation per point after a jump of potential or current, where the profile is steep


class VoltammogramRow(NamedTuple):
    """A stretch of a measurement: three arrays of one length."""

    time: Annotated[Array, Unit("s")]
    """Since the beginning of the measurement."""
    potential: Annotated[Array, Unit("V")]
    """Of the working electrode against the reference."""
    current: Annotated[Array, Unit("A")]
    """Positive when it oxidises."""


class Potentiostat:
    """A potentiostat with a three-electrode cell and a reversible one-electron redox couple in it."""

    def __init__(
        self,
        *,
        area: Annotated[float, Unit("cm^2")] = 0.0707,
        concentration: Annotated[float, Unit("mmol/L")] = 1.0,
        diffusion_coefficient: Annotated[float, Unit("cm^2/s")] = 6.7e-6,
        formal_potential: Annotated[float, Unit("V")] = 0.23,
        oxidised_share: float = 0.001,
        rate_constant: Annotated[float, Unit("cm/s")] = inf,
        temperature: Annotated[float, Unit("K")] = 298.15,
        resistance: Annotated[float, Unit("ohm")] = 50.0,
        capacitance: Annotated[float, Unit("uF")] = 1.4,
        noise: Annotated[float, Unit("A")] = 2e-8,
        seed: int = 1,
        library_seed: int = 1,
        time_scale: float = 1.0,
        bench: str | None = None,
        stage: str = "stage",
        name: str = "potentiostat",
    ) -> None:
        """Fill the cell. The defaults are ferrocyanide at a glassy-carbon disc of 3 mm.

        Args:
            area: of the electrode.
            concentration: of both forms of the couple together.
            diffusion_coefficient: of both forms.
            formal_potential: against the reference electrode.
            oxidised_share: of the couple in fresh solution, between 0 and 1; it sets the open-circuit potential.
            rate_constant: standard heterogeneous rate constant; infinite for a reversible couple.
            temperature: of the solution.
            resistance: uncompensated, between reference and working electrode.
            capacitance: of the double layer.
            noise: standard deviation of a current; a potential's is this times 10 kOhm.
            seed: of the noise.
            library_seed: of the hidden activity of the samples.
            time_scale: simulated seconds per real second; 0 measures as fast as it can be computed.
            bench: the folder shared with the stage (see `Bench`).
            stage: what the bench calls the stage that carries the samples.
            name: what the bench calls this instrument.

        Raises:
            ValueError: if a quantity that must be positive is not, or a share is not between 0 and 1.
        """
        positive = {"area": area, "diffusion_coefficient": diffusion_coefficient, "temperature": temperature}
        positive["rate_constant"] = rate_constant
        _check_ranges(positive, {"resistance": resistance, "capacitance": capacitance, "noise": noise})
        if not (concentration >= 0 and 0 <= oxidised_share <= 1 and time_scale >= 0):
            raise ValueError("concentration and time_scale must not be negative, oxidised_share between 0 and 1")
        self._electrode = Electrode(area * 1e-4, resistance, capacitance * 1e-6, temperature)
        reduced, oxidised = concentration * (1 - oxidised_share), concentration * oxidised_share
        diffusion, rate = diffusion_coefficient * 1e-4, rate_constant * 1e-2
        self._solution = Couple(formal_potential, reduced, oxidised, diffusion, rate)
        self._library = SampleLibrary(library_seed)
        self._bench, self._stage, self._name = Bench(bench), stage, name
        self._noise, self._chance = noise, np.random.default_rng(seed)
        self._time_scale = time_scale
        self._halt = threading.Event()  # of the measurement that runs; `stop` comes from another thread
        self._latest: tuple[float, float] | None = None

    @property
    def voltage(self) -> Annotated[float, Unit("V")]:
        """The latest measured potential; at rest the open-circuit potential."""
        latest = self._latest
        return latest[0] if latest else self._rest(self._couple())

    @property
    def current(self) -> Annotated[float, Unit("A")]:
        """The latest measured current; 0 at rest, because the cell is open."""
        latest = self._latest
        return latest[1] if latest else 0.0

    @effect("read")
    def cyclic_voltammetry(
        self, start: Volt, vertex: Volt, scan_rate: ScanRate, cycles: Cycles = 1, step: PotentialStep = 0.001
    ) -> Iterator[VoltammogramRow]:
        """Sweep from `start` to `vertex` and back, `cycles` times; current and potential while they are measured."""
        if start == vertex:
            raise ValueError(f"{self._name}.cyclic_voltammetry: start and vertex are both {start} V; nothing to sweep")
        potentials = _triangle(start, vertex, cycles, step)
        interval = abs(vertex - start) * 2 * cycles / scan_rate / (len(potentials) - 1)
        with self._measuring("cyclic_voltammetry", start=start, vertex=vertex, scan_rate=scan_rate, cycles=cycles):
            yield from self._apply(potentials, interval)

    @effect("read")
    def linear_sweep(self, start: Volt, end: Volt, duration: Seconds) -> Iterator[VoltammogramRow]:
        """Sweep once from `start` to `end` within `duration`."""
        count = int(np.clip(round(abs(end - start) / 0.001), 100, 10_000))
        potentials = np.linspace(start, end, count + 1)
        with self._measuring("linear_sweep", start=start, end=end, duration=duration):
            yield from self._apply(potentials, duration / count)

    @effect("read")
    def chronoamperometry(
        self, potential: Volt, duration: Seconds, interval: Spacing = 0.01
    ) -> Iterator[VoltammogramRow]:
        """Jump from rest to `potential`, hold it for `duration`, and measure the current every `interval`."""
        count = max(1, round(duration / interval))
        with self._measuring("chronoamperometry", potential=potential, duration=duration, interval=interval):
            cell = self._cell(interval / SUBSTEPS, duration)
            currents = (_last(cell.apply, potential) for _ in range(count))
            yield from self._pace(interval, ((potential, current) for current in currents), first=1)

    @effect("read")
    def chronopotentiometry(
        self, currents: Annotated[list[Ampere], Len(1, 1000)], interval: Seconds
    ) -> Iterator[VoltammogramRow]:
        """Impose each of `currents` for `interval` seconds and measure the potential, 50 points for each."""
        points = np.repeat(np.asarray(currents, dtype=float), 50).tolist()
        spacing = interval / 50
        with self._measuring("chronopotentiometry", currents=list(currents), interval=interval):
            cell = self._cell(spacing / SUBSTEPS, interval * len(currents))
            potentials = ((_last(cell.impose, current), current) for current in points)
            yield from self._pace(spacing, potentials, first=1, galvanostatic=True)

    @effect("read")
    def open_circuit_potential(self, duration: Seconds = 1.0) -> Annotated[float, Unit("V")]:
        """The potential without current, averaged over `duration`.

        Source: W. Nernst, Z. Phys. Chem. 4, 129 (1889).
        """
        with self._measuring("open_circuit_potential", duration=duration):
            rest = self._rest(self._couple())
            self._wait_until(time.monotonic() + (duration / self._time_scale if self._time_scale else 0))
            readings = rest + self._noise * 1e4 * self._chance.standard_normal(100)
            return float(readings.mean())

    def stop(self) -> None:
        """Open the cell at once; a running measurement ends with an error that says so."""
        self._halt.set()
        self._latest = None

    def _couple(self) -> Couple:
        """The couple that the sample under the tip shows."""
        tip = self._bench.tip(self._stage)
        if tip is None:
            return self._solution
        sample = self._library.at(*tip)
        return self._library.couple(sample, self._solution) if sample else _without_couple(self._solution)

    def _rest(self, couple: Couple) -> float:
        """Nernst's potential; a solution with one form only is taken to hold a millionth of the other."""
        whole = couple.reduced + couple.oxidised
        if not whole:
            return 0.0  # nothing sets a potential in the electrolyte alone
        ratio = max(couple.oxidised, 1e-6 * whole) / max(couple.reduced, 1e-6 * whole)
        return couple.formal_potential + log(ratio) / self._electrode.inverse_thermal_voltage

    def _cell(self, interval: float, duration: float, potential: float | None = None) -> Experiment:
        couple = self._couple()
        at = self._rest(couple) if potential is None else potential
        return Experiment(self._electrode, couple, interval=interval, duration=duration, potential=at)

    @contextmanager
    def _measuring(self, action: str, **parameters: object) -> Iterator[None]:
        self._halt = threading.Event()
        try:
            with self._bench.physical(self._name, action, **parameters):
                yield
        finally:
            self._latest = None

    def _apply(self, potentials: Array, interval: float) -> Iterator[VoltammogramRow]:
        cell = self._cell(interval, interval * len(potentials), potential=float(potentials[0]))
        measured = ((potential, cell.apply(potential)) for potential in map(float, potentials))
        return self._pace(interval, measured, first=0)

    def _pace(
        self, interval: float, points: Iterator[tuple[float, float]], *, first: int, galvanostatic: bool = False
    ) -> Iterator[VoltammogramRow]:
        """Chunks of points when their time has come; the first point stands `first` intervals after the beginning."""
        began, number = time.monotonic(), first
        for chunk in _chunks(points, self._chunk_size(interval)):
            last = number + len(chunk) - 1
            self._wait_until(began + (last * interval / self._time_scale if self._time_scale else 0))
            potential, current = np.array(chunk).T
            measured = potential if galvanostatic else current
            measured += self._noise * (1e4 if galvanostatic else 1) * self._chance.standard_normal(len(chunk))
            self._latest = (float(potential[-1]), float(current[-1]))
            times: Array = interval * np.arange(number, last + 1, dtype=np.float64)
            yield VoltammogramRow(times, potential.copy(), current.copy())
            number = last + 1

    def _chunk_size(self, interval: float) -> int:
        in_one_chunk = CHUNK * self._time_scale / interval if self._time_scale else LARGEST_CHUNK
        return int(np.clip(in_one_chunk, 1, LARGEST_CHUNK))

    def _wait_until(self, moment: float) -> None:
        if self._halt.wait(max(0.0, moment - time.monotonic())):
            raise RuntimeError(f"{self._name}: stopped, the cell is open; what was measured before is kept")


def _check_ranges(positive: dict[str, float], not_negative: dict[str, float]) -> None:
    for quantity, value in positive.items():
        if not value > 0:
            raise ValueError(f"{quantity}={value} must be above 0")
    for quantity, value in not_negative.items():
        if not value >= 0:
            raise ValueError(f"{quantity}={value} must not be below 0")


def _triangle(start: float, vertex: float, cycles: int, step: float) -> Array:
    """Potentials from start to vertex and back, both hit exactly; steps of at most `step`, V."""
    count = max(1, int(np.ceil(abs(vertex - start) / step - 1e-9)))
    there = np.linspace(start, vertex, count + 1)
    once = np.concatenate([there[1:], there[-2::-1]])
    return np.concatenate([[start], np.tile(once, cycles)])


def _last(act: Callable[[float], float], value: float) -> float:
    """What the last of a point's steps answers."""
    for _ in range(SUBSTEPS - 1):
        act(value)
    return act(value)


def _chunks(points: Iterator[tuple[float, float]], size: int) -> Iterator[list[tuple[float, float]]]:
    chunk: list[tuple[float, float]] = []
    for point in points:
        chunk.append(point)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _without_couple(solution: Couple) -> Couple:
    """The electrolyte alone."""
    return replace(solution, reduced=0.0, oxidised=0.0)
