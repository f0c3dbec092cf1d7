"""What may be said of a run's waiting."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from labretto.errors import InvalidError
from labretto.orchestrator.terms import checked_terms, together


def test_terms_are_kept_in_one_form():
    said = {
        "priority": -3,
        "not_before": "2026-11-22T02:00+01:00",
        "labels": [" film ", "film", "night"],
        "again": None,
    }

    assert checked_terms(said | {"name": " scan ", "held": True}) == {
        "priority": -3,
        "not_before": "2026-11-22T01:00:00.000000Z",
        "labels": ["film", "night"],
        "again": None,
        "name": "scan",
        "held": True,
    }
    assert checked_terms({"not_before": datetime(2026, 11, 22, 1, tzinfo=UTC)})["not_before"].startswith(
        "2026-11-22T01"
    )
    assert checked_terms({"not_before": None}) == {"not_before": None}


@pytest.mark.parametrize(
    ("term", "value"),
    [
        ("priority", 1.5),
        ("priority", True),
        ("priority", 1001),
        ("priority", None),
        ("not_before", "soon"),
        ("not_before", "2026-11-22T02:00"),
        ("not_before", "0001-01-01T00:00+14:00"),
        ("not_before", 7),
        ("labels", "film"),
        ("labels", [""]),
        ("labels", ["a\nb"]),
        ("labels", ["x" * 65]),
        ("labels", ["x"] * 31),
        ("labels", [7]),
        ("labels", None),
        ("again", -1),
        ("again", 0.5),
        ("again", True),
        ("name", ""),
        ("name", None),
        ("held", "yes"),
        ("urgency", 1),
    ],
)
def test_what_is_no_term_is_refused_with_what_would_be_one(term: str, value: Any):
    with pytest.raises(InvalidError) as refused:
        checked_terms({term: value})

    (fault,) = refused.value.faults
    assert fault["path"] == term
    assert term in fault["detail"]


def test_all_faults_are_told_at_once():
    with pytest.raises(InvalidError) as refused:
        checked_terms({"priority": "high", "labels": 3, "again": 1})

    assert [fault["path"] for fault in refused.value.faults] == ["priority", "labels"]


@given(
    st.dictionaries(
        st.sampled_from(["priority", "not_before", "labels", "again", "name", "held"]), st.from_type(object)
    )
)
def test_whatever_is_said_it_is_kept_or_refused(said: dict[str, Any]):
    try:
        kept = checked_terms(said)
    except InvalidError as error:
        assert error.faults  # noqa: PT017 - most of what is said is refused, and may be
    else:
        assert checked_terms(kept) == kept


def test_parts_are_put_together_and_so_are_their_faults():
    def refuse(detail: str, **fields: Any) -> Any:
        raise InvalidError(detail, **fields)

    assert together(lambda: {"a": 1}, lambda: {"b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(InvalidError, match=r"^One\.$"):
        together(lambda: {"a": 1}, lambda: refuse("One."))
    with pytest.raises(InvalidError) as both:
        together(lambda: refuse("One.", faults=[{"detail": "1"}, {"detail": "2"}]), lambda: refuse("Two."))
    assert [fault["detail"] for fault in both.value.faults] == ["1", "2", "Two."]
