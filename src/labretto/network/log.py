"""The log of a host process: whatever it and its driver write to standard output and error, kept bounded.

The process writes into the file itself, so that nothing is lost when the hub dies, and the last words of a driver's C
library are there too.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import BinaryIO

LIMIT = 5_000_000
"""Bytes of a log before it becomes `log.1.txt`; one earlier piece is kept."""

LOOK_EVERY = 5.0
"""Seconds between two looks at its size."""


def open_log(path: Path) -> BinaryIO:
    """`path` opened for appending, for the standard output of a new process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    move_aside(path)
    return path.open("ab", buffering=0)


def move_aside(path: Path) -> bool:
    """Make `path` the earlier piece if it is too long; whether that was so."""
    if not path.exists() or path.stat().st_size < LIMIT:
        return False
    path.replace(path.with_name(f"{path.stem}.1{path.suffix}"))
    return True


def keep_bounded(path: Path) -> None:
    """Begin a new piece of the log `path`, where this process's output goes, whenever it has become too long."""

    def look() -> None:
        never = threading.Event()
        while not never.wait(LOOK_EVERY):
            if move_aside(path):
                fresh = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                os.dup2(fresh, 1)
                os.dup2(fresh, 2)
                os.close(fresh)

    threading.Thread(target=look, name="log", daemon=True).start()


def last_lines(path: Path, most: int = 200) -> list[str]:
    """The end of a log; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 100 * most))
            return file.read().decode(errors="replace").splitlines()[-most:]
    except OSError:
        return []
