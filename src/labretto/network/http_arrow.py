"""An array as a stream of Apache Arrow, for those who have pyarrow at the instrument.

The first axis becomes the rows; what is left of the shape is a fixed-shape tensor in each of them. Dims, unit and the
whole shape are in the metadata of the schema.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa

from labretto.instrument import codec


def stream(raw: codec.Raw) -> bytes:
    """The array as a stream of one record batch with the column "value".

    Raises:
        CannotEncodeError: Arrow has no such numbers.
    """
    if raw.dtype.lstrip("<>|=").startswith("c"):
        raise codec.CannotEncodeError("Arrow has no complex numbers.", way_out="Ask for NPY or octets.")
    array = np.frombuffer(raw.memory, np.dtype(raw.dtype)).reshape(raw.shape)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    column = _column(array)
    told = {"shape": json.dumps(raw.shape), "dims": json.dumps(raw.dims), "unit": raw.unit or ""}
    schema = pa.schema([pa.field("value", column.type)], metadata=told)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([column], schema=schema))
    return bytes(sink.getvalue())


def _column(array: np.ndarray) -> pa.Array:
    if array.ndim <= 1:
        return pa.array(array.reshape(-1))
    inner = array.shape[1:]
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(array.dtype), inner)
    width = math.prod(inner)
    if array.dtype.kind == "b" or width == 0:
        raise codec.CannotEncodeError("Arrow has no tensors of booleans, nor empty ones.", way_out="Ask for NPY.")
    storage = pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), width)
    return pa.ExtensionArray.from_storage(kind, storage)
