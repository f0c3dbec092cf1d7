"""What a stored value is, in the words of the event model: `dtype`, `shape`, `units`, `dims`.

Pure, and no array is loaded: a reference says what it leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.catalog import codec

DataKey = dict[str, Any]


def clean(name: str) -> str:
    """`name` without what the event model does not take in a key."""
    return name.replace(".", "_").replace("/", "_")


def flat(stored: Any, name: str = "") -> dict[str, Any]:
    """Key → stored value; the fields of objects stand side by side: `fit-slope`."""
    if not isinstance(stored, Mapping) or codec.mark_of(stored) is not None:
        return {name or "value": stored}
    cells: dict[str, Any] = {}
    for key, value in stored.items():
        cells |= flat(value, f"{name}-{clean(str(key))}" if name else clean(str(key)))
    return cells


def is_table(stored: Any) -> bool:
    """Columns: arrays of one dimension and one length."""
    if not isinstance(stored, Mapping) or codec.mark_of(stored) is not None or not stored:
        return False
    shapes = [_shape_of(value) for value in stored.values()]
    return all(shape is not None and len(shape) == 1 for shape in shapes) and len({str(s) for s in shapes}) == 1


def data_key(stored: Any, source: str) -> DataKey:
    """What a stored value is.

    Args:
        stored: from an event.
        source: the path of its step.
    """
    said = stored if isinstance(stored, Mapping) else {}
    shape = _shape_of(stored)
    key: DataKey = {"source": source, "dtype": "array" if shape is not None else _dtype(stored), "shape": shape or []}
    if unit := said.get("unit"):
        key["units"] = unit
    if shape and isinstance(dims := said.get("dims"), list) and len(dims) == len(shape):
        key["dims"] = dims
    if (numpy := _numpy(said.get("dtype"))) is not None:
        key["dtype_numpy"] = numpy
    return key


def merged(known: DataKey | None, seen: DataKey) -> DataKey:
    """What holds for both: a size that differs is not known, a whole number among others is a number."""
    if known is None or known["dtype"] == "null":
        return seen
    if seen["dtype"] == "null":
        return known
    if len(known["shape"]) != len(seen["shape"]):
        return {key: value for key, value in known.items() if key != "dims"} | {"shape": [None]}
    shape = [a if a == b else None for a, b in zip(known["shape"], seen["shape"], strict=True)]
    dtype = "number" if {known["dtype"], seen["dtype"]} == {"number", "integer"} else known["dtype"]
    return seen | known | {"shape": shape, "dtype": dtype}


def _shape_of(stored: Any) -> list[int] | None:
    """None for what is no array."""
    if isinstance(stored, list):
        return [len(stored)]
    if isinstance(stored, Mapping) and codec.mark_of(stored) in ("$array", "$value"):
        shape = stored.get("shape")
        return [int(size) for size in shape] if isinstance(shape, list) else None
    return None


def _dtype(stored: Any) -> str:
    if isinstance(stored, Mapping):
        mark = codec.mark_of(stored)
        return (
            _dtype(stored["$value"]) if mark == "$value" else "number" if mark in ("$number", "$complex") else "string"
        )
    for kind, word in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(stored, kind):
            return word
    return "null"


def _numpy(dtype: Any) -> str | None:
    if not isinstance(dtype, str):
        return None
    import numpy as np

    try:
        return str(np.dtype(dtype).str)
    except TypeError:
        return None
