"""Arrays of a record, found by their reference, in whichever file they stand now.

While a run goes on an array is a `.npy` file or a column of a stream; at the end all of them move into record.h5
(`nexus`). A reference never changes: the place in record.h5 follows from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labretto.catalog import codec
from labretto.catalog.stream import END, Columns, read_stream, slug
from labretto.catalog.units import Described
from labretto.errors import NotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ARRAYS, STREAMS, NEXUS = "arrays", "streams", "record.h5"
_PLACE = re.compile(r"(arrays|streams)/(\d+)[A-Za-z0-9-]*\.(npy|arrows)")


def array_reference(name: str, array: NDArray[Any], described: Described) -> dict[str, Any]:
    """What stands in an event for the array of the file arrays/`name`."""
    return {"$array": f"{ARRAYS}/{name}"} | _shape(array) | described.of_array(array.ndim)


def column_reference(file: Path, column: str, columns: Columns) -> dict[str, Any]:
    """What stands in an event for one column of a stream."""
    unit = {"unit": columns.units[column]} if column in columns.units else {}
    place = {"$array": f"{STREAMS}/{file.name}", "column": column}
    return place | _shape(columns[column]) | unit | {"dims": ["point"]}


def is_place(place: str) -> bool:
    """Whether `place` is the name of an array's file in a record; references come from outside too."""
    return _PLACE.fullmatch(place) is not None


def group_of(place: str) -> str:
    """The group of record.h5 that holds what stood in the file `place`: streams/0003-cv.arrows → stream_0003_cv.

    Raises:
        NotFoundError: `place` is no such file.
    """
    if not is_place(place):
        raise NotFoundError(f"{place!r} is not the place of an array in a record.")
    folder, _, name = place.partition("/")
    return f"{folder.removesuffix('s')}_{name.rpartition('.')[0].replace('-', '_')}"


def number_of(place: str) -> int:
    """The number in a file's or a group's name."""
    found = re.search(r"\d+", place)
    return int(found[0]) if found else 0


class Arrays(AbstractContextManager["Arrays"]):
    """Loads arrays of one record; keeps record.h5 and the stream read last open until it is closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._nexus: Any = None
        self._last: tuple[str, Columns] | None = None

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        nexus, self._nexus, self._last = self._nexus, None, None
        if nexus is not None:
            nexus.close()

    def value(self, stored: Any) -> Any:
        """The value that `stored` stands for, arrays loaded (`.npy` files are mapped, not read)."""
        return codec.decode(stored, self.load)

    def load(self, reference: Mapping[str, Any]) -> NDArray[Any]:
        """The array that a reference names.

        Raises:
            NotFoundError: it is in none of the record's files.
        """
        place, column = reference["$array"], reference.get("column")
        group = group_of(place)
        try:
            array = self._from_file(place, column, reference["shape"])
        except FileNotFoundError:  # moved at the end of the run, maybe between two calls
            array = self._from_nexus(group, column or "value")
        return array[: reference["shape"][0]] if column and reference["shape"] else array

    def stream(self, path: str) -> Columns:
        """The columns of the stream of a step so far; of its last attempt, if there were several.

        Raises:
            NotFoundError: the step has streamed nothing.
        """
        for name in self._streams(path):
            try:
                found = self._columns(f"{STREAMS}/{name}")
            except FileNotFoundError:
                found = self._stored_columns(group_of(f"{STREAMS}/{name}"))
            if found is not None and found.path == path:
                return found
        raise NotFoundError(f"{path} has streamed nothing in record {self.folder.name}.")

    def _streams(self, path: str) -> list[str]:
        """Names of the files that may hold the stream of a step, the newest first, also those moved to record.h5."""
        end = slug(path)
        pattern = re.compile(rf"\d+-{end}")
        there = {file.name.removesuffix(END) for file in (self.folder / STREAMS).glob(f"*{END}")}
        if (nexus := self._open()) is not None:
            moved = re.compile(rf"stream_(\d+)_{end.replace('-', '_')}")
            there |= {f"{found[1]}-{end}" for group in nexus["entry"] if (found := moved.fullmatch(group))}
        return sorted((f"{name}{END}" for name in there if pattern.fullmatch(name)), key=number_of, reverse=True)

    def _from_file(self, place: str, column: str | None, shape: list[int]) -> NDArray[Any]:
        if column is None:
            return _load(self.folder / place)
        columns = self._columns(place)
        if columns is None or column not in columns or [columns[column].size] < shape:
            raise FileNotFoundError(place)  # a part of it is gone already: it is being moved just now
        return columns[column]

    def _columns(self, place: str) -> Columns | None:
        if self._last is not None and self._last[0] == place:
            return self._last[1]
        columns = read_stream(self.folder / place)
        if columns is not None:
            self._last = place, columns
        return columns

    def _from_nexus(self, group: str, name: str) -> NDArray[Any]:
        from labretto.catalog import nexus

        file, dataset = self._open(), f"entry/{group}/{nexus.dataset_name(name)}"
        if file is None or dataset not in file:
            raise NotFoundError(f"Record {self.folder.name} has no array {group}/{name}.")
        return nexus.read(file[dataset])

    def _stored_columns(self, group: str) -> Columns | None:
        from labretto.catalog import nexus

        file = self._open()
        return nexus.read_columns(file[f"entry/{group}"]) if file is not None and f"entry/{group}" in file else None

    def _open(self) -> Any:
        if self._nexus is None and (self.folder / NEXUS).exists():
            import h5py

            self._nexus = h5py.File(self.folder / NEXUS, "r", locking=False)
        return self._nexus


def _load(file: Path) -> NDArray[Any]:
    import numpy as np

    # nothing of zero size can be mapped
    mapped: NDArray[np.generic] = np.load(
        file, mmap_mode="r" if file.stat().st_size > 4096 else None, allow_pickle=False
    )
    return mapped


def _shape(array: NDArray[Any]) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}
