import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from labretto.catalog.store import Catalog, RecordWriter, read_manifest
from labretto.catalog.stream import read_stream
from labretto.errors import InvalidError, NotFoundError

from .conftest import COLUMNS, MANIFEST, voltammogram


def test_a_record_stands_in_the_month_it_was_submitted(catalog: Catalog, writer: RecordWriter) -> None:
    assert writer.folder == catalog.folder / "2026/11/run-1" == catalog.find("run-1")
    assert list(catalog.folders()) == [writer.folder]


def test_the_source_of_the_experiment_is_a_file_of_its_own(writer: RecordWriter) -> None:
    assert (writer.folder / "experiment.yaml").read_text() == "steps: []\n"
    assert read_manifest(writer.folder)["experiment"] == {"format": "file"}


def test_a_resumed_run_finds_its_record_and_its_last_event(catalog: Catalog, tell: Callable[..., None]) -> None:
    tell("submitted")
    tell("started")

    with catalog.begin("run-1", MANIFEST) as again:
        assert again.last_number == 2
    with catalog.begin("run-1", {}) as again:
        assert again.last_number == 2


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", ".hidden", "x" * 101, "*"])
def test_an_id_that_is_no_folder_name_is_refused(catalog: Catalog, run_id: str) -> None:
    with pytest.raises(InvalidError, match="no run id"):
        catalog.begin(run_id, MANIFEST)
    with pytest.raises(InvalidError, match="no run id"):
        catalog.find(run_id)


def test_an_unknown_record_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFoundError, match="no record"):
        catalog.find("run-2")


def test_arrays_are_files_before_put_returns_and_come_back(writer: RecordWriter) -> None:
    image = np.arange(200, dtype="uint16").reshape(10, 20)
    schema = {"properties": {"image": {"type": "array", "unit": "counts", "dims": ["y", "x"]}}}

    stored = writer.put("photo", {"image": image, "few": [np.float64(1.5), np.nan], "raw": b"\0\1"}, schema)

    assert stored["image"] == {
        "$array": "arrays/0001.npy", "shape": [10, 20], "dtype": "uint16", "unit": "counts", "dims": ["y", "x"],
    }  # fmt: skip
    np.testing.assert_array_equal(np.load(writer.folder / "arrays/0001.npy"), image)
    back = writer.get(json.loads(json.dumps(stored, allow_nan=False)))
    np.testing.assert_array_equal(back["image"], image)
    assert back["raw"] == b"\0\1"
    assert back["few"][0] == 1.5


@pytest.mark.parametrize(
    "kind", ["float16", "complex128", "<U9", "S3", "datetime64[ns]", "timedelta64[s]", ">i4", "bool"]
)
@pytest.mark.parametrize("shape", [(50,), (0, 40), (3, 4, 5)])
def test_arrays_of_any_kind_come_back(writer: RecordWriter, kind: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(kind)

    back = writer.get(json.loads(json.dumps(writer.put("s", array))))

    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_a_stored_value_passes_put_unchanged(writer: RecordWriter) -> None:
    stored = writer.put("s", {"a": np.zeros(100)})

    assert writer.put("s", {"row": stored}) == {"row": stored}
    assert len(list((writer.folder / "arrays").iterdir())) == 1


def test_a_big_array_comes_back_mapped_not_read(writer: RecordWriter) -> None:
    assert isinstance(writer.get(writer.put("s", np.zeros(10_000))), np.memmap)


@pytest.mark.parametrize("place", ["/etc/passwd", "arrays/../../x.npy", "streams/1.npy/..", "arrays/0009.npy"])
def test_a_reference_out_of_the_record_is_not_followed(writer: RecordWriter, place: str) -> None:
    with pytest.raises(NotFoundError):
        writer.get({"$array": place, "shape": [3], "dtype": "float64"})


def test_arrays_put_from_several_threads_get_a_file_each(writer: RecordWriter) -> None:
    with ThreadPoolExecutor(4) as pool:
        stored = list(pool.map(lambda i: writer.put("s", np.full(20, i)), range(20)))

    assert [int(writer.get(each)[0]) for each in stored] == list(range(20))


def test_numbers_go_on_after_a_resume(catalog: Catalog, writer: RecordWriter) -> None:
    writer.put("s", np.zeros(100))

    with catalog.begin("run-1", MANIFEST) as again:
        assert again.put("s", np.zeros(100))["$array"] == "arrays/0002.npy"


def test_a_streamed_result_is_referred_to_by_column(writer: RecordWriter) -> None:
    curve = voltammogram(40)
    stream = writer.stream("sweep[0]/cv", COLUMNS)
    stream.append(curve)

    stored = writer.settle(stream, {**curve, "peak": 1.5, "image": np.zeros((5, 5))})

    place = {"$array": "streams/0001-sweep-0-cv.arrows", "shape": [40], "dtype": "float64", "dims": ["point"]}
    assert stored["potential"] == {**place, "column": "potential", "unit": "V"}
    assert stored["peak"] == 1.5
    assert stored["image"]["$array"] == "arrays/0002.npy"
    np.testing.assert_array_equal(writer.get(stored)["current"], curve["current"])


def test_rows_lost_on_the_way_are_taken_from_the_answer(writer: RecordWriter) -> None:
    curve = voltammogram(40)
    stream = writer.stream("cv", COLUMNS)
    stream.append({name: values[:25] for name, values in curve.items()})

    stored = writer.settle(stream, curve)

    np.testing.assert_array_equal(writer.get(stored["current"]), curve["current"])
    assert read_stream(stream.file)["current"].size == 40


def test_an_answer_in_lists_counts_as_the_columns_it_names(writer: RecordWriter) -> None:
    curve = voltammogram(40)
    stream = writer.stream("cv", COLUMNS)
    stream.append(curve)

    stored = writer.settle(stream, {name: values.tolist() for name, values in curve.items()})

    assert stored["current"]["column"] == "current"


def test_an_answer_that_was_not_streamed_is_kept_all_the_same(writer: RecordWriter) -> None:
    curve = voltammogram(40)

    adopted = writer.settle(writer.stream("cv", COLUMNS), curve)
    short = writer.settle(writer.stream("cv", COLUMNS), voltammogram(3))
    number = writer.settle(writer.stream("cv", COLUMNS), 1.5)

    np.testing.assert_array_equal(writer.get(adopted)["potential"], curve["potential"])
    assert len(short["potential"]["$value"]) == 3
    assert number == 1.5


def test_a_manifest_lost_in_a_power_cut_is_empty_not_an_error(writer: RecordWriter) -> None:
    (writer.folder / "run.json").write_bytes(b"")

    assert read_manifest(writer.folder) == {}
    assert read_manifest(Path("nowhere")) == {}
