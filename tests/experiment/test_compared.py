"""What was foreseen of a run beside what happened."""

from typing import Any

import pytest

from labretto.experiment.compared import compare, happened

FORECAST: dict[str, Any] = {
    "seconds": {"p10": 50, "p50": 60, "p90": 80},
    "instruments": {"rig": {"seconds": 40.0, "steps": 2, "first": 0, "last": 60}},
    "people": [{"path": "ask", "text": "Gloves?", "at": {"p10": 8, "p50": 10, "p90": 12}, "answer": None}],
}


def at(second: float) -> str:
    return f"2026-11-21T04:{int(second // 60):02d}:{second % 60:09.6f}Z"


def event(second: float, kind: str, **body: Any) -> dict[str, Any]:
    return {"run": "r", "kind": kind, "at": at(second), **body}


def run(ends: float = 65, state: str = "succeeded") -> list[dict[str, Any]]:
    """Submitted at 0, started at 5."""
    return [
        event(0, "submitted"),
        event(5, "started"),
        event(5, "intended", path="a", instrument="rig"),
        event(25, "ended", path="a"),
        event(25, "waiting", question={"path": "ask"}),
        event(45, "settled", path="ask"),
        event(ends, "finished", state=state),
    ]


@pytest.mark.parametrize(("ends", "verdict"), [(65, "as foreseen"), (54, "shorter"), (100, "longer")])
def test_a_run_took_as_long_as_foreseen_or_shorter_or_longer(ends: float, verdict: str):
    assert compare(FORECAST, run(ends))["verdict"] == verdict


def test_the_sentence_says_what_took_how_long():
    found = compare(FORECAST, run())

    assert found["sentence"] == "It took 60 s, 20 s of it while people were asked; 50 s to 80 s were foreseen."
    assert found["seconds"] == {"foreseen": FORECAST["seconds"], "happened": 60}


def test_a_run_that_failed_ended_before_its_end():
    found = compare(FORECAST, run(30, "failed"))

    assert found["verdict"] == "ended before its end"
    assert found["sentence"].endswith("and it is failed.")


def test_each_instrument_and_each_question_stands_beside_its_forecast():
    found = compare(FORECAST, run())

    assert found["instruments"]["rig"] == {
        "foreseen": {"seconds": 40.0, "steps": 2},
        "happened": {"seconds": 20, "steps": 1},
    }
    assert found["people"] == [
        {
            "path": "ask",
            "text": "Gloves?",
            "foreseen_at": FORECAST["people"][0]["at"],
            "happened": {"at": 20, "answer": 20},
        }
    ]


def test_of_questions_that_are_open_together_the_time_counts_once():
    events = [
        event(0, "started"),
        event(10, "waiting", question={"path": "a"}),
        event(20, "waiting", question={"path": "b"}),
        event(40, "settled", path="a"),
        event(50, "settled", path="b"),
    ]

    assert happened(events).asked == 40


def test_a_run_that_never_began_or_of_which_nothing_was_foreseen_is_told_as_such():
    assert compare(FORECAST, [event(0, "submitted"), event(1, "finished", state="aborted")])["sentence"].startswith(
        "It never began; 50 s to 80 s were foreseen"
    )
    assert compare({"seconds": None}, run())["verdict"] == "nothing was foreseen"


def test_of_a_run_that_goes_on_or_was_cut_off_it_is_said_that_it_is_not_over():
    events = [event(0, "started"), event(10, "waiting", question={"path": "a"}), event(20, "settled", path="a")]

    found = compare(FORECAST, events)

    assert (found["verdict"], found["sentence"]) == ("not over", "It is not over; 50 s to 80 s were foreseen.")
