"""A browser's cookie in a token's place: which token, until when, and a seal that only this lab can make.

The token itself is not in it, so whoever sees the cookie learns nothing that works elsewhere or later; nothing is kept
of it here, so a hub that starts again still knows its browsers, and a token that is revoked ends its sessions.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from labretto.access.rule import Actor

LONGEST = timedelta(days=30)
"""So long a browser is known at most, however long its token lasts."""


def session_end(actor: Actor) -> datetime:
    """When a session that begins now ends: with its token, or sooner."""
    latest = datetime.now(UTC) + LONGEST
    return min(latest, actor.expires) if actor.expires else latest


def seconds_until(end: datetime) -> int:
    """Whole seconds from now to `end`."""
    return max(0, int((end - datetime.now(UTC)).total_seconds()))


def sealed(token: str, until: datetime, secret: str) -> str:
    """The cookie of a session of the token with this id."""
    words = f"{token}.{int(until.timestamp())}"
    return f"{words}.{_seal(words, secret)}"


def opened(cookie: str, secret: str) -> str | None:
    """The id of the token that a cookie stands for; None for one that was not made here, or has ended."""
    words, _, seal = cookie[:300].rpartition(".")
    if not hmac.compare_digest(seal.encode(), _seal(words, secret).encode()):
        return None
    token, _, until = words.partition(".")
    return token if float(until) > datetime.now(UTC).timestamp() else None


def _seal(words: str, secret: str) -> str:
    key = hmac.digest(secret.encode(), b"labretto session", "sha256")
    return hmac.new(key, words.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
