"""A record as event-model documents: validated by event-model's own schemas, eaten by Bluesky's callbacks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bluesky.callbacks.best_effort import BestEffortCallback
from event_model import DocumentNames, DocumentRouter, schema_validators

from labretto.catalog.finish import finalise
from labretto.catalog.read import open_record
from labretto.catalog.store import RecordWriter

Tell = Callable[..., None]
Documents = list[tuple[str, dict[str, Any]]]


def documents(writer: RecordWriter) -> Documents:
    """All documents, each of which keeps event-model's schema."""
    found = list(open_record(writer.folder).to_documents())
    for name, document in found:
        schema_validators[DocumentNames[name]].validate(document)
    return found


def of_kind(found: Documents, kind: str) -> list[dict[str, Any]]:
    return [document for name, document in found if name == kind]


def stream(found: Documents, name: str) -> dict[str, Any]:
    return next(document for document in of_kind(found, "descriptor") if document["name"] == name)


def test_each_saved_row_is_an_event_with_its_units_and_arrays(scanned: RecordWriter) -> None:
    found = documents(scanned)
    primary = stream(found, "primary")

    assert primary["data_keys"]["position"]["units"] == "mm"
    assert primary["data_keys"]["image"]["shape"] == [8, 9]
    assert primary["data_keys"]["image"]["dims"] == ["y", "x"]
    assert primary["data_keys"]["potential"]["shape"] == [None], "40, 41 and 42 points"
    events = [event for event in of_kind(found, "event") if event["descriptor"] == primary["uid"]]
    assert [event["data"]["sample"] for event in events] == ["A1", "A2", "A3"]
    assert [event["data"]["position"] for event in events] == [0, 1.5, 3]
    assert events[2]["data"]["image"].tolist() == np.full((8, 9), 2).tolist()


def test_the_rows_that_a_step_streamed_are_pages_of_events(scanned: RecordWriter) -> None:
    found = documents(scanned)
    measured = stream(found, "potentiostat-cv")

    assert measured["data_keys"]["potentiostat-cv-current"]["units"] == "A"
    assert measured["data_keys"]["potentiostat-cv-current"]["dtype"] == "number"
    pages = of_kind(found, "event_page")
    assert [len(page["seq_num"]) for page in pages] == [40, 41, 42]
    assert pages[1]["seq_num"][0] == 41
    assert set(pages[1]["data"]["step"]) == {"sweep[1]/cv"}


def test_a_run_that_goes_on_has_no_stop_and_one_that_is_over_says_how(scanned: RecordWriter, tell: Tell) -> None:
    assert of_kind(documents(scanned), "stop") == []

    tell("finished", state="failed", error={"detail": "the lamp is broken"})

    stop = of_kind(documents(scanned), "stop")[0]
    assert (stop["exit_status"], stop["reason"]) == ("fail", "the lamp is broken")
    assert stop["num_events"] == {"potentiostat-cv": 123, "primary": 3}


def test_the_start_says_who_did_what_with_which_parameters(scanned: RecordWriter) -> None:
    start = of_kind(documents(scanned), "start")[0]

    assert start["plan_name"] == "scan of a library"
    assert start["owner"] == "ann"
    assert start["parameters"] == {"n": 3}
    assert "source" not in start["experiment"]


def test_the_same_record_gives_the_same_documents_also_after_its_files_were_closed(
    scanned: RecordWriter, tell: Tell
) -> None:
    tell("finished", state="succeeded", error=None)
    before = documents(scanned)
    scanned.close()
    finalise(scanned.folder)

    after = documents(scanned)

    assert repr(after) == repr(before)


def test_rows_with_other_names_get_a_stream_of_their_own(writer: RecordWriter, tell: Tell) -> None:
    tell("saved", path="a", row={"x": 1})
    tell("saved", path="b", row={"x": 2.5})
    tell("saved", path="c", row={"y": {"$value": 3, "unit": "K"}, "fit": {"slope.a": 2}})

    found = documents(writer)

    assert stream(found, "primary")["data_keys"]["x"]["dtype"] == "number"
    assert set(stream(found, "primary-2")["data_keys"]) == {"y", "fit-slope_a"}


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (None, "string"),
        (True, "boolean"),
        ("a", "string"),
        ({"$number": "nan"}, "number"),
        ({"$bytes": "AP8="}, "string"),
        ({"$time": "2026-11-21T04:21:35+00:00"}, "string"),
        ([1, 2], "array"),
        ({"$value": [1.0, 2.0], "dtype": "float64", "shape": [2], "dims": ["point"], "unit": "V"}, "array"),
        ({"$array": "arrays/9999.npy", "dtype": "float64", "shape": [20], "dims": ["point"]}, "array"),
    ],
)
def test_whatever_a_record_holds_becomes_a_valid_document(
    writer: RecordWriter, tell: Tell, value: Any, dtype: str
) -> None:
    tell("saved", path="a", row={"value": value})

    assert stream(documents(writer), "primary")["data_keys"]["value"]["dtype"] == dtype


def test_an_attribute_that_was_read_is_a_stream_of_its_name(writer: RecordWriter, tell: Tell) -> None:
    tell("intended", path="look", instrument="stage", action="attribute:get x", parameters={}, attempt=1)
    tell("ended", path="look", state="succeeded", result=4.5)

    event = of_kind(documents(writer), "event")[0]

    assert event["data"] == {"stage-x": 4.5, "step": "look"}


def test_best_effort_callback_and_a_document_router_eat_a_record(
    scanned: RecordWriter, tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    tell("finished", state="succeeded", error=None)
    callback, router = BestEffortCallback(), DocumentRouter()
    callback.disable_plots()

    for name, document in documents(scanned):
        callback(name, document)
        router(name, document)

    assert "position" in capsys.readouterr().out
