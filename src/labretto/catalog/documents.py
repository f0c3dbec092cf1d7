"""A record as event-model documents, which Bluesky's callbacks and databases take: start, descriptor, event, stop.

    primary               the saved rows, one event each; rows with other names in them are primary-2, ...
    INSTRUMENT-ACTION     what each step of it answered; of a table the rows, as event_page, with the step's path

Made from the record's events one by one, arrays loaded one at a time; nothing of Bluesky is needed. A first pass looks
at stored forms only, so that a descriptor says what holds for all of its events. Ids follow from the run's id: the same
record gives the same documents again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labretto.catalog import codec
from labretto.catalog.arrays import Arrays
from labretto.catalog.datakeys import clean, data_key, flat, is_table, merged
from labretto.catalog.events import read_events
from labretto.catalog.history import ENDED, History, fold
from labretto.errors import NotFoundError

Document = dict[str, Any]
Documents = Iterator[tuple[str, Document]]

_NAMES = uuid.UUID("6f2f3a64-3d86-4b1c-9d5a-6f0c1f0e7b2a")
_PAGE = 10_000
"""Rows in one event_page."""
_EXIT = {"succeeded": "success", "aborted": "abort", "failed": "fail"}
_STEP = "step"


@dataclass
class Stream:
    """One descriptor's worth of events."""

    name: str
    owner: str
    """`saved`, or the instrument."""
    keys: dict[str, Document] = field(default_factory=dict)
    time: float = 0.0
    """Of its first event."""
    count: int = 0

    def see(self, keys: Mapping[str, Document]) -> None:
        """Hold for one event more."""
        self.keys = {name: merged(self.keys.get(name), key) for name, key in keys.items()}

    def data_keys(self) -> dict[str, Document]:
        """As a descriptor says them; a name that was never given a value could be anything."""
        return {n: key | {"dtype": "string"} if key["dtype"] == "null" else key for n, key in self.keys.items()}

    def hinted(self) -> list[str]:
        """Its plain numbers."""
        return [n for n, key in self.keys.items() if key["dtype"] in ("number", "integer") and not key["shape"]]


@dataclass(frozen=True)
class _Found:
    """What one event of the run holds for the documents."""

    stream: str
    owner: str
    cells: Mapping[str, Any]
    """Key → stored value."""
    time: float
    path: str
    table: bool = False
    """The cells are columns, each row an event."""


def documents_of(folder: Path) -> Documents:
    """The documents of the record in `folder`, in order; without `stop` while the run goes on."""
    history = fold(read_events(folder))
    streams: dict[tuple[str, frozenset[str]], Stream] = {}
    for found in _all_found(folder):
        _stream_of(streams, found).see(_data_keys(found))
    run = history.run or folder.name
    yield "start", _start(run, history, streams)
    with Arrays(folder) as arrays:
        for found in _all_found(folder):
            yield from _documents(run, _stream_of(streams, found), found, arrays)
    if history.state in ENDED:
        yield "stop", _stop(run, history, streams)


def _all_found(folder: Path) -> Iterator[_Found]:
    begun: dict[str, Mapping[str, Any]] = {}
    for event in read_events(folder):
        kind, path = event.get("kind"), str(event.get("path"))
        if kind == "intended":
            begun[path] = event
        elif kind == "saved":
            yield _Found("primary", "saved", flat(event.get("row") or {}), _time(event), path)
        elif kind == "ended" and event.get("state") == "succeeded" and event.get("result") is not None:
            yield _of_step(begun.get(path, {}), event, path)


def _of_step(begun: Mapping[str, Any], ended: Mapping[str, Any], path: str) -> _Found:
    instrument, action = str(begun.get("instrument") or "run"), str(begun.get("action") or "step")
    name = clean(f"{instrument}-{action.partition(' ')[2] or action}")  # "attribute:get x" is stage-x
    cells, table = flat(ended["result"], name), is_table(ended["result"])
    return _Found(name, instrument, cells, _time(ended, "ended"), path, table)


def _stream_of(streams: dict[tuple[str, frozenset[str]], Stream], found: _Found) -> Stream:
    names = frozenset(found.cells)
    if (found.stream, names) not in streams:
        others = sum(1 for name, _ in streams if name == found.stream)
        name = f"{found.stream}-{others + 1}" if others else found.stream
        streams[found.stream, names] = Stream(name, found.owner, time=found.time)
    return streams[found.stream, names]


def _data_keys(found: _Found) -> dict[str, Document]:
    keys = {name: data_key(stored, found.path) for name, stored in found.cells.items()}
    if found.table:  # one row of each column
        keys = {name: {k: v for k, v in key.items() if k != "dims"} | _scalar(key) for name, key in keys.items()}
    source = {"source": found.path, "dtype": "string", "shape": []}
    return keys | ({_STEP: source} if found.owner != "saved" else {})


def _scalar(key: Document) -> Document:
    kind = str(key.get("dtype_numpy", ""))[1:2]
    dtype = {"f": "number", "i": "integer", "u": "integer", "b": "boolean"}.get(kind, "string")
    return {"dtype": dtype, "shape": key["shape"][1:]}


def _documents(run: str, stream: Stream, found: _Found, arrays: Arrays) -> Documents:
    descriptor = _id(run, stream.name)
    if stream.count == 0:
        yield "descriptor", _descriptor(run, stream)
    cells = {name: _loaded(stored, arrays) for name, stored in found.cells.items()}
    if found.table:
        yield from _pages(descriptor, stream, found, cells)
        return
    stream.count += 1
    data = cells if found.owner == "saved" else {**cells, _STEP: found.path}
    times = {"time": found.time, "timestamps": dict.fromkeys(data, found.time)}
    uid = _id(run, stream.name, stream.count)
    yield "event", {"uid": uid, "descriptor": descriptor, "seq_num": stream.count, "data": data, "filled": {}} | times


def _pages(descriptor: str, stream: Stream, found: _Found, cells: Mapping[str, Any]) -> Documents:
    rows = min(len(column) for column in cells.values())
    for first in range(0, rows, _PAGE):
        count = min(_PAGE, rows - first)
        numbers = range(stream.count + 1, stream.count + count + 1)
        stream.count += count
        data = {name: column[first : first + count].tolist() for name, column in cells.items()}
        data[_STEP] = [found.path] * count
        times = [found.time] * count
        yield (
            "event_page",
            {
                "uid": [_id(descriptor, number) for number in numbers],
                "descriptor": descriptor,
                "seq_num": list(numbers),
                "time": times,
                "data": data,
                "timestamps": dict.fromkeys(data, times),
                "filled": {},
            },
        )


def _start(run: str, history: History, streams: Mapping[Any, Stream]) -> Document:
    experiment = {key: value for key, value in history.experiment.items() if key != "source" and value is not None}
    said: Document = {"uid": run, "time": _seconds(history.started or history.submitted)}
    said |= {"plan_name": history.name or run, "plan_type": "labretto", "experiment": experiment}
    said |= {"owner": history.who} if history.who else {}
    said |= {"parameters": history.parameters, "versions": history.versions}
    primary = next((stream for stream in streams.values() if stream.name == "primary"), None)
    if primary is not None and (first := next(iter(primary.keys), None)) in primary.hinted():
        said["hints"] = {"dimensions": [[[first], "primary"]]}
    return {clean(key): _cleaned(value) for key, value in said.items()}


def _descriptor(run: str, stream: Stream) -> Document:
    return {
        "uid": _id(run, stream.name),
        "run_start": run,
        "name": stream.name,
        "time": stream.time,
        "data_keys": stream.data_keys(),
        "object_keys": {stream.owner: list(stream.keys)},
        "hints": {stream.owner: {"fields": stream.hinted()}},
        "configuration": {},
    }


def _stop(run: str, history: History, streams: Mapping[Any, Stream]) -> Document:
    error = history.error.get("detail") if isinstance(history.error, Mapping) else history.error
    return {
        "uid": _id(run, "stop"),
        "run_start": run,
        "time": _seconds(history.ended),
        "exit_status": _EXIT[history.state],
        "reason": str(error or ""),
        "num_events": {stream.name: stream.count for stream in streams.values()},
    }


def _loaded(stored: Any, arrays: Arrays) -> Any:
    try:
        value = arrays.value(stored)
    except NotFoundError:  # a reference that did not come from `put`: one missing cell, not a lost record
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return stored["$bytes"] if isinstance(value, bytes) else value


def _cleaned(value: Any) -> Any:
    """A value of the start document: the event model takes neither dots nor slashes in its keys."""
    plain = codec.decode(value)
    if isinstance(plain, Mapping):
        return {clean(str(key)): _cleaned(each) for key, each in plain.items()}
    return plain


def _id(*parts: Any) -> str:
    return str(uuid.uuid5(_NAMES, "/".join(map(str, parts))))


def _time(event: Mapping[str, Any], key: str = "at") -> float:
    return _seconds(event.get(key) or event.get("at"))


def _seconds(at: Any) -> float:
    try:
        time = datetime.fromisoformat(str(at))
    except ValueError:
        return 0.0
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
