"""What a generator yields, row by row, becomes a table of columns.

A row is a NamedTuple, a dataclass or a mapping; a field of it is a number or a chunk (an array, a list). Anything else
that is yielded is a column called "value".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from labretto.instrument import codec


class Table:
    """The rows so far.

    Args:
        columns: names that the table has even if nothing was yielded.
    """

    def __init__(self, columns: Iterable[str] = ()) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in columns}

    def add(self, row: Any) -> dict[str, Any]:
        """Take a row; answer its columns, which share nothing with the driver's own buffers.

        Raises:
            CannotEncodeError: no wire can carry it.
        """
        columns = {name: codec.settled(value) for name, value in _fields(row).items()}
        for name, value in columns.items():
            self._columns.setdefault(name, []).append(value)
        return columns

    def joined(self) -> dict[str, Any]:
        """Column → array of all its values where they are numbers and numpy is there, else a list of them."""
        return {name: _joined(values) for name, values in self._columns.items()}


def _fields(row: Any) -> dict[str, Any]:
    if hasattr(row, "_asdict"):
        return dict(row._asdict())
    if hasattr(row, "__dataclass_fields__"):
        return {name: getattr(row, name) for name in row.__dataclass_fields__}
    return {str(name): value for name, value in row.items()} if isinstance(row, Mapping) else {"value": row}


def _joined(values: list[Any]) -> Any:
    """One column from its pieces: chunks are put end to end, numbers stand side by side."""
    try:
        import numpy as np
    except ImportError:
        return _flat(values)
    try:
        column = np.concatenate([np.atleast_1d(value) for value in values]) if values else np.empty(0)
    except ValueError:  # chunks of different shapes, or texts among numbers: kept as they came
        return values
    return column if column.dtype.kind in "biufc" else _flat(values)


def _flat(values: list[Any]) -> list[Any]:
    return [item for value in values for item in (value if isinstance(value, list) else [value])]
