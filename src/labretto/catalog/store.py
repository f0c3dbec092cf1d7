"""Where records stand, and how a run's record is written.

A record is a folder `YYYY/MM/<run id>`: run.json, the experiment's source, events.jsonl, streams/, arrays/. It follows
the orchestrator's journal: after a crash `begin` opens the same folder again and `RecordWriter.last_number` says from
where the journal's events are to be appended once more. What happens at the end of a run stands in `finish`, reading in
`read`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labretto.catalog import codec, durable
from labretto.catalog.arrays import ARRAYS, STREAMS, Arrays, array_reference, column_reference, number_of
from labretto.catalog.events import EventLog
from labretto.catalog.stream import END, Columns, StreamWriter, read_stream, slug
from labretto.catalog.units import Described, described
from labretto.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANIFEST = "run.json"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SOURCES = {"python": "experiment.py"}


class Catalog:
    """All records under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, run_id: str, manifest: Mapping[str, Any]) -> RecordWriter:
        """Open the record of a run for writing, a new one or the one that is there.

        Args:
            run_id: letters, digits, `.`, `_`, `-`.
            manifest: at least "submitted" (ISO 8601), which names the folder; "experiment" with "format" and "source"
                is kept as a file of its own.
        """
        known = None if "submitted" in manifest else self._there(run_id)
        folder = known or self.folder / place_of(run_id, manifest)
        with durable.storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / MANIFEST).exists():
                _write_manifest(folder, {"id": run_id} | dict(manifest))
        return RecordWriter(folder)

    def find(self, run_id: str) -> Path:
        """The folder of a run's record.

        Raises:
            NotFoundError: there is none.
        """
        if (folder := self._there(run_id)) is None:
            raise NotFoundError(f"There is no record {run_id!r}.", way_out="`labretto records` lists those there are.")
        return folder

    def folders(self) -> Iterator[Path]:
        """Every record's folder, the oldest month first."""
        for month in sorted(self.folder.glob("[0-9][0-9][0-9][0-9]/[0-9][0-9]")):
            yield from sorted(folder for folder in month.iterdir() if folder.is_dir())

    def _there(self, run_id: str) -> Path | None:
        _check_id(run_id)
        return next(self.folder.glob(f"[0-9][0-9][0-9][0-9]/[0-9][0-9]/{run_id}"), None)


class RecordWriter(AbstractContextManager["RecordWriter"]):
    """The one writer of one run's record. `put` may be called from another thread than `event`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._events = EventLog(folder)
        self._numbering = threading.Lock()
        self._number: int | None = None
        self._streams: list[StreamWriter] = []

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def last_number(self) -> int:
        """Number of the last event the record holds; 0 if none. After a crash: append the journal's events after it."""
        return self._events.last_number

    def event(self, event: Mapping[str, Any]) -> bool:
        """Append one event; False (and nothing done) if the record holds its number already.

        Raises:
            ConflictError: the events before it are missing.
            StorageError: the disk did not take it; the record is as before.
        """
        return self._events.append(event)

    def put(self, path: str, value: Any, schema: Mapping[str, Any] | None = None, *, quantities: bool = False) -> Any:
        """Put every array in `value` into a file and answer the value as an event may hold it.

        On return all files are on the disk. Short arrays stay in the event; stored values pass unchanged.

        Args:
            path: of the step it belongs to.
            value: what an action answered, a parameter, a row.
            schema: JSON schema of `value` with "unit" and "dims".
            quantities: numbers with a unit become {"$value", "unit"}, as in the row of a `saved` event.

        Raises:
            InvalidError: something in it cannot be kept; nothing refers to what was written before it.
        """

        def keep(array: NDArray[Any], place: Described) -> dict[str, Any]:
            return self._keep(path, array, place)

        return codec.nested(lambda: codec.encode(value, described(schema), keep=keep, quantities=quantities))

    def get(self, stored: Any) -> Any:
        """The value that `put` or `settle` stored, arrays loaded; `.npy` files are mapped read-only."""
        with Arrays(self.folder) as arrays:
            return arrays.value(stored)

    def stream(self, path: str, columns: Mapping[str, Any] | None = None) -> StreamWriter:
        """A new stream for what the step at `path` yields.

        Args:
            path: of the step; a repeated attempt gets a stream of its own, and readers see the newest.
            columns: name → JSON schema with "unit": "stream" in the action's description.
        """
        file = self._new_file(STREAMS, f"-{slug(path)}{END}")
        self._streams = [stream for stream in self._streams if not stream.closed]
        self._streams.append(stream := StreamWriter(file, path, columns))
        return stream

    def settle(self, stream: StreamWriter, result: Any, schema: Mapping[str, Any] | None = None) -> Any:
        """End a stream with the instrument's own answer and give that answer's stored form, durable on return.

        Columns that came through the stream as they are in `result` stand there and are referred to; where they differ
        (rows were lost on the way) the stream is written anew from `result`. Anything else goes the way of `put`.

        Args:
            stream: of this writer; streamed to or empty, open or closed.
            result: the table of all rows, name → array, or whatever the action answered.
            schema: JSON schema of `result`.
        """
        stream.close()
        table = _table(result, set(stream.described))
        if not table or (not stream.rows and _are_short(table)):
            return self.put(stream.path, result, schema)
        if stream.holds(table):
            stream.sync()
        else:
            stream.rewrite(table)
        kept = read_stream(stream.file) or Columns({}, stream.path, {})
        streamed = {name: column_reference(stream.file, name, kept) for name in table}
        return self.put(stream.path, {**result, **streamed}, schema)

    def close(self) -> None:
        """End all open files; a second call does nothing. What was written is there without it too."""
        for stream in self._streams:
            stream.close()
        self._streams = []
        self._events.close()

    def _keep(self, path: str, array: NDArray[Any], place: Described) -> dict[str, Any]:
        import numpy as np

        file = self._new_file(ARRAYS, ".npy")
        with durable.aside(file) as beside, beside.open("wb") as target:
            np.save(target, array, allow_pickle=False)
        return array_reference(file.name, array, place)

    def _new_file(self, kind: str, end: str) -> Path:
        with self._numbering, durable.storage_errors(self.folder):
            if not (folder := self.folder / kind).exists():
                folder.mkdir()
                durable.sync(self.folder)
            self._number = (highest_number(self.folder) if self._number is None else self._number) + 1
            return folder / f"{self._number:04d}{end}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """run.json; empty if it is not there or was lost in a power cut, for it can be folded from the events."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def place_of(run_id: str, manifest: Mapping[str, Any]) -> Path:
    _check_id(run_id)
    submitted = manifest.get("submitted")
    try:
        time = datetime.fromisoformat(submitted) if isinstance(submitted, str) else datetime.now(UTC)
    except ValueError:
        raise InvalidError(f"Run {run_id} says it was submitted at {submitted!r}, which is no ISO 8601 time.") from None
    month = time.astimezone(UTC)
    return Path(f"{month:%Y}") / f"{month:%m}" / run_id


def _check_id(run_id: str) -> None:
    if not _ID.fullmatch(run_id):
        raise InvalidError(f"{run_id!r} is no run id: letters, digits, '.', '_' and '-', at most 100.")


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    experiment = dict(manifest.get("experiment") or {})
    source = experiment.pop("source", None)
    if isinstance(source, str):
        file = _SOURCES.get(str(experiment.get("format")), "experiment.yaml")
        durable.replace(folder / file, source.encode("utf-8", "backslashreplace"), flush=False)
    content = codec.dumps(manifest | ({"experiment": experiment} if experiment else {}))
    durable.replace(folder / MANIFEST, content + b"\n", flush=False)


def highest_number(folder: Path) -> int:
    """The highest number of an array's file so far, also of those that the end of the run moved into record.h5."""
    there = [number_of(file.name) for kind in (ARRAYS, STREAMS) for file in (folder / kind).glob("*")]
    return max([int(read_manifest(folder).get("highest_array", 0)), *there])


def _table(result: Any, named: set[str]) -> dict[str, NDArray[Any]]:
    """The columns of a table: arrays of one dimension and one length; empty if `result` is something else.

    Columns that are `named` in the action's description may be lists: what an instrument answers in plain JSON.
    """
    if not isinstance(result, Mapping):
        return {}
    import numpy as np

    arrays = {
        n: np.asarray(v) for n, v in result.items() if hasattr(v, "dtype") or (n in named and isinstance(v, list))
    }
    columns = {n: a for n, a in arrays.items() if a.ndim == 1 and a.dtype.kind in "biufUM"}
    return columns if len({array.size for array in columns.values()}) == 1 else {}


def _are_short(table: Mapping[str, NDArray[Any]]) -> bool:
    return all(array.size <= codec.INLINE for array in table.values())
