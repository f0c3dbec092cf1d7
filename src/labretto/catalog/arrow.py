"""Numpy arrays as Arrow arrays and back, by their buffers.

`pyarrow.array` and `to_numpy` would do the same, but import pandas on their first call: half a second and 60 MB in a
hub that is measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


_NAMES = {"double": "float64", "float": "float32", "halffloat": "float16"}
"""Arrow's names that numpy does not know."""


def column(array: NDArray[Any]) -> Any:
    """An Arrow array of a one-dimensional array of numbers, truth values, texts or times.

    Raises:
        TypeError: Arrow has no such type (complex numbers, objects).
    """
    import numpy as np
    import pyarrow as pa

    kind = array.dtype.kind
    if kind == "U":
        return texts([str(text) for text in array])
    if kind not in "biufmM":
        raise TypeError(f"Arrow has no columns of {array.dtype}.")
    values = np.packbits(array, bitorder="little") if kind == "b" else _plain(array)
    return pa.Array.from_buffers(pa.from_numpy_dtype(array.dtype), array.size, [None, pa.py_buffer(values)])


def texts(values: Sequence[str | None]) -> Any:
    """An Arrow array of texts, with missing ones."""
    import numpy as np
    import pyarrow as pa

    encoded = [b"" if text is None else text.encode("utf-8", "backslashreplace") for text in values]
    offsets = _offsets([len(each) for each in encoded], np.int32)
    buffers = [_valid(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def lists(arrays: Sequence[NDArray[Any] | None]) -> Any:
    """An Arrow array of lists from one-dimensional arrays, with missing ones.

    Raises:
        TypeError: Arrow has no such type.
    """
    import numpy as np
    import pyarrow as pa

    there = [array for array in arrays if array is not None]
    values = column(np.concatenate(there) if there else np.empty(0))
    offsets = _offsets([0 if array is None else array.size for array in arrays], np.int64)
    buffers = [_valid(arrays), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(pa.large_list(values.type), len(arrays), buffers, children=[values])


def numpy(array: Any) -> NDArray[Any]:
    """An Arrow array of numbers, truth values, texts or times as numpy has it; texts of fixed width."""
    import numpy as np

    if str(array.type) == "string":
        return np.array(array.to_pylist(), dtype=str)
    if len(array) == 0:
        return np.empty(0, "bool" if str(array.type) == "bool" else _dtype(array.type))
    buffer = np.frombuffer(array.buffers()[1], np.uint8 if str(array.type) == "bool" else _dtype(array.type))
    if str(array.type) == "bool":
        buffer = np.unpackbits(buffer, bitorder="little").astype(bool)
    return buffer[array.offset : array.offset + len(array)]


def _dtype(arrow_type: Any) -> str:
    name = str(arrow_type)
    return _NAMES.get(name) or name.replace("timestamp", "datetime64").replace("duration", "timedelta64")


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Contiguous, in the machine's byte order, times as numbers: what a buffer can be taken from."""
    import numpy as np

    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return plain.view(np.int64) if plain.dtype.kind in "mM" else plain


def _offsets(lengths: Sequence[int], dtype: Any) -> NDArray[Any]:
    import numpy as np

    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(dtype)


def _valid(values: Sequence[Any]) -> Any:
    """The bits that say which cells are there; None if all are."""
    import numpy as np
    import pyarrow as pa

    there = np.array([value is not None for value in values], dtype=bool)
    return None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
