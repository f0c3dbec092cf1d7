"""A record in the formats of others, by name: `exported(record, "documents")`.

A format is one decorated function, record → pieces of a file. Ours stand here; a package adds its own by an entry point
in the group `labretto.exports`, and needs nothing else of ours.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from labretto.catalog.read import Record
from labretto.errors import FailedError, InvalidError

GROUP = "labretto.exports"


@dataclass(frozen=True)
class Format:
    """How a record is written for others."""

    write: Callable[[Record], Iterable[bytes]]
    media_type: str
    ending: str
    """Of a file's name, with its dot."""

    def __call__(self, record: Record) -> Iterable[bytes]:
        """The pieces of the file, made as they are taken."""
        return self.write(record)


def export(media_type: str, ending: str) -> Callable[[Callable[[Record], Iterable[bytes]]], Format]:
    """Decorator of a function that writes a record."""
    return lambda write: Format(write, media_type, ending)


@export("application/jsonl", ".jsonl")
def documents(record: Record) -> Iterator[bytes]:
    """Event-model documents, one `[name, document]` a line; what JSON has no word for (NaN) is null."""
    for name, document in record.to_documents():
        yield json.dumps([name, _plain(document)], ensure_ascii=False, allow_nan=False).encode() + b"\n"


@export("text/csv", ".csv")
def csv(record: Record) -> Iterator[bytes]:
    """The saved rows as a table, units in the names; arrays are left out: a cell holds one value."""
    dataset = record.to_pandas()
    units = dataset.attrs["units"]
    plain = dataset[[name for name in dataset.columns if not any(hasattr(cell, "ndim") for cell in dataset[name])]]
    named = plain.rename(columns={name: f"{name} [{units[name]}]" for name in plain.columns if name in units})
    yield named.to_csv(index=False).encode()


def formats() -> dict[str, EntryPoint]:
    """Name → where it is written, of every format that is installed."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def format_named(name: str) -> Format:
    """The format of this name.

    Raises:
        InvalidError: none has it; says which there are.
        FailedError: the package that brings it cannot be imported.
    """
    known = formats()
    if name not in known:
        raise InvalidError(
            f"{name[:80]!r} is no format of an export.", way_out=f"Use one of {', '.join(sorted(known))}."
        )
    try:
        found = known[name].load()
    except Exception as error:  # a package of others may raise anything
        raise FailedError(f"The format {name} of {known[name].value} cannot be used: {error}.") from error
    return found if isinstance(found, Format) else Format(found, "application/octet-stream", "")


def _plain(value: Any) -> Any:
    """Strict JSON of a document's value."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if hasattr(value, "tolist"):
        if value.dtype.kind in "mM":
            value = value.astype(str)
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
