"""Actors, roles and verbs, and the one rule of who does what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Role = Literal["observer", "operator", "admin"]
Verb = Literal["read", "stop", "act", "configure"]
"""read: look. stop: make safe, hold up, end. act: anything that may move or be queued. configure: start hosts anew."""

ROLES: tuple[Role, ...] = get_args(Role)

_MAY: dict[Role, frozenset[Verb]] = {
    "observer": frozenset({"read", "stop"}),  # stopping never needs more rights than looking
    "operator": frozenset({"read", "stop", "act"}),
    "admin": frozenset({"read", "stop", "act", "configure"}),
}


@dataclass(frozen=True)
class Actor:
    """Who asks, as far as they showed it."""

    name: str = "someone on this machine"
    role: Role = "admin"
    """On the loopback without a token everybody is admin: who can reach it can also stop the process."""
    token: str = ""
    """Id of the token that was shown; empty where none is needed."""
    expires: datetime | None = None
    """When that token ends."""


@dataclass(frozen=True)
class Decision:
    """Whether, and why; true if it may be done."""

    allowed: bool
    reason: str

    def __bool__(self) -> bool:
        return self.allowed


def allow(actor: Actor, verb: Verb, thing: str) -> Decision:
    """May `actor` do `verb` to `thing` (an instrument, "queue", "lab")?"""
    if verb in _MAY[actor.role]:
        return Decision(True, f"{actor.name} is {actor.role}")
    needed = next(role for role, verbs in _MAY.items() if verb in verbs)
    return Decision(False, f"{actor.name} is {actor.role}; to {verb} on {thing} takes {needed}")
