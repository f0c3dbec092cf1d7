"""`labretto queue`: what it shows and changes, in words that can be read; against a hub in a process of its own."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labretto.errors import ConflictError, InvalidError
from labretto.orchestrator.client import Hub, moment

from .test_cli import Labretto, in_process

LAB = """name = "bench"

[orchestrator]
autostart = false

[instruments.stage]
driver = "labretto.instrument.simulated.stage:SampleStage"
"""
SCAN = """name: scan
parameters:
  x: {default: 1, minimum: 0, maximum: 100, unit: mm}
steps:
  - do: stage.move
    with: {x: "${x}", y: 1}
"""


@pytest.fixture(scope="module")
def address(command_line_of_the_module: Any) -> Iterator[str]:
    """A hub whose queue stands; what is submitted waits."""
    (command_line_of_the_module.folder / "lab.toml").write_text(LAB)
    with command_line_of_the_module.hub("lab.toml", "--port", 0) as address:
        yield address


@pytest.fixture
def hub(address: str) -> Iterator[Hub]:
    """With nothing queued at the end."""
    with Hub(address) as hub:
        yield hub
        for run in hub.queue():
            hub.run(run["id"]).remove()


@pytest.fixture
def labretto(capsys: Any, monkeypatch: Any, tmp_path: Path, hub: Hub) -> Labretto:
    (tmp_path / "scan.yaml").write_text(SCAN)
    monkeypatch.chdir(tmp_path)
    ask = in_process(capsys, monkeypatch)

    def at_hub(*words: object) -> Any:
        return ask(*words, "--hub", hub.address)

    return at_hub


def submit(hub: Hub, folder: Path, name: str, **terms: Any) -> str:
    (folder / "scan.yaml").write_text(SCAN)
    return hub.submit(folder / "scan.yaml", terms={"name": name, **terms}).id


def test_the_queue_is_shown_in_order_with_why_each_run_waits(labretto: Labretto, hub: Hub, tmp_path: Path) -> None:
    assert "Nothing waits." in labretto("queue")[1]
    submit(hub, tmp_path, "usual", labels=["film"], again=2)
    submit(hub, tmp_path, "urgent", priority=5, held=True)

    status, output, _ = labretto("queue")

    assert status == 0
    first, second = [line for line in output.splitlines() if re.match(r"\s*[12] ", line)]
    assert "urgent" in first
    assert "Held by" in first
    assert all(word in second for word in ("usual", "film", "1 of 3"))
    assert "autostart = false" in output
    assert [run["name"] for run in json.loads(labretto("queue", "list", "--json")[1])["runs"]] == ["urgent", "usual"]


def test_a_run_is_submitted_on_terms(labretto: Labretto, hub: Hub) -> None:
    words = ["--priority", 3, "--not-before", "02:00", "--label", "film", "--label", "night", "--again", 1, "--hold"]
    status, run, errors = labretto("run", "scan.yaml", "--no-wait", "-p", "x=2", *words)

    assert status == 0, errors
    (waits,) = hub.queue()
    assert waits["id"] == run.strip()
    assert (waits["priority"], waits["labels"], waits["again"], waits["held"]) == (3, ["film", "night"], 1, True)
    due = datetime.fromisoformat(waits["not_before"]).astimezone()
    assert (due.hour, due.minute) == (2, 0)
    assert due > datetime.now(UTC)


def test_runs_are_moved_held_edited_labelled_repeated_and_removed(labretto: Labretto, hub: Hub, tmp_path: Path) -> None:
    a, b = submit(hub, tmp_path, "a"), submit(hub, tmp_path, "b")
    for words in (
        ["move", "b", "before", "a"],
        ["hold", "a", "--why", "no film"],
        ["edit", "b", "-p", "x=7", "--priority", 1, "--not-before", "2030-01-01T00:00Z"],
        ["edit", "b", "--not-before", ""],
        ["label", "b", "film", "night"],
        ["label", "b", "--remove", "night"],
        ["loop", "b", "--times", 3],
        ["again", "b", "--name", "c", "-p", "x=9"],
    ):
        status, output, errors = labretto("queue", *words)
        assert status == 0, errors
        assert "is queued" in output

    rows = {run["name"]: run for run in hub.queue()}
    assert list(rows) == ["b", "a", "c"]
    assert "no film" in rows["a"]["reason"]
    assert (rows["b"]["priority"], rows["b"]["labels"], rows["b"]["again"]) == (1, ["film"], 3)
    assert rows["b"]["not_before"] is None
    assert hub.run(b).status()["parameters"] == {"x": 7}
    assert hub.run(rows["c"]["id"]).status()["parameters"] == {"x": 9}
    assert labretto("queue", "loop", "b")[0] == 0
    assert hub.run(b).status()["again"] is None
    assert labretto("queue", "loop", b[-12:], "--end")[0] == 0
    assert labretto("queue", "release", a)[0] == 0
    assert "is aborted" in labretto("queue", "remove", "a")[1]


def test_what_is_refused_is_told_with_status_three(labretto: Labretto, hub: Hub, tmp_path: Path) -> None:
    submit(hub, tmp_path, "twin")
    submit(hub, tmp_path, "twin")
    submit(hub, tmp_path, "one")
    for words, told in (
        (["move", "twin", "first"], "2 runs are called 'twin'"),
        (["move", "one", "beside"], "where"),
        (["move", "one", "before"], "Name another run"),
        (["edit", "one", "-p", "x=200", "--priority", 9999], "200"),
        (["edit", "one"], "Nothing is said"),
        (["edit", "one", "--not-before", "soon"], "'soon' is no time"),
        (["release", "one"], "is not held"),
        (["hold", "nobody"], "No run is called 'nobody'"),
    ):
        status, _, errors = labretto("queue", *words)
        assert status == 3
        assert told in errors


def test_the_whole_queue_is_started_and_stopped(labretto: Labretto, hub: Hub, tmp_path: Path) -> None:
    run = hub.run(submit(hub, tmp_path, "a"))
    assert "Runs begin again." in labretto("queue", "start")[1]
    run.wait(20)
    assert "Nothing begins" in labretto("queue", "stop")[1]
    assert hub.run(submit(hub, tmp_path, "b")).state == "queued"
    with pytest.raises(ConflictError, match="can no more be changed"):
        run.edit(priority=1)
    run.edit(labels=["done"])
    assert run.again(parameters={"x": 3}).status()["labels"] == ["done"]
    assert " a is queued" in labretto("queue", "again", run.id[-12:])[1]  # what is over is found, too


SEEN = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_time_of_day_is_the_next_time_the_clock_shows_it() -> None:
    early, late = (SEEN.astimezone() + timedelta(minutes=by) for by in (-1, 1))

    assert moment(late.strftime("%H:%M"), seen=SEEN.astimezone()) - SEEN == timedelta(minutes=1)
    assert moment(early.strftime("%H:%M"), seen=SEEN.astimezone()) - SEEN == timedelta(days=1, minutes=-1)
    assert moment("2026-11-22T02:00").tzinfo is not None
    assert moment(SEEN) == SEEN
    for wrong in ("25:00", "soon", "tomorrow at two", ""):
        with pytest.raises(InvalidError, match="is no time"):
            moment(wrong)
