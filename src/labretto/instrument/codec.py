"""Values as bytes: msgpack that keeps arrays, NaN, bytes and times exactly, and JSON for people and plain clients.

Arrays are recognised by what they can do (`dtype`, `shape`, `tobytes`), so an instrument without numpy needs none;
where numpy is missing an array that arrives becomes nested lists. Nothing is ever pickled.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
import pydantic

from labretto.errors import InvalidError

_ARRAY = 1
"""msgpack extension type: [dtype as numpy spells it, shape, bytes in C order]."""


class CannotEncodeError(InvalidError):
    """A value that no wire of ours can carry."""

    title = "A value cannot be sent"


def encode(value: Any) -> bytes:
    """`value` as msgpack.

    Raises:
        CannotEncodeError: names the type; nothing of ours pickles objects.
    """
    return _encode(_PACK, value)


def encode_sorted(value: Any) -> bytes:
    """`value` as msgpack with the keys of maps sorted: equal values give equal bytes."""
    return _encode(_PACK_SORTED, value)


def decode(data: bytes | memoryview) -> Any:
    """The value that `encode` wrote.

    Raises:
        InvalidError: the bytes are not msgpack of ours.
    """
    try:
        return _UNPACK.decode(data)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise InvalidError(f"The message is not msgpack: {error}.") from error


def encode_json(value: Any) -> bytes:
    """`value` as JSON: arrays as nested lists, NaN and infinities as null, bytes as base64, times as ISO 8601."""
    return _encode(_JSON, value)


def decode_json(data: bytes | str) -> Any:
    """The value that a JSON text spells.

    Raises:
        InvalidError: it is not JSON, or nested too deeply; says where.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidError(
            f"The body is not JSON: {error}.", way_out='Send a JSON object such as {"x": 1.5}.'
        ) from error


def _encode(encoder: msgspec.msgpack.Encoder | msgspec.json.Encoder, value: Any) -> bytes:
    try:
        return encoder.encode(value)
    except (NotImplementedError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise CannotEncodeError(
            str(error) or "The value is nested too deeply.",
            way_out="Return numbers, text, bytes, times, arrays, or lists and dictionaries of them.",
        ) from error
    except TypeError as error:
        raise CannotEncodeError(f"{error}.", way_out="Use text as the keys of a dictionary.") from error


def is_array(value: Any) -> bool:
    """It has numbers in a shape: a numpy array, or something that looks like one."""
    return hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "tobytes")


def _plain(value: Any) -> Any:
    """What an object of a foreign type is, in types that any wire knows."""
    if is_array(value) and value.shape == ():
        return _scalar(value)
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump()
    if isinstance(value, set | frozenset | range):
        return list(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(f"A value of type {type(value).__module__}.{type(value).__qualname__} cannot be sent.")


def _scalar(value: Any) -> Any:
    plain = value.item()
    if isinstance(plain, complex):
        raise NotImplementedError("A complex number cannot be sent; send its real and imaginary part.")
    return plain


def _check_dtype(value: Any) -> str:
    kind = value.dtype.kind
    if kind not in "biufc":
        raise NotImplementedError(f"An array of dtype {value.dtype} cannot be sent; use numbers or booleans.")
    return str(value.dtype.str)


def _pack(value: Any) -> Any:
    if is_array(value) and value.shape != ():
        dtype = _check_dtype(value)
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode([dtype, list(value.shape), value.tobytes()]))
    return _plain(value)


def _listed(value: Any) -> Any:
    if is_array(value) and value.shape != ():
        _check_dtype(value)
        return value.tolist()
    return _plain(value)


def _unpack(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise ValueError(f"unknown extension type {code}")
    dtype, shape, raw = msgspec.msgpack.decode(data, type=tuple[str, list[int], bytes])
    try:
        import numpy as np
    except ImportError:
        return _nested(dtype, shape, raw)
    kind = np.dtype(dtype)
    if kind.kind not in "biufc":
        raise ValueError(f"an array of dtype {dtype} is not accepted")
    return np.frombuffer(raw, kind).reshape(shape).copy()


def _nested(dtype: str, shape: list[int], raw: bytes) -> Any:
    formats = {
        "f8": "d",
        "f4": "f",
        "i8": "q",
        "i4": "i",
        "i2": "h",
        "i1": "b",
        "u8": "Q",
        "u4": "I",
        "u2": "H",
        "u1": "B",
        "b1": "?",
    }
    flat: Any = memoryview(raw).cast(formats[dtype.lstrip("<>|=")])  # type: ignore[call-overload]
    values = flat.tolist()
    for length in reversed(shape[1:]):
        values = [values[i : i + length] for i in range(0, len(values), length)] if length else []
    return values


_PACK = msgspec.msgpack.Encoder(enc_hook=_pack)
_PACK_SORTED = msgspec.msgpack.Encoder(enc_hook=_pack, order="sorted")
_UNPACK = msgspec.msgpack.Decoder(ext_hook=_unpack)
_JSON = msgspec.json.Encoder(enc_hook=_listed)
