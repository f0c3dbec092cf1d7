"""Rows become columns: chunks put end to end, numbers side by side, whatever else as it came."""

import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from labretto.instrument.codec import CannotEncodeError
from labretto.instrument.table import Table


class Point(NamedTuple):
    potential: float


@dataclass
class Spot:
    potential: float


def joined(*rows: Any, columns: tuple[str, ...] = ()) -> dict[str, Any]:
    table = Table(columns)
    for row in rows:
        table.add(row)
    return {name: column.tolist() if hasattr(column, "tolist") else column for name, column in table.joined().items()}


@pytest.mark.parametrize("row", [Point, Spot, lambda value: {"potential": value}])
def test_a_row_is_anything_with_named_fields(row: Any) -> None:
    assert joined(row(1.0), row(2.0)) == {"potential": [1, 2]}


def test_a_row_without_names_is_a_column_called_value() -> None:
    assert joined(1.0, 2.0) == {"value": [1, 2]}


@pytest.mark.parametrize(
    ("pieces", "column"),
    [
        ([1, 2], [1, 2]),
        ([np.array([1, 2]), np.array([3])], [1, 2, 3]),
        ([[1, 2], [3]], [1, 2, 3]),
        ([1, np.array([2, 3])], [1, 2, 3]),
        ([np.float32(1), 2], [1, 2]),
        ([True, False], [True, False]),
        (["a", "b"], ["a", "b"]),
        ([["a"], ["b", "c"]], ["a", "b", "c"]),
        ([1.0, None], [1.0, None]),
        ([np.eye(2), np.ones((1, 2))], [[1, 0], [0, 1], [1, 1]]),
    ],
)
def test_a_column_is_joined_from_its_pieces(pieces: list[Any], column: list[Any]) -> None:
    assert joined(*[{"x": piece} for piece in pieces]) == {"x": column}


def test_chunks_of_different_shapes_are_kept_as_they_came() -> None:
    table = Table()
    table.add({"x": np.eye(2)})
    table.add({"x": np.eye(3)})
    assert [chunk.shape for chunk in table.joined()["x"]] == [(2, 2), (3, 3)]


def test_a_table_without_rows_has_its_columns() -> None:
    assert joined(columns=("potential", "current")) == {"potential": [], "current": []}


def test_a_buffer_that_is_used_again_does_not_change_the_past() -> None:
    table, buffer = Table(), np.zeros(2)
    sent = table.add({"x": buffer})
    buffer[:] = 7
    table.add({"x": buffer})

    assert sent["x"].tolist() == [0, 0]
    assert table.joined()["x"].tolist() == [0, 0, 7, 7]


def test_a_row_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(CannotEncodeError):
        Table().add({"x": object()})


def test_without_numpy_a_column_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert joined({"x": 1.0, "y": [1, 2]}, {"x": 2.0, "y": [3]}) == {"x": [1.0, 2.0], "y": [1, 2, 3]}
