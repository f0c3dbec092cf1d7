"""What happens at a disc electrode: one redox couple, its diffusion, the double layer and the resistance before it.

Semi-infinite planar diffusion of R ⇌ O + e⁻ by finite differences, one implicit step at a time, so that a potentiostat
can measure point by point. Nothing here knows of samples, pacing or noise. Everything is in SI units (a concentration
of 1 mol/m³ is 1 mmol/L); a current is positive when it oxidises.

One idea: both forms diffuse alike, so their sum is constant everywhere and one profile suffices; and the profile after
a step depends linearly on the surface concentration, so each step is one matrix-vector product and one equation in
one unknown, the potential across the interface.
"""

from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np
import numpy.typing as npt

__all__ = ["FARADAY", "GAS", "Couple", "DiffusionLayer", "Electrode", "Experiment"]

FARADAY = 96485.33212  # C/mol, CODATA 2018, exact
GAS = 8.31446261815324  # J/(mol K), CODATA 2018, exact
COMPLIANCE = 10.0  # V: further the amplifier cannot go

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Couple:
    """A one-electron redox couple in solution."""

    formal_potential: float
    """V against the reference electrode."""
    reduced: float
    """Bulk concentration of the reduced form, mol/m³."""
    oxidised: float
    """Bulk concentration of the oxidised form, mol/m³."""
    diffusion: float
    """Diffusion coefficient of both forms, m²/s."""
    rate: float = inf
    """Standard rate constant, m/s; infinite for a reversible couple."""


@dataclass(frozen=True)
class Electrode:
    """A disc and the way to it."""

    area: float
    """m²."""
    resistance: float = 0.0
    """Uncompensated, ohm."""
    capacitance: float = 0.0
    """Of the double layer, F."""
    temperature: float = 298.15
    """K."""

    @property
    def inverse_thermal_voltage(self) -> float:
        """F/(R T), 1/V."""
        return FARADAY / (GAS * self.temperature)


class DiffusionLayer:
    """The profile of the reduced form before the electrode, as its excess over the bulk, mol/m³.

    An exponentially expanding grid with second differences over unequal intervals, stepped in time by the second-order
    backward differentiation formula after one backward Euler step.

    Source: D. Britz, J. Strutwolf, Digital Simulation in Electrochemistry, 4th ed. (2016), chapters 7 to 9; the problem
    itself: A. J. Bard, L. R. Faulkner, Electrochemical Methods, 2nd ed. (2001), section 6.2 and appendix B.
    """

    def __init__(self, diffusion: float, interval: float, duration: float) -> None:
        """Lay the grid for steps of `interval` seconds, wide enough for `duration` seconds."""
        places = _expanding_grid(first=0.1 * sqrt(diffusion * interval), width=6 * sqrt(diffusion * duration))
        laplacian, surface = _second_differences(places)
        size = len(places) - 2
        spread = diffusion * interval
        self._solvers = [
            _solver(identity * np.eye(size) - spread * laplacian, spread * surface, places) for identity in (1.0, 1.5)
        ]
        self._now = self._before = np.zeros(size)
        self._stepped = False
        self._base, self._influence, self._weights = self._now, self._solvers[0].influence, self._solvers[0].weights
        self._diffusion = diffusion

    def predict(self) -> tuple[float, float]:
        """The next step's flux to the electrode, mol/(m² s), as (a, b) in a + b · excess at the surface."""
        solver = self._solvers[1 if self._stepped else 0]
        known = 2 * self._now - 0.5 * self._before if self._stepped else self._now
        self._base, self._influence = solver.inverse @ known, solver.influence
        first, second = float(self._base[0]), float(self._base[1])
        return self._diffusion * (
            solver.weights[1] * first + solver.weights[2] * second
        ), self._diffusion * solver.slope

    def accept(self, excess: float) -> None:
        """End the step that `predict` began, with this excess at the surface."""
        self._before, self._now = self._now, self._base + self._influence * excess
        self._stepped = True


@dataclass(frozen=True)
class _Solver:
    """One implicit step, solved once for all: profile = inverse @ known + influence * excess at the surface."""

    inverse: Array
    influence: Array
    weights: tuple[float, float, float]
    slope: float
    """Gradient at the surface per excess at the surface, 1/m."""


def _expanding_grid(first: float, width: float, growth: float = 1.12) -> Array:
    """Distances from the electrode, m, beginning with 0; each interval is `growth` times the one before."""
    count = max(4, round(log(1 + width / first * (growth - 1)) / log(growth)) + 1)
    return first * np.concatenate(([0.0], np.cumsum(growth ** np.arange(count))))


def _second_differences(places: Array) -> tuple[Array, Array]:
    """The second derivative at the inner places as a matrix, and the share of the surface in it as a vector."""
    left, right = np.diff(places)[:-1], np.diff(places)[1:]
    lower, upper = 2 / (left * (left + right)), 2 / (right * (left + right))
    matrix = np.diag(-(lower + upper)) + np.diag(lower[1:], -1) + np.diag(upper[:-1], 1)
    surface = np.zeros(len(left))
    surface[0] = lower[0]
    return matrix, surface


def _solver(matrix: Array, surface: Array, places: Array) -> _Solver:
    inverse: Array = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    influence = inverse @ surface
    near, far = float(places[1]), float(places[2])  # three-point gradient over unequal intervals
    weights = (-(near + far) / (near * far), far / (near * (far - near)), -near / (far * (far - near)))
    slope = weights[0] + weights[1] * float(influence[0]) + weights[2] * float(influence[1])
    return _Solver(inverse, influence, weights, slope)


class Experiment:
    """A cell in the course of one measurement: fresh solution at its beginning, then step by step."""

    def __init__(
        self, electrode: Electrode, couple: Couple, *, interval: float, duration: float, potential: float
    ) -> None:
        """Prepare steps of `interval` seconds for at most `duration`; the double layer is charged to `potential`, V."""
        self._electrode = electrode
        self._couple = couple
        self._interval = interval
        self._layer = DiffusionLayer(couple.diffusion, interval, duration)
        self._interface = potential
        self._flux = (0.0, 0.0)
        self._half = electrode.inverse_thermal_voltage / 2
        self._slowness = 1 / couple.rate  # s/m; 0 for a reversible couple

    def apply(self, potential: float) -> float:
        """Apply a potential, V, for one step; answers the current at its end, A.

        What falls over the resistance is missing at the interface: E(applied) = E(interface) + I R.
        """
        self._flux = self._layer.predict()
        resistance = self._electrode.resistance
        return self._settle(self._solve(potential, 1.0, resistance) if resistance else potential)

    def impose(self, current: float) -> float:
        """Impose a current, A, for one step; answers the potential at its end, V.

        A current that diffusion cannot feed drives the potential to the end of the amplifier's compliance.
        """
        self._flux = self._layer.predict()
        inner = self._solve(current, 0.0, 1.0)
        self._settle(inner)
        return inner + current * self._electrode.resistance

    def _settle(self, inner: float) -> float:
        """End the step at this potential of the interface, V; answers the current, A."""
        excess, current, _ = self._at(inner)
        self._layer.accept(excess)
        self._interface = inner
        return current

    def _solve(self, target: float, of_potential: float, of_current: float) -> float:
        """The interface's potential E, V, with of_potential · E + of_current · I(E) = target.

        Newton's method inside a shrinking bracket: the left side rises with E everywhere, but is flat where the
        couple is used up.
        """
        low, high, inner = -COMPLIANCE, COMPLIANCE, self._interface
        for _ in range(60):
            _, current, conductance = self._at(inner)
            excess = of_potential * inner + of_current * current - target
            low, high = (low, inner) if excess > 0 else (inner, high)
            slope = of_potential + of_current * conductance
            following = inner - excess / slope if slope > 0 else high
            if not low < following < high:
                following = (low + high) / 2
            if abs(following - inner) < 1e-9:
                return following
            inner = following
        return inner

    def _at(self, inner: float) -> tuple[float, float, float]:
        """Excess of the reduced form at the surface, current, and its slope over the potential, if E were `inner`.

        Butler-Volmer kinetics with a transfer coefficient of 1/2, in the form that becomes Nernst's equation for an
        infinite rate. Source: Bard and Faulkner (2001), equations 3.3.11 and 1.5.29; the double layer: section 1.2.4.
        """
        couple, (offset, gain) = self._couple, self._flux
        half = self._half * (inner - couple.formal_potential)
        forward, backward = exp(half), exp(-half)
        total = forward + backward - self._slowness * gain
        excess = (self._slowness * offset - forward * couple.reduced + backward * couple.oxidised) / total
        turn = (
            -self._half
            * (forward * couple.reduced + backward * couple.oxidised + excess * (forward - backward))
            / total
        )
        charging = self._electrode.capacitance / self._interval
        faradaic = FARADAY * self._electrode.area
        current = faradaic * (offset + gain * excess) + charging * (inner - self._interface)
        return excess, current, faradaic * gain * turn + charging
