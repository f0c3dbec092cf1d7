"""What two descriptions of one instrument have different, in sentences for people."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

from labretto.instrument.describe import Description


def differences(before: Description | None, after: Description) -> list[str]:
    """One sentence for each difference; none where `before` is not known."""
    if before is None:
        return []
    old, new = before.as_dict(), after.as_dict()
    return [
        *_of_names("attribute", old.pop("attributes"), new.pop("attributes")),
        *_of_names("action", old.pop("actions"), new.pop("actions")),
        *_of_values("", old, new),
    ]


def _of_names(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{kind} {name} is gone" for name in old if name not in new)
    yield from (f"{kind} {name} is new" for name in new if name not in old)
    for name in old:
        if name in new:
            yield from _of_values(f"{kind} {name}: ", old[name], new[name])


def _of_values(place: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _of_values(f"{place}{key}.", old.get(key), new.get(key))
    elif old != new:
        where = place.removesuffix(".")
        yield f"{where}: {_spelled(old)} became {_spelled(new)}"


def _spelled(value: Any) -> str:
    return "nothing" if value is None else reprlib.repr(value)
