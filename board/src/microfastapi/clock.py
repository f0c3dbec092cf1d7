"""The time as the laboratory writes it, and ids that carry it (UUIDv7). A board without a set clock says so."""

import os
import time

_SET = 1704067200  # 2024: a clock before that was never set


def milliseconds() -> int:
    """Since 1970, as far as this board knows."""
    return time.time_ns() // 1000000


def is_set() -> bool:
    return time.time() > _SET


def isoformat(moment: int) -> str:
    """Milliseconds since 1970 as `2026-11-21T04:21:35.120Z`."""
    year, month, day, hour, minute, second = time.gmtime(moment // 1000)[:6]
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (year, month, day, hour, minute, second, moment % 1000)


def now() -> str:
    return isoformat(milliseconds())


def new_id() -> str:
    """A UUIDv7 (RFC 9562)."""
    tail = os.urandom(10)
    bits = bytes([0x70 | tail[0] & 0x0F, tail[1], 0x80 | tail[2] & 0x3F]) + tail[3:]
    text = "%012x" % milliseconds() + bits.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def born(identity: str) -> "int | None":
    """When a UUIDv7 was made, in milliseconds since 1970; None for an id that does not say; ValueError for no UUID."""
    parts = identity.split("-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12]:
        raise ValueError("not a UUID")
    for part in parts:
        int(part, 16)
    return int(parts[0] + parts[1], 16) if parts[2][0] == "7" else None
