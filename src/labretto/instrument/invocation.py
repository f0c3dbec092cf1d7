"""An invocation: one asking of an action, with the id its caller gave it, from *accepted* to its end.

What it promises is in the ledger (`labretto.instrument.ledger`); here are its words and its ids.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from labretto.errors import InvalidError
from labretto.instrument.reading import isoformat

State = Literal["not arrived", "running", "succeeded", "failed", "cancelled", "interrupted", "cannot tell"]
"""not arrived: this host never had it, safe to send. interrupted: began, end not seen. cannot tell: the ledger is
younger than the id, or lost. The others say themselves."""

Effect = Literal["read", "absolute", "checkable", "once"]
"""read: looks. absolute: sets a value, repeating is harmless. checkable: can look whether it happened. once: must not
be repeated by a machine."""

HARMLESS: frozenset[str] = frozenset({"read", "absolute"})
"""Effects that may be sent again by a machine after an interruption."""


_SOMETIMES = ("progress", "expected_seconds", "cancelling")
"""Of an invocation, left out where there is nothing to say."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MILLISECOND = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def new_id() -> str:
    """A UUIDv7 (RFC 9562): its first 48 bits are the milliseconds since 1970, so ids sort by birth."""
    milliseconds = time.time_ns() // 1_000_000
    bits = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=bits))


def born(identity: str) -> datetime | None:
    """When a UUIDv7 was made; None for an id that does not say."""
    parsed = uuid.UUID(identity)
    milliseconds = parsed.int >> 80
    if parsed.version != 7 or milliseconds > _LAST_MILLISECOND:
        return None
    return _EPOCH + timedelta(milliseconds=milliseconds)  # exactly; a float of seconds would round


def check_id(identity: str) -> str:
    """`identity` in its canonical spelling; `InvalidError` if it is no UUID."""
    try:
        return str(uuid.UUID(identity))
    except (ValueError, TypeError, AttributeError):  # the last two: what came is no text
        raise InvalidError(
            f"The invocation id {repr(identity)[:80]} is not a UUID.",
            way_out="Send a UUIDv7, or POST without an id and let the host make one.",
        ) from None


@dataclass(frozen=True)
class Invocation:
    """What is known of one asking of an action."""

    id: str
    instrument: str
    action: str
    parameters: Mapping[str, Any]
    effect: Effect
    state: State
    accepted: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    result: Any = None
    error: Mapping[str, Any] | None = None
    """Problem details of what went wrong; with `traceback` where a driver raised."""
    actor: str | None = None
    """Who asked, as far as they said."""
    progress: float | None = field(default=None, compare=False)
    """Share done, 0 to 1, while it runs and if the driver says so."""
    expected_seconds: float | None = field(default=None, compare=False)
    """How long it usually takes, if it was done here before."""
    cancelling: Mapping[str, Any] | None = field(default=None, compare=False)
    """While it runs after somebody asked for its end: `asked`, `within` (seconds) and whether it is `overdue`."""

    @property
    def over(self) -> bool:
        """Nothing more will happen to it by itself."""
        return self.state not in ("running", "not arrived")

    def end(
        self, state: State, at: datetime, *, result: Any = None, error: Mapping[str, Any] | None = None
    ) -> Invocation:
        """This invocation, ended."""
        return replace(self, state=state, ended=at, result=result, error=error)

    def as_dict(self) -> dict[str, Any]:
        """The form that every wire carries; arrays in `result` stay arrays for the codec of the wire."""
        body = {
            name: getattr(self, name) for name in ("id", "instrument", "action", "effect", "state", "actor", "result")
        }
        times = {n: isoformat(t) if (t := getattr(self, n)) else None for n in ("accepted", "started", "ended")}
        body |= {"parameters": dict(self.parameters), "error": dict(self.error) if self.error else None, **times}
        more = {name: value for name in _SOMETIMES if (value := getattr(self, name)) is not None}
        return body | more

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Invocation:
        """The invocation that `as_dict` wrote."""
        words: dict[str, Any] = {n: body[n] for n in ("id", "instrument", "action", "effect", "state")}
        words |= {n: datetime.fromisoformat(body[n]) for n in ("accepted", "started", "ended") if body.get(n)}
        words |= {n: body.get(n) for n in ("result", "error", "actor", *_SOMETIMES)}
        return cls(parameters=body.get("parameters") or {}, **words)
