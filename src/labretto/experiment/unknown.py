"""What a step will answer, as long as nobody knows: it fits everywhere, and conditions on it can go either way.

A dry run hands it out for every result. Any part of it is unknown too; a comparison with it is decided by the scenario
(all that are open hold, or none does) and noted. It is never null: who asks whether there is a result is told yes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Scenario:
    """Which way conditions go whose values are not known."""

    holds: bool = False
    undecided: dict[str, None] = field(default_factory=dict)
    """Paths of the steps on whose results something depends, in order."""
    granted: set[str] = field(default_factory=set)
    """Results, as `place` tells them, on which conditions hold in any case."""
    latest: str | None = None
    """The path on whose result was decided last."""

    def decide(self, path: str) -> bool:
        """Whether a condition on the result of the step at `path` holds."""
        self.undecided[path] = None
        self.latest = path
        return self.holds or (bool(self.granted) and place(path) in self.granted)


class Unknown(Mapping[str, Any]):
    """The result of the step at `path`."""

    __slots__ = ("_path", "_scenario")
    shape = ()
    """It may be a number."""

    def __init__(self, path: str, scenario: Scenario) -> None:
        self._path = path
        self._scenario = scenario

    def __repr__(self) -> str:
        return "…"

    def __getitem__(self, key: str) -> Unknown:
        return self

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return other is not None and self._decided()

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, other: object) -> bool:
        return self._decided()

    __gt__ = __le__ = __ge__ = __lt__

    def matters(self) -> None:
        """Note that it depends on it what is done."""
        self._decided()

    def _decided(self) -> bool:
        return self._scenario.decide(self._path)


def is_known(value: Any) -> bool:
    """Whether nothing in a value is unknown."""
    if isinstance(value, Unknown):
        return False
    if isinstance(value, list | tuple):
        return all(is_known(part) for part in value)
    return not isinstance(value, dict) or all(is_known(part) for part in value.values())


def place(path: str) -> str:
    """A path without the turns of its loops, but for the innermost: `sweep[]/repeat[9]/cv`."""
    outer, bracket, rest = path.rpartition("[")
    return re.sub(r"\[\d+\]", "[]", outer) + bracket + rest


def stand_in(value: Any, instead: Any) -> Any:
    """A value, or what is put in its place as long as nobody knows it; that this was done is noted."""
    if not isinstance(value, Unknown):
        return value
    value.matters()
    return instead
