"""On what terms a run waits: its priority, its time, its labels, how often it is to be done. Checked, all at once.

Pure. They are said at the submission, changed while the run waits, and stand in its journal as they are returned here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from labretto.errors import InvalidError
from labretto.instrument.reading import isoformat

MOST_PRIORITY = 1000
MOST_TURNS = 1_000_000
MOST_LABELS = 30
LONGEST_LABEL = 64
LONGEST_NAME = 200


def checked_terms(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a run's waiting, in the form in which it is kept.

    Args:
        said: any of `priority` (whole number), `not_before` and `finish_by` (ISO 8601 with its zone, or None), `labels`
            (texts), `again` (turns after the first; None: until told), `name`, `held`.

    Raises:
        InvalidError: `faults` lists everything that is wrong.
    """
    kept: dict[str, Any] = {}
    faults: list[dict[str, Any]] = []
    for term, value in said.items():
        try:
            kept[term] = _CHECKS[term](value)
        except InvalidError as error:
            faults.append({"path": term, "detail": error.detail, "way_out": error.way_out})
        except KeyError:
            way_out = f"There are {', '.join(_CHECKS)}."
            faults.append({"path": term, "detail": f"{term[:80]!r} is nothing that can be said.", "way_out": way_out})
    if faults:
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise InvalidError(f"What is said of the run's waiting has {count}; nothing was changed.", faults=faults)
    return kept


def together(*parts: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """All that the parts answer, or all that is wrong in any of them.

    Raises:
        InvalidError: as the only part that is wrong raised it, or one for all of them.
    """
    found: dict[str, Any] = {}
    wrong: list[InvalidError] = []
    for part in parts:
        try:
            found |= part()
        except InvalidError as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        faults = [fault for error in wrong for fault in error.faults or [_as_fault(error)]]
        raise InvalidError(" ".join(error.detail for error in wrong), faults=faults)
    return found


def _as_fault(error: InvalidError) -> dict[str, Any]:
    return {"detail": error.detail, "way_out": error.way_out}


def _priority(value: Any) -> int:
    if _is_whole(value) and abs(value) <= MOST_PRIORITY:
        return int(value)
    raise InvalidError(
        f"priority={_short(value)} is no priority.",
        way_out=f"Give a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}; higher goes first, 0 is usual.",
    )


def _not_before(value: Any) -> str | None:
    return _moment("not_before", value)


def _finish_by(value: Any) -> str | None:
    return _moment("finish_by", value)


def _moment(term: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if time.tzinfo is not None:
            return isoformat(time)
    except (ValueError, OverflowError):
        pass
    raise InvalidError(
        f"{term}={_short(value)} is no time with its zone.",
        way_out="Write for instance 2026-11-22T02:00Z or 2026-11-22T02:00+01:00.",
    )


def _labels(value: Any) -> list[str]:
    if isinstance(value, list | tuple) and len(value) <= MOST_LABELS and all(map(_is_label, value)):
        return list(dict.fromkeys(label.strip() for label in value))
    raise InvalidError(
        f"labels={_short(value)} is no list of labels.",
        way_out=f"Give up to {MOST_LABELS} texts of 1 to {LONGEST_LABEL} printable characters each.",
    )


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value.strip()) <= LONGEST_LABEL


def _again(value: Any) -> int | None:
    if value is None:
        return None
    if _is_whole(value) and 0 <= value <= MOST_TURNS:
        return int(value)
    raise InvalidError(
        f"again={_short(value)} is no number of turns.",
        way_out="Give how often it is to be done after this time, or null for until somebody says otherwise.",
    )


def _name(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and 0 < len(value.strip()) <= LONGEST_NAME:
        return value.strip()
    raise InvalidError(
        f"name={_short(value)} is no name.", way_out=f"Give a text of 1 to {LONGEST_NAME} printable characters."
    )


def _held(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidError(f"held={_short(value)} is neither true nor false.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    return repr(value)[:80]


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "priority": _priority,
    "not_before": _not_before,
    "finish_by": _finish_by,
    "labels": _labels,
    "again": _again,
    "held": _held,
}

TERMS = tuple(_CHECKS)
"""Everything that can be said of a run's waiting."""
