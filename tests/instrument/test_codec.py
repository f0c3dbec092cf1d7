"""What goes over a wire comes back as it was, or is refused by name; no bytes from a stranger do any harm."""

import contextlib
import dataclasses
import enum
import json
import math
import struct
import sys
import uuid
from collections import OrderedDict, deque
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from labretto.errors import InvalidError, RefusedError
from labretto.instrument.codec import (
    CannotEncodeError,
    decode,
    decode_json,
    encode,
    encode_json,
    encode_sorted,
    settled,
)
from labretto.instrument.reading import Quantity

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT | st.binary(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
DTYPES = st.sampled_from(["?", "i1", "<i2", ">i4", "<i8", "u1", ">u2", "<u4", "u8", "<f2", ">f4", "<f8", "<c8", ">c16"])
ARRAYS = DTYPES.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0)))


def same(one: Any, other: Any) -> bool:
    """Equal, and NaN is itself."""
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


@given(VALUES)
def test_every_plain_value_comes_back_exactly(value: Any) -> None:
    assert same(decode(encode(value)), value)


@given(ARRAYS)
def test_every_array_of_numbers_comes_back_bit_by_bit(array: np.ndarray) -> None:
    """Shape, byte order and type too; and it may be written to, as one's own."""
    back = decode(encode({"image": array}))["image"]

    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


def test_an_array_that_is_a_view_comes_back_in_its_own_order() -> None:
    view = np.arange(12.0).reshape(3, 4).T[::2]

    np.testing.assert_array_equal(decode(encode(view)), view)


@given(ARRAYS.filter(lambda array: array.dtype.kind != "c"))
@settings(max_examples=40)
def test_without_numpy_an_array_arrives_as_nested_lists(array: np.ndarray) -> None:
    wire = encode(array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numpy", None)
        back = decode(wire)

    assert same(back, array.tolist())


def test_complex_numbers_need_numpy_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = encode(np.array([1j]))
    monkeypatch.setitem(sys.modules, "numpy", None)

    with pytest.raises(InvalidError, match="needs numpy"):
        decode(wire)


@given(VALUES)
def test_json_is_what_any_client_reads(value: Any) -> None:
    """Also the values that JSON has no word for: never `NaN`, which is not JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(encode_json(value), parse_constant=refuse)


def test_json_spells_arrays_as_lists_and_what_is_no_number_as_null() -> None:
    value = {"current": np.array([1.5, np.nan, np.inf]), "image": np.zeros((2, 1), int), "raw": b"abc"}

    assert json.loads(encode_json(value)) == {"current": [1.5, None, None], "image": [[0], [0]], "raw": "YWJj"}


def test_complex_arrays_are_exact_in_msgpack_and_two_lists_in_json() -> None:
    impedance = np.array([1 + 2j, 3 - 4j])

    np.testing.assert_array_equal(decode(encode(impedance)), impedance)
    assert json.loads(encode_json(impedance)) == {"real": [1, 3], "imag": [2, -4]}


class Colour(enum.Enum):
    RED = "red"


class Gain(enum.IntEnum):
    HIGH = 10


@dataclasses.dataclass
class Peak:
    at: float
    height: float


class Point(NamedTuple):
    x: float
    y: float


class Settings(pydantic.BaseModel):
    speed: float


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(1.5), 1.5),
        (np.longdouble(1.5), 1.5),
        (np.int16(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(3.0), 3.0),
        (np.datetime64("2026-11-21T04:21:35", "ns"), "2026-11-21T04:21:35"),
        (np.timedelta64(1500, "ms"), "PT1.5S"),
        (datetime(2026, 11, 21, 4, 21, 35, tzinfo=UTC), datetime(2026, 11, 21, 4, 21, 35, tzinfo=UTC)),
        (date(2026, 11, 21), "2026-11-21"),
        (timedelta(seconds=3), "PT3S"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Decimal("1.50"), "1.50"),
        (PurePosixPath("/data/a.tif"), "/data/a.tif"),
        (Colour.RED, "red"),
        (Gain.HIGH, 10),
        (Peak(1.0, 2.0), {"at": 1.0, "height": 2.0}),
        (Point(1.0, 2.0), [1.0, 2.0]),
        (Settings(speed=2), {"speed": 2.0}),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (frozenset({3}), [3]),
        (range(3), [0, 1, 2]),
        (deque([1, 2]), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (bytearray(b"ab"), b"ab"),
        (Quantity(5, "mm"), 5.0),
    ],
)
def test_what_drivers_answer_arrives_as_plain_values(value: Any, plain: Any) -> None:
    assert same(decode(encode(value)), plain)
    assert json.loads(encode_json(value)) == json.loads(encode_json(plain))


def test_what_is_masked_in_an_array_arrives_as_nan_on_every_wire() -> None:
    masked = np.ma.array([1, 2], mask=[False, True])

    np.testing.assert_array_equal(decode(encode(masked)), [1, np.nan])
    assert json.loads(encode_json(masked)) == [1, None]


def test_keys_that_json_does_not_have_are_spelled() -> None:
    assert decode(encode({(1, 2): "x"})) == {(1, 2): "x"}
    assert json.loads(encode_json([{(1, 2): {None: "x"}, 3: 4}])) == [{"(1, 2)": {"None": "x"}, "3": 4}]


class Odd:
    @property
    def dtype(self) -> Any:
        raise RuntimeError("this object does not like to be looked at")


def circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "builtins.object"),
        (ValueError("x"), "ValueError"),
        (iter([1]), "list_iterator"),
        (lambda: 1, "function"),
        (1j, "complex"),
        (np.complex128(1j), "complex"),
        (2**64, "more than 64 bits"),
        ("\ud800", "half a surrogate pair"),
        (np.array([object()]), "object"),
        (np.array(["a"]), "<U1"),
        (np.zeros(2, [("a", "f8")]), "dtype"),
        (np.array(object()), "object"),
        (Odd(), "does not like"),
        (circle(), "nested too deeply"),
    ],
)
@pytest.mark.parametrize("wrapped", [lambda value: value, lambda value: {"result": [value]}], ids=["bare", "inside"])
def test_what_cannot_be_sent_is_refused_by_name(value: Any, said: str, wrapped: Any) -> None:
    with pytest.raises(CannotEncodeError, match=said) as refused:
        encode(wrapped(value))
    assert "numbers, text" in refused.value.way_out


def test_equal_parameters_give_equal_bytes_in_whatever_order_they_came() -> None:
    assert encode_sorted({"b": {"d": 1, "c": 2}, "a": 3}) == encode_sorted({"a": 3, "b": {"c": 2, "d": 1}})
    assert encode_sorted({"a": 1}) != encode_sorted({"a": 2})
    assert encode_sorted({"a": math.nan}) == encode_sorted({"a": math.nan})


@given(st.binary(max_size=60))
def test_bytes_of_a_stranger_are_a_value_or_refused(data: bytes) -> None:
    for read in (decode, decode_json):
        with contextlib.suppress(RefusedError):
            read(data)


@given(
    st.sampled_from(["<f8", "O", "V8", "f8,f8", "<U4", "(2,)f8", "=(", "f99", "M8[ns]", "", "c32"]) | TEXT,
    st.lists(st.integers(-3, 2**40), max_size=3),
    st.binary(max_size=32),
)
def test_an_array_of_a_stranger_is_of_numbers_and_of_the_size_it_says_or_refused(
    dtype: str, shape: list[int], raw: bytes
) -> None:
    inner = msgspec.msgpack.encode([dtype, shape, raw])
    try:
        array = decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(1, inner)))
    except InvalidError:
        return
    assert (array.dtype.kind in "biufc", array.shape, array.nbytes) == (True, tuple(shape), len(raw))


def test_an_unknown_extension_is_refused() -> None:
    with pytest.raises(InvalidError, match="extension type 5"):
        decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"")))


@pytest.mark.parametrize("depth", [10_000, 200_000])
def test_ten_thousand_nested_lists_are_refused(depth: int) -> None:
    with pytest.raises(InvalidError):
        decode_json(b"[" * depth + b"]" * depth)
    with pytest.raises(InvalidError):
        decode(b"\x91" * depth + b"\xc0")


def test_json_that_is_broken_says_where() -> None:
    with pytest.raises(InvalidError, match=r"byte \d") as refused:
        decode_json(b'{"x": }')
    assert '{"x": 1.5}' in refused.value.way_out


def test_settled_shares_nothing_with_the_driver_that_answered_it() -> None:
    """A camera writes the next frame into the same buffer."""
    buffer, history = np.zeros(3), [1, [2]]
    frame, past = settled(buffer), settled(history)
    buffer[:] = 7
    history[1].append(3)  # type: ignore[attr-defined]

    assert frame.tolist() == [0, 0, 0]
    assert past == [1, [2]]


@given(VALUES | ARRAYS)
def test_settled_is_what_a_wire_would_bring(value: Any) -> None:
    assert encode(settled(value)) == encode(decode(encode(value)))


@pytest.mark.parametrize("value", [object(), 2**70, "\udcff", np.array([None])])
def test_settled_refuses_what_no_wire_can_carry(value: Any) -> None:
    with pytest.raises(CannotEncodeError):
        settled(value)


def test_nested_arrays_are_read_in_the_byte_order_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = msgspec.msgpack.encode([">f8", [1], struct.pack(">d", 1.5)])
    monkeypatch.setitem(sys.modules, "numpy", None)

    assert decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(1, inner))) == [1.5]
