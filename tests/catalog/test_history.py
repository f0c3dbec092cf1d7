from typing import Any

import pytest
from hypothesis import given, strategies as st

from labretto.catalog.history import History, fold


def story(*told: tuple[str, dict[str, Any]]) -> History:
    events = [{"run": "r", "number": i, "kind": kind, "at": f"t{i}", **body} for i, (kind, body) in enumerate(told, 1)]
    return fold(events)


INTENDED = ("intended", {"path": "a", "instrument": "stage", "action": "move", "invocation": "i1", "attempt": 1})
ENDED = ("ended", {"path": "a", "state": "succeeded", "result": 1, "origin": "answered"})


def asked(path: str) -> tuple[str, dict[str, Any]]:
    return "waiting", {"question": {"path": path}}


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ([], "queued"),
        ([("submitted", {})], "queued"),
        ([("started", {})], "running"),
        ([("started", {}), ("waiting", {"question": "?"})], "waiting"),
        ([("started", {}), ("waiting", {"question": "?"}), ("settled", {"path": "a"})], "running"),
        ([("started", {}), ("paused", {}), ("resumed", {})], "running"),
        ([("started", {}), ("waiting", {}), INTENDED], "running"),
        ([("started", {}), asked("a"), asked("b"), ("settled", {"path": "a", "choice": "yes"})], "waiting"),
        ([("started", {}), asked("a"), asked("b"), INTENDED], "waiting"),
        ([("started", {}), asked("a"), asked("b"), ("aborting", {})], "running"),
        ([("finished", {"state": "aborted"})], "aborted"),
    ],
)
def test_a_run_has_one_state(told: list[tuple[str, dict[str, Any]]], state: str) -> None:
    assert story(*told).state == state


def test_a_step_is_what_its_last_attempt_came_to() -> None:
    again = ("intended", INTENDED[1] | {"invocation": "i2", "attempt": 2})
    steps = story(INTENDED, ("interrupted", {"path": "a", "reason": "host lost"}), again, ENDED).steps

    assert list(steps) == ["a"]
    assert (steps["a"].attempt, steps["a"].invocation, steps["a"].state) == (2, "i2", "succeeded")
    assert (steps["a"].started, steps["a"].ended) == ("t3", "t4")


def test_an_interrupted_step_keeps_why_and_what_a_person_decided() -> None:
    history = story(
        INTENDED,
        ("interrupted", {"path": "a", "reason": "host lost"}),
        ("waiting", {"question": "Did it happen?"}),
        ("settled", {"path": "a", "choice": "skip", "who": "ann", "why": "seen"}),
    )

    step = history.steps["a"]
    assert (step.state, step.error) == ("interrupted", "host lost")
    assert step.settled == {"choice": "skip", "who": "ann", "value": None, "why": "seen", "at": "t4"}
    assert history.question is None


def test_a_row_saved_again_after_a_crash_counts_once() -> None:
    saved = ("saved", {"path": "save", "row": {"x": 1}})

    assert story(saved, saved).rows == {"save": {"x": 1}}


def test_what_people_changed_before_a_run_began_is_what_was_done_and_who_did_it_is_kept() -> None:
    history = story(
        ("submitted", {"name": "scan", "parameters": {"x": 1}, "labels": ["film"]}),
        ("edited", {"who": "ann", "changed": {"parameters": {"x": 2}, "experiment": {"steps": 3}}}),
        ("edited", {"who": "bob", "changed": {"name": "night scan", "labels": []}}),
    )

    assert (history.name, history.parameters, history.labels) == ("night scan", {"x": 2}, [])
    assert history.manifest()["experiment"] == {"steps": 3}
    assert history.manifest()["edits"] == [
        {"at": "t2", "who": "ann", "changed": {"parameters": {"x": 2}}},
        {"at": "t3", "who": "bob", "changed": {"name": "night scan", "labels": []}},
    ]


@given(st.lists(st.sampled_from([INTENDED, ENDED, ("saved", {"path": "s", "row": {}}), ("odd", {})]), max_size=8))
def test_events_told_twice_change_nothing(told: list[tuple[str, dict[str, Any]]]) -> None:
    events = [{"run": "r", "number": i, "kind": kind, **body} for i, (kind, body) in enumerate(told, 1)]

    assert fold(events + events) == fold(events)


@pytest.mark.parametrize(
    "event", [{}, {"number": "1"}, {"number": 1}, {"number": 1, "kind": "ended"}, {"number": 1, "kind": "edited"}]
)
def test_an_event_of_another_make_is_no_error(event: dict[str, Any]) -> None:
    fold([event])
