"""A line of a log has its fields, for people or for programs, and no secret."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from labretto.errors import InvalidError
from labretto.network.log_lines import JsonLines, TextLines, configure


def record(*, error: BaseException | None = None, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("labretto.catalog", logging.WARNING, "store.py", 1, "the disk is full", None, None)
    made.exc_info = (type(error), error, None) if error else None
    vars(made).update(fields)
    return made


def test_a_line_for_programs_is_one_json_object_with_its_fields() -> None:
    line = JsonLines({"instrument": "stage"}).format(
        record(run="r1", why='no "space"\nleft', count=3, part=float("nan"))
    )

    assert "\n" not in line
    said = json.loads(line)
    assert (said["level"], said["message"], said["instrument"]) == ("warning", "the disk is full", "stage")
    assert (said["run"], said["why"], said["count"], said["part"]) == ("r1", 'no "space"\nleft', 3, "nan")
    assert said["time"].endswith("Z")


def test_what_json_cannot_say_is_said_in_words_and_kept_short() -> None:
    said = json.loads(JsonLines().format(record(thing=object(), text="x" * 10_000, names={1, 2})))

    assert said["thing"].startswith("<object")
    assert len(said["text"]) == 4000


def test_a_line_for_people_has_its_fields_behind_the_words() -> None:
    line = TextLines().format(record(run="r1", why="no space"))

    assert line.endswith('WARNING the disk is full run=r1 why="no space" (labretto.catalog)')


@pytest.mark.parametrize("form", [JsonLines(), TextLines()])
def test_a_traceback_and_no_secret_are_in_it(form: logging.Formatter) -> None:
    line = form.format(record(error=ValueError("stuck"), token="abc123", headers={"Authorization": "Bearer abc123"}))

    assert "ValueError: stuck" in line
    assert "abc123" not in line


def test_a_form_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABRETTO_LOG", "xml")

    with pytest.raises(InvalidError, match="no form of a log"):
        configure(logging.INFO)


def test_the_form_is_passed_on_to_the_processes_of_a_hub() -> None:
    inner = "import labretto.network.log_lines as l, logging; l.configure(20); logging.info('inner', extra={'n': 1})"
    outer = (
        "import labretto.network.log_lines as l, logging, subprocess, sys; l.configure(20, 'json'); "
        f"logging.info('outer'); subprocess.run([sys.executable, '-c', {inner!r}])"
    )

    done = subprocess.run([sys.executable, "-c", outer], capture_output=True, text=True, check=True)

    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["outer", "inner"]
