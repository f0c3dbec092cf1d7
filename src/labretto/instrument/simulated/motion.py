"""Motion: where a stage is at a given time, as a value that needs no clock.

One idea: a motion is written down once, when it begins, and from then on the position is a function of time. Nothing
has to tick, another process can follow it, and a process that was killed finds the stage where it would really be.
"""

from dataclasses import dataclass
from math import dist, sqrt

__all__ = ["Motion", "Place", "distance_covered", "travel_time"]

Place = tuple[float, ...]


def travel_time(distance: float, velocity: float, acceleration: float) -> float:
    """Seconds for `distance` from rest to rest, with a trapezoidal profile (a triangular one if the way is short).

    Source: L. Biagiotti, C. Melchiorri, Trajectory Planning for Automatic Machines and Robots (2008), section 3.2.
    """
    if distance < velocity**2 / acceleration:
        return 2 * sqrt(distance / acceleration)
    return distance / velocity + velocity / acceleration


def distance_covered(elapsed: float, distance: float, velocity: float, acceleration: float) -> float:
    """Way covered `elapsed` seconds after the beginning; between 0 and `distance`. Source as in `travel_time`."""
    duration = travel_time(distance, velocity, acceleration)
    if elapsed <= 0:
        return 0.0
    if elapsed >= duration:
        return distance
    ramp = min(velocity / acceleration, duration / 2)
    if elapsed < ramp:
        return acceleration * elapsed**2 / 2
    if elapsed > duration - ramp:
        return distance - acceleration * (duration - elapsed) ** 2 / 2
    return acceleration * ramp * (elapsed - ramp / 2)


@dataclass(frozen=True)
class Motion:
    """A straight way from rest to rest."""

    start: Place
    """Coordinates at the beginning, mm."""
    target: Place
    """Coordinates at the end, mm."""
    began: float
    """Unix time of the beginning: the one clock that all processes of a bench share."""
    velocity: float
    """Highest speed on the way, mm/s."""
    acceleration: float
    """Speeding up and slowing down, mm/s²."""

    @property
    def arrives(self) -> float:
        """Unix time of the arrival."""
        return self.began + travel_time(dist(self.start, self.target), self.velocity, self.acceleration)

    def position(self, now: float) -> Place:
        """Coordinates at the Unix time `now`."""
        whole = dist(self.start, self.target)
        if now >= self.arrives or whole == 0:
            return self.target
        share = distance_covered(now - self.began, whole, self.velocity, self.acceleration) / whole
        return tuple(a + share * (b - a) for a, b in zip(self.start, self.target, strict=True))

    def towards(self, target: Place, now: float) -> "Motion":
        """The motion that begins now, from where the stage is now."""
        return Motion(self.position(now), target, now, self.velocity, self.acceleration)

    def halted(self, now: float) -> "Motion":
        """At rest where the stage is now."""
        return self.resting(self.position(now), now)

    def resting(self, place: Place, now: float) -> "Motion":
        """At rest at a place."""
        return Motion(place, place, now, self.velocity, self.acceleration)
