"""Values as bytes: msgpack that keeps arrays, NaN, bytes and times exactly, and JSON for people and plain clients.

Arrays are recognised by what they can do (`dtype`, `shape`, `tobytes`), so an instrument without numpy needs none;
where numpy is missing an array that arrives becomes nested lists. Nothing is ever pickled.

`encode_framed` leaves large arrays beside the message, as they lie in memory, and names them in it: a wire that can
send several pieces sends them without copying.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

import msgspec
import pydantic

from labretto.errors import InvalidError

_ARRAY = 1
"""msgpack extension type: [dtype as numpy spells it, shape, bytes in C order, dims or null, unit or null].

Instead of the bytes there may be a number: they come so many frames after the message. The last two may be missing.
"""

FRAMED_FROM = 1_024
"""Bytes from which an array is a frame of its own; smaller ones are quicker copied into the message."""

Buffer = bytes | memoryview


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
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError, struct.error) as error:
        raise InvalidError(f"The message is not msgpack: {error}.") from error


def encode_framed(value: Any) -> list[Buffer]:
    """`value` as msgpack, and after it the arrays in it: the memory that they lie in, not a copy of it.

    Raises:
        CannotEncodeError: as `encode`.
    """
    frames: list[Buffer] = []

    def pack(item: Any) -> Any:
        if not is_array(item) or item.shape == ():
            return _plain(item)
        array = _numbers(item)
        memory = _memory(array)
        apart = len(memory) >= FRAMED_FROM
        if apart:
            frames.append(memory)
        words = getattr(item, "dims", None), getattr(item, "unit", None)
        return _extension(array, len(frames) if apart else memory, *words)

    message = _encode(msgspec.msgpack.Encoder(enc_hook=pack), value)
    return [message, *frames]


def decode_framed(frames: Sequence[Any], kind: Any = Any) -> Any:
    """The value that `encode_framed` wrote, of a certain type; arrays share their memory with the frames.

    Raises:
        InvalidError: the bytes are not msgpack of ours, or a frame is missing or has another length than is said.
    """

    def unpack(code: int, data: memoryview) -> Any:
        return _unpack(code, data, frames)

    try:
        return msgspec.msgpack.Decoder(kind, ext_hook=unpack).decode(frames[0])
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, struct.error, IndexError) as error:
        raise InvalidError(f"The message is not msgpack of ours: {error}.") from error


@dataclass(frozen=True, slots=True)
class Raw:
    """An array, or one number, as bytes and what they mean."""

    dtype: str
    """As numpy spells it: "<f8"."""
    shape: tuple[int, ...]
    memory: Buffer
    """In C order."""
    dims: tuple[str, ...] | None = None
    unit: str | None = None


def raw(value: Any) -> Raw:
    """`value` as raw bytes; a plain number is an array without axes.

    Raises:
        CannotEncodeError: it is no number and no array of numbers.
    """
    for kind, dtype, letter in ((bool, "|b1", "?"), (int, "<i8", "q"), (float, "<f8", "d")):
        if isinstance(value, kind):
            try:
                return Raw(dtype, (), struct.pack(f"<{letter}", value))
            except struct.error as error:
                raise CannotEncodeError(f"{value:.3g} has more than 64 bits.") from error
    if not is_array(value) or value.shape == ():
        raise CannotEncodeError(f"A value of type {type(value).__qualname__} is no array of numbers.")
    try:
        array = _numbers(value)
    except NotImplementedError as error:
        raise CannotEncodeError(str(error)) from error
    dims = getattr(value, "dims", None)
    return Raw(array.dtype.str, tuple(array.shape), _memory(array), dims, getattr(value, "unit", None))


def decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    """A msgpack decoder for values of one type (a `msgspec.Struct`, say) whose `Any` fields may hold arrays."""
    return msgspec.msgpack.Decoder(kind, ext_hook=_unpack)


def encode_json(value: Any) -> bytes:
    """`value` as JSON: arrays as nested lists, NaN and infinities as null, bytes as base64, times as ISO 8601."""
    try:
        return _encode(_JSON, value)
    except CannotEncodeError:  # what msgpack took, JSON must take: it has no keys but text
        return _encode(_JSON, _with_text_as_keys(value))


def _with_text_as_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _with_text_as_keys(item) for key, item in value.items()}
    return [_with_text_as_keys(item) for item in value] if isinstance(value, list | tuple) else value


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
    except Exception as error:
        # Anything: a foreign object runs its own code when it is asked what it is.
        deep = isinstance(error, RecursionError)
        detail = "The value is nested too deeply, or in itself." if deep else str(error) or type(error).__name__
        if isinstance(error, OverflowError):
            detail = "A whole number with more than 64 bits cannot be sent."
        elif isinstance(error, UnicodeEncodeError):
            detail = "A text with half a surrogate pair, which is no character, cannot be sent."
        raise CannotEncodeError(
            detail,
            way_out="Return numbers, text, bytes, times, arrays, or lists and dictionaries of them.",
        ) from error


def settled(value: Any) -> Any:
    """`value` as it arrives on the other side of a wire, sharing nothing with what it came from.

    A driver may go on writing into the list or the frame buffer that it answered; who was answered must not see that.

    Raises:
        CannotEncodeError: no wire can carry it.
    """
    if value is None or type(value) in (bool, float):
        return value
    if type(value).__module__ == "numpy" and value.shape != () and value.dtype.kind in "biufc":
        if _referred(value) <= _ONCE and value.base is None and value.flags.c_contiguous:
            return value  # made for this answer: nobody else has it
        return value.copy()  # as exact as the way through bytes, and a third of its time
    return decode(encode(value))


def _referred(value: Any) -> int:
    return sys.getrefcount(value)


def _counted_as_settled_does(value: Any) -> int:
    return _referred(value)


_ONCE = _counted_as_settled_does(object())
"""How often something is referred to that only the call of `settled` holds: each Python counts in its own way."""


def is_array(value: Any) -> bool:
    """It has numbers in a shape: a numpy array, or something that looks like one."""
    return hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "tobytes")


def _plain(value: Any) -> Any:
    """What an object of a foreign type is, in types that any wire knows."""
    if is_array(value) and value.shape == ():
        return _scalar(value)
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump()
    if isinstance(value, set | frozenset | range | deque):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Enum):
        return value.value
    for plain in (float, int, str):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(f"A value of type {type(value).__module__}.{type(value).__qualname__} cannot be sent.")


def _scalar(value: Any) -> Any:
    """A numpy scalar, or an array without axes, as a plain number, text or time."""
    kind = value.dtype.kind
    if kind == "f":
        return float(value)
    if kind == "M":
        # As microseconds: numpy answers a bare integer for what it counts in nanoseconds.
        return value.astype("datetime64[us]").item()
    if kind == "m":
        return value.astype("timedelta64[us]").item()
    if kind == "c":
        raise NotImplementedError("A complex number cannot be sent; send its real and imaginary part.")
    if kind not in "biuUS":
        raise NotImplementedError(f"A value of dtype {value.dtype} cannot be sent.")
    return value.item()


def _numbers(value: Any) -> Any:
    """An array that every wire carries: of numbers or booleans; what is masked becomes NaN."""
    if hasattr(value, "filled"):
        value = value.astype(float).filled(float("nan"))
    kind, size = value.dtype.kind, value.dtype.itemsize
    if kind not in "biufc":
        raise NotImplementedError(f"An array of dtype {value.dtype} cannot be sent; use numbers or booleans.")
    if (kind, size) in _TOO_LONG:
        return value.astype(_TOO_LONG[kind, size])
    return value


_TOO_LONG = {("f", 16): "<f8", ("f", 12): "<f8", ("c", 32): "<c16", ("c", 24): "<c16"}
"""Numbers whose bytes mean something else on another machine → what is sent instead."""


def _pack(value: Any) -> Any:
    if is_array(value) and value.shape != ():
        array = _numbers(value)
        return _extension(array, array.tobytes())
    return _plain(value)


def _extension(array: Any, raw: Buffer | int, dims: Any = None, unit: str | None = None) -> msgspec.msgpack.Ext:
    told = [array.dtype.str, list(array.shape), raw]
    named = [list(dims) if dims else None, unit] if dims or unit else []
    return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(told + named))


def _memory(array: Any) -> Buffer:
    """The bytes of an array in C order; those that it has, where it has them so."""
    try:
        flat = array.reshape(-1)  # copies where it is not contiguous
        return memoryview(flat.view("u1").data).toreadonly() if flat.flags.c_contiguous else bytes(flat.tobytes())
    except (AttributeError, TypeError, ValueError):  # something that only looks like numpy's
        return bytes(array.tobytes())


def _listed(value: Any) -> Any:
    if is_array(value) and value.shape != ():
        array = _numbers(value)
        if array.dtype.kind == "c":
            return {"real": array.real.tolist(), "imag": array.imag.tolist()}
        return array.tolist()
    return _plain(value)


class _Told(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    raw: bytes | int
    dims: list[str] | None = None
    unit: str | None = None


def _unpack(code: int, data: memoryview, frames: Sequence[Any] = ()) -> Any:
    if code != _ARRAY:
        raise ValueError(f"unknown extension type {code}")
    told = msgspec.msgpack.decode(data, type=_Told)
    dtype, shape, raw = told.dtype, told.shape, told.raw
    if not _DTYPE.fullmatch(dtype) or any(length < 0 for length in shape):
        raise ValueError(f"an array of dtype {dtype[:20]!r} and shape {shape[:9]} is not accepted")
    framed = isinstance(raw, int)
    if isinstance(raw, int):
        if not 0 < raw < len(frames):
            raise ValueError(f"an array is in frame {raw} of {len(frames)}")
        raw = frames[raw]
    return _made(dtype, shape, raw, framed, told.dims, told.unit)


def _made(dtype: str, shape: list[int], raw: Any, framed: bool, dims: list[str] | None, unit: str | None) -> Any:
    try:
        import numpy as np
    except ImportError:
        return _nested(dtype, shape, raw)
    array = np.frombuffer(raw, np.dtype(dtype)).reshape(shape)
    if not framed:
        array = array.copy()
    if not dims and not unit:
        return array
    from labretto.instrument.arrays import UnitArray

    return UnitArray(array, unit=unit, dims=dims)


_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16))")
"""Arrays of these are accepted: numbers of which every machine knows the bytes."""

_FORMATS = {
    "b1": "?",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}
"""dtype → letter of the module `struct`."""


def _nested(dtype: str, shape: list[int], raw: bytes) -> Any:
    """The array as nested lists, where there is no numpy."""
    letter = _FORMATS.get(dtype.lstrip("<>|="))
    if letter is None:
        raise ValueError(f"an array of dtype {dtype} needs numpy, which is not installed here")
    order = ">" if dtype.startswith(">") else "<"
    values: list[Any] = list(struct.unpack(f"{order}{math.prod(shape)}{letter}", raw))
    for axis in range(len(shape) - 1, 0, -1):
        length = shape[axis]
        values = [values[i * length : (i + 1) * length] for i in range(math.prod(shape[:axis]))]
    return values


_PACK = msgspec.msgpack.Encoder(enc_hook=_pack)
_PACK_SORTED = msgspec.msgpack.Encoder(enc_hook=_pack, order="sorted")
_UNPACK = msgspec.msgpack.Decoder(ext_hook=_unpack)
_JSON = msgspec.json.Encoder(enc_hook=_listed)
