"""The audit trail: who did what, as what, to what, from where, when, and what came of it; one line for each act.

Lines are only ever added: each is one write to a file opened for appending, so lines of several processes stand one
after the other, and a kill in the middle of one costs that line alone. A file that has grown large is renamed and a new
one begun; of those a bounded number is kept. Looking leaves no line.

An act is not refused because its line cannot be written: a full disk must not be what keeps somebody from stopping. The
log says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labretto.access.rule import Actor

logger = logging.getLogger(__name__)

FILE = "audit.jsonl"
LARGEST = 16 * 1024 * 1024
"""Bytes after which a file is renamed."""
KEPT = 20
"""Renamed files that are kept."""

LONGEST_PARAMETERS = 2_000
"""Characters of JSON; of larger parameters only the size is kept."""
_LONGEST_WORD = 300
_SECRET = ("token", "password", "passwort", "secret", "credential", "authorization")


@dataclass(frozen=True)
class Act:
    """One line."""

    who: str
    role: str
    verb: str
    thing: str
    """The lab or the instrument."""
    what: str
    """The request, such as "POST /api/halt" or "invoke move"."""
    outcome: str
    """A status, such as "200" or "403"; "no answer" if it ended without one."""
    where: str = ""
    """From which address."""
    parameters: Any = None
    token: str = ""
    """Id of the token."""
    on_behalf_of: str = ""
    """Whom the one who asked named; nobody has checked that."""
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))

    @classmethod
    def of(cls, actor: Actor, verb: str, thing: str, what: str, outcome: object, **more: Any) -> Act:
        """The line of what `actor` did."""
        return cls(actor.name, actor.role, verb, thing, what, str(outcome), token=actor.token, **more)


class Trail:
    """The trail of one lab; any thread and any process may add to it.

    Args:
        folder: the lab's.
        largest: bytes after which a file is renamed.
        kept: how many renamed ones are kept.
    """

    def __init__(self, folder: Path, *, largest: int = LARGEST, kept: int = KEPT) -> None:
        self.path = folder / FILE
        self._largest = largest
        self._kept = kept
        self._descriptor: int | None = None
        self._inode = 0
        self._lock = threading.Lock()

    def add(self, act: Act) -> None:
        """Write its line."""
        words = {name: _short(value) if isinstance(value, str) else value for name, value in asdict(act).items()}
        words["parameters"] = bounded(act.parameters)
        line = json.dumps({name: value for name, value in words.items() if value not in ("", None)}) + "\n"
        try:
            with self._lock:
                self._write(line.encode())
        except OSError:
            logger.exception("the audit trail cannot be written")

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._let_go()

    def _write(self, line: bytes) -> None:
        descriptor = self._current()
        if os.fstat(descriptor).st_size + len(line) > self._largest:
            self._turn(descriptor)
            descriptor = self._current()
        if os.write(descriptor, line) < len(line):
            os.write(descriptor, b"\n")  # the disk is full: the next line shall at least begin where a line begins

    def _current(self) -> int:
        """The file of this name; another process may have renamed the one that was."""
        with contextlib.suppress(FileNotFoundError):
            if self._descriptor is not None and self.path.stat().st_ino == self._inode:
                return self._descriptor
        self._let_go()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._inode = os.fstat(self._descriptor).st_ino
        return self._descriptor

    def _turn(self, descriptor: int) -> None:
        """Rename the file, unless another process has just done so, and drop the oldest of those renamed."""
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            with contextlib.suppress(FileNotFoundError):
                if self.path.stat().st_ino == self._inode:
                    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z-{self._inode}"
                    self.path.rename(self.path.with_name(f"audit-{stamp}.jsonl"))
                    for old in _renamed(self.path.parent)[: -self._kept]:
                        old.unlink(missing_ok=True)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_trail(folder: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The lines of a lab's trail, the newest last; what is no line is left out."""
    found: list[dict[str, Any]] = []
    for path in reversed([*_renamed(folder), folder / FILE]):
        found[:0] = _lines(path)
        if limit is not None and len(found) >= limit:
            return found[-limit:]
    return found


def bounded(parameters: Any) -> Any:
    """Parameters as they may stand in a line: no secrets, no end of data."""
    if parameters is None:
        return None
    hidden = _without_secrets(parameters)
    try:
        size = len(json.dumps(hidden))
    except (TypeError, ValueError, RecursionError):
        return {"omitted": type(parameters).__name__}
    return hidden if size <= LONGEST_PARAMETERS else {"omitted": f"{size} characters of JSON"}


def _without_secrets(value: Any, depth: int = 0) -> Any:
    if depth > 20:
        return "…"
    if isinstance(value, Mapping):
        return {str(k): "…" if _is_secret(str(k)) else _without_secrets(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(each, depth + 1) for each in itertools.islice(value, LONGEST_PARAMETERS)]
    return value


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_WORD else text[:_LONGEST_WORD] + "…"


def _renamed(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-*.jsonl"))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(body := json.loads(line), dict):
                yield body
