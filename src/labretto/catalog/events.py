"""events.jsonl: one event a line, appended with one system call, readable at every moment.

A line counts when its end is there. What a crash leaves behind the last whole line is cut when the file is opened for
writing again, and passed over by readers. Nothing is flushed here: the orchestrator's journal is what was acknowledged,
and `EventLog.last_number` tells it which events to append again.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labretto.catalog import codec, durable
from labretto.errors import ConflictError, InvalidError, StorageError

FILE = "events.jsonl"
_BLOCK = 64 * 1024


def read_events(folder: Path) -> Iterator[dict[str, Any]]:
    """The events of a record, in order; none if there are none yet."""
    try:
        with (folder / FILE).open("rb") as file:
            yield from (event for line in file if (event := _parsed(line)) is not None)
    except FileNotFoundError:
        return


class EventLog:
    """The file's one writer."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        with durable.storage_errors(self.path):
            how = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self.path, how, 0o666)  # less what the umask takes; without it, executable
        self._size, self.last_number = _last_whole(self._descriptor)
        if self._size < os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, self._size)

    def append(self, event: Mapping[str, Any]) -> bool:
        """Append the event; False if its number stands there already.

        Raises:
            InvalidError: it has no number, or a value that JSON cannot say.
            ConflictError: events between the last one and this one are missing.
            StorageError: the disk did not take it; the file is as before.
        """
        number = event.get("number")
        if type(number) is not int or number < 1:
            raise InvalidError(f"An event needs a number from 1 on, not {number!r}.")
        if number <= self.last_number:
            return False
        if number != self.last_number + 1:
            raise ConflictError(
                f"Event {number} of {self.path.parent.name} follows on {self.last_number} in its record.",
                way_out=f"Append the journal's events from {self.last_number + 1} on first.",
            )
        self._write(codec.dumps(event) + b"\n")
        self.last_number = number
        return True

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, line: bytes) -> None:
        if self._descriptor < 0:
            raise ConflictError(f"The record {self.path.parent.name} is closed.")
        try:
            with durable.storage_errors(self.path):
                if os.write(self._descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, "only a part of the event fits on the disk")
        except StorageError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(line)


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # zeros, as a power cut leaves them
        return None
    return event if isinstance(event, dict) and type(event.get("number")) is int else None


def _last_whole(descriptor: int) -> tuple[int, int]:
    """Where the last whole event ends and its number, read from the end backwards."""
    start = os.fstat(descriptor).st_size
    tail = b""
    while start > 0:
        length = min(_BLOCK, start)
        start -= length
        os.lseek(descriptor, start, os.SEEK_SET)
        tail = os.read(descriptor, length) + tail
        first = tail.find(b"\n") + 1 if start > 0 else 0
        end = len(tail)
        while (end := tail.rfind(b"\n", first, end) + 1) > first:
            begin = tail.rfind(b"\n", 0, end - 1) + 1
            if (event := _parsed(tail[begin:end])) is not None:
                return start + end, event["number"]
            end = begin
    return 0, 0
