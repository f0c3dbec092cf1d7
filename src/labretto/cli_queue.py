"""`labretto queue`: look at what waits, and change it. Commands read arguments; `terminal_queue` prints."""

from __future__ import annotations

from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
HubOption = Annotated[str | None, typer.Option("--hub", help="The hub's address or its lab's name, if several run.")]
Run = Annotated[str, typer.Argument(help="Its id, the beginning or end of it, or its name.")]
Parameters = Annotated[list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE, VALUE as JSON.")]
Name = Annotated[str | None, typer.Option(help="How it is called.")]
Priority = Annotated[int | None, typer.Option(help="Higher goes first; 0 is usual.")]
NotBefore = Annotated[
    str | None, typer.Option(help='Not before this time: 02:00, 2026-11-22T02:00; "" for at once.', metavar="TIME")
]
Labels = Annotated[list[str] | None, typer.Option("--label", help="To find its record by; several times for several.")]

app = typer.Typer(help="What waits in the queue: look at it, reorder, hold, edit, stop and start it.")


def terms(
    priority: int | None = None, not_before: str | None = None, labels: list[str] | None = None, name: str | None = None
) -> dict[str, Any]:
    """Those that were given."""
    said = {"priority": priority, "labels": labels or None, "name": name}
    given = {term: value for term, value in said.items() if value is not None}
    return given if not_before is None else given | {"not_before": not_before or None}


@app.callback(invoke_without_command=True)
def show(context: typer.Context, hub: HubOption = None, as_json: AsJson = False) -> None:
    """Without a command: who waits, in order, and why."""
    from labretto.terminal_queue import show_queue

    if context.invoked_subcommand is None:
        show_queue(hub, as_json=as_json)


@app.command("list")
def list_queue(hub: HubOption = None, as_json: AsJson = False) -> None:
    """Who waits, in order, and why."""
    from labretto.terminal_queue import show_queue

    show_queue(hub, as_json=as_json)


@app.command()
def move(
    run: Run,
    where: Annotated[str, typer.Argument(help="first, last, before or after.")],
    other: Annotated[str | None, typer.Argument(help="The other run, for before and after.")] = None,
    hub: HubOption = None,
) -> None:
    """Put a run elsewhere; it takes the priority of that place."""
    from labretto.orchestrator.client import Hub
    from labretto.terminal_queue import change, find

    with Hub(hub) as found:
        beside = find(found, other, first="queued") if other else None
    change(hub, run, lambda handle: handle.move(where, beside))


@app.command()
def hold(
    run: Run, why: Annotated[str | None, typer.Option(help="For those who see it wait.")] = None, hub: HubOption = None
) -> None:
    """Keep a run from beginning until it is released."""
    from labretto.terminal_queue import change

    change(hub, run, lambda handle: handle.hold(why))


@app.command()
def release(run: Run, hub: HubOption = None) -> None:
    """Let a held run begin when its turn comes."""
    from labretto.terminal_queue import change

    change(hub, run, lambda handle: handle.release())


@app.command()
def edit(
    run: Run,
    parameter: Parameters = None,
    name: Name = None,
    priority: Priority = None,
    not_before: NotBefore = None,
    hub: HubOption = None,
) -> None:
    """Change a run before it begins; it is checked as at its submission, all faults at once."""
    from labretto.terminal import pairs
    from labretto.terminal_queue import change

    said = terms(priority, not_before, name=name) | ({"parameters": pairs(parameter)} if parameter else {})
    change(hub, run, lambda handle: handle.edit(**said))


@app.command()
def label(
    run: Run,
    labels: Annotated[list[str] | None, typer.Argument(help="Labels to give it.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A label to take away.")] = None,
    hub: HubOption = None,
) -> None:
    """Give a run labels, also when it has begun or is over; `labretto records --label` finds by them."""
    from labretto.terminal_queue import change, relabel

    change(hub, run, lambda handle: relabel(handle, labels or [], remove or []))


@app.command()
def loop(
    run: Run,
    times: Annotated[int | None, typer.Option(help="How often after this time; none: until told.", min=0)] = None,
    end: Annotated[bool, typer.Option("--end", help="This time is the last.")] = False,
    hub: HubOption = None,
) -> None:
    """Put a run back at the end of the queue each time it has succeeded; each turn is a run of its own."""
    from labretto.terminal_queue import change

    change(hub, run, lambda handle: handle.edit(again=0 if end else times))


@app.command()
def again(
    run: Run,
    parameter: Parameters = None,
    name: Name = None,
    priority: Priority = None,
    not_before: NotBefore = None,
    labels: Labels = None,
    hub: HubOption = None,
) -> None:
    """Submit a run of before once more, with other parameters if wanted."""
    from labretto.terminal import pairs
    from labretto.terminal_queue import change

    said = terms(priority, not_before, labels, name) | ({"parameters": pairs(parameter)} if parameter else {})
    change(hub, run, lambda handle: handle.again(**said))


@app.command()
def remove(run: Run, hub: HubOption = None) -> None:
    """Take a run out of the queue before it begins; its record says so."""
    from labretto.terminal_queue import change

    change(hub, run, lambda handle: handle.remove())


@app.command()
def stop(hub: HubOption = None) -> None:
    """Let nothing begin any more, over restarts too; what runs goes on to its end."""
    from labretto.terminal_queue import switch

    switch(hub, stopped=True)


@app.command()
def start(hub: HubOption = None) -> None:
    """Let runs begin again."""
    from labretto.terminal_queue import switch

    switch(hub, stopped=False)
