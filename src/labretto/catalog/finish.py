"""The end of a record: tables to Parquet, arrays to HDF5, hashes to run.json; then streams and single arrays go.

`finalise` is the one way for a run that ended and for one that a crash cut off. Every file is written aside, flushed
and renamed; run.json comes last and is what makes the rest true; only then is anything dropped. A crash at any point
leaves a record that reads the same, and a second call that does what is left.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labretto.catalog import arrow, codec, durable, nexus
from labretto.catalog.arrays import ARRAYS, NEXUS, STREAMS, Arrays, group_of, is_place
from labretto.catalog.events import read_events
from labretto.catalog.history import Event, History, fold
from labretto.catalog.store import MANIFEST, highest_number, read_manifest
from labretto.catalog.stream import END, read_stream
from labretto.catalog.table import Column, columns_of, pointer

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARQUET = "data.parquet"
_NOT_FLUSHED = ("events.jsonl", "experiment.yaml", "experiment.py")
_HASHED = (*_NOT_FLUSHED, PARQUET, NEXUS)


_Found = tuple[str, str, Mapping[str, Any]]
"""Place of an array's file, path of its step, reference."""


def finalise(folder: Path) -> dict[str, Any]:
    """Close a record; answers its manifest, as `search.Index.upsert` takes it.

    To be called when no `RecordWriter` is open on it. If events were added after an earlier call, the files are made
    again. Runs for seconds where a record holds gigabytes: not for the event loop's thread.

    Raises:
        StorageError: the disk did not take a file; the record is as readable as before, ask again later.
    """
    events = list(read_events(folder))
    history = fold(events)
    manifest = read_manifest(folder)
    if manifest.get("finalised") != history.last_number:
        manifest = _closed(folder, events, history, manifest)
    with durable.storage_errors(folder):
        _sweep(folder)
    return manifest


def _closed(folder: Path, events: Sequence[Event], history: History, begun: Mapping[str, Any]) -> dict[str, Any]:
    fresh = [each for each in (*_references(events), *_streams(folder)) if (folder / each[0]).exists()]
    with Arrays(folder) as arrays, durable.storage_errors(folder):
        columns = columns_of(list(history.rows.values()), arrays)
        if fresh:
            _check_space(folder)
            try:
                _write_arrays(folder, history, fresh, columns)
            except RuntimeError as error:  # how h5py says that the disk filled up meanwhile
                raise OSError(errno.EIO, str(error)) from error
        _write_rows(folder, columns)
        for name in _NOT_FLUSHED:
            if (folder / name).exists():
                durable.sync(folder / name)
    return _write_manifest(folder, history, begun)


def _write_manifest(folder: Path, history: History, begun: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in history.manifest().items() if value or key in {"state", "error", *begun}}
    files = {name: _about(folder / name) for name in _HASHED if (folder / name).exists()}
    numbers = {"highest_array": highest_number(folder), "finalised": history.last_number}
    manifest = {"id": folder.name} | dict(begun) | told | numbers | {"files": files}
    durable.replace(folder / MANIFEST, codec.dumps(manifest) + b"\n")
    return manifest


def _about(file: Path) -> dict[str, Any]:
    return {"sha256": durable.sha256(file), "size": file.stat().st_size}


def _write_rows(folder: Path, columns: Sequence[Column]) -> None:
    if not columns:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [_arrow(column) for column in columns]
    fields = [
        pa.field(column.name, array.type, metadata={"unit": column.unit} if column.unit else None)
        for column, array in zip(columns, arrays, strict=True)
    ]
    with durable.aside(folder / PARQUET) as beside:
        pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), beside, compression="zstd")


def _arrow(column: Column) -> Any:
    if column.is_array and not all(getattr(cell, "ndim", 1) == 1 for cell in column.cells):
        return arrow.texts([pointer(stored) or _text(stored) for stored in column.stored])
    try:
        return arrow.lists(column.cells) if column.is_array else arrow.column(column.flat())
    except TypeError:  # mixed or complex: kept as JSON text
        return arrow.texts([_text(stored) for stored in column.stored])


def _text(stored: Any) -> str | None:
    return None if stored is None else codec.dumps({"value": stored}).decode()[len('{"value":') : -1]


def _write_arrays(folder: Path, history: History, fresh: Sequence[_Found], columns: Sequence[Column]) -> None:
    import h5py

    with durable.aside(folder / NEXUS) as beside, h5py.File(beside, "w") as file, Arrays(folder) as arrays:
        entry = nexus.begin(file, history)
        _copy_earlier(folder, entry)
        for place, path, reference in fresh:
            if group_of(place) not in entry:
                _write_one(folder, entry, place, path, reference, arrays)
        nexus.write_rows(entry, _scalars(columns))


def _check_space(folder: Path) -> None:
    """Refuse before HDF5 begins: on a full disk it loses its way and cannot even close its file."""
    needed = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) + 2**20
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free")


def _write_one(folder: Path, entry: Any, place: str, path: str, reference: Mapping[str, Any], arrays: Arrays) -> None:
    if place.startswith(ARRAYS):
        nexus.write_array(entry, group_of(place), path, arrays.load(reference), reference)
    elif (columns := read_stream(folder / place)) is not None:
        nexus.write_columns(entry, group_of(place), columns)


def _copy_earlier(folder: Path, entry: Any) -> None:
    """Take over what an earlier call moved into record.h5; its sources are gone."""
    if not (folder / NEXUS).exists():
        return
    import h5py

    with h5py.File(folder / NEXUS, "r", locking=False) as earlier:
        for name in earlier["entry"]:
            if name.startswith(("array_", "stream_")):
                earlier.copy(f"entry/{name}", entry)


def _scalars(columns: Sequence[Column]) -> dict[str, tuple[NDArray[Any], str | None]]:
    flat = {column.name: (column.flat(), column.unit) for column in columns if not column.is_array}
    return {name: said for name, said in flat.items() if said[0].dtype.kind in "biufcUM"}


def _references(events: Sequence[Event]) -> Iterator[_Found]:
    """Place, step and reference of every single array that an event names."""
    for event in events:
        path = str(event.get("path", ""))
        yield from ((found["$array"], path, found) for found in _found(list(event.values())))


def _streams(folder: Path) -> Iterator[_Found]:
    """Every stream, also of attempts that were interrupted: what was measured is kept."""
    for file in sorted((folder / STREAMS).glob(f"[0-9]*{END}")):
        if file.name.count(".") == 1:
            yield f"{STREAMS}/{file.name}", "", {}


def _found(stored: Any) -> Iterator[Mapping[str, Any]]:
    if codec.is_reference(stored):
        if stored["$array"].startswith(f"{ARRAYS}/") and is_place(stored["$array"]):
            yield stored
    elif isinstance(stored, Mapping):
        for each in stored.values():
            yield from _found(each)
    elif isinstance(stored, list):
        for each in stored:
            yield from _found(each)


def _sweep(folder: Path) -> None:
    for kind in (STREAMS, ARRAYS):
        if (folder / kind).exists():
            shutil.rmtree(folder / kind)
    for left in folder.glob(f"*{durable.ASIDE}"):
        left.unlink()
