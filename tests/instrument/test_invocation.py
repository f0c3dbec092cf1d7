"""An invocation's id is minted by its caller and says when it was born; its record comes back from every wire."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from labretto.errors import InvalidError
from labretto.instrument import codec
from labretto.instrument.invocation import Invocation, born, check_id, new_id
from labretto.instrument.reading import now

AT = datetime(2026, 11, 21, 4, 21, 35, 120_000, UTC)
RUNNING = Invocation(new_id(), "stage", "move", {"to": 5.0}, "absolute", "running", AT, AT, actor="anna")


def test_a_new_id_is_a_uuid_of_version_7_born_now() -> None:
    before = now() - timedelta(milliseconds=1)
    identity = new_id()

    assert (uuid.UUID(identity).version, uuid.UUID(identity).variant) == (7, uuid.RFC_4122)
    at = born(identity)
    assert at is not None
    assert before <= at <= now()


def test_ten_thousand_ids_are_ten_thousand() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


def made_at(milliseconds: int, rest: int) -> str:
    """A UUIDv7 of that time; `rest` is its random part."""
    bits = milliseconds << 80 | rest
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))


@given(st.integers(0, 2**47), st.integers(0, 2**47), st.integers(0, 2**80 - 1), st.integers(0, 2**80 - 1))
def test_ids_sort_by_birth(one: int, other: int, rest: int, more: int) -> None:
    if one < other:
        assert made_at(one, rest) < made_at(other, more)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_an_id_says_its_birth_to_the_millisecond_or_that_it_cannot(milliseconds: int, rest: int) -> None:
    """A year after 9999 is somebody's mistake or malice; it must not raise."""
    at = born(made_at(milliseconds, rest))

    assert at is None or (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) == milliseconds
    assert at is not None or milliseconds > 253_000_000_000_000


@given(st.uuids(version=4))
def test_an_id_of_another_version_does_not_say_its_birth(identity: uuid.UUID) -> None:
    assert born(str(identity)) is None


SPELLINGS = [str, lambda u: str(u).upper(), lambda u: u.hex, lambda u: u.urn, lambda u: f"{{{u}}}"]


@given(st.uuids(), st.sampled_from(SPELLINGS))
def test_every_spelling_of_an_id_is_the_same_id(identity: uuid.UUID, spelled: Any) -> None:
    assert check_id(spelled(identity)) == str(identity)


@given(st.text(max_size=31) | st.integers() | st.none() | st.binary(max_size=20) | st.lists(st.text(), max_size=2))
def test_what_is_no_uuid_is_refused_whatever_it_is(identity: Any) -> None:
    with pytest.raises(InvalidError, match="is not a UUID") as refused:
        check_id(identity)
    assert "UUIDv7" in refused.value.way_out


ENDED = [
    RUNNING,
    RUNNING.end("succeeded", AT + timedelta(seconds=1), result={"x": [1.5, None]}),
    RUNNING.end("failed", AT, error={"type": "urn:labretto:error:DriverError", "detail": "stuck"}),
    RUNNING.end("cancelled", AT, result={"x": [1]}, error={"detail": "stopped"}),
    Invocation(new_id(), "stage", "", {}, "once", "not arrived"),
    Invocation(new_id(), "stage", "move", {}, "once", "running", AT, AT, progress=0.5),
]


@pytest.mark.parametrize("invocation", ENDED, ids=lambda invocation: invocation.state)
@pytest.mark.parametrize(
    "wire",
    [lambda v: codec.decode(codec.encode(v)), lambda v: codec.decode_json(codec.encode_json(v))],
    ids=["msgpack", "json"],
)
def test_an_invocation_comes_back_from_every_wire(invocation: Invocation, wire: Any) -> None:
    back = Invocation.from_dict(wire(invocation.as_dict()))

    assert back == invocation
    assert back.progress == invocation.progress


@pytest.mark.parametrize(
    ("state", "over"),
    [
        ("not arrived", False),
        ("running", False),
        ("succeeded", True),
        ("failed", True),
        ("cancelled", True),
        ("interrupted", True),
        ("cannot tell", True),
    ],
)
def test_it_is_over_when_nothing_more_will_happen_by_itself(state: Any, over: bool) -> None:
    assert Invocation(new_id(), "stage", "move", {}, "once", state).over is over
