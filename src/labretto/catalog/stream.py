"""Streams: the table a step yields while it measures, kept row by row in an Arrow IPC stream.

Each `append` is one record batch handed to the kernel, so a killed process loses nothing and a reader sees whole
batches at any moment, whatever stands behind them. A batch whose columns do not fit the file's goes to a segment of its
own (`0003-cv.2.arrows`); nothing that was written is touched, until the instrument's answer differs from what was
streamed and replaces it (`rewrite`).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labretto.catalog import arrow, durable
from labretto.catalog.units import Described
from labretto.errors import ConflictError, InvalidError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

END = ".arrows"
_KIND = {"number": "float64", "integer": "int64", "boolean": "bool"}
_ABOUT = b"labretto"
_SUM = b"crc32"
"""Beside each batch; streams of the first version lack it and are read all the same."""


class StreamWriter(AbstractContextManager["StreamWriter"]):
    """One stream's writer; a step has one while it runs."""

    def __init__(self, file: Path, path: str, columns: Mapping[str, Any] | None = None) -> None:
        """Nothing is written before the first `append`.

        Args:
            file: of the first segment, in a folder that exists.
            path: of the step.
            columns: name → JSON schema with "unit", as in the description of the action.
        """
        self.file = file
        self.path = path
        self.rows = 0
        self.described = {name: Described(schema, schema) for name, schema in (columns or {}).items()}
        self._segments = 0
        self._sink: Any = None
        self._writer: Any = None
        self._schema: Any = None
        self._dtypes: dict[str, Any] = {}
        self._closed = False

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether rows can no longer be appended."""
        return self._closed

    def append(self, columns: Mapping[str, Any]) -> int:
        """Append one row (numbers) or a chunk of rows (1-D arrays of one length); numbers beside arrays are repeated.

        Returns:
            The index of the first row that was appended.

        Raises:
            InvalidError: columns of different lengths, or of more than one dimension.
            ConflictError: the stream is closed.
        """
        if self._closed:
            raise ConflictError(f"The stream of {self.path} is closed.")
        arrays = _columns(columns, self.described)
        first, rows = self.rows, _length(arrays)
        if rows:
            with durable.storage_errors(self.file):
                self._write(arrays)
            self.rows += rows
        return first

    def rewrite(self, columns: Mapping[str, Any]) -> None:
        """Make `columns` all that the stream holds, in one step: a reader sees the old rows or the new ones."""
        import pyarrow as pa

        arrays = _columns(columns, self.described)
        self.close()
        with durable.aside(self.file) as beside, pa.OSFile(str(beside), "wb") as sink:
            schema = self._schema_of(arrays, whole=True)
            with pa.ipc.new_stream(sink, schema) as writer:
                batch = _batch(arrays, schema)
                writer.write_batch(batch, custom_metadata={_SUM: _sum_of(batch)})
        for segment in _later_segments(self.file):
            segment.unlink()
        self.rows = _length(arrays)

    def holds(self, columns: Mapping[str, Any]) -> bool:
        """Whether `columns` is what the stream holds, value by value."""
        kept, wanted = read_stream(self.file) if self.rows else None, _columns(columns, self.described)
        return kept is not None and kept.keys() == wanted.keys() and all(_equal(kept[n], a) for n, a in wanted.items())

    def close(self) -> None:
        """End the file; what was appended is there without it too. A second call does nothing."""
        self._closed = True
        writer, sink, self._writer, self._sink = self._writer, self._sink, None, None
        if writer is not None:
            with durable.storage_errors(self.file):
                writer.close()
                sink.close()

    def sync(self) -> None:
        """Wait until what was appended is on the disk."""
        with durable.storage_errors(self.file):
            for segment in segments(self.file):
                durable.sync(segment)
            durable.sync(self.file.parent)

    def _write(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if (fitted := _fitted(arrays, self._dtypes)) is None:
            self._next_segment(arrays)
        batch = _batch(fitted or arrays, self._schema)
        try:
            self._writer.write_batch(batch, custom_metadata={_SUM: _sum_of(batch)})
        except OSError:  # half a batch may stand there: what follows goes to a segment of its own
            self._dtypes = {}
            raise

    def _next_segment(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        import pyarrow as pa

        if self._writer is not None:
            self._writer.close()
            self._sink.close()
        self._segments += 1
        self._schema = self._schema_of(arrays)
        self._dtypes = {name: array.dtype for name, array in arrays.items()}
        self._sink = pa.OSFile(str(_segment(self.file, self._segments)), "wb")
        self._writer = pa.ipc.new_stream(self._sink, self._schema)

    def _schema_of(self, arrays: Mapping[str, NDArray[Any]], *, whole: bool = False) -> Any:
        import pyarrow as pa

        units = {name: each.unit for name, each in self.described.items() if each.unit and name in arrays}
        about = json.dumps({"path": self.path, "units": units, "whole": whole}).encode()
        fields = [
            pa.field(name, arrow.column(array[:0]).type, metadata={"unit": units[name]} if name in units else None)
            for name, array in arrays.items()
        ]
        return pa.schema(fields, metadata={_ABOUT: about})


class Columns(dict[str, "NDArray[Any]"]):
    """A stream as far as it came: name → values, with the step's path and the units beside."""

    path: str = ""
    units: Mapping[str, str]

    def __init__(self, values: Mapping[str, NDArray[Any]], path: str, units: Mapping[str, str]) -> None:
        super().__init__(values)
        self.path, self.units = path, units


def read_stream(file: Path) -> Columns | None:
    """All whole batches of a stream and its segments; None where not even the head was written.

    Raises:
        FileNotFoundError: there is no such file.
    """
    parts: list[dict[str, NDArray[Any]]] = []
    about: dict[str, Any] = {}
    for segment in [file, *_later_segments(file)]:
        read = _read_segment(segment)
        if read is None:
            continue
        parts.append(read[0])
        about = {**read[1], "units": about.get("units", {}) | read[1]["units"]}
        if about["whole"]:
            break
    return Columns(_joined(parts), about["path"], about["units"]) if about else None


def segments(file: Path) -> list[Path]:
    """The files that a stream consists of, as far as they are there."""
    return [each for each in [file, *_later_segments(file)] if each.exists()]


def slug(path: str) -> str:
    """A step's path as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-").lower()[-60:] or "step"


def _segment(file: Path, number: int) -> Path:
    return file if number == 1 else file.with_name(f"{file.name.removesuffix(END)}.{number}{END}")


def _later_segments(file: Path) -> list[Path]:
    found: list[Path] = []
    while (segment := _segment(file, len(found) + 2)).exists():
        found.append(segment)
    return found


def _columns(columns: Mapping[str, Any], described: Mapping[str, Described]) -> dict[str, NDArray[Any]]:
    import numpy as np

    arrays = {name: _column(name, value, described.get(name)) for name, value in columns.items()}
    rows = max((array.size for array in arrays.values() if array.ndim), default=1)
    spread = {n: np.broadcast_to(a, (rows,)) if a.ndim == 0 else a for n, a in arrays.items()}
    if wrong := [f"{name} {array.size}" for name, array in spread.items() if array.size != rows]:
        raise InvalidError(f"Columns of one chunk have one length; here it is {rows}, but of {', '.join(wrong)}.")
    return spread


def _column(name: str, value: Any, described: Described | None) -> NDArray[Any]:
    import numpy as np

    array = np.asarray(value)
    wanted = _KIND.get(str((described.schema.get("items") or described.schema).get("type"))) if described else None
    if wanted is not None and np.can_cast(array.dtype, wanted, "same_kind"):
        array = array.astype(wanted, copy=False)
    if array.ndim > 1 or array.dtype.kind not in "biufUM":
        what = f"{array.ndim}-dimensional {array.dtype}"
        raise InvalidError(f"A column of a stream is numbers, texts or times in one dimension; {name} is {what}.")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _length(arrays: Mapping[str, NDArray[Any]]) -> int:
    return next((array.size for array in arrays.values()), 0)


def _equal(kept: NDArray[Any], wanted: NDArray[Any]) -> bool:
    import numpy as np

    same_kind = kept.dtype.kind == wanted.dtype.kind
    return same_kind and bool(np.array_equal(kept, wanted, equal_nan=kept.dtype.kind in "fM"))


def _fitted(arrays: Mapping[str, NDArray[Any]], dtypes: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
    """The arrays in the types the segment began with; None if names differ or a value would be lost."""
    import numpy as np

    if list(arrays) != list(dtypes):
        return None
    if all(
        array.dtype == dtypes[name] or array.dtype.kind == dtypes[name].kind == "U" for name, array in arrays.items()
    ):
        return dict(arrays)
    if all(np.can_cast(array.dtype, dtypes[name], "safe") for name, array in arrays.items()):
        return {name: array.astype(dtypes[name]) for name, array in arrays.items()}
    return None


def _batch(arrays: Mapping[str, NDArray[Any]], schema: Any) -> Any:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([arrow.column(array) for array in arrays.values()], schema=schema)


def _read_segment(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    import numpy as np
    import pyarrow as pa

    if file.stat().st_size == 0:
        return None
    try:
        reader = pa.ipc.open_stream(pa.memory_map(str(file)))
        about = json.loads(reader.schema.metadata[_ABOUT])
    except (pa.ArrowInvalid, OSError, TypeError, KeyError, ValueError):  # killed while the head was written
        return None
    batches = list(_whole_batches(reader))
    columns = {
        field.name: np.concatenate(
            [arrow.numpy(batch.column(i)) for batch in batches] or [arrow.numpy(pa.nulls(0, field.type))]
        )
        for i, field in enumerate(reader.schema)
    }
    return columns, about


def _whole_batches(reader: Any) -> Iterator[Any]:
    import pyarrow as pa

    while True:
        try:
            batch, beside = reader.read_next_batch_with_custom_metadata()
        except (StopIteration, pa.ArrowInvalid, OSError):  # the end, torn if the writer was killed or writes just now
            return
        if beside is not None and beside[_SUM] != _sum_of(batch):  # zeros where a power cut took the numbers
            return
        yield batch


def _sum_of(batch: Any) -> bytes:
    """A checksum of the values of a batch: Arrow has none, and a file of the right length may hold zeros."""
    total = 0
    for column in batch.columns:
        for buffer in column.buffers():
            total = zlib.crc32(buffer, total) if buffer is not None else total
    return b"%08x" % total


def _joined(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    lengths = [_length(part) for part in parts]
    names = {name: None for part in parts for name in part}
    return {
        name: np.concatenate(
            [part[name] if name in part else _missing(n) for part, n in zip(parts, lengths, strict=True)]
        )
        for name in names
    }


def _missing(rows: int) -> NDArray[np.float64]:
    import numpy as np

    return np.full(rows, np.nan)
