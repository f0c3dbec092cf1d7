"""`labretto tasks` and `labretto answer`: what people have to do. Commands read arguments; `terminal_tasks` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labretto.cli_queue import AsJson, HubOption

Status = Annotated[
    list[str] | None, typer.Option(help="pending, in_progress, completed, cancelled; default: what is open.")
]
Assignee = Annotated[str | None, typer.Option(help="Who should do it.")]

app = typer.Typer(help="What people have to do, and what runs wait for.")


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    status: Status = None,
    assignee: Assignee = None,
    text: Annotated[str | None, typer.Option(help="Words in title or description.")] = None,
    hub: HubOption = None,
    as_json: AsJson = False,
) -> None:
    """Without a command: what is open, the most urgent first."""
    from labretto.terminal_tasks import show_tasks

    if context.invoked_subcommand is None:
        show_tasks(hub, {"status": status, "assignee": assignee, "text": text}, as_json=as_json)


@app.command()
def add(
    title: Annotated[str, typer.Argument(help="What it is, in a few words.")],
    description: Annotated[str, typer.Argument(help="What is to be done.")],
    priority: Annotated[str, typer.Option(help="low, medium, high, urgent.")] = "medium",
    due: Annotated[str | None, typer.Option(help="2026-12-01, or 2026-12-01T14:30:00+01:00.")] = None,
    assignee: Assignee = None,
    hub: HubOption = None,
    as_json: AsJson = False,
) -> None:
    """Put a task down."""
    from labretto.terminal_tasks import add_task

    words = {"priority": priority, "due_date": due, "assignee": assignee}
    add_task(hub, title, description, words, as_json=as_json)


def answer(
    task: Annotated[int, typer.Argument(help="Its number, as `labretto tasks` shows it.", min=1)],
    values: Annotated[
        list[str] | None, typer.Argument(help="The answer; FIELD=VALUE of a form. Without any it is asked for.")
    ] = None,
    choice: Annotated[str | None, typer.Option(help="One of those offered: happened, repeat, skip, abort ...")] = None,
    file: Annotated[Path | None, typer.Option(help="The answer is this file.")] = None,
    why: Annotated[str | None, typer.Option(help="For the record.")] = None,
    hub: HubOption = None,
    as_json: AsJson = False,
) -> None:
    """Answer what a run asks, and close the task; the run goes on. A field for a file is FIELD=@PATH."""
    from labretto.terminal_tasks import answer_task

    answer_task(hub, task, values or [], {"choice": choice, "why": why}, file=file, as_json=as_json)
