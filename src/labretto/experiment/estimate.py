"""How long something takes, as far as it is known: one estimate, many of them in a row, and what stands behind them.

A duration that was declared is believed. A learned one is the winsorised mean of the last ends, so that one action that
hung for an hour does not move it. A row of estimates keeps two kinds of doubt apart: each time differs from the next,
which evens out over many steps, and the mean itself is known from a few ends only, which does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Source = Literal["declared", "same parameters", "action", "earlier runs", "earlier version", "not known"]
"""Where an estimate comes from, best first."""

LEAST = 3
"""Ends from which on their own spread is believed; below, at least half of the mean is taken."""

_Z90 = 1.2815515655446004
"""90 % of a normal distribution lie below mean + _Z90 standard deviations."""


@dataclass(frozen=True)
class Spread:
    """A duration with its doubt, seconds: 10, 50 and 90 of 100 cases are shorter."""

    p10: float
    p50: float
    p90: float

    def as_dict(self) -> dict[str, float]:
        """JSON of it, to the millisecond."""
        return {"p10": round(self.p10, 3), "p50": round(self.p50, 3), "p90": round(self.p90, 3)}

    @classmethod
    def from_dict(cls, body: Mapping[str, float]) -> Spread:
        """What `as_dict` wrote."""
        return cls(body["p10"], body["p50"], body["p90"])


@dataclass(frozen=True)
class Estimate:
    """How long one step takes."""

    mean: float
    """Seconds; 0 where nothing is known."""
    variance: float = 0.0
    """From one time to the next, seconds squared."""
    n: int = 0
    """How many ends it was learned from."""
    source: Source = "not known"
    pool: str = ""
    """Estimates of one pool were learned from the same ends: their doubt of the mean is one."""

    @property
    def spread(self) -> Spread:
        """Of one such step."""
        return spread(self.mean, self.variance * (1 + (1 / self.n if self.n else 0)))


UNKNOWN = Estimate(0.0)
"""Nothing is known of it; it counts as no time at all, and that is said."""


class Known(Protocol):
    """What has been learned so far (`orchestrator.durations`)."""

    def of_action(self, instrument: str, action: str, parameters: Mapping[str, Any] | None) -> Estimate | None:
        """An action's duration; with None its parameters are not known. None: it never ended here."""

    def of_answer(self, text: str) -> Estimate | None:
        """How long people take to answer a question of this text. None: nobody was ever asked anything."""


class NothingKnown:
    """For a lab that has done nothing yet."""

    def of_action(self, instrument: str, action: str, parameters: Mapping[str, Any] | None) -> Estimate | None:
        """See `Known`."""
        return None

    def of_answer(self, text: str) -> Estimate | None:
        """See `Known`."""
        return None


def declared(seconds: float) -> Estimate:
    """What somebody said of it."""
    return Estimate(seconds, source="declared")


def learned(seconds: Sequence[float], source: Source, pool: str) -> Estimate | None:
    """What so many ends say; None for none.

    Source of the mean: R. R. Wilcox, Introduction to Robust Estimation (2012), section 3.3: Winsorised mean; one in ten
    is drawn in at either end, and one of four to nine.
    """
    if not seconds:
        return None
    inner = _winsorised(sorted(seconds))
    n = len(inner)
    mean = sum(inner) / n
    variance = sum((each - mean) ** 2 for each in inner) / (n - 1) if n > 1 else 0.0
    if n < LEAST:
        variance = max(variance, (mean / 2) ** 2)
    return Estimate(mean, variance, n, source, pool)


def _winsorised(ordered: Sequence[float]) -> list[float]:
    out = (len(ordered) + 5) // 10 if len(ordered) > LEAST else 0
    low, high = ordered[out], ordered[-1 - out]
    return [min(max(each, low), high) for each in ordered]


def spread(mean: float, variance: float) -> Spread:
    """The quantiles of a log-normal distribution with this mean and variance: never below 0, longer to the right."""
    if mean <= 0 or variance <= 0:
        return Spread(mean, mean, mean)
    sigma2 = math.log1p(variance / mean**2)
    mu, out = math.log(mean) - sigma2 / 2, _Z90 * math.sqrt(sigma2)
    return Spread(math.exp(mu - out), math.exp(mu), math.exp(mu + out))


class Row:
    """Estimates one after another."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.variance = 0.0
        self._pools: dict[str, tuple[float, Estimate]] = {}

    def add(self, estimate: Estimate, times: float = 1.0) -> None:
        """Put one (or so many of it) at the end."""
        before, _ = self._pools.get(estimate.pool, (0.0, estimate))
        after = before + times
        self._pools[estimate.pool] = (after, estimate)
        self.mean += times * estimate.mean
        self.variance += times * estimate.variance
        if estimate.n:
            self.variance += (after**2 - before**2) * estimate.variance / estimate.n

    def longer(self, factor: float) -> Row:
        """A row so many times as long, of the same estimates."""
        row = Row()
        row.mean = self.mean * factor
        for count, estimate in self._pools.values():
            times = count * factor
            row.variance += times * estimate.variance + (times**2 * estimate.variance / estimate.n if estimate.n else 0)
        return row

    @property
    def spread(self) -> Spread:
        """Of the whole row."""
        return spread(self.mean, self.variance)

    def pools(self) -> Iterator[tuple[float, Estimate]]:
        """How often each was put in."""
        yield from self._pools.values()


def spelled(seconds: float) -> str:
    """A duration for people: `0.3 s`, `61 s`, `12 min`, `3 h 40 min`, `2 d 4 h`."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
