"""Errors say what the caller can do, and say it again after any journey over a wire."""

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from labretto import errors
from labretto.errors import BusyError, InvalidError, LabError, LimitError, from_problem


def kinds(cls: type[LabError] = LabError) -> list[type[LabError]]:
    """Every error of the page; other rooms' own kinds are theirs to test."""
    below = [kind for sub in cls.__subclasses__() for kind in kinds(sub)]
    return [kind for kind in [cls, *below] if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_error_comes_back_from_its_problem_details(kind: type[LabError]) -> None:
    """Class, text, way out and fields survive; the class is what tells the caller what to do."""
    back = from_problem(kind("It did not.", way_out="Do it.", running="7").problem())

    assert type(back) is kind
    assert (back.detail, back.way_out, back.fields) == ("It did not.", "Do it.", {"running": "7"})


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_error_is_named_on_the_page_that_lists_them(kind: type[LabError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_a_problem_has_the_five_members_of_rfc_9457_that_we_use() -> None:
    problem = BusyError("stage is busy.", way_out="Ask again.", since="now").problem()

    assert problem == {
        "type": "urn:labretto:error:BusyError",
        "title": "The instrument is busy",
        "status": 409,
        "detail": "stage is busy.",
        "way_out": "Ask again.",
        "since": "now",
    }


def test_a_field_cannot_take_the_place_of_a_standard_member() -> None:
    error = BusyError("stage is busy.", status=200, type="fine", detail="all good")

    assert (error.problem()["status"], error.problem()["detail"]) == (409, "stage is busy.")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.RefusedError),
        (401, errors.ForbiddenError),
        (404, errors.NotFoundError),
        (409, errors.RefusedError),
        (418, errors.RefusedError),
        (422, errors.InvalidError),
        (500, errors.FailedError),
        (502, errors.FailedError),
        (503, errors.UnreachableError),
        (504, errors.UnreachableError),
        (507, errors.StorageError),
        (200, errors.FailedError),
        ("404", errors.FailedError),
        (None, errors.FailedError),
    ],
)
def test_a_strangers_problem_is_read_by_its_status_and_carefully(status: object, kind: type[LabError]) -> None:
    """Only a status that says so means that nothing moved."""
    assert type(from_problem({"type": "about:blank", "title": "Oh", "status": status})) is kind


def test_a_strangers_type_that_ends_like_ours_is_not_ours() -> None:
    assert type(from_problem({"type": "https://example.org/:BusyError", "status": 500})) is errors.FailedError


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(["type", "title", "status", "detail", "way_out", "self", "faults", "fields", "kind", "args"])


@given(st.dictionaries(MEMBERS, JSON))
@settings(deadline=None)
def test_any_json_object_is_some_error_that_can_be_shown_and_sent_on(problem: dict[str, Any]) -> None:
    error = from_problem(problem)

    assert isinstance(str(error), str)
    assert type(from_problem(error.problem())) is type(error)


def test_the_text_is_the_sentence_and_the_way_out() -> None:
    assert str(LabError("It is above 100 mm.", way_out="Lower it.")) == "It is above 100 mm. Lower it."
    assert str(LabError("It is above 100 mm.")) == "It is above 100 mm."


def test_an_invalid_request_shows_all_its_faults_with_their_places() -> None:
    faults = [
        {"detail": "No such instrument.", "line": 3, "column": 5, "way_out": "Use stage."},
        {"detail": "Too hot."},
    ]
    error = InvalidError("The file has 2 faults.", faults=faults)

    assert error.faults == faults
    assert str(error).splitlines() == [
        "The file has 2 faults.",
        "  line 3, column 5: No such instrument. Use stage.",
        "  Too hot.",
    ]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_can_be_copied_between_processes(copied: Any) -> None:
    error = copied(LimitError("Too hot.", way_out="Lower it.", limit=1200))

    assert (type(error), error.way_out, error.fields) == (LimitError, "Lower it.", {"limit": 1200})


def test_a_single_fault_is_not_told_twice() -> None:
    error = InvalidError("a.yaml: line 1: no steps.", way_out="Add some.", faults=[{"line": 1, "detail": "no steps."}])

    assert str(error) == "a.yaml: line 1: no steps. Add some."
