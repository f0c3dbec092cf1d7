"""Who asks, and may they: where a server may listen, tokens, the Host header, and the one rule of who does what.

Decides only; no socket and no web framework is known here. A route asks `allow` and passes the reason on.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Literal

from labretto.errors import ForbiddenError

Role = Literal["observer", "operator", "admin"]
Verb = Literal["read", "act", "stop", "configure"]
"""read: look. act: anything that may move or be queued. stop: make safe. configure: start and stop hosts."""

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


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there; of names, only localhost is."""
    bare = host.strip("[]")
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def check_bind(host: str, token: str | None) -> None:
    """Refuse to listen where others can reach, unless a token keeps them out.

    Raises:
        ForbiddenError: `host` is not the loopback and there is no token.
    """
    if not is_loopback(host) and not token:
        raise ForbiddenError(
            f"Listening on {host or 'every address'} would let everybody on the network move this lab.",
            way_out="Set a token (LABRETTO_TOKEN) as well, or listen on 127.0.0.1.",
        )


def bearer(header: str | None) -> str | None:
    """The token in an `Authorization: Bearer …` header; None if there is none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def token_matches(given: str | None, expected: str) -> bool:
    """Compare in a time that does not tell how much of the token was right."""
    return given is not None and hmac.compare_digest(given.encode(), expected.encode())


def allowed_host(header: str | None, bound: str) -> bool:
    """Whether a request's Host header names this server.

    On the loopback only names of the loopback do: a page from elsewhere that rebinds its own name to 127.0.0.1 sends
    its own name here. A server that listens for others has a token instead, and any name may lead to it.
    """
    if not is_loopback(bound):
        return True
    return is_loopback(_without_port(header or ""))


def _without_port(header: str) -> str:
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]
