"""Where a server may listen, and which names it answers to."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from labretto.errors import ForbiddenError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names under which a server on the loopback is asked."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there; of names, only localhost is."""
    bare = host.strip("[]")
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def check_bind(host: str, guarded: object, lab: str = "NAME") -> None:
    """Refuse to listen where others can reach, unless somebody asks them for a token.

    Args:
        host: address that is listened on.
        guarded: what asks for tokens there; None or empty: nothing.
        lab: whose tokens count there, for the way out.

    Raises:
        ForbiddenError: `host` is not the loopback and nothing asks.
    """
    if not is_loopback(host) and not guarded:
        raise ForbiddenError(
            f"Listening on {host or 'every address'} would let everybody on the network move this lab.",
            way_out=f"Make a token first (labretto token create --lab {lab} --name YOU), set LABRETTO_TOKEN, or listen "
            "on 127.0.0.1.",
        )


def names_answered(bound: str, configured: Collection[str]) -> frozenset[str] | None:
    """What a request's Host header may say; None: anything.

    On the loopback only its own names: a page from elsewhere that rebinds its name to 127.0.0.1 sends its own name
    here. A server that asks for tokens answers to any name, unless its configuration says which.
    """
    if configured:
        return LOOPBACK_NAMES | {name.lower().rstrip(".") for name in configured}
    return LOOPBACK_NAMES | {bound.strip("[]")} if is_loopback(bound) else None


def bearer(header: str | None) -> str | None:
    """The token in an `Authorization: Bearer …` header; None if there is none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
