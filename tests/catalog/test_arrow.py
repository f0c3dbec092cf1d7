import subprocess
import sys
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from labretto.catalog import arrow

KINDS = ["bool", "int8", "uint64", "float16", "float32", "float64", "<U4", "datetime64[us]", "datetime64[ns]", ">i4"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 9, 1000])
def test_an_array_comes_back_as_it_was(kind: str, size: int) -> None:
    array = (np.arange(size) % 3).astype(kind)

    column = arrow.column(array)

    column.validate(full=True)
    back = arrow.numpy(column)
    assert back.dtype.kind == array.dtype.kind
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("array", [np.arange(20)[::2], np.arange(20)[::-1], np.broadcast_to(np.float64(3), (5,))])
def test_an_array_that_is_not_contiguous_comes_back_too(array: np.ndarray) -> None:
    np.testing.assert_array_equal(arrow.numpy(arrow.column(array)), array)


def test_a_part_of_a_column_is_that_part() -> None:
    assert arrow.numpy(arrow.column(np.arange(10) % 3 == 0)[3:7]).tolist() == [True, False, False, True]


def test_others_read_the_same() -> None:
    times = np.array(["2026-11-21T04:00"], "datetime64[us]")

    assert arrow.column(times).to_pylist() == [datetime(2026, 11, 21, 4)]  # noqa: DTZ001 - Arrow answers naive times
    assert arrow.column(np.array([True, False])).to_pylist() == [True, False]
    assert arrow.texts(["é", None, ""]).to_pylist() == ["é", None, ""]
    assert arrow.lists([np.array([1.0, 2.0]), None, np.array([])]).to_pylist() == [[1.0, 2.0], None, []]
    assert arrow.lists([]).type == pa.large_list(pa.float64())


@pytest.mark.parametrize("array", [np.array([1j]), np.array([object()]), np.array([b"a"])])
def test_what_arrow_does_not_know_is_refused(array: np.ndarray) -> None:
    with pytest.raises(TypeError, match="Arrow has no columns"):
        arrow.column(array)


def test_measuring_and_closing_a_record_never_loads_pandas() -> None:
    program = """
import sys, tempfile
from pathlib import Path
import numpy as np
from labretto.catalog.finish import finalise
from labretto.catalog.read import open_record
from labretto.catalog.store import Catalog
with tempfile.TemporaryDirectory() as folder:
    with Catalog(Path(folder)).begin("r", {}) as writer:
        stream = writer.stream("cv")
        stream.append({"a": np.arange(30.0), "b": 1, "text": "x", "flag": True})
        row = writer.settle(stream, {"a": np.arange(30.0), "image": np.zeros((9, 9))})
        writer.event({"number": 1, "kind": "saved", "path": "save", "row": row | {"x": 1, "name": "A1"}})
    finalise(writer.folder)
    open_record(writer.folder).stream("cv")
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not {"pandas", "xarray"} & set(done.stdout.split())
