"""Saved rows as one table: columns with units, for xarray, pandas and Parquet.

Each saved name is a column. Its cells are numbers, texts, times, or arrays; where a row did not save the name, the cell
is missing (None, NaN in numbers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labretto.catalog import codec
from labretto.catalog.arrays import NEXUS, Arrays, group_of, is_place
from labretto.catalog.units import default_dims
from labretto.errors import NotFoundError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One saved name over all rows."""

    name: str
    stored: Sequence[Any]
    """One cell per row in stored form; None where it is missing."""
    cells: Sequence[Any]
    """The same, loaded."""
    unit: str | None
    dims: Sequence[str]
    """Of one cell; empty for numbers and texts."""

    @property
    def is_array(self) -> bool:
        """Whether its cells are arrays."""
        return any(hasattr(cell, "ndim") for cell in self.cells)

    def flat(self) -> NDArray[Any]:
        """The cells of a column without arrays, in the narrowest type that holds them all."""
        return _flat(self.cells)

    def stacked(self) -> tuple[NDArray[Any], str | None]:
        """The arrays as one array, one row each, and what had to be done for it.

        Shorter arrays are padded with NaN at their ends; whole numbers become floats then.
        """
        return _stacked(self.cells)


def columns_of(rows: Sequence[Row], arrays: Arrays) -> list[Column]:
    """The columns of `rows`, in the order in which their names were saved first."""
    names = {name: None for row in rows for name in row}
    return [_column(name, [row.get(name) for row in rows], arrays) for name in names]


def to_dataset(columns: Sequence[Column], attrs: Mapping[str, Any]) -> xr.Dataset:
    """The columns as variables over one dimension.

    If the first name is a number or text that differs in every row, it is the dimension and its coordinate; else the
    dimension is "row". Arrays bring their own dimensions; a dimension whose name is taken, or has another length in an
    earlier variable, gets the variable's name appended (`point_background`).
    """
    import xarray as xr

    row = _row_dimension(columns)
    taken: dict[str, int] = {column.name: -1 for column in columns} | {row: -1}
    variables: dict[str, Any] = {}
    for column in columns:
        values, note = column.stacked() if column.is_array else (column.flat(), None)
        dims = [row, *_dims(column, values.shape[1:], taken)]
        said = {"units": column.unit, "padded": note}
        variables[column.name] = (dims, values, {key: text for key, text in said.items() if text})
    coordinates = {row: variables.pop(row)} if row in variables else {}
    return xr.Dataset(variables, coordinates, attrs=dict(attrs))


def to_frame(columns: Sequence[Column], attrs: Mapping[str, Any]) -> pd.DataFrame:
    """The columns as a data frame, one row per saved row; an array is one cell. Units are in `frame.attrs["units"]`."""
    import pandas as pd

    series = {column.name: _objects(column.cells) if column.is_array else column.flat() for column in columns}
    frame = pd.DataFrame(series)
    frame.attrs |= dict(attrs) | {"units": {column.name: column.unit for column in columns if column.unit}}
    return frame


def _column(name: str, stored: list[Any], arrays: Arrays) -> Column:
    cells = [_loaded(cell, arrays) for cell in stored]
    marks = [cell for cell in stored if isinstance(cell, Mapping)]
    unit = next((cell["unit"] for cell in marks if isinstance(cell.get("unit"), str)), None)
    shaped = next((cell for cell in cells if hasattr(cell, "ndim")), None)
    said = next((cell["dims"] for cell in marks if isinstance(cell.get("dims"), list)), None)
    if shaped is None:
        return Column(name, stored, cells, unit, ())
    fits = said is not None and len(said) == shaped.ndim
    return Column(name, stored, cells, unit, tuple(said) if fits and said else tuple(default_dims(shaped.ndim)))


def _loaded(stored: Any, arrays: Arrays) -> Any:
    try:
        return _listed(arrays.value(stored))
    except NotFoundError:  # a reference that did not come from `put`: one missing cell, not a lost table
        return None


def _listed(cell: Any) -> Any:
    """An array for a list of numbers: what an instrument that speaks plain JSON answers for one."""
    if not isinstance(cell, list) or not cell:
        return cell
    import numpy as np

    try:
        array = np.asarray(cell)
    except (ValueError, TypeError, OverflowError):  # rows of different lengths
        return cell
    return array if array.dtype.kind in "biufc" else cell


def _row_dimension(columns: Sequence[Column]) -> str:
    if not columns or columns[0].is_array:
        return "row"
    cells = columns[0].cells
    alike = all(isinstance(cell, str) for cell in cells) or all(isinstance(cell, int | float) for cell in cells)
    return columns[0].name if alike and len({*cells}) == len(cells) and all(cell == cell for cell in cells) else "row"


def _dims(column: Column, shape: Sequence[int], taken: dict[str, int]) -> list[str]:
    dims: list[str] = []
    for dim, size in zip(column.dims, shape, strict=False):
        name = dim
        while name in dims or taken.get(name, size) != size:
            name = f"{name}_{column.name}"
        taken[name] = size
        dims.append(name)
    return dims


def _flat(cells: Sequence[Any]) -> NDArray[Any]:
    import numpy as np

    there = [cell for cell in cells if cell is not None]
    kinds = {type(cell) for cell in there}
    whole = len(there) == len(cells)
    if kinds == {bool} and whole:
        return np.array(cells, dtype=bool)
    if kinds == {int} and whole and all(-(2**63) <= cell < 2**63 for cell in there):
        return np.array(cells, dtype=np.int64)
    if kinds and kinds <= {int, float}:
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
    if kinds and kinds <= {int, float, complex}:
        return np.array([np.nan if cell is None else cell for cell in cells], dtype=np.complex128)
    if kinds == {str} and whole:
        return np.array(cells, dtype=str)
    if kinds == {datetime}:
        return np.array([_utc(cell) for cell in cells], dtype="datetime64[us]")
    return _objects(cells)


def _utc(cell: datetime | None) -> datetime | None:
    return cell.astimezone(UTC).replace(tzinfo=None) if cell is not None and cell.tzinfo else cell


def _objects(cells: Sequence[Any]) -> NDArray[Any]:
    import numpy as np

    objects = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):  # one by one, or numpy would look into arrays
        objects[i] = cell
    return objects


def _stacked(cells: Sequence[Any]) -> tuple[NDArray[Any], str | None]:
    import numpy as np

    arrays = [cell for cell in cells if hasattr(cell, "ndim")]
    if len({array.ndim for array in arrays}) > 1 or any(c is not None and not hasattr(c, "ndim") for c in cells):
        return _objects(cells), "arrays of different dimensions; one object each"
    if len({array.shape for array in arrays}) == 1 and len(arrays) == len(cells):
        return np.stack(arrays), None
    shape = tuple(int(size) for size in np.max([array.shape for array in arrays], axis=0))
    filler, dtype = _filler(arrays)
    stacked = np.full((len(cells), *shape), filler, dtype=dtype)
    for i, cell in enumerate(cells):
        if cell is not None:
            place: tuple[Any, ...] = (i, *(slice(size) for size in cell.shape))
            stacked[place] = cell
    return stacked, "shorter arrays are padded at their ends"


def _filler(arrays: Sequence[NDArray[Any]]) -> tuple[Any, np.dtype[Any]]:
    import numpy as np

    dtype = np.result_type(*arrays)
    if dtype.kind in "biu":
        return np.nan, np.dtype(np.float64)
    if dtype.kind in "mM":
        return np.array("NaT", dtype), dtype
    return ("" if dtype.kind == "U" else np.nan) if dtype.kind in "fcU" else 0, dtype


def pointer(stored: Any) -> str | None:
    """Where in record.h5 an array stands, as text: record.h5:/entry/array_0001/value."""
    if not codec.is_reference(stored) or not is_place(stored["$array"]):
        return None
    return f"{NEXUS}:/entry/{group_of(stored['$array'])}/{stored.get('column', 'value')}"
