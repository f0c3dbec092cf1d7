"""How an instrument of the lab is, in one word and why; and when a host that died is started again.

Decides only: no process and no clock here. Who acts on it stands in `labretto.network.keeper`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["starting", "ready", "restarting", "crash loop", "stopped", "unreachable", "proposed", "removed"]
"""restarting: waits `seconds` before the next start. crash loop, stopped: down until asked. unreachable: a host
elsewhere that does not answer; asked again and again. proposed: it has registered itself, and a person has to accept
it. removed: it is no instrument of the lab any more."""

HUB_STOPPED = "the hub stopped"
"""Why every instrument is stopped at the end: no trouble of its own."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds before a dead host is started again: doubling with each death in a row."""

LOOP_DEATHS, LOOP_WITHIN = 5, 30.0
"""So many deaths within so many seconds are a crash loop."""


@dataclass(frozen=True)
class Status:
    """How one instrument is."""

    name: str
    state: State
    reason: str = ""
    """Why it is not ready, in the words of whoever knows."""
    seconds: float | None = None
    """While restarting: the pause before the next start."""
    address: str | None = None
    """Where a client connects, once it is ready."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """All wires of a host of ours: "http", "zmq", "events"."""
    pid: int | None = None
    since: str = ""
    """ISO 8601, UTC."""
    problem: Mapping[str, Any] | None = None
    """Problem details of what keeps it down, with the driver's traceback where it raised."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


Listener = Callable[[Status], None]
"""Called in the hub's loop at every change; must not block."""


def pause_before(deaths: Sequence[float]) -> float | None:
    """Seconds to wait after the last of `deaths` (times in order, seconds); None for a crash loop.

    A host that lived longer than the crash loop's span begins anew with the shortest pause.
    """
    recent = [at for at in deaths if deaths[-1] - at <= LOOP_WITHIN]
    if len(recent) >= LOOP_DEATHS:
        return None
    in_a_row = 1
    for earlier, later in zip(reversed(deaths[:-1]), reversed(deaths[1:]), strict=True):
        if later - earlier > LOOP_WITHIN:
            break
        in_a_row += 1
    return float(min(FIRST_PAUSE * 2 ** (in_a_row - 1), LONGEST_PAUSE))
