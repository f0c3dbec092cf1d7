"""The potentiostat measures what electrochemistry predicts, in its own time, and what the sample under the tip decides.

Sources: A. J. Bard, L. R. Faulkner, Electrochemical Methods, 2nd ed. (2001), by equation number.
"""

import threading
import time
from math import inf, log, pi, sqrt

import numpy as np
import pytest

from labretto.instrument.describe import describe
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.electrode import FARADAY, GAS
from labretto.instrument.simulated.library import SAMPLES, SampleLibrary
from labretto.instrument.simulated.potentiostat import Potentiostat, VoltammogramRow
from labretto.instrument.simulated.stage import SampleStage

THERMAL = FARADAY / (GAS * 298.15)
AREA, CONCENTRATION, DIFFUSION = 0.0707e-4, 1.0, 6.7e-10  # of the defaults, in SI units
IDEAL = {"resistance": 0.0, "capacitance": 0.0, "noise": 0.0, "oxidised_share": 0.0, "time_scale": 0.0}


@pytest.fixture
def make(tmp_path):
    """A potentiostat on this test's bench, without resistance, capacitance, noise and waiting, unless told."""
    return lambda **settings: Potentiostat(**{**IDEAL, "bench": str(tmp_path), **settings})


def whole(chunks):
    """All chunks of a measurement as one."""
    return VoltammogramRow(*(np.concatenate(column) for column in zip(*chunks, strict=True)))


def at_each_sample(tmp_path, potentiostat, measure):
    """What `measure` answers with the tip at each sample."""
    stage = SampleStage(velocity=500, acceleration=5000, bench=str(tmp_path))
    found = {}
    for name, sample in SAMPLES.items():
        Bench(tmp_path).write(
            "stage", {**Bench(tmp_path).read("stage"), "start": [sample.x, sample.y], "target": [sample.x, sample.y]}
        )
        found[name] = measure(potentiostat)
    stage.stop()
    return found


def test_the_peak_current_is_that_of_randles_and_sevcik(make):
    """Equation 6.2.18."""
    curve = whole(make().cyclic_voltammetry(start=-0.2, vertex=0.7, scan_rate=0.1))
    predicted = 0.4463 * FARADAY * AREA * CONCENTRATION * sqrt(THERMAL * 0.1 * DIFFUSION)

    assert curve.current.max() == pytest.approx(predicted, rel=0.02)


def test_the_peaks_of_a_reversible_couple_stand_57_millivolts_apart(make):
    curve = whole(make().cyclic_voltammetry(start=-0.2, vertex=0.7, scan_rate=0.1))
    separation = curve.potential[curve.current.argmax()] - curve.potential[curve.current.argmin()]

    assert separation == pytest.approx(0.057, abs=0.002)


def test_the_current_after_a_jump_is_that_of_cottrell(make):
    """Equation 5.2.11."""
    curve = whole(make().chronoamperometry(potential=0.8, duration=2.0))
    cottrell = FARADAY * AREA * CONCENTRATION * np.sqrt(DIFFUSION / (pi * curve.time))

    assert len(curve.time) == 200
    assert curve.current[2:] == pytest.approx(cottrell[2:], rel=0.02)


def test_an_imposed_current_uses_the_couple_up_after_the_time_of_sand(make):
    """Equation 8.2.14."""
    current = 1e-5
    sand = (FARADAY * AREA * CONCENTRATION * sqrt(pi * DIFFUSION) / (2 * current)) ** 2
    curve = whole(make().chronopotentiometry(currents=[current] * 4, interval=0.4 * sand))

    assert curve.time[curve.potential > 1][0] == pytest.approx(sand, rel=0.03)
    assert curve.current == pytest.approx(current)


def test_the_electrolyte_alone_shows_capacitance_times_scan_rate(make):
    potentiostat = make(concentration=0.0, capacitance=20.0)
    curve = whole(potentiostat.cyclic_voltammetry(start=0.0, vertex=0.5, scan_rate=0.2))

    assert np.abs(curve.current[1:]) == pytest.approx(20e-6 * 0.2)


def test_a_sweep_begins_turns_and_ends_at_the_potentials_asked_for(make):
    curve = whole(make().cyclic_voltammetry(start=0.1, vertex=-0.3, scan_rate=0.05, cycles=3, step=0.0015))

    assert curve.potential[[0, -1]] == pytest.approx([0.1, 0.1])
    assert (curve.potential.min(), curve.potential.max()) == pytest.approx((-0.3, 0.1))
    assert curve.time[-1] == pytest.approx(3 * 2 * 0.4 / 0.05)
    assert np.abs(np.diff(curve.potential)) == pytest.approx(0.05 * np.diff(curve.time))
    assert np.abs(np.diff(curve.potential)).max() <= 0.0015


def test_chunks_join_into_one_curve(make):
    chunks = list(make().cyclic_voltammetry(start=-0.2, vertex=0.7, scan_rate=0.1))

    assert len(chunks) > 5
    assert all(len(chunk.time) == len(chunk.potential) == len(chunk.current) > 0 for chunk in chunks)
    assert np.diff(whole(chunks).time) == pytest.approx(0.01)


def test_a_linear_sweep_takes_the_time_asked_for(make):
    curve = whole(make().linear_sweep(start=-0.5, end=0.5, duration=4.0))

    assert (curve.potential[0], curve.potential[-1]) == (-0.5, 0.5)
    assert curve.time[-1] == pytest.approx(4.0)


def test_the_open_circuit_potential_is_that_of_nernst(make):
    potentiostat = make(oxidised_share=0.2)

    assert potentiostat.open_circuit_potential() == pytest.approx(0.23 + log(0.2 / 0.8) / THERMAL)
    assert potentiostat.voltage == pytest.approx(0.23 + log(0.2 / 0.8) / THERMAL)
    assert potentiostat.current == 0.0


def test_the_noise_is_as_strong_as_told_and_alike_for_one_seed(make):
    sweep = {"start": 0.0, "vertex": 1.0, "scan_rate": 0.1, "cycles": 5}
    quiet = whole(make().cyclic_voltammetry(**sweep)).current
    noisy, again, other = (whole(make(noise=1e-7, seed=seed).cyclic_voltammetry(**sweep)).current for seed in (1, 1, 2))

    assert (noisy - quiet).std() == pytest.approx(1e-7, rel=0.05)
    assert np.array_equal(noisy, again)
    assert not np.array_equal(noisy, other)


def test_the_sample_under_the_tip_decides_the_peak(make, tmp_path):
    """The most active sample shows the highest peak: that is what a closed loop looks for."""
    library = SampleLibrary(1)
    peaks = at_each_sample(
        tmp_path,
        make(),
        lambda p: whole(p.cyclic_voltammetry(start=-0.3, vertex=0.9, scan_rate=0.1, step=0.005)).current.max(),
    )
    ranked = sorted(SAMPLES, key=lambda name: library.activity(SAMPLES[name].composition))

    assert sorted(SAMPLES, key=lambda name: peaks[name]) == ranked


def test_between_two_samples_only_the_double_layer_is_seen(make, tmp_path):
    SampleStage(bench=str(tmp_path))  # at home, where no sample is
    curve = whole(make(capacitance=1.0).cyclic_voltammetry(start=-0.2, vertex=0.7, scan_rate=0.1))

    assert np.abs(curve.current[1:]) == pytest.approx(1e-6 * 0.1)


def test_a_measurement_takes_its_time_over_the_time_scale(make):
    """Never less: a curve is not there before it is measured. More only if the machine is slow."""
    began = time.monotonic()
    curve = whole(make(time_scale=100.0).cyclic_voltammetry(start=-0.2, vertex=0.7, scan_rate=0.1))

    assert time.monotonic() - began >= 0.99 * curve.time[-1] / 100.0


@pytest.mark.parametrize("time_scale", [10.0, 1000.0])
def test_a_chunk_covers_at_most_50_milliseconds_of_real_time(make, time_scale):
    chunks = make(time_scale=time_scale).cyclic_voltammetry(start=0.2, vertex=0.3, scan_rate=1.0)

    assert max(np.ptp(chunk.time) for chunk in chunks) / time_scale <= 0.05


def test_the_latest_point_can_be_read_while_it_measures(make):
    potentiostat = make()
    measurement = potentiostat.cyclic_voltammetry(start=-0.2, vertex=0.7, scan_rate=0.1)
    chunk = next(measurement)

    assert (potentiostat.voltage, potentiostat.current) == (chunk.potential[-1], chunk.current[-1])
    measurement.close()
    assert potentiostat.current == 0.0


def test_stop_from_another_thread_ends_the_measurement_with_an_error(make):
    potentiostat = make(time_scale=0.001)
    measurement = potentiostat.cyclic_voltammetry(start=-0.2, vertex=0.7, scan_rate=0.1)
    stopped = []

    def measure():
        try:
            for _ in measurement:
                under_way.set()
        except RuntimeError as error:
            stopped.append(str(error))

    under_way = threading.Event()
    thread = threading.Thread(target=measure)
    thread.start()
    under_way.wait(5)
    potentiostat.stop()
    thread.join(5)

    assert stopped == ["potentiostat: stopped, the cell is open; what was measured before is kept"]
    assert potentiostat.current == 0.0


def test_a_stop_does_not_hold_for_the_next_measurement(make):
    potentiostat = make()
    potentiostat.stop()

    assert whole(potentiostat.chronoamperometry(potential=0.5, duration=0.1)).time[-1] == pytest.approx(0.1)


def test_each_measurement_is_witnessed_once(make, tmp_path):
    list(make().chronoamperometry(potential=0.5, duration=0.1))
    cut = make().cyclic_voltammetry(start=-0.2, vertex=0.7, scan_rate=0.1)
    next(cut)
    cut.close()

    log = [(line["action"], line["phase"], line.get("outcome")) for line in Bench(tmp_path).physical_log()]
    assert log == [
        ("chronoamperometry", "begin", None),
        ("chronoamperometry", "end", "done"),
        ("cyclic_voltammetry", "begin", None),
        ("cyclic_voltammetry", "end", "GeneratorExit"),
    ]


def test_a_sweep_without_a_way_is_refused(make):
    with pytest.raises(ValueError, match="nothing to sweep"):
        next(make().cyclic_voltammetry(start=0.1, vertex=0.1, scan_rate=0.1))


@pytest.mark.parametrize(
    "setting",
    [{"area": 0.0}, {"rate_constant": -1.0}, {"resistance": -1.0}, {"noise": float("nan")}, {"oxidised_share": 1.5}],
)
def test_a_cell_that_cannot_be_is_refused(make, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        make(**setting)


def test_extreme_potentials_give_finite_currents(make):
    curve = whole(make(resistance=1000.0, capacitance=1.0).cyclic_voltammetry(start=-2, vertex=2, scan_rate=100.0))

    assert np.isfinite(curve.current).all()


def test_a_slow_couple_shows_a_lower_peak(make):
    sweep = {"start": -0.2, "vertex": 0.7, "scan_rate": 0.1}
    fast, slow = (whole(make(rate_constant=k).cyclic_voltammetry(**sweep)) for k in (inf, 1e-4))

    assert slow.current.max() < 0.9 * fast.current.max()


def test_its_description_carries_units_limits_and_effects():
    description = describe(Potentiostat, name="potentiostat").description
    sweep = description.actions["cyclic_voltammetry"]

    assert sweep.effect == "read"
    assert sweep.parameters["scan_rate"].schema["unit"] == "V/s"
    assert {name: column["unit"] for name, column in sweep.stream.items()} == {
        "time": "s",
        "potential": "V",
        "current": "A",
    }
    assert description.stop
    assert set(description.attributes) == {"voltage", "current"}
