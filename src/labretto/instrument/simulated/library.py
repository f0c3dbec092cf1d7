"""The sample library on the stage: sixteen samples of three metals, and the activity that a closed loop is to find.

Positions and compositions are what a lab would know; `activity` is what nature knows. It is smooth over the
composition triangle, with one clear optimum and a lesser one, both placed by the seed. How it shows in a measurement
is told in `SampleLibrary.couple`.
"""

from dataclasses import dataclass
from math import dist, exp
from random import Random
from typing import Literal, get_args

from labretto.instrument.simulated.electrode import Couple

__all__ = ["METALS", "SAMPLES", "Composition", "Sample", "SampleLibrary", "SampleName", "composition_at"]

SampleName = Literal[
    "A1", "A2", "A3", "A4", "B1", "B2", "B3", "B4", "C1", "C2", "C3", "C4", "D1", "D2", "D3", "D4"
]  # fmt: skip
Composition = tuple[float, float, float]

METALS = ("Ni", "Fe", "Co")
PITCH = 10.0  # mm
SPOT = 2.0  # mm, radius of a sample: this near to its centre the tip touches it


@dataclass(frozen=True)
class Sample:
    """One spot of the library."""

    name: SampleName
    """Row letter and column number."""
    x: float
    """Centre, mm."""
    y: float
    """Centre, mm."""
    composition: Composition
    """Shares of `METALS`, together 1."""


def composition_at(row: float, column: float) -> Composition:
    """Shares of the three metals; row and column between 0 and 3. The first metal thins out from row to row."""
    rest = 0.1 + 0.8 * row / 3
    return 1 - rest, rest * (1 - column / 3), rest * column / 3


def _sample(name: SampleName) -> Sample:
    row, column = "ABCD".index(name[0]), int(name[1]) - 1
    return Sample(name, PITCH * (column + 1), PITCH * (row + 1), composition_at(row, column))


SAMPLES: dict[str, Sample] = {name: _sample(name) for name in get_args(SampleName)}


class SampleLibrary:
    """The sixteen samples with their hidden activity."""

    def __init__(self, seed: int = 1) -> None:
        """Let nature choose where the optimum is: two libraries of one seed are alike."""
        chance = Random(seed)
        # Near a sample, so that one is clearly the best; the lesser optimum on the other side, so that it misleads.
        row, column = (
            chance.choice([1, 2]) + chance.uniform(0, 0.25),
            chance.choice([0, 1]) + chance.uniform(0.05, 0.25),
        )
        mirrored = chance.random() < 0.5
        self._best = composition_at(row, 3 - column if mirrored else column)
        self._lesser = composition_at(2.8, 0.4 if mirrored else 2.6)

    def activity(self, composition: Composition) -> float:
        """Between 0.05 (dead) and about 1 (the optimum)."""
        best = exp(-((dist(composition, self._best) / 0.30) ** 2))
        lesser = exp(-((dist(composition, self._lesser) / 0.22) ** 2))
        return 0.05 + 0.95 * best + 0.45 * lesser * (1 - best)

    @staticmethod
    def at(x: float, y: float) -> Sample | None:
        """The sample under a place on the stage, or None between samples."""
        nearest = min(SAMPLES.values(), key=lambda sample: dist((sample.x, sample.y), (x, y)))
        return nearest if dist((nearest.x, nearest.y), (x, y)) <= SPOT else None

    def couple(self, sample: Sample, full: Couple) -> Couple:
        """The redox couple as this sample shows it, where `full` is what the most active one would show.

        An active sample brings more of the couple into play (a higher peak), is faster (its peaks stand closer
        together, down to the 57 mV of a reversible couple) and works at a lower potential.
        """
        activity = self.activity(sample.composition)
        return Couple(
            formal_potential=full.formal_potential + 0.05 * (1 - activity),
            reduced=full.reduced * activity,
            oxidised=full.oxidised * activity,
            diffusion=full.diffusion,
            rate=min(full.rate, 10 ** (3 * activity - 6)),
        )
