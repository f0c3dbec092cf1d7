"""The hidden activity gives a closed loop something to find."""

import pytest

from labretto.instrument.simulated.electrode import Couple
from labretto.instrument.simulated.library import SAMPLES, SampleLibrary, composition_at

SEEDS = range(20)
FULL = Couple(formal_potential=0.2, reduced=1.0, oxidised=0.0, diffusion=7e-10)


def activities(seed):
    library = SampleLibrary(seed)
    return {name: library.activity(sample.composition) for name, sample in SAMPLES.items()}


def test_sixteen_samples_stand_on_a_pitch_of_10_mm():
    assert list(SAMPLES)[:5] == ["A1", "A2", "A3", "A4", "B1"]
    assert (SAMPLES["B3"].x, SAMPLES["B3"].y) == (30.0, 20.0)
    assert len({(sample.x, sample.y) for sample in SAMPLES.values()}) == 16


def test_every_composition_is_a_whole_of_three_shares():
    for sample in SAMPLES.values():
        assert sum(sample.composition) == pytest.approx(1)
        assert min(sample.composition) >= 0
    assert len({sample.composition for sample in SAMPLES.values()}) == 16


@pytest.mark.parametrize("seed", SEEDS)
def test_one_sample_is_clearly_the_best_and_most_are_poor(seed):
    ranked = sorted(activities(seed).values(), reverse=True)

    assert ranked[0] > 0.6
    assert ranked[0] - ranked[1] > 0.01
    assert ranked[8] < 0.6
    assert ranked[-1] > 0
    assert ranked[0] <= 1.01


@pytest.mark.parametrize("seed", SEEDS)
def test_there_is_a_lesser_optimum_that_can_mislead(seed):
    """Two hills in the field of all compositions, the second well below the first."""
    library = SampleLibrary(seed)
    rows, columns = 31, 31
    field = [[library.activity(composition_at(3 * r / 30, 3 * c / 30)) for c in range(columns)] for r in range(rows)]
    peaks = [
        field[r][c]
        for r in range(1, rows - 1)
        for c in range(1, columns - 1)
        if field[r][c] > max(field[r + i][c + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)
    ]

    assert len(peaks) == 2
    assert min(peaks) < 0.7 * max(peaks)


def test_the_seed_alone_decides():
    assert activities(3) == activities(3)
    assert activities(3) != activities(4)


def test_an_active_sample_shows_more_of_the_couple_faster_and_at_a_lower_potential():
    library = SampleLibrary(1)
    ranked = sorted(SAMPLES.values(), key=lambda sample: library.activity(sample.composition))
    poor, best = library.couple(ranked[0], FULL), library.couple(ranked[-1], FULL)

    assert best.reduced > poor.reduced
    assert best.rate > poor.rate
    assert best.formal_potential < poor.formal_potential


def test_the_tip_touches_a_sample_only_near_its_centre():
    assert SampleLibrary.at(11.0, 9.0).name == "A1"
    assert SampleLibrary.at(15.0, 10.0) is None
