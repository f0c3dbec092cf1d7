from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from labretto.catalog.finish import finalise
from labretto.catalog.read import Record, open_record
from labretto.catalog.store import Catalog, RecordWriter
from labretto.errors import NotFoundError

from .conftest import COLUMNS, append, voltammogram


@pytest.fixture(params=["running", "ended", "finalised"])
def record(request: pytest.FixtureRequest, scanned: RecordWriter) -> Record:
    """The same three samples while the run goes on, after its end, and after the record was closed."""
    if request.param != "running":
        append(scanned, "finished", state="succeeded")
        scanned.close()
    if request.param == "finalised":
        finalise(scanned.folder)
    return open_record(scanned.folder)


def test_a_folder_may_be_written_as_text(scanned: RecordWriter) -> None:
    assert open_record(str(scanned.folder)).id == open_record(scanned.folder).id


def test_a_scan_opens_in_xarray_with_units(record: Record) -> None:
    data = record.to_xarray()

    assert dict(data.sizes) == {"sample": 3, "point": 42, "y": 8, "x": 9}
    assert data["sample"].values.tolist() == ["A1", "A2", "A3"]
    assert data["position"].attrs["units"] == "mm"
    assert data["current"].attrs["units"] == "A"
    assert data["image"].dtype == np.uint16
    assert data.attrs["run"] == "run-1"
    assert data.attrs["name"] == "scan of a library"
    np.testing.assert_array_equal(data["current"].sel(sample="A3"), voltammogram(42)["current"])


def test_shorter_arrays_are_padded_and_say_so(record: Record) -> None:
    data = record.to_xarray()

    assert data["current"].sel(sample="A1").isnull().sum() == 2
    assert "padded" in data["current"].attrs
    assert "padded" not in data["image"].attrs


def test_a_scan_opens_in_pandas_an_array_to_a_cell(record: Record) -> None:
    frame = record.to_pandas()

    assert frame["sample"].tolist() == ["A1", "A2", "A3"]
    assert frame["position"].dtype == np.float64
    assert frame["current"][1].shape == (41,)
    assert frame.attrs["units"] == {"position": "mm", "potential": "V", "current": "A"}


def test_steps_results_and_streams_are_found_by_path(record: Record) -> None:
    assert [step.path for step in record.steps] == ["sweep[0]/cv", "sweep[1]/cv", "sweep[2]/cv"]
    assert record.step("sweep[1]/cv").origin == "answered"
    np.testing.assert_array_equal(record.result("sweep[1]/cv")["current"], voltammogram(41)["current"])
    stream = record.stream("sweep[1]/cv")
    assert list(stream) == ["potential", "current"]
    assert stream.units == {"potential": "V", "current": "A"}
    np.testing.assert_array_equal(stream["current"], voltammogram(41)["current"])


@pytest.mark.parametrize("look", [Record.result, Record.stream, Record.step])
def test_a_path_the_run_has_not_come_to_is_not_found(record: Record, look: Callable[[Record, str], Any]) -> None:
    with pytest.raises(NotFoundError, match="sweep"):
        look(record, "sweep[9]/cv")


def test_a_record_shows_what_it_is(record: Record) -> None:
    assert "scan of a library: " in repr(record)
    assert "3 rows: sample, position [mm], potential [V], current [A], image" in repr(record)
    assert "<b>scan of a library</b>" in record._repr_html_()


def test_names_are_shown_as_text_not_as_html(catalog: Catalog) -> None:
    with catalog.begin("r", {"name": "<script>"}) as writer:
        assert "<script>" not in open_record(writer.folder)._repr_html_()


def test_a_stream_is_read_while_it_is_written(scanned: RecordWriter) -> None:
    with scanned.stream("live", COLUMNS) as stream:
        record = open_record(scanned.folder)
        stream.append({"potential": 0.1, "current": 1.0})
        assert record.stream("live")["potential"].tolist() == [0.1]
        stream.append({"potential": 0.2, "current": 1.0})
        assert record.stream("live")["potential"].tolist() == [0.1, 0.2]


@pytest.mark.parametrize("closed", [False, True])
def test_the_stream_of_the_last_attempt_is_shown(scanned: RecordWriter, closed: bool) -> None:
    with scanned.stream("cv", COLUMNS) as first, scanned.stream("cv", COLUMNS) as second:
        first.append({"potential": 0.1, "current": 1.0})
        second.append({"potential": 0.9, "current": 1.0})
    if closed:
        finalise(scanned.folder)

    assert open_record(scanned.folder).stream("cv")["potential"].tolist() == [0.9]


def test_a_record_opened_before_its_end_still_loads_its_arrays(scanned: RecordWriter) -> None:
    record = open_record(scanned.folder)
    before = record.to_xarray()

    finalise(scanned.folder)

    xr.testing.assert_identical(record.to_xarray(), before)


def saved(catalog: Catalog, *rows: dict[str, Any]) -> xr.Dataset:
    """A dataset of these rows, which are put as the orchestrator puts them."""
    with catalog.begin("r", {"submitted": "2026-11-21"}) as writer:
        for row in rows:
            append(writer, "saved", path=f"{writer.last_number}/save", row=writer.put("save", row))
    return open_record(writer.folder).to_xarray()


def test_a_first_name_that_repeats_is_no_coordinate(catalog: Catalog) -> None:
    data = saved(catalog, {"x": 1, "y": 2}, {"x": 1, "y": 3})

    assert data["y"].dims == ("row",)
    assert data["x"].values.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([True, False], np.array([True, False])),
        ([1, 2**70], np.array([1, 2.0**70])),
        ([1, None], np.array([1, np.nan])),
        ([1, 2.5], np.array([1, 2.5])),
        ([1j, 2], np.array([1j, 2])),
        (["a", "b"], np.array(["a", "b"])),
        ([None, None], np.array([None, None], dtype=object)),
        (["a", 1], np.array(["a", 1], dtype=object)),
    ],
)
def test_cells_of_any_kind_make_a_variable(catalog: Catalog, cells: list[Any], expected: np.ndarray) -> None:
    values = saved(catalog, *[{"first": 0, "v": cell} for cell in cells])["v"].values

    assert values.dtype == expected.dtype
    np.testing.assert_array_equal(values, expected)


def test_times_of_any_zone_become_utc(catalog: Catalog) -> None:
    at = pd.Timestamp("2026-11-21T09:00+09:00").to_pydatetime()

    assert saved(catalog, {"a": 1, "at": at})["at"].values == np.array(["2026-11-21T00:00"], "datetime64[us]")


def test_a_name_saved_only_sometimes_is_missing_elsewhere(catalog: Catalog) -> None:
    data = saved(catalog, {"n": 1, "x": 2, "a": np.ones(20)}, {"n": 2})

    assert np.isnan(data["x"].values[1])
    assert np.isnan(data["a"].values[1]).all()


def test_lists_of_numbers_count_as_arrays(catalog: Catalog) -> None:
    assert saved(catalog, {"n": 1, "a": [1, 2]}, {"n": 2, "a": [3, 4]})["a"].dims == ("n", "point")


def test_dimensions_that_cannot_be_shared_get_the_name_of_their_variable(catalog: Catalog) -> None:
    """`x` is a saved number and `point` has two lengths: the arrays that came later give way."""
    row = {"x": 1, "a": np.ones(20), "b": np.ones(30), "image": np.ones((9, 9)), "square": np.ones((9, 7))}

    data = saved(catalog, row, row | {"x": 2})

    assert data["a"].dims == ("x", "point")
    assert data["b"].dims == ("x", "point_b")
    assert data["image"].dims == ("x", "y", "x_image")
    assert data["square"].dims == ("x", "y", "x_square")


def test_arrays_of_different_dimensions_are_kept_as_objects(catalog: Catalog) -> None:
    data = saved(catalog, {"n": 1, "a": np.ones(20)}, {"n": 2, "a": np.ones((5, 5))})

    assert [each.shape for each in data["a"].values] == [(20,), (5, 5)]


def test_a_run_that_saved_nothing_is_an_empty_dataset(catalog: Catalog) -> None:
    assert saved(catalog).sizes == {}


def test_a_foreign_reference_is_one_missing_cell(catalog: Catalog) -> None:
    foreign = {"$array": "arrays/0099.npy", "shape": [3], "dtype": "float64"}

    assert np.isnan(saved(catalog, {"n": 1, "x": 1.0}, {"n": 2, "x": foreign})["x"].values[1])


def test_no_record_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is no record"):
        open_record(tmp_path)


def test_a_record_whose_manifest_was_lost_is_told_by_its_events(scanned: RecordWriter) -> None:
    (scanned.folder / "run.json").unlink()

    assert open_record(scanned.folder).name == "scan of a library"
