"""The simulated electrode against the analytical results of electrochemistry.

Sources: A. J. Bard, L. R. Faulkner, Electrochemical Methods, 2nd ed. (2001), by equation number.
"""

from math import inf, pi, sqrt

import numpy as np
import pytest

from labretto.instrument.simulated.electrode import FARADAY, GAS, Couple, Electrode, Experiment

AREA, BULK, DIFFUSION, FORMAL = 7.07e-6, 1.0, 6.7e-10, 0.2  # m², mol/m³, m²/s, V


def cyclic(electrode, couple, *, scan_rate=0.1, step=0.0005, low=-0.2, high=0.6):
    count = round((high - low) / step)
    there = np.linspace(low, high, count + 1)
    potentials = np.concatenate([there, there[-2::-1]])
    interval = step / scan_rate
    cell = Experiment(electrode, couple, interval=interval, duration=interval * len(potentials), potential=low)
    return potentials, np.array([cell.apply(float(potential)) for potential in potentials])


def couple(rate=inf, oxidised=0.0):
    return Couple(FORMAL, BULK, oxidised, DIFFUSION, rate)


def peak_separation(potentials, currents):
    return potentials[currents.argmax()] - potentials[currents.argmin()]


def randles_sevcik(scan_rate, temperature):
    """Peak current, A: equation 6.2.18."""
    thermal = FARADAY / (GAS * temperature)
    return 0.4463 * FARADAY * AREA * BULK * sqrt(thermal * scan_rate * DIFFUSION)


@pytest.mark.parametrize("temperature", [278.15, 298.15, 348.15])
@pytest.mark.parametrize("scan_rate", [0.01, 0.1, 10.0])
def test_the_peak_current_is_that_of_randles_and_sevcik(scan_rate, temperature):
    _, currents = cyclic(Electrode(AREA, temperature=temperature), couple(), scan_rate=scan_rate, step=0.001)

    assert currents.max() == pytest.approx(randles_sevcik(scan_rate, temperature), rel=0.005)


def test_the_peaks_of_a_reversible_couple_stand_57_millivolts_apart_at_room_temperature():
    potentials, currents = cyclic(Electrode(AREA), couple())

    assert peak_separation(potentials, currents) == pytest.approx(0.057, abs=0.001)


def test_the_anodic_peak_stands_28_millivolts_above_the_formal_potential():
    """Equation 6.2.20: 1.109 RT/F beyond the half-wave potential."""
    potentials, currents = cyclic(Electrode(AREA), couple())

    assert potentials[currents.argmax()] == pytest.approx(FORMAL + 0.0285, abs=0.001)


@pytest.mark.parametrize(("psi", "separation"), [(20, 0.061), (7, 0.063), (1, 0.084), (0.25, 0.141), (0.1, 0.212)])
def test_a_slow_couple_separates_its_peaks_as_nicholson_found(psi, separation):
    """R. S. Nicholson, Anal. Chem. 37, 1351 (1965), table I: for 25 °C, turned 141 mV beyond the middle."""
    rate = psi * sqrt(pi * DIFFUSION * 0.1 * FARADAY / (GAS * 298.15))
    potentials, currents = cyclic(Electrode(AREA), couple(rate), low=FORMAL - 0.4, high=FORMAL + 0.141)

    assert peak_separation(potentials, currents) == pytest.approx(separation, abs=0.002)


def test_the_current_after_a_jump_is_that_of_cottrell():
    """Equation 5.2.11."""
    interval, count = 0.001, 1000
    cell = Experiment(Electrode(AREA), couple(), interval=interval, duration=interval * count, potential=-0.2)
    currents = np.array([cell.apply(FORMAL + 0.5) for _ in range(count)])
    times = interval * np.arange(1, count + 1)
    cottrell = FARADAY * AREA * BULK * np.sqrt(DIFFUSION / (pi * times))

    assert currents[10:] == pytest.approx(cottrell[10:], rel=0.005)


def test_an_imposed_current_uses_the_couple_up_after_the_time_of_sand():
    """Equation 8.2.14; a quarter of that time is spent to reach the formal potential (8.3.2)."""
    current = 1e-5
    sand = (FARADAY * AREA * BULK * sqrt(pi * DIFFUSION) / (2 * current)) ** 2
    interval = sand / 1000
    cell = Experiment(
        Electrode(AREA), couple(oxidised=1e-6), interval=interval, duration=1.2 * sand, potential=FORMAL - 0.3
    )
    potentials = np.array([cell.impose(current) for _ in range(1200)])
    times = interval * np.arange(1, 1201)

    assert np.interp(sand / 4, times, potentials) == pytest.approx(FORMAL, abs=0.001)
    assert times[potentials > 1.0][0] == pytest.approx(sand, rel=0.01)
    assert potentials.max() <= 10.0, "the amplifier's compliance"


def test_the_electrolyte_alone_charges_its_double_layer_with_capacitance_times_scan_rate():
    """Equation 1.2.15 long after the start."""
    blank = Couple(FORMAL, 0.0, 0.0, DIFFUSION)
    _, currents = cyclic(Electrode(AREA, capacitance=2e-6), blank, scan_rate=0.5, step=0.001)

    assert currents[1:801] == pytest.approx(2e-6 * 0.5)
    assert currents[801:] == pytest.approx(-2e-6 * 0.5)


def test_a_resistance_charges_the_double_layer_with_its_time_constant():
    """A jump decays as exp(-t/RC): equation 1.2.6."""
    resistance, capacitance, interval = 1000.0, 2e-6, 1e-6
    blank = Couple(FORMAL, 0.0, 0.0, DIFFUSION)
    electrode = Electrode(AREA, resistance, capacitance)
    cell = Experiment(electrode, blank, interval=interval, duration=0.01, potential=0.0)
    currents = np.array([cell.apply(0.5) for _ in range(6000)])
    times = interval * np.arange(1, 6001)

    assert currents == pytest.approx(0.5 / resistance * np.exp(-times / (resistance * capacitance)), rel=0.003)


def test_a_resistance_shifts_the_whole_curve_by_current_times_resistance():
    """A cell without resistance that is given E - IR point by point answers with the same current."""
    resistance = 500.0
    potentials, currents = cyclic(Electrode(AREA, resistance), couple(), step=0.001)
    free = Experiment(Electrode(AREA), couple(), interval=0.01, duration=0.01 * len(potentials), potential=-0.2)

    shifted = [free.apply(float(inner)) for inner in potentials - currents * resistance]

    assert currents == pytest.approx(np.array(shifted), rel=1e-5, abs=1e-12)


def test_a_solution_at_rest_gives_no_current():
    cell = Experiment(Electrode(AREA), couple(oxidised=BULK), interval=0.01, duration=1.0, potential=FORMAL)

    assert cell.apply(FORMAL) == pytest.approx(0.0, abs=1e-15)
