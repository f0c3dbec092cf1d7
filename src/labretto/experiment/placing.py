"""Where a fault stands for whoever wrote the file: also in a file that was put below `files:` on its way to the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from labretto.experiment.document import read_text
from labretto.experiment.faults import Faults
from labretto.experiment.model import Fault
from labretto.experiment.words import mapping_of

INDENT = 4
"""Columns by which `inline` moves a file to the right."""


@dataclass(frozen=True)
class _Part:
    """A file within the text."""

    name: str
    before: int
    """The line before its first."""


def in_their_files(faults: Sequence[Fault], text: str) -> list[Fault]:
    """The same faults; those in a file that was put in say in which, and at which of its lines."""
    parts = _parts(text) if faults and "files" in text else []
    return [_placed(fault, parts) for fault in faults]


def _parts(text: str) -> list[_Part]:
    root = read_text(text, Faults())
    files = mapping_of(root).get("files") if root is not None else None
    if files is None:
        return []
    entries = [(name, files.keys[name].line, each.where.line) for name, each in mapping_of(files).items()]
    # What begins in the line of its name was not put in as it stood in its file.
    return [_Part(name, line) for name, line, begins in entries if begins > line]


def _placed(fault: Fault, parts: Sequence[_Part]) -> Fault:
    part = next((part for part in reversed(parts) if fault.line is not None and fault.line > part.before), None)
    if part is None or fault.line is None:
        return fault
    place = f"{part.name}, line {fault.line - part.before}, column {max(1, (fault.column or 1) - INDENT)}"
    return replace(fault, detail=f"{place}: {fault.detail}")
