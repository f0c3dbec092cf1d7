"""Files that people bring: kept in the record of the run that asked, under a name that no path can hide in."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterable
from pathlib import Path

from labretto.catalog import durable
from labretto.errors import InvalidError
from labretto.orchestrator.answering import FILES

FILE_LIMIT = 16 * 1024 * 1024
"""Bytes of one file."""

_ODD = re.compile(r"[^\w.-]+", re.ASCII)
_PLACE = re.compile(rf"{FILES}/[\w-][\w.-]{{0,149}}", re.ASCII)


def has_file(record: Path, place: str) -> bool:
    """Whether somebody has brought a file that now stands at `place` of the record."""
    return bool(_PLACE.fullmatch(place)) and (record / place).is_file()


async def keep_file(record: Path, name: str, content: AsyncIterable[bytes]) -> str:
    """Write a file aside, flush it, give it its name; one that is there already under this name stays as it is.

    Args:
        record: the folder.
        name: what the person's machine calls it.

    Returns:
        Its place in the record: `files/photo.png`, or `files/photo-2.png` if there is another photo.

    Raises:
        InvalidError: it is larger than `FILE_LIMIT`; nothing is kept.
        StorageError: the disk does not take it.
    """
    folder = record / FILES
    aside = folder / f"{os.urandom(8).hex()}{durable.ASIDE}"
    try:
        with durable.storage_errors(folder):
            folder.mkdir(exist_ok=True)
            await _write(aside, content)
            return await asyncio.to_thread(_named, aside, _safe(name))
    finally:
        aside.unlink(missing_ok=True)


async def _write(aside: Path, content: AsyncIterable[bytes]) -> None:
    size = 0
    with aside.open("wb") as file:
        async for chunk in content:
            size += len(chunk)
            if size > FILE_LIMIT:
                raise InvalidError(f"The file is larger than {FILE_LIMIT} bytes; nothing of it is kept.")
            file.write(chunk)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())


def _safe(name: str) -> str:
    """Its last part in letters that every file system and every shell takes."""
    last = re.split(r"[/\\]", name)[-1]
    return _ODD.sub("_", last).lstrip(".-")[-100:].lstrip(".-") or "file"


def _named(aside: Path, name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    stem, ending = (stem, dot + ending) if stem else (name, "")
    for number in range(1, 10_000):
        target = aside.with_name(f"{stem}-{number}{ending}" if number > 1 else name)
        try:
            os.link(aside, target)  # unlike a rename it never takes the place of another
        except FileExistsError:
            continue
        durable.sync(target.parent)
        return f"{FILES}/{target.name}"
    raise InvalidError(f"There are too many files called {name!r} in this record.", way_out="Give it another name.")
