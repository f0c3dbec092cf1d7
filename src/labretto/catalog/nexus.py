"""record.h5: the arrays of a record in one HDF5 file laid out as NeXus, with units.

    /entry (NXentry)               title, entry_identifier, start_time, end_time, experiment, user
      stream_0003_cv (NXdata)      one dataset per column; @signal the last one, @axes the first
      array_0001 (NXdata)          value
      rows (NXcollection)          the saved numbers and texts, one dataset per name

Groups keep the step's path in @path. Written in one go by `finish`, never appended to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labretto.catalog.stream import Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labretto.catalog.history import History

_WORTH_PACKING = 64 * 1024


def begin(file: Any, history: History) -> Any:
    """Write the head of an empty file; answers the entry's group."""
    file.attrs["default"] = "entry"
    entry = file.create_group("entry")
    entry.attrs["NX_class"] = "NXentry"
    about = {"title": history.name, "entry_identifier": history.run, "program_name": "labretto"}
    times = {"start_time": history.started or history.submitted, "end_time": history.ended}
    for name, text in (about | times).items():
        if text:
            entry[name] = _text(text)
    if history.who:
        entry.create_group("user").attrs["NX_class"] = "NXuser"
        entry["user/name"] = _text(history.who)
    _write_source(entry, history.experiment)
    return entry


def write_columns(entry: Any, name: str, columns: Columns) -> None:
    """Write a stream as NXdata: the last column over the first, which h5web and other viewers then draw."""
    group = _group(entry, name, columns.path)
    names = [dataset_name(column) for column in columns]
    for column, values in columns.items():
        _write(group, column, values, columns.units.get(column))
    if names:
        group.attrs["signal"], group.attrs["axes"] = names[-1], [names[0] if len(names) > 1 else "."]
        if len(names) > 2:
            group.attrs["auxiliary_signals"] = names[1:-1]
        entry.attrs["default"] = name


def write_array(entry: Any, name: str, path: str, array: NDArray[Any], reference: Mapping[str, Any]) -> None:
    """Write one array as NXdata."""
    group = _group(entry, name, path)
    dataset = _write(group, "value", array, reference.get("unit"))
    dataset.attrs["dims"] = [str(dim) for dim in reference.get("dims", [])]
    group.attrs["signal"] = "value"
    if "default" not in entry.attrs:
        entry.attrs["default"] = name


def write_rows(entry: Any, columns: Mapping[str, tuple[NDArray[Any], str | None]]) -> None:
    """Write the saved numbers and texts."""
    group = entry.create_group("rows")
    group.attrs["NX_class"] = "NXcollection"
    for name, (values, unit) in columns.items():
        _write(group, name, values, unit)


def read(dataset: Any) -> NDArray[Any]:
    """A dataset in the type it was written from."""
    import numpy as np

    dtype = np.dtype(str(dataset.attrs["dtype"])) if "dtype" in dataset.attrs else dataset.dtype
    if dtype.kind == "U":
        return np.asarray(dataset.asstr()[()], dtype=dtype)
    array = dataset[()]
    return np.asarray(array).view(dtype) if dtype.kind in "mM" else np.asarray(array)


def read_columns(group: Any) -> Columns:
    """A stream's group as the stream was."""
    datasets = {str(dataset.attrs["long_name"]): dataset for dataset in group.values()}  # in the order of creation
    units = {name: str(dataset.attrs["units"]) for name, dataset in datasets.items() if "units" in dataset.attrs}
    return Columns({name: read(dataset) for name, dataset in datasets.items()}, str(group.attrs["path"]), units)


def dataset_name(name: str) -> str:
    """A column's name as HDF5 takes it; the name itself stands in @long_name."""
    return re.sub(r"[/\0]|^\.+$|[\ud800-\udfff]", "_", name) or "_"


def _group(entry: Any, name: str, path: str) -> Any:
    group = entry.create_group(name, track_order=True)
    group.attrs["NX_class"] = "NXdata"
    group.attrs["path"] = _text(path)
    return group


def _write(group: Any, name: str, array: NDArray[Any], unit: str | None) -> Any:
    import h5py
    import numpy as np

    kind = array.dtype.kind
    packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.nbytes > _WORTH_PACKING else {}
    packing = packing if kind in "biufc" and array.ndim else {}
    place = dataset_name(name)
    if kind == "U":
        texts = np.array([_text(each) for each in array.flat], dtype=object).reshape(array.shape)
        dataset = group.create_dataset(place, data=texts, dtype=h5py.string_dtype())
    else:
        dataset = group.create_dataset(place, data=array.view("int64") if kind in "mM" else array, **packing)
    dataset.attrs["long_name"] = _text(name)
    if kind in "mMU":
        dataset.attrs["dtype"] = array.dtype.str
    if unit:
        dataset.attrs["units"] = unit
    return dataset


def _text(text: str) -> str:
    # HDF5's texts end at the first zero and are UTF-8
    return str(text).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _write_source(entry: Any, experiment: Mapping[str, Any]) -> None:
    if isinstance(source := experiment.get("source"), str):
        note = entry.create_group("experiment")
        note.attrs["NX_class"] = "NXnote"
        note["data"] = _text(source)
        note["type"] = "text/x-python" if experiment.get("format") == "python" else "application/yaml"
