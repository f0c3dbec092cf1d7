"""Counters, gauges and histograms, and the text in which Prometheus reads them (exposition format 0.0.4).

Written here because the format is sixty lines, and a client library would be one more dependency of every hub; that the
text is right is tested with Prometheus' own parser. A metric with very many different labels stops taking new ones: a
driver that makes up names must not fill the memory.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_SERIES = 2000
"""Combinations of labels of one metric; what comes after is counted under the label values "other"."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
"""Upper bounds for durations, from a look at an attribute to an annealing."""

Labels = tuple[str, ...]


@dataclass
class Metric:
    """A number for each combination of labels."""

    name: str
    help: str
    labels: Sequence[str] = ()
    kind = "gauge"
    _series: dict[Labels, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # a database's thread observes too

    def lines(self) -> Iterator[str]:
        """All series, as text."""
        with self._lock:
            series = sorted(self._series.items())
        for values, number in series:
            yield f"{self.name}{_labels(self.labels, values)} {_number(number)}"

    def _key(self, values: Iterable[object]) -> Labels:
        key = tuple(str(value) for value in values)
        return key if key in self._series or len(self._series) < MOST_SERIES else ("other",) * len(key)


class Gauge(Metric):
    """What is so now."""

    def set(self, number: float, *values: object) -> None:
        """It is `number` now."""
        with self._lock:
            self._series[self._key(values)] = float(number)

    def clear(self) -> None:
        """Forget every series, before the present ones are set."""
        with self._lock:
            self._series.clear()


class Counter(Metric):
    """What only rises; its name ends in `_total`."""

    kind = "counter"

    def add(self, *values: object, by: float = 1) -> None:
        """Once more."""
        with self._lock:
            key = self._key(values)
            self._series[key] = self._series.get(key, 0.0) + by

    def rise_to(self, number: float, *values: object) -> None:
        """What was counted elsewhere."""
        with self._lock:
            self._series[self._key(values)] = float(number)


@dataclass
class _Distribution:
    counts: list[int]
    total: float = 0.0


@dataclass
class Histogram(Metric):
    """How often it took how long."""

    bounds: Sequence[float] = SECONDS
    kind = "histogram"
    _taken: dict[Labels, _Distribution] = field(default_factory=dict)

    def observe(self, seconds: float, *values: object) -> None:
        """It took so long once more."""
        with self._lock:
            key = tuple(str(value) for value in values)
            if key not in self._taken and len(self._taken) >= MOST_SERIES:
                key = ("other",) * len(key)
            taken = self._taken.setdefault(key, _Distribution([0] * (len(self.bounds) + 1)))
            taken.counts[bisect_left(self.bounds, seconds)] += 1
            taken.total += seconds

    def lines(self) -> Iterator[str]:
        """All series, as text."""
        with self._lock:
            series = sorted((values, list(taken.counts), taken.total) for values, taken in self._taken.items())
        for values, counts, total in series:
            so_far = 0
            for bound, count in zip((*self.bounds, math.inf), counts, strict=True):
                so_far += count
                labels = _labels((*self.labels, "le"), (*values, _number(bound)))
                yield f"{self.name}_bucket{labels} {so_far}"
            labels = _labels(self.labels, values)
            yield f"{self.name}_sum{labels} {_number(total)}"
            yield f"{self.name}_count{labels} {so_far}"


def exposed(metrics: Iterable[Metric]) -> bytes:
    """The text of all metrics."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {_escaped(metric.help, quotes=False)}", f"# TYPE {metric.name} {metric.kind}"]
        lines += metric.lines()
    return ("\n".join(lines) + "\n").encode()


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str, *, quotes: bool = True) -> str:
    escaped = text.encode("utf-8", "replace").decode().replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace('"', '\\"') if quotes else escaped


def _number(number: float) -> str:
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if math.isnan(number):
        return "NaN"
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
