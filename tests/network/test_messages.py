"""Requests and answers as bytes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from labretto.errors import DriverError, InvalidError, LabError, LimitError
from labretto.instrument import codec
from labretto.network import messages

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
TEXT = st.text()
MAYBE_TEXT = st.none() | TEXT
LEASE = st.none() | st.integers(0, 2**62)
REQUESTS = st.one_of(
    st.sampled_from([messages.Describe(), messages.Health(), messages.ReadAll(), messages.Stop()]),
    st.builds(messages.Read, TEXT),
    st.builds(messages.Write, TEXT, VALUES, LEASE),
    st.builds(
        messages.Invoke, TEXT, st.dictionaries(TEXT, VALUES, max_size=3), MAYBE_TEXT, LEASE, MAYBE_TEXT, st.booleans()
    ),
    st.builds(messages.Find, TEXT, MAYBE_TEXT),
    st.builds(messages.Cancel, TEXT, MAYBE_TEXT),
)


@settings(deadline=None)  # time is no assertion
@given(REQUESTS)
def test_a_request_arrives_as_it_was_sent(request: messages.Request) -> None:
    assert messages.decode_request(messages.encode_request(request)) == request


@settings(deadline=None)  # time is no assertion
@given(VALUES)
def test_an_answer_arrives_as_it_was_sent(value: Any) -> None:
    assert messages.decode_answer(messages.encode_value(messages.Answer(value))) == value


def test_an_array_in_a_request_stays_an_array() -> None:
    request = messages.Write("spectrum", np.arange(4.0))

    arrived = messages.decode_request(messages.encode_request(request))

    np.testing.assert_array_equal(arrived.value, request.value)


def test_a_problem_arrives_as_the_error_it_was() -> None:
    problem = LimitError("too high", way_out="lower it", limit=1200).problem()

    with pytest.raises(LimitError, match="too high lower it") as told:
        messages.decode_answer(codec.encode(messages.Answer(problem=problem)))
    assert told.value.fields == {"limit": 1200}


@settings(deadline=None)  # time is no assertion
@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidError):
        messages.decode_request(data)
    with pytest.raises(LabError):
        messages.decode_answer(b"\x92\xc1" + data)


MALFORMED: dict[str, Any] = {
    "no map": [1, 2],
    "no kind": {"attribute": "x"},
    "an unknown kind": {"ask": "dance"},
    "a missing field": {"ask": "read"},
    "a field of another type": {"ask": "read", "attribute": 5},
    "an unknown field": {"ask": "read", "attribute": "x", "shell": "rm"},
    "parameters that are none": {"ask": "invoke", "action": "a", "parameters": [1]},
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_message_of_the_wrong_shape_is_refused_saying_what_is_wrong(value: Any) -> None:
    with pytest.raises(InvalidError, match="The message is not a request: "):
        messages.decode_request(codec.encode(value))


def test_bytes_nested_ten_thousand_deep_are_refused() -> None:
    deep = b"\x82\xa3ask\xa5write\xa5value" + b"\x91" * 10_000 + b"\xc0"

    with pytest.raises(InvalidError):
        messages.decode_request(deep)


def test_an_array_that_lies_about_its_shape_is_refused() -> None:
    import msgspec

    lying = msgspec.msgpack.Ext(1, msgspec.msgpack.encode(["<f8", [1_000_000_000, 1_000_000_000], b"\0" * 8]))
    data = msgspec.msgpack.encode({"ask": "write", "attribute": "x", "value": lying})

    with pytest.raises(InvalidError):
        messages.decode_request(data)


def test_what_is_too_large_is_neither_sent_nor_read() -> None:
    request = messages.Write("x", b"\0" * messages.REQUEST_LIMIT)

    with pytest.raises(InvalidError, match="8,388,608 at most"):
        messages.encode_request(request)
    with pytest.raises(InvalidError, match="8,388,608 at most"):
        messages.decode_request(codec.encode(request))


def test_what_a_driver_answers_that_cannot_be_sent_is_its_fault_not_the_callers() -> None:
    with pytest.raises(DriverError, match=r"The driver's answer cannot be sent: .*object"):
        messages.encode_value(object())


def test_a_fault_of_ours_is_told_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    problem = messages.problem_of(KeyError("secret"))

    assert "secret" not in str(problem)
    assert problem["status"] == 500
    assert "secret" in caplog.text
