"""Values as strict JSON and back, without loss.

A *stored* value is what stands in an event: JSON, in which an object with one of the keys of `MARKS` stands for
something JSON cannot say. The others read plainly, so a page or `jq` needs to know only what it wants to show:

    {"$number": "nan" | "inf" | "-inf"}     {"$complex": [real, imaginary]}      {"$bytes": base64}
    {"$time": ISO 8601}   {"$date": ISO 8601}   {"$items": [[key, value], ...]}  (keys that are not texts)
    {"$value": number, "unit": "mm"}                                             a number with its unit
    {"$value": [...], "unit", "dims", "dtype", "shape"}                          a short array
    {"$array": "arrays/0001.npy", "unit", "dims", "dtype", "shape", "column"}    an array in a file of the record

Numpy scalars become numbers, tuples become lists. Encoding what is stored already changes nothing, so stored and fresh
values may be mixed; the price is that an object which looks exactly like a mark is read as one. Where arrays go, and
from where they come back, is the business of `store`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from labretto.catalog.units import NOTHING_SAID, Described
from labretto.errors import InvalidError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Keep = Callable[[NDArray[Any], Described], Any]
    """Puts an array away and answers what stands for it."""
Fetch = Callable[[Mapping[str, Any]], Any]
"""Loads the array that a reference names."""

INLINE = 16
"""Arrays of up to so many elements stand in the event itself."""

_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_PLAIN = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ASCII = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def encode(
    value: Any, described: Described = NOTHING_SAID, *, keep: Keep | None = None, quantities: bool = False
) -> Any:
    """The stored form of `value`.

    Args:
        value: nested mappings, lists, numbers, texts, bytes, times, arrays; stored values too.
        described: what a JSON schema says of units and dimensions.
        keep: is given each array of more than `INLINE` elements; without it they all become lists.
        quantities: numbers whose unit is known become {"$value", "unit"}; otherwise only arrays carry theirs.

    Raises:
        InvalidError: for a value that is none of these; it names the type.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, int | float):
        return _quantity(_number(value), described, quantities)
    if isinstance(value, Mapping):
        return _mapping(value, described, keep, quantities)
    if isinstance(value, list | tuple):
        return [encode(v, described.item(i), keep=keep, quantities=quantities) for i, v in enumerate(value)]
    if hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "tobytes"):
        return _array(value, described, keep, quantities)
    return _single(value)


def decode(stored: Any, fetch: Fetch | None = None) -> Any:
    """The value that `stored` stands for; without `fetch` references stay what they are."""
    if isinstance(stored, list):
        return [decode(each, fetch) for each in stored]
    if not isinstance(stored, Mapping):
        return stored
    if (mark := mark_of(stored)) is None:
        return {key: decode(each, fetch) for key, each in stored.items()}
    if mark == "$array":
        return fetch(stored) if fetch else dict(stored)
    return _READERS[mark](stored)


def dumps(event: Mapping[str, Any]) -> bytes:
    """One event as one line of strict JSON, without the line's end."""
    try:
        return _PLAIN.encode(event).encode()
    except (ValueError, TypeError):  # NaN, an object, half a surrogate pair: rare, so the plain way is tried first
        return _ASCII.encode(nested(lambda: encode(event))).encode()


def nested(run: Callable[[], Any]) -> Any:
    """What `run` answers; nesting too deep for the interpreter becomes an error that says so."""
    try:
        return run()
    except RecursionError:
        raise InvalidError("A value nested this deep, or holding itself, cannot be kept in a record.") from None


def mark_of(stored: Mapping[Any, Any]) -> str | None:
    """The mark of `stored` if it stands for something else, None if it is an ordinary object."""
    mark = next((key for key in stored if type(key) is str and key in _CHECKS), None)
    return mark if mark is not None and _well_formed(mark, stored) else None


def is_reference(stored: Any) -> bool:
    """Whether `stored` names an array in a file of the record."""
    return isinstance(stored, Mapping) and mark_of(stored) == "$array"


def _number(value: float) -> Any:
    if isinstance(value, int):
        return int(value)
    if math.isfinite(value):
        return float(value)
    return {"$number": str(float(value))}


def _quantity(stored: Any, described: Described, quantities: bool) -> Any:
    unit = described.unit if quantities else None
    return stored if unit is None else {"$value": stored, "unit": unit}


def _mapping(value: Mapping[Any, Any], described: Described, keep: Keep | None, quantities: bool) -> Any:
    if mark_of(value) is not None:
        return dict(value)
    if all(type(key) is str for key in value):
        return {k: encode(v, described.member(k), keep=keep, quantities=quantities) for k, v in value.items()}
    return {"$items": [[encode(k), encode(v, keep=keep)] for k, v in value.items()]}


def _array(value: Any, described: Described, keep: Keep | None, quantities: bool) -> Any:
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind == "O":
        return encode(array.tolist(), described, keep=keep, quantities=quantities)
    if array.ndim == 0 and array.dtype.kind not in "mMV":
        return encode(_item(array), described, quantities=quantities)
    if keep is not None and not _short(array):
        return keep(array, described)
    return inline(array, described)


def _item(array: NDArray[Any]) -> Any:
    item = array.item()
    return complex(item) if array.dtype.kind == "c" else float(item) if array.dtype.kind == "f" else item


def _short(array: NDArray[Any]) -> bool:
    exact = array.dtype.kind in "biufcU" and array.dtype.itemsize <= 16 * INLINE
    return exact and array.size <= INLINE and str(array.dtype) not in {"float128", "complex256", "longdouble"}


def inline(array: NDArray[Any], described: Described) -> dict[str, Any]:
    """An array that stands in the event itself."""
    if array.dtype.kind in "mMV":
        raise InvalidError(f"An array of {array.dtype} needs a file; it cannot stand in an event.")
    stored = {"$value": encode(array.tolist()), "dtype": str(array.dtype), "shape": list(array.shape)}
    return stored | described.of_array(array.ndim)


def _single(value: Any) -> dict[str, Any]:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, complex):
        return {"$complex": [_number(value.real), _number(value.imag)]}
    raise InvalidError(
        f"A value of type {type(value).__module__}.{type(value).__qualname__} cannot be kept in a record.",
        way_out="Answer numbers, texts, bytes, times, arrays, or lists and mappings of these.",
    )


def _well_formed(mark: str, stored: Mapping[str, Any]) -> bool:
    if mark in {"$value", "$array"}:
        return stored.keys() <= {mark, "unit", "dims", "dtype", "shape", "column"} and _CHECKS[mark](stored)
    try:
        return len(stored) == 1 and _CHECKS[mark](stored[mark])
    except (ValueError, TypeError):
        return False


def _is_array(stored: Mapping[str, Any]) -> bool:
    place, column = stored["$array"], stored.get("column")
    return isinstance(place, str) and _is_shaped(stored) and (column is None or isinstance(column, str))


def _is_shaped(stored: Mapping[str, Any]) -> bool:
    shape = stored.get("shape")
    return isinstance(shape, list) and all(type(n) is int for n in shape) and isinstance(stored.get("dtype"), str)


def _is_value(stored: Mapping[str, Any]) -> bool:
    if isinstance(stored["$value"], list):
        return _is_shaped(stored)
    return isinstance(stored.get("unit"), str)


def _is_text(read: Callable[[str], Any]) -> Callable[[Any], bool]:
    return lambda text: isinstance(text, str) and read(text) is not None


def _is_pair(parts: Any) -> bool:
    return isinstance(parts, list) and len(parts) == 2


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "$number": lambda text: isinstance(text, str) and text in _NUMBERS,
    "$complex": lambda parts: _is_pair(parts) and all(isinstance(decode(part), int | float) for part in parts),
    "$bytes": _is_text(lambda text: base64.b64decode(text, validate=True)),
    "$time": _is_text(datetime.fromisoformat),
    "$date": _is_text(date.fromisoformat),
    "$items": lambda pairs: isinstance(pairs, list) and all(_is_pair(pair) for pair in pairs),
    "$value": _is_value,
    "$array": _is_array,
}
MARKS = tuple(_CHECKS)


def _read_value(stored: Mapping[str, Any]) -> Any:
    if not isinstance(stored["$value"], list):
        return decode(stored["$value"])
    import numpy as np

    try:
        return np.array(decode(stored["$value"]), dtype=np.dtype(stored["dtype"])).reshape(stored["shape"])
    except (TypeError, ValueError):  # not written by us
        return dict(stored)


def _read_items(stored: Mapping[str, Any]) -> dict[Any, Any]:
    return {_key(decode(key)): decode(value) for key, value in stored["$items"]}


def _key(key: Any) -> Any:
    return tuple(_key(each) for each in key) if isinstance(key, list) else key


_READERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "$number": lambda stored: _NUMBERS[stored["$number"]],
    "$complex": lambda stored: complex(*[decode(part) for part in stored["$complex"]]),
    "$bytes": lambda stored: base64.b64decode(stored["$bytes"]),
    "$time": lambda stored: datetime.fromisoformat(stored["$time"]),
    "$date": lambda stored: date.fromisoformat(stored["$date"]),
    "$items": _read_items,
    "$value": _read_value,
}
