"""A record in the formats of others."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from labretto.catalog.export import format_named, formats
from labretto.catalog.read import open_record
from labretto.catalog.store import RecordWriter
from labretto.errors import InvalidError


def exported(writer: RecordWriter, name: str) -> str:
    return b"".join(format_named(name)(open_record(writer.folder))).decode()


def test_documents_are_strict_json_one_a_line(scanned: RecordWriter) -> None:
    lines = [json.loads(line) for line in exported(scanned, "documents").splitlines()]

    assert [name for name, _ in lines[:3]] == ["start", "descriptor", "event_page"]
    assert all(isinstance(document, dict) for _, document in lines)


def test_what_json_has_no_word_for_is_null(writer: RecordWriter, tell: Callable[..., None]) -> None:
    image = writer.put("a", np.array([[1.0, np.nan], [np.inf, 2.0]]))
    tell("saved", path="a", row={"image": image, "number": {"$number": "nan"}, "z": {"$complex": [1.0, 2.0]}})

    event = json.loads(exported(writer, "documents").splitlines()[-1])[1]

    assert event["data"] == {"image": [[1, None], [None, 2]], "number": None, "z": [1, 2]}


def test_a_table_has_its_units_in_the_names_and_one_value_in_a_cell(scanned: RecordWriter) -> None:
    assert exported(scanned, "csv").splitlines() == ["sample,position [mm]", "A1,0.0", "A2,1.5", "A3,3.0"]


def test_a_format_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(InvalidError, match="no format") as error:
        format_named("xml")

    assert "csv, documents" in str(error.value)
    assert set(formats()) >= {"csv", "documents"}
