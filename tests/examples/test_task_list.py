"""Heritage B from outside: `/tasks` of a real hub with plain `requests`, over restarts and kills, and what runs ask."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

PATIENCE = 30.0
ARGON = {"title": "Order argon", "description": "Two bottles of 50 l, 5.0"}

EXPERIMENT = """
name: weighing
steps:
  - ask: "Weigh the film"
    name: film
    fields:
      mass: {type: number, unit: mg, minimum: 0}
      cracked: {type: boolean, default: false}
  - save: {mass: "${film.mass}", cracked: "${film.cracked}"}
"""


class Client:
    """Somebody who knows the address and nothing else."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> requests.Response:
        return self._session.request(method, self.url + path, json=body, params=query, timeout=PATIENCE)

    def add(self, **words: Any) -> Any:
        made = self.ask("POST", "/tasks", ARGON | words)
        assert made.status_code == 201, made.text
        return made.json()

    def titles(self, **query: Any) -> list[str]:
        answer = self.ask("GET", "/tasks", **query)
        assert answer.status_code == 200, answer.text
        return [task["title"] for task in answer.json()]


@pytest.fixture(scope="module")
def client(command_line_of_the_module: Any) -> Iterator[Client]:
    with command_line_of_the_module.hub("--port", "0") as url:
        yield Client(url)
    command_line_of_the_module.close()


@pytest.fixture
def empty(client: Client) -> Client:
    for task in client.ask("GET", "/tasks", limit=1000).json():
        assert client.ask("DELETE", f"/tasks/{task['id']}").status_code == 204
    return client


def test_a_task_is_put_down_looked_at_changed_and_taken_off(empty: Client):
    made = empty.ask("POST", "/tasks", ARGON)

    assert made.status_code == 201
    task = made.json()
    assert made.headers["Location"] == f"/tasks/{task['id']}"
    assert (task["title"], task["description"]) == tuple(ARGON.values())
    assert (task["status"], task["priority"], task["due_date"], task["assignee"]) == ("pending", "medium", None, None)
    assert empty.ask("GET", "/tasks").json() == [task]
    assert empty.ask("GET", f"/tasks/{task['id']}").json() == task

    body = ARGON | {"title": "Order helium", "status": "completed", "priority": "high", "due_date": "2026-12-01"}
    changed = empty.ask("PUT", f"/tasks/{task['id']}", body)
    assert changed.status_code == 200
    assert {name: changed.json()[name] for name in body} == body
    assert changed.json()["closed"] is not None

    gone = empty.ask("DELETE", f"/tasks/{task['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert empty.ask("GET", "/tasks").json() == []


def test_what_was_answered_may_be_sent_back_as_it_is(empty: Client):
    task = empty.add(assignee="Ada", due_date="2026-12-01T12:00:00Z")

    changed = empty.ask("PUT", f"/tasks/{task['id']}", task | {"status": "in_progress"})

    assert changed.status_code == 200
    assert changed.json() | {"updated": None} == task | {"status": "in_progress", "updated": None}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"description": "d"}, "title"),
        ({"title": "t"}, "description"),
        ({"title": "", "description": "d"}, "title"),
        ({"title": " \t\n", "description": "d"}, "title"),
        ({"title": "t", "description": "  "}, "description"),
        ({"title": None, "description": "d"}, "title"),
        ({"title": 5, "description": "d"}, "title"),
        ({"title": "x" * 501, "description": "d"}, "title"),
        ({**ARGON, "status": "lost"}, "status"),
        ({**ARGON, "priority": "purple"}, "priority"),
        ({**ARGON, "due_date": "soon"}, "due_date"),
        ([], "body"),
    ],
)
def test_what_does_not_fit_is_a_422_that_names_the_field_and_changes_nothing(
    empty: Client, method: str, body: Any, field: str
):
    task = empty.add()

    answer = empty.ask(method, "/tasks" if method == "POST" else f"/tasks/{task['id']}", body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in str(answer.json()["faults"])
    assert empty.ask("GET", "/tasks").json() == [task]


@pytest.mark.parametrize("identity", ["9999999", "x", "-1", "1.5", "99999999999999999999999", "%F0%9F%A6%8A", "0x1"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_task_that_is_not_there_is_a_404_that_says_so(client: Client, method: str, identity: str):
    answer = client.ask(method, f"/tasks/{identity}", ARGON if method == "PUT" else None)

    assert answer.status_code == 404
    assert "There is no task" in answer.json()["detail"]


def test_a_list_is_filtered_by_each_word_and_by_several(empty: Client):
    empty.add(title="a", priority="low", assignee="Ada", due_date="2026-12-01", description="50% of it")
    empty.add(title="b", priority="High", assignee="Grace", due_date="2026-12-24T12:00:00Z")
    empty.add(title="c", status="In Progress", description="argon_flask")
    empty.add(title="d", status="completed", priority="urgent")

    assert empty.titles() == ["a", "b", "c", "d"]
    assert empty.titles(status="pending") == ["a", "b"]
    assert empty.titles(status=["in-progress", "completed"]) == ["c", "d"]
    assert empty.titles(priority="high") == ["b"]
    assert empty.titles(priority=["low", "urgent"]) == ["a", "d"]
    assert empty.titles(assignee="Ada") == ["a"]
    assert empty.titles(assignee="ada") == []
    assert empty.titles(due_before="2026-12-10") == ["a"]
    assert empty.titles(due_after="2026-12-10") == ["b"]
    assert empty.titles(due_after="2026-12-24T11:59:59Z", due_before="2026-12-24T12:00:01Z") == ["b"]
    assert empty.titles(text="50%") == ["a"]
    assert empty.titles(text="argon_") == ["c"]
    assert empty.titles(text="BOTTLES", status="pending") == ["b"]
    assert empty.titles(priority="low", assignee="Grace") == []


def test_a_list_is_sorted_and_comes_in_pages(empty: Client):
    for title, priority, due in (("b", "urgent", "2026-12-02"), ("a", "low", None), ("c", "high", "2026-12-01")):
        empty.add(title=title, priority=priority, due_date=due)

    assert empty.titles(sort="title") == ["a", "b", "c"]
    assert empty.titles(sort="-title") == ["c", "b", "a"]
    assert empty.titles(sort="-priority") == ["b", "c", "a"]
    assert empty.titles(sort="due_date") == ["c", "b", "a"]
    assert empty.titles(sort="-due_date") == ["b", "c", "a"]
    page = empty.ask("GET", "/tasks", limit=2, sort="title")
    assert page.headers["X-Total-Count"] == "3"
    (following,) = re.findall("<([^>]*)>", page.headers["Link"])
    assert [task["title"] for task in empty.ask("GET", following).json()] == ["c"]
    assert "Link" not in empty.ask("GET", following).headers


@pytest.mark.parametrize(
    "query",
    [
        {"status": "lost"},
        {"priority": "1"},
        {"due_before": "soon"},
        {"due_after": ""},
        {"sort": "colour"},
        {"sort": "id; DROP TABLE tasks"},
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
    ],
)
def test_a_filter_that_means_nothing_is_a_422_that_names_it(client: Client, query: dict[str, Any]):
    answer = client.ask("GET", "/tasks", **query)

    assert answer.status_code == 422
    assert next(iter(query)) in answer.text


def test_a_task_that_nobody_did_in_time_is_overdue_until_it_is_done(empty: Client):
    task = empty.add(due_date="2026-01-01")
    assert task["overdue"] is True

    done = empty.ask("PATCH", f"/tasks/{task['id']}", {"status": "completed"})

    assert done.json()["overdue"] is False
    assert empty.add(due_date="2999-01-01")["overdue"] is False


def test_the_documentation_is_complete_has_examples_and_needs_no_internet(client: Client):
    for page in ("/docs", "/redoc"):
        text = client.ask("GET", page).text
        files = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert [each for each in files if not each.startswith(("/", "data:"))] == []
        assert all(client.ask("GET", each).status_code == 200 for each in files if each.startswith("/"))

    paths = client.ask("GET", "/openapi.json").json()["paths"]
    operations = {
        (method, path): told
        for path, methods in paths.items()
        if path.startswith("/tasks")
        for method, told in methods.items()
    }
    assert {("get", "/tasks"), ("post", "/tasks")} | {
        (method, "/tasks/{task_id}") for method in ("get", "put", "delete")
    } <= set(operations)
    for told in operations.values():
        if "requestBody" in told:
            assert all(
                "examples" in content or "example" in content for content in told["requestBody"]["content"].values()
            )
        for status, answer in told["responses"].items():
            assert status == "204" or all("example" in content for content in answer["content"].values()), told


def test_every_example_of_the_documentation_is_taken(empty: Client):
    operations = empty.ask("GET", "/openapi.json").json()["paths"]
    new = operations["/tasks"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    made = [empty.ask("POST", "/tasks", each["value"]) for each in new.values()]
    assert [answer.status_code for answer in made] == [201] * len(new)

    place = made[0].headers["Location"]
    for method in ("put", "patch"):
        examples = operations["/tasks/{task_id}"][method]["requestBody"]["content"]["application/json"]["examples"]
        assert [empty.ask(method.upper(), place, each["value"]).status_code for each in examples.values()] == [
            200
        ] * len(examples)


# The same tasks as runs have ------------------------------------------------------------------------------------


@contextmanager
def killed_at_the_end(command_line: Any) -> Iterator[Client]:
    """A hub that is killed at the end of the block, as a power cut would."""
    with command_line.start("up", "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, command_line.errors()
        yield Client(line.split()[1])
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def asked(client: Client, experiment: str = EXPERIMENT) -> tuple[str, Any]:
    """A run that has come to its question, and the task that the question is."""
    run = client.ask("POST", "/api/runs", {"experiment": experiment}).json()["id"]
    return run, question_of(client, run)


def question_of(client: Client, run: str) -> Any:
    return until(lambda: client.ask("GET", "/tasks", run=run, status="pending").json())[0]


def until(look: Callable[[], Any]) -> Any:
    """What `look` answers as soon as it is something; each look is a request that takes its time."""
    for _ in range(2000):
        if found := look():
            return found
    raise AssertionError("it did not come about")


def end_of(client: Client, run: str) -> str:
    return str(client.ask("GET", f"/api/runs/{run}/wait", timeout=PATIENCE).json()["state"])


def test_closing_a_runs_task_lets_the_run_go_on(client: Client):
    run, task = asked(client)
    assert (task["title"], task["kind"], task["path"]) == ("Weigh the film", "ask", "film")
    assert task["form"]["properties"]["mass"]["unit"] == "mg"
    text = {"title": task["title"], "description": task["description"], "status": "completed"}

    for answer, field in (
        (None, "answer"),
        ({}, "mass"),
        ({"mass": -1}, "mass"),
        ({"mass": 1, "cracked": "no"}, "cracked"),
        ({"mass": 1, "weight": 2}, "weight"),
        (12, "answer"),
    ):
        refused = client.ask("PUT", f"/tasks/{task['id']}", text | {"answer": answer})
        assert refused.status_code == 422
        assert field in [fault["field"] for fault in refused.json()["faults"]], refused.text
    assert client.ask("GET", f"/tasks/{task['id']}").json() == task
    assert client.ask("DELETE", f"/tasks/{task['id']}").status_code == 409
    assert client.ask("PUT", f"/tasks/{task['id']}", text | {"status": "cancelled"}).status_code == 409

    closed = client.ask("PUT", f"/tasks/{task['id']}", text | {"answer": {"mass": 12.5}, "why": "scales"})

    assert closed.status_code == 200
    assert (closed.json()["status"], closed.json()["why"]) == ("completed", "scales")
    assert closed.json()["answer"] == {"mass": 12.5, "cracked": False}
    assert end_of(client, run) == "succeeded"
    (row,) = client.ask("GET", f"/api/records/{run}/data").json()
    assert row == {"mass": {"$value": 12.5, "unit": "mg"}, "cracked": False}
    assert client.ask("PUT", f"/tasks/{task['id']}", text | {"answer": {"mass": 3}}).status_code == 409
    assert client.ask("DELETE", f"/tasks/{task['id']}").status_code == 204


def test_a_question_that_is_answered_elsewhere_is_a_closed_task(client: Client):
    run, task = asked(client)

    body = {"choice": "answer", "value": {"mass": 1}, "who": "Ada"}
    assert client.ask("POST", f"/api/runs/{run}/answer", body).status_code == 200

    closed = client.ask("GET", f"/tasks/{task['id']}").json()
    assert (closed["status"], closed["closed_by"]) == ("completed", "Ada")
    assert client.ask("POST", f"/tasks/{task['id']}/answer", {"value": {"mass": 2}}).status_code == 409
    assert end_of(client, run) == "succeeded"


def test_a_file_is_sent_and_is_the_answer(client: Client):
    run, task = asked(client, 'name: photo\nsteps:\n  - {ask: "A photo", name: a, fields: {photo: {type: file}}}\n')

    sent = requests.post(f"{client.url}/tasks/{task['id']}/files?name=film.png", data=b"\x89PNG", timeout=PATIENCE)
    assert sent.status_code == 201
    answer = {"value": {"photo": sent.json()["file"]}}
    assert client.ask("POST", f"/tasks/{task['id']}/answer", {"value": {"photo": "../run.json"}}).status_code == 422
    assert client.ask("POST", f"/tasks/{task['id']}/answer", answer).status_code == 200

    assert end_of(client, run) == "succeeded"
    assert client.ask("GET", f"/api/records/{run}/files/files/film.png").content == b"\x89PNG"


def test_tasks_and_questions_outlive_a_killed_hub_and_are_the_same_afterwards(command_line: Any, tmp_path: Path):
    with killed_at_the_end(command_line) as first:
        plain = first.add(due_date="2026-12-01", assignee="Ada")
        run, question = asked(first)
        assert first.ask("PATCH", f"/tasks/{question['id']}", {"assignee": "Grace"}).status_code == 200
    with killed_at_the_end(command_line) as second:
        assert second.ask("GET", f"/tasks/{plain['id']}").json() == plain
        assert second.ask("GET", f"/tasks/{question['id']}").json()["assignee"] == "Grace"
        closed = second.ask("POST", f"/tasks/{question['id']}/answer", {"value": {"mass": 2}})
        assert closed.status_code == 200
    with killed_at_the_end(command_line) as third:
        assert end_of(third, run) == "succeeded"
        assert third.ask("GET", f"/tasks/{question['id']}").json() == closed.json()
        assert third.titles(run=run) == ["Weigh the film"]
