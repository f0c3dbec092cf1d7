import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from labretto.catalog.finish import finalise
from labretto.catalog.read import open_record
from labretto.catalog.store import Catalog, RecordWriter
from labretto.errors import StorageError

from .conftest import COLUMNS, MANIFEST, append, measure, voltammogram


@pytest.fixture
def ended(scanned: RecordWriter) -> Path:
    append(scanned, "finished", state="succeeded")
    scanned.close()
    return scanned.folder


def test_the_end_leaves_tables_arrays_and_their_hashes(ended: Path) -> None:
    manifest = finalise(ended)

    names = {"run.json", "experiment.yaml", "events.jsonl", "data.parquet", "record.h5"}
    assert {file.name for file in ended.iterdir()} == names
    assert manifest == json.loads((ended / "run.json").read_bytes())
    assert (manifest["state"], manifest["who"], manifest["submitted"]) == ("succeeded", "ann", "2026-11-21T04:21:36Z")
    assert manifest["counts"] == {"events": 12, "steps": 3, "rows": 3}
    for name, about in manifest["files"].items():
        assert hashlib.sha256((ended / name).read_bytes()).hexdigest() == about["sha256"]


def test_the_table_keeps_units_and_lists_and_points_to_images(ended: Path) -> None:
    finalise(ended)

    schema = pq.read_schema(ended / "data.parquet")
    table = pd.read_parquet(ended / "data.parquet")
    assert schema.field("position").metadata == {b"unit": b"mm"}
    np.testing.assert_array_equal(table["current"][2], voltammogram(42)["current"])
    file, _, place = table["image"][1].partition(":")
    with h5py.File(ended / file) as nexus:
        assert nexus[place][()].tolist() == np.ones((8, 9)).tolist()


def test_record_h5_is_laid_out_as_nexus(ended: Path) -> None:
    finalise(ended)

    with h5py.File(ended / "record.h5") as file:
        entry = file[file.attrs["default"]]
        data = entry[entry.attrs["default"]]
        assert (entry.attrs["NX_class"], data.attrs["NX_class"]) == ("NXentry", "NXdata")
        assert (data.attrs["signal"], list(data.attrs["axes"])) == ("current", ["potential"])
        assert data["current"].attrs["units"] == "A"
        assert data.attrs["path"] == "sweep[2]/cv"
        assert entry["title"][()] == b"scan of a library"
        assert entry["rows/position"].attrs["units"] == "mm"


def test_a_run_of_numbers_only_needs_no_h5(catalog: Catalog) -> None:
    with catalog.begin("r", MANIFEST) as writer:
        append(writer, "saved", path="save", row={"x": {"$value": 1.5, "unit": "mm"}})
    finalise(writer.folder)

    assert not (writer.folder / "record.h5").exists()
    assert pd.read_parquet(writer.folder / "data.parquet")["x"].tolist() == [1.5]


def test_a_run_that_saved_nothing_needs_no_table(catalog: Catalog) -> None:
    with catalog.begin("r", MANIFEST) as writer:
        append(writer, "finished", state="aborted")

    assert finalise(writer.folder)["state"] == "aborted"
    assert {file.name for file in writer.folder.iterdir()} == {"run.json", "events.jsonl", "experiment.yaml"}


def test_what_was_streamed_before_an_interruption_is_kept(writer: RecordWriter) -> None:
    writer.stream("cv", COLUMNS).append(voltammogram(7))
    append(writer, "interrupted", path="cv", reason="host lost")

    finalise(writer.folder)

    assert open_record(writer.folder).stream("cv")["current"].size == 7


def test_a_second_call_does_nothing(ended: Path) -> None:
    finalise(ended)
    before = {file.name: file.stat().st_mtime_ns for file in ended.iterdir()}

    finalise(ended)

    assert {file.name: file.stat().st_mtime_ns for file in ended.iterdir()} == before


def test_a_run_that_goes_on_after_its_record_was_closed_is_closed_again(
    catalog: Catalog, scanned: RecordWriter
) -> None:
    """A hub that was stopped closed the record; the run is resumed, measures on, and refers to earlier arrays."""
    scanned.close()
    finalise(scanned.folder)
    with catalog.begin("run-1", MANIFEST) as again:
        assert again.get(again.put("x", np.zeros(99))).size == 99
        measure(again, 3, "A4")
        append(again, "finished", state="succeeded")
    before = open_record(scanned.folder).to_xarray()

    finalise(scanned.folder)

    after = open_record(scanned.folder).to_xarray()
    assert after["sample"].values.tolist() == ["A1", "A2", "A3", "A4"]
    assert after.equals(before)


@pytest.mark.parametrize(
    "row",
    [
        {"mixed": "a"},
        {"nested": {"a": [1, {"b": None}]}},
        {"complex": {"$complex": [1, 2]}},
        {"foreign": {"$array": "../x", "shape": [1], "dtype": "f8"}},
        {"odd/name.": "\0zero", "": 1},
        {"big": 2**80},
        {"ragged": [[1, 2], [3]]},
    ],
)
def test_no_saved_value_keeps_a_record_from_being_closed(writer: RecordWriter, row: dict[str, Any]) -> None:
    append(writer, "saved", path="a", row=writer.put("a", {"mixed": 1, **row, "array": np.zeros(40)}))
    append(writer, "saved", path="b", row=writer.put("b", row))
    append(writer, "finished", state="succeeded")

    assert set(finalise(writer.folder)["files"]) >= {"data.parquet", "record.h5"}
    open_record(writer.folder).to_xarray()


def test_a_full_disk_is_said_and_nothing_is_dropped(ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
        with pytest.raises(StorageError, match="0 MB are free"):
            finalise(ended)

    assert open_record(ended).to_xarray()["current"].shape == (3, 42)
    assert finalise(ended)["state"] == "succeeded"


def test_a_disk_that_fills_up_meanwhile_is_said_too(
    writer: RecordWriter, files_at_most: Callable[[int], AbstractContextManager[None]]
) -> None:
    append(writer, "saved", path="a", row={"text": "x" * 200})

    with files_at_most(100), pytest.raises(StorageError, match="cannot be written"):
        finalise(writer.folder)

    assert {file.name for file in writer.folder.iterdir()} == {"run.json", "events.jsonl", "experiment.yaml"}
    assert "data.parquet" in finalise(writer.folder)["files"]


KILL_AT_EACH_POINT = """
import os, signal, sys
from pathlib import Path
import h5py, numpy, pyarrow.parquet  # before the first fork, so that it costs its time once
from labretto.catalog.finish import finalise

CHANGES = {"os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
for each in sys.argv[1:]:
    point, _, folder = each.partition(":")
    if (child := os.fork()) == 0:
        left = int(point)
        def hook(event, arguments):
            global left
            if event in CHANGES or (event == "open" and str(arguments[0]).startswith(folder)):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        finalise(Path(folder))
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""


def test_a_kill_at_any_point_of_the_end_loses_nothing(ended: Path, tmp_path: Path) -> None:
    """Real kills before each opening, renaming and removal of a file; then the record is read, and closed again."""
    whole = open_record(ended).to_xarray()
    points = [*range(50), 10_000]
    copies = [Path(shutil.copytree(ended, tmp_path / f"copy-{point}")) for point in points]
    tasks = [f"{point}:{copy}" for point, copy in zip(points, copies, strict=True)]
    done = subprocess.run(
        [sys.executable, "-c", KILL_AT_EACH_POINT, *tasks], capture_output=True, text=True, check=True
    )
    statuses = [int(line) for line in done.stdout.split()]

    assert statuses[0] == signal.SIGKILL
    assert statuses[-1] == 0, "the last point is behind the end"
    for copy in copies:
        assert open_record(copy).to_xarray().drop_attrs(deep=False).equals(whole.drop_attrs(deep=False))
    for copy in copies[::5]:
        assert finalise(copy)["state"] == "succeeded"
        assert not any((copy / kind).exists() for kind in ("streams", "arrays"))
        assert open_record(copy).to_xarray()["image"].equals(whole["image"])


MEASURE = """
import sys
from pathlib import Path
import numpy as np
from labretto.catalog.store import Catalog

writer = Catalog(Path(sys.argv[1])).begin("run-1", {"submitted": "2026-11-21"})
told = lambda what: (sys.stdout.write(what + "\\n"), sys.stdout.flush())
while True:
    i = writer.last_number
    stream = writer.stream("cv")
    for k in range(5):
        stream.append({"i": i, "k": np.arange(4) + 4 * k})
        told(f"streamed {stream.rows} {i}")
    result = writer.settle(stream, {"i": np.full(20, i), "k": np.arange(20)})
    image = writer.put("photo", np.full((30, 30), i))
    row = {"n": i, **result, "image": image}
    writer.event({"run": "run-1", "number": i + 1, "kind": "saved", "path": f"save-{i}", "row": row})
    told(f"saved {i + 1} {i}")
"""


@pytest.mark.parametrize("lines", [1, 23, 64])
def test_a_kill_while_measuring_keeps_all_that_was_told(catalog: Catalog, lines: int) -> None:
    """A real process writes a record and is killed; what it had said is kept is there, and the run goes on."""
    told = _killed_after(lines, catalog.folder)
    record = open_record(catalog.find("run-1"))

    assert len(record.rows) >= max((count for word, count, _ in told if word == "saved"), default=0)
    assert record.stream("cv")["k"].size >= 4
    if record.rows:
        data = record.to_xarray()
        assert (data["image"].values == data["n"].values[:, None, None]).all()
        assert (data["i"].values == data["n"].values[:, None]).all()

    again = _killed_after(8, catalog.folder)
    assert again[0][2] == len(record.rows), "it went on after the last event"


def _killed_after(lines: int, folder: Path) -> list[tuple[str, int, int]]:
    with subprocess.Popen([sys.executable, "-c", MEASURE, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().split() for _ in range(lines)]
        process.kill()
        told += [line.split() for line in process.stdout if line.endswith("\n")]
    return [(word, int(count), int(i)) for word, count, i in told]
