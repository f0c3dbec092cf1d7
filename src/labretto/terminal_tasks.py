"""What `labretto tasks` and `labretto answer` print and ask: the list of tasks, and a form field by field."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from labretto.errors import InvalidError
from labretto.orchestrator.client import Hub
from labretto.terminal import console, on_this_clock, print_json, value_of

OPEN = ["pending", "in_progress"]


def show_tasks(hub: str | None, filters: Mapping[str, Any], *, as_json: bool) -> None:
    """See `labretto tasks`."""
    given = {name: value for name, value in filters.items() if value}
    with Hub(hub) as found:
        tasks = found.tasks(**{"status": OPEN, "sort": "-priority", "limit": 1000} | given)
    if as_json:
        print_json(tasks)
        return
    table = Table("task", "what", "priority", "due", "who", "state", "run", box=None)
    for task in tasks:
        due = str(task["due_date"] or "")
        due = on_this_clock(due)[:16] if "T" in due else due
        state = "[red]overdue[/]" if task["overdue"] else str(task["status"]).replace("_", " ")
        words = [task["id"], task["title"], task["priority"], due, task["assignee"] or ""]
        table.add_row(*(escape(str(word)) for word in words), state, escape(str(task["run"] or "")))
    console.print(table if tasks else "Nothing is to be done.")


def add_task(hub: str | None, title: str, description: str, words: Mapping[str, Any], *, as_json: bool) -> None:
    """See `labretto tasks add`."""
    with Hub(hub) as found:
        task = found.add_task(title, description, **words)
    if as_json:
        print_json(task)
    else:
        print(task["id"])


def answer_task(
    hub: str | None, number: int, texts: Sequence[str], said: Mapping[str, Any], *, file: Path | None, as_json: bool
) -> None:
    """See `labretto answer`."""
    with Hub(hub) as found:
        task = found.ask("GET", f"/tasks/{number}")
        typed = not texts and file is None and sys.stdin.isatty()
        if typed:
            console.print(escape(task["description"]), highlight=False, soft_wrap=True)
        alone = None if said["choice"] else _choice_among(task, texts)
        texts = texts[1:] if alone else texts
        choice = said["choice"] or alone or (_chosen(task) if typed else None)
        if file is not None:
            value: Any = found.send_file(number, file)
        elif choice in (None, "answer", "happened"):
            value = _value(found, task, _asked_for(task) if typed else texts)
        else:
            value = None
        closed = found.answer(number, value, choice=choice, why=said["why"])
    if as_json:
        print_json(closed)
    else:
        print(f"Task {number} is {closed['status']}.")


def _choice_among(task: Mapping[str, Any], texts: Sequence[str]) -> str | None:
    """`labretto answer 7 skip`, `labretto answer 7 happened 2.5`: a word that is offered is the choice."""
    offered = [each for each in task["choices"] or [] if each != "answer"]
    chosen = texts[0] if texts and texts[0] in offered else None
    return chosen if len(texts) == 1 or chosen == "happened" else None


def _chosen(task: Mapping[str, Any]) -> str | None:
    """On a terminal: what is offered, with what each means, and which it is; None where an answer is simply given."""
    offered, meanings = task["choices"] or [], task["meanings"] or {}
    if not offered or "answer" in offered:
        return None
    for each in offered:
        console.print(escape(f"  {each:<10} {meanings.get(each, '')}".rstrip()), highlight=False, soft_wrap=True)
    return input("choice: ").strip() or None


def _value(hub: Hub, task: Mapping[str, Any], texts: Sequence[str]) -> Any:
    """What the texts mean: a field of text is never read as a number.

    Raises:
        InvalidError: there are several, and the form has no fields.
    """
    form = task["form"] or {}
    if fields := form.get("properties"):
        return {name: _meant(hub, task["id"], fields.get(name, {}), text) for name, text in _pairs(texts)}
    if len(texts) > 1:
        raise InvalidError(f"Task {task['id']} asks for one value, not {len(texts)}.", way_out="Put it into quotes.")
    return _meant(hub, task["id"], form, texts[0]) if texts else None


def _pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise InvalidError(f"{wrong[0]!r} is not FIELD=VALUE.", way_out="Write for instance mass=12.5.")
    return [(name, value) for name, _, value in pairs]


def _meant(hub: Hub, task: int, schema: Mapping[str, Any], text: str) -> Any:
    if schema.get("format") == "file":
        return hub.send_file(task, text.removeprefix("@"))
    return text if schema.get("type") == "string" else value_of(text)


def _asked_for(task: Mapping[str, Any]) -> list[str]:
    """Each field is asked for; what is missing then the hub says."""
    form = task["form"]
    if not form:
        return []
    fields = form.get("properties")
    if not fields:
        return [input(f"{_label('answer', form)}: ")]
    typed = {name: input(f"{_label(name, schema)}: ") for name, schema in fields.items()}
    return [f"{name}={text}" for name, text in typed.items() if text]


def _label(name: str, schema: Mapping[str, Any]) -> str:
    kinds = [str(each) for each in schema.get("enum", [])] or [str(schema.get("unit") or schema.get("type") or "")]
    default = f", else {schema['default']}" if "default" in schema else ""
    return f"{schema.get('title', name)} ({' | '.join(kinds)}{default})"
