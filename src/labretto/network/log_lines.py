"""One line of a log: for people, or as JSON for programs; with the fields that were given, and no secret.

    2026-11-21 04:21:35.120 WARNING the disk does not take it  run=019a... why="no space left"       (labretto.…)
    {"time": "2026-11-21T04:21:35.120345Z", "level": "warning", "logger": ..., "message": ..., "run": ..., "why": ...}

Hub and hosts write the same form: LABRETTO_LOG=json says which, and hosts inherit it. Where lines go, and that they are
bounded, is the business of `labretto.network.log`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from labretto.errors import InvalidError

Form = Literal["text", "json"]
VARIABLE = "LABRETTO_LOG"

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
"""What every record of Python's logging has; the rest are the fields that were given."""
_SECRET = ("token", "password", "secret", "authorization", "cookie")
_LONGEST = 4000
"""Characters of one field; an array in a log helps nobody."""
_HIDDEN = "(not shown)"


def configure(level: int, form: Form | None = None, fields: Mapping[str, Any] | None = None) -> None:
    """Write this process's log to standard error.

    Args:
        level: of `logging`.
        form: default: what LABRETTO_LOG says, else text. What is given here is passed on to processes of this one.
        fields: stand in every line, such as the instrument of a host.

    Raises:
        InvalidError: LABRETTO_LOG says something else.
    """
    chosen = form or os.environ.get(VARIABLE) or "text"
    if chosen not in get_args(Form):
        raise InvalidError(
            f"{VARIABLE}={chosen[:40]!r} is no form of a log.", way_out=f"Use {' or '.join(get_args(Form))}."
        )
    if form:
        os.environ[VARIABLE] = form
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(fields) if chosen == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler])


class TextLines(logging.Formatter):
    """Lines for people; fields stand behind the words."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the traceback below it."""
        time = datetime.fromtimestamp(record.created).astimezone()
        said = [f"{time:%Y-%m-%d %H:%M:%S}.{int(record.msecs):03d}", record.levelname, record.getMessage()]
        words = [f"{name}={_worded(value)}" for name, value in fields_of(record).items()]
        head = " ".join([*said, *words, f"({record.name})"])
        return "\n".join([head, _traceback(record)]).rstrip()


class JsonLines(logging.Formatter):
    """One object a line."""

    def __init__(self, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._fields = dict(fields or {})

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "time": f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond:06d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        traceback = {"traceback": text} if (text := _traceback(record)) else {}
        return json.dumps(fields_of(record) | self._fields | said | traceback, ensure_ascii=False, default=_short)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that were given with a record; a secret that was given by mistake is hidden."""
    given = {name: value for name, value in vars(record).items() if name not in _OWN and not name.startswith("_")}
    return {name: _HIDDEN if _is_secret(name) else _plain(value) for name, value in given.items()}


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _HIDDEN if _is_secret(str(key)) else _plain(each) for key, each in value.items()}
    if isinstance(value, float) and value - value != 0:  # NaN and infinities are no JSON
        return str(value)
    return value[:_LONGEST] if isinstance(value, str) else value


def _worded(value: Any) -> str:
    return (
        value if isinstance(value, str) and value.isalnum() else json.dumps(value, ensure_ascii=False, default=_short)
    )


def _short(value: Any) -> str:
    return str(value)[:_LONGEST]


def _traceback(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[0] is not None:
        return logging.Formatter().formatException(record.exc_info)
    return record.exc_text or ""
