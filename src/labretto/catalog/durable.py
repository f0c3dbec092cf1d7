"""Files that are whole or not there: written aside, flushed to the disk, renamed.

What is appended to (events, streams) is not written here. A full disk becomes `StorageError`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labretto.errors import StorageError

ASIDE = ".part"
"""End of the name of a file that is being written; one left by a crash is overwritten or swept."""


@contextmanager
def aside(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """A path to write to, renamed to `path` at the end of the block; on an error `path` stays as it was.

    Args:
        path: the file to make or replace, in a folder that exists.
        flush: wait until content and name are on the disk (survives a power cut, not only a killed process).
    """
    beside = path.with_name(path.name + ASIDE)
    try:
        with storage_errors(path):
            yield beside
            if flush:
                sync(beside)
            beside.replace(path)
            if flush:
                sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def replace(path: Path, content: bytes, *, flush: bool = True) -> None:
    """Make `path` hold `content`, all of it or what was there before."""
    with aside(path, flush=flush) as beside:
        beside.write_bytes(content)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """A system's refusal to write becomes `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}.",
            way_out="Free space or mend the permissions there, then ask again; what was acknowledged is kept.",
        ) from error


def sha256(path: Path) -> str:
    """Hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
