"""Which event is a notice, and in which words."""

from typing import Any

import pytest

from labretto.catalog.live import Change
from labretto.instrument.reading import spoken
from labretto.orchestrator.journal import Event
from labretto.orchestrator.notices import Known, Notice, of_event

AT = "2026-11-21T08:00:00.000000Z"


def event(kind: str, **body: Any) -> Event:
    return Event("run-1", 7, kind, AT, body)


def test_a_run_that_waits_is_told_with_its_question() -> None:
    notice = of_event(event("waiting", reason="?", question={"text": "Load a fresh film."}), "anneal")

    assert notice == Notice(("run waits",), "anneal waits for a person", "Load a fresh film.", AT, "run-1")


@pytest.mark.parametrize(
    ("state", "title", "occasions"),
    [
        ("failed", "anneal failed", ("run failed", "run ended")),
        ("aborted", "anneal was aborted", ("run ended",)),
        ("succeeded", "anneal succeeded", ("run ended",)),
    ],
)
def test_an_end_is_told_in_its_word(state: str, title: str, occasions: tuple[str, ...]) -> None:
    error = {"detail": "The lamp is broken.", "way_out": "Change it."} if state == "failed" else None

    notice = of_event(event("finished", state=state, error=error), "anneal")

    assert notice is not None
    assert (notice.title, notice.occasions) == (title, occasions)
    if error:
        assert notice.text == "The lamp is broken. Change it."


@pytest.mark.parametrize("kind", ["submitted", "started", "intended", "ended", "saved", "paused", "settled"])
def test_what_goes_its_way_is_no_notice(kind: str) -> None:
    assert of_event(event(kind), "anneal") is None


def told(known: Known, *states: tuple[str, str]) -> list[str]:
    changes = [Change(1, "instrument", {"name": "pump", "state": s, "reason": r, "since": AT}) for s, r in states]
    return [notice.title for change in changes for notice in known.of_change(change)]


def test_an_instrument_that_goes_down_is_told_once_and_again_when_it_answers() -> None:
    loop, up = ("crash loop", "5 deaths"), ("ready", "")

    assert told(Known(), up, loop, loop, ("starting", ""), loop, up, up) == ["pump is crash loop", "pump answers again"]


def test_a_host_that_is_started_again_at_once_and_a_hub_that_ends_call_nobody() -> None:
    assert (
        told(Known(), ("restarting", "killed"), ("starting", ""), ("ready", ""), ("stopped", "the hub stopped")) == []
    )


def test_an_alarm_is_told_each_time_it_is_raised() -> None:
    alarm = {"id": "a1", "instrument": "furnace", "attribute": "temperature", "severity": "critical", "active": True}
    alarm |= {"condition": "above 800 degC", "reading": {"value": 812.5, "unit": "degC"}, "raised": AT}
    known = Known()
    bodies = [alarm, alarm, alarm | {"active": False}, alarm | {"raised": "later"}, alarm | {"acknowledged": AT}]

    found = [known.of_change(Change(1, "alarms", {"instrument": "furnace", "alarms": [each]})) for each in bodies]

    assert [len(notices) for notices in found] == [1, 0, 0, 1, 0]
    assert found[0][0].title == "critical: furnace.temperature"
    assert found[0][0].text == "furnace.temperature is above 800 degC: 812.5 degC."


def test_a_reminder_names_what_is_still_to_be_done() -> None:
    (notice,) = Known().of_change(Change(1, "reminder", {"title": "Change the film", "run": "run-1"}))

    assert (notice.title, notice.run) == ("Still to be done: Change the film", "run-1")
    assert notice.as_dict() == {
        "occasion": "reminder", "title": notice.title, "text": "It is still open.", "at": "", "run": "run-1"
    }  # fmt: skip


def test_a_reminder_says_a_short_question_once_and_when_it_is_due() -> None:
    task = {"title": "Load it", "description": "Load it", "due_date": "2026-11-21T13:00:00Z"}
    (notice,) = Known().of_change(Change(1, "reminder", {**task, "at": "2026-11-21T12:00:00Z"}))

    assert (notice.text, notice.at) == (f"It is due {spoken('2026-11-21T13:00:00Z')}.", "2026-11-21T12:00:00Z")
