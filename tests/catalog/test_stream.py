from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from labretto.catalog.stream import StreamWriter, read_stream, segments, slug
from labretto.errors import ConflictError, InvalidError, StorageError

COLUMNS = {"time": {"type": "number", "unit": "s"}, "cycle": {"type": "integer"}}
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "0001-cv.arrows"


def test_rows_and_chunks_are_there_at_once_while_the_stream_is_open(file: Path) -> None:
    stream = StreamWriter(file, "cv", COLUMNS)

    assert stream.append({"time": 0, "cycle": 1}) == 0
    assert stream.append({"time": [1.0, 2.0], "cycle": 1}) == 1
    assert stream.append({"time": np.arange(3.0, 5.0), "cycle": np.array([1, 2])}) == 3

    columns = read_stream(file)
    assert columns is not None
    assert columns["time"].tolist() == [0, 1, 2, 3, 4]
    assert columns["cycle"].tolist() == [1, 1, 1, 1, 2]
    assert (columns.path, columns.units) == ("cv", {"time": "s"})
    stream.close()


def test_the_description_decides_the_type_not_the_first_value(file: Path) -> None:
    with StreamWriter(file, "cv", COLUMNS) as stream:
        stream.append({"time": 0, "cycle": 1})
        stream.append({"time": 0.5, "cycle": 1})

    assert len(segments(file)) == 1
    assert read_stream(file)["time"].dtype == np.float64


def test_batches_that_do_not_fit_begin_a_segment_and_read_as_one(file: Path) -> None:
    with StreamWriter(file, "cv") as stream:
        stream.append({"a": 1})
        stream.append({"a": 1.5})
        stream.append({"a": 2, "b": "text"})

    columns = read_stream(file)
    assert len(segments(file)) == 3
    assert columns["a"].tolist() == [1, 1.5, 2]
    assert [str(each) for each in columns["b"]] == ["nan", "nan", "text"]


@pytest.mark.parametrize("kind", ["float32", "uint16", "int64", "bool", "<U3", "datetime64[us]", ">f8"])
def test_every_kind_of_column_comes_back(file: Path, kind: str) -> None:
    values = np.array([0, 1, 1]).astype(kind)
    with StreamWriter(file, "cv") as stream:
        stream.append({"a": values})
        stream.append({"a": values})

    np.testing.assert_array_equal(read_stream(file)["a"], np.concatenate([values, values]))


@SAME_FOLDER
@given(cut=st.integers(0, 20_000), rubbish=st.binary(max_size=64))
def test_a_file_cut_anywhere_reads_as_its_whole_batches(file: Path, cut: int, rubbish: bytes) -> None:
    with StreamWriter(file, "cv", COLUMNS) as stream:
        sizes = [0]
        for i in range(8):
            stream.append({"time": [i, i + 0.5], "cycle": i})
            sizes.append(file.stat().st_size)
    whole = file.read_bytes()
    kept = cut % (len(whole) + 1)
    file.write_bytes(whole[:kept] + rubbish[: len(whole) - kept])

    columns = read_stream(file)

    batches = sum(size <= kept for size in sizes[1:])
    rows = 0 if columns is None else columns["time"].size
    assert rows in {2 * batches, 2 * batches + 2}  # padding at a batch's end may be what was cut
    if rows:
        assert columns["time"].tolist() == [i / 2 if i % 2 == 0 else (i - 1) / 2 + 0.5 for i in range(rows)]


def test_a_batch_in_which_a_power_cut_left_zeros_for_numbers_is_not_read(file: Path) -> None:
    with StreamWriter(file, "cv") as stream:
        stream.append({"a": [1.5, 2.5]})
        first = file.stat().st_size
        stream.append({"a": [3.5, 4.5]})
        whole = file.stat().st_size
    content = file.read_bytes()
    for kept in range(first, whole):
        file.write_bytes(content[:kept] + bytes(len(content) - kept))

        columns = read_stream(file)

        assert columns is not None
        assert columns["a"].tolist() in ([1.5, 2.5], [1.5, 2.5, 3.5, 4.5])


def test_a_stream_of_the_first_version_has_no_checksums_and_is_read(file: Path) -> None:
    about = {b"labretto": b'{"path": "cv", "units": {}, "whole": false}'}
    schema = pa.schema([pa.field("a", pa.float64())], metadata=about)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([pa.array([1.0, 2.0])], schema=schema))

    columns = read_stream(file)

    assert columns is not None
    assert columns["a"].tolist() == [1, 2]


def test_zeros_behind_the_batches_as_a_power_cut_leaves_them_are_not_rows(file: Path) -> None:
    stream = StreamWriter(file, "cv")
    stream.append({"a": [1, 2]})
    with file.open("ab") as target:
        target.write(b"\0" * 4096)

    assert read_stream(file)["a"].tolist() == [1, 2]
    stream.close()


def test_rewriting_replaces_all_rows_and_segments(file: Path) -> None:
    stream = StreamWriter(file, "cv", COLUMNS)
    stream.append({"time": 0.0})
    stream.append({"time": 1.0, "cycle": 2})

    stream.rewrite({"time": [0.0, 1.0, 2.0]})

    assert stream.rows == 3
    assert segments(file) == [file]
    assert stream.holds({"time": np.array([0, 1, 2])})
    assert not stream.holds({"time": np.array([0, 1, 3])})


def test_after_a_rewrite_that_was_killed_halfway_old_segments_are_not_read(file: Path) -> None:
    """The kill stands between the renaming of the new file and the removal of the old second segment."""
    stream = StreamWriter(file, "cv")
    stream.append({"a": 1})
    stream.append({"a": 1.5})
    second = segments(file)[1].read_bytes()
    stream.rewrite({"a": [1.0, 1.5, 2.0]})
    file.with_name("0001-cv.2.arrows").write_bytes(second)

    assert read_stream(file)["a"].tolist() == [1, 1.5, 2]


def test_a_full_disk_loses_no_row_that_was_taken(
    file: Path, files_at_most: Callable[[int], AbstractContextManager[None]]
) -> None:
    stream = StreamWriter(file, "cv")
    stream.append({"a": [1.0, 2.0]})

    with files_at_most(file.stat().st_size + 100), pytest.raises(StorageError, match="cannot be written"):
        stream.append({"a": np.zeros(100)})
    stream.append({"a": [3.0]})
    stream.close()

    assert read_stream(file)["a"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"a": [1, 2], "b": [1, 2, 3]}, "one length"),
        ({"a": np.zeros((2, 2))}, "2-dimensional"),
        ({"a": object()}, "object"),
    ],
)
def test_what_is_no_table_is_refused(file: Path, columns: dict, fault: str) -> None:
    with pytest.raises(InvalidError, match=fault):
        StreamWriter(file, "cv").append(columns)
    assert not file.exists()


def test_a_closed_stream_takes_no_more(file: Path) -> None:
    stream = StreamWriter(file, "cv")
    stream.close()

    with pytest.raises(ConflictError, match="closed"):
        stream.append({"a": 1})


def test_an_empty_chunk_writes_nothing(file: Path) -> None:
    assert StreamWriter(file, "cv").append({"a": []}) == 0
    assert not file.exists()


@pytest.mark.parametrize(
    ("path", "name"), [("sweep[3]/cv~2", "sweep-3-cv-2"), ("../../etc", "etc"), ("é", "step"), ("a" * 300, "a" * 60)]
)
def test_a_path_becomes_a_plain_part_of_a_file_name(path: str, name: str) -> None:
    assert slug(path) == name
