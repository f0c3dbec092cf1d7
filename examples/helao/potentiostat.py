"""The tutorial's potentiostat, on the simulated electrochemistry of Labretto: a disc electrode, a reversible couple.

What the original answers with constants is measured here; `labretto.instrument.simulated.potentiostat` says how, with
its sources. A driver for a real one would call its vendor's library in the same places.
"""

from collections.abc import Iterator
from typing import Annotated, TypedDict

from annotated_types import Interval, Len, Unit

from labretto.instrument.simulated.potentiostat import Potentiostat as Cell, VoltammogramRow

Volt = Annotated[float, Unit("V"), Interval(ge=-2, le=2)]
Ampere = Annotated[float, Unit("A"), Interval(ge=-0.1, le=0.1)]
Seconds = Annotated[float, Unit("s"), Interval(gt=0, le=3600)]


class Curve(TypedDict):
    """A measurement; three lists of one length."""

    time: Annotated[list[float], Unit("s")]
    potential: Annotated[list[float], Unit("V")]
    current: Annotated[list[float], Unit("A")]


class Potentiostat:
    """A potentiostat with a cell in which ferrocyanide is oxidised and reduced."""

    def __init__(self, time_scale: float = 10.0) -> None:
        """Fill the cell; `time_scale` simulated seconds pass in one, 0: as fast as it can be computed."""
        self._cell = Cell(time_scale=time_scale)

    def measureVoltage(self, Vmin: Volt, Vmax: Volt, t: Seconds) -> dict[str, Curve]:
        """Sweep the potential from `Vmin` to `Vmax` within `t`, and measure the current."""
        return {"data": _curve(self._cell.linear_sweep(Vmin, Vmax, t))}

    def measureCurrents(self, Is: Annotated[list[Ampere], Len(1, 100)], dt: Seconds) -> dict[str, Curve]:
        """Impose each current of `Is` for `dt`, and measure the potential."""
        return {"data": _curve(self._cell.chronopotentiometry(Is, dt))}

    def voltage(self) -> dict[str, Volt]:
        """The potential now; at rest the open-circuit potential."""
        return {"data": self._cell.voltage}

    def current(self) -> dict[str, Ampere]:
        """The current now; 0 at rest, because the cell is open."""
        return {"data": self._cell.current}

    def stop(self) -> None:
        """Open the cell at once."""
        self._cell.stop()


def _curve(rows: Iterator[VoltammogramRow]) -> Curve:
    curve: Curve = {"time": [], "potential": [], "current": []}
    for row in rows:
        curve["time"] += row.time.tolist()
        curve["potential"] += row.potential.tolist()
        curve["current"] += row.current.tolist()
    return curve
