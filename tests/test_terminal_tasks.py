"""`labretto tasks` and `labretto answer`, as processes beside a hub, and the same from Python."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labretto import terminal_tasks
from labretto.errors import ConflictError, InvalidError
from labretto.orchestrator.client import Hub

EXPERIMENT = """
name: weighing
steps:
  - ask: Weigh the film
    name: film
    fields:
      mass: {type: number, unit: mg, minimum: 0}
      label: text
      photo: file
  - ask: Go on?
    name: on
    choices: [yes, no]
"""


@pytest.fixture
def hub(command_line: Any) -> Iterator[Hub]:
    with command_line.hub("--port", "0") as url, Hub(url) as hub:
        yield hub


def question(hub: Hub, run: str, title: str) -> dict[str, Any]:
    """The open task of this title, as soon as it is there; each look is a request that takes its time."""
    for _ in range(2000):
        if found := [task for task in hub.tasks(run=run, status="pending") if task["title"] == title]:
            return found[0]
    raise AssertionError("it was not asked")


def weighing(command_line: Any, hub: Hub) -> Any:
    file: Path = command_line.folder / "weighing.yaml"
    file.write_text(EXPERIMENT)
    return hub.submit(file)


def test_a_task_is_put_down_and_listed(command_line: Any, hub: Hub):
    added = command_line.run("tasks", "add", "Order argon", "Two bottles", "--due", "2026-01-01", "--assignee", "Ada")
    command_line.run("tasks", "add", "Dust", "Everywhere", "--priority", "high")

    number = added.stdout.strip()
    assert hub.tasks(assignee="Ada")[0]["id"] == int(number)
    listed = command_line.run("tasks").stdout
    assert listed.index("Dust") < listed.index("Order argon")
    assert "overdue" in listed
    assert [task["title"] for task in json.loads(command_line.run("tasks", "--text", "bottles", "--json").stdout)] == [
        "Order argon"
    ]
    assert command_line.run("answer", number).stdout == f"Task {number} is completed.\n"
    assert "Order argon" not in command_line.run("tasks").stdout
    assert "Order argon" in command_line.run("tasks", "--status", "completed").stdout


def test_what_a_run_asks_is_answered_field_by_field(command_line: Any, hub: Hub):
    run = weighing(command_line, hub)
    task = question(hub, run.id, "Weigh the film")
    (command_line.folder / "film.png").write_bytes(b"\x89PNG")

    refused = command_line.run("answer", task["id"], "mass=-1", "label=12")
    assert refused.returncode == 3
    assert "mass=-1 mg is below 0 mg" in refused.stderr
    assert "photo" in refused.stderr
    not_a_field = command_line.run("answer", task["id"], "12")
    assert (not_a_field.returncode, "FIELD=VALUE" in not_a_field.stderr) == (3, True)

    done = command_line.run("answer", task["id"], "mass=12.5", "label=12", "photo=@film.png", "--why", "scales")
    assert done.returncode == 0, done.stderr
    closed = hub.ask("GET", f"/tasks/{task['id']}")
    assert (closed["answer"], closed["why"]) == ({"mass": 12.5, "label": "12", "photo": "files/film.png"}, "scales")
    assert command_line.run("answer", task["id"], "mass=1").returncode == 3

    following = question(hub, run.id, "Go on?")
    assert command_line.run("answer", following["id"], "yes").returncode == 0
    assert run.wait(30).state == "succeeded"


def test_the_same_from_python(command_line: Any, hub: Hub):
    run = weighing(command_line, hub)
    task = question(hub, run.id, "Weigh the film")
    photo = command_line.folder / "film.png"
    photo.write_bytes(b"\x89PNG")

    with pytest.raises(InvalidError) as refused:
        hub.answer(task["id"], {"mass": "much"})
    assert {fault["field"] for fault in refused.value.faults} == {"mass", "label", "photo"}
    with pytest.raises(InvalidError, match="cannot be read"):
        hub.send_file(task["id"], photo.with_name("no.png"))

    place = hub.send_file(task["id"], photo)
    hub.answer(task["id"], {"mass": 1, "label": "a", "photo": place}, why="scales")

    with pytest.raises(ConflictError):
        hub.answer(task["id"], {"mass": 2, "label": "a", "photo": place})
    question(hub, run.id, "Go on?")
    run.answer("no", path="on")
    assert run.wait(30).state == "succeeded"
    assert hub.add_task("Order argon", "Two bottles", priority="high")["priority"] == "high"


class Asked:
    """Stands where a hub does: it has one task and notes its answer."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task, self.answers = task, list[tuple[object, object]]()

    def __call__(self, _name: object) -> "Asked":
        return self

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *_raised: object) -> None:
        pass

    def ask(self, _method: str, _path: str) -> dict[str, Any]:
        return self.task

    def answer(self, _number: int, value: object, *, choice: str | None, why: str | None) -> dict[str, Any]:
        self.answers.append((choice, value))
        return {"status": "completed"}


INTERRUPTED = {
    "id": 6,
    "description": "pump.dispense(volume=20) was interrupted. What happened?",
    "choices": ["happened", "repeat"],
    "meanings": {"happened": "It happened: go on with the value given.", "repeat": "It did not happen: do it again."},
    "form": {"type": "number", "unit": "mL"},
}


@pytest.mark.parametrize(
    ("typed", "answered"), [(["happened", "30"], ("happened", 30)), (["repeat"], ("repeat", None))]
)
def test_on_a_terminal_a_choice_is_offered_with_what_it_means_then_its_value_is_asked_for(
    typed: list[str], answered: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    hub = Asked(INTERRUPTED)
    monkeypatch.setattr(terminal_tasks, "Hub", hub)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _label: typed.pop(0))

    terminal_tasks.answer_task(None, 6, [], {"choice": None, "why": None}, file=None, as_json=False)

    assert hub.answers == [answered]
    assert "repeat     It did not happen: do it again." in capsys.readouterr().out


def test_happened_alone_is_the_choice_not_the_value(monkeypatch: pytest.MonkeyPatch):
    hub = Asked(INTERRUPTED)
    monkeypatch.setattr(terminal_tasks, "Hub", hub)

    terminal_tasks.answer_task(None, 6, ["happened"], {"choice": None, "why": None}, file=None, as_json=False)

    assert hub.answers == [("happened", None)]


def test_happened_may_be_followed_by_what_the_action_would_have_answered(monkeypatch: pytest.MonkeyPatch):
    hub = Asked(INTERRUPTED)
    monkeypatch.setattr(terminal_tasks, "Hub", hub)

    terminal_tasks.answer_task(None, 6, ["happened", "2.5"], {"choice": None, "why": None}, file=None, as_json=False)

    assert hub.answers == [("happened", 2.5)]
