"""`labretto forecast`, `record` and `schedule`: what lies ahead, and what became of it. `terminal_time` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
HubOption = Annotated[str | None, typer.Option("--hub", help="The hub's address or its lab's name, if several run.")]
Parameters = Annotated[list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE, VALUE as JSON.")]
FinishBy = Annotated[
    str | None, typer.Option("--finish-by", help="People are told if it will not be over by then.", metavar="TIME")
]
Which = Annotated[str, typer.Argument(help="Its id or its name.")]

schedules = typer.Typer(help="What is submitted at its time: add, list, hold, release and remove schedules.")


def forecast(
    experiment: Annotated[
        Path | None, typer.Argument(help="An experiment file; none: when the runs that are not over will end.")
    ] = None,
    parameter: Parameters = None,
    lab: Annotated[
        Path | None, typer.Option(help="Start this lab's hub for it, instead of using a running one.")
    ] = None,
    hub: HubOption = None,
    as_json: AsJson = False,
) -> None:
    """How long a run will take, what will run out, and when people are needed; nothing is submitted."""
    from labretto.terminal import pairs
    from labretto.terminal_time import show_expected, show_forecast

    if experiment is None:
        show_expected(hub, as_json=as_json)
    else:
        show_forecast(experiment, pairs(parameter or []), lab=lab, hub=hub, as_json=as_json)


def record(
    run: Annotated[str, typer.Argument(help="The run's id, or words of its name: then the newest of them.")],
    lab: Annotated[str, typer.Option(help="The lab's name.")] = "",
    as_json: AsJson = False,
) -> None:
    """One record: what was done and when, and what was foreseen of it beside what happened."""
    from labretto.terminal_time import show_record

    show_record(run, lab, as_json=as_json)


@schedules.command("add")
def add_schedule(
    experiment: Annotated[Path, typer.Argument(help="An experiment file.")],
    rule: Annotated[str, typer.Argument(help='When: "every day 02:00", "every 30 minutes", "once 2026-11-22 03:00".')],
    zone: Annotated[
        str | None, typer.Option(help="The time zone it is meant in, as Europe/Berlin; default: this machine's.")
    ] = None,
    parameter: Parameters = None,
    name: Annotated[str | None, typer.Option(help="How the schedule is called.")] = None,
    missed: Annotated[str, typer.Option(help="A time at which the hub did not run: late (once) or skip.")] = "late",
    finish_within: Annotated[
        float | None, typer.Option("--finish-within", help="Seconds after its time: the deadline of each run.", min=0)
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first; 0 is usual.")] = None,
    labels: Annotated[list[str] | None, typer.Option("--label", help="To find its records by.")] = None,
    hub: HubOption = None,
    as_json: AsJson = False,
) -> None:
    """Submit an experiment at its time."""
    from labretto.terminal import pairs
    from labretto.terminal_time import add

    terms = {"name": name, "missed": missed, "finish_within": finish_within, "priority": priority, "labels": labels}
    given = {word: value for word, value in terms.items() if value is not None}
    add(experiment, rule, zone, pairs(parameter or []), given, hub=hub, as_json=as_json)


@schedules.command("list")
def list_schedules(hub: HubOption = None, as_json: AsJson = False) -> None:
    """All schedules: when each is due, and what became of the last time."""
    from labretto.terminal_time import show_schedules

    show_schedules(hub, as_json=as_json)


@schedules.command("hold")
def hold_schedule(schedule: Which, hub: HubOption = None) -> None:
    """Keep a schedule from becoming due."""
    from labretto.terminal_time import change

    change(schedule, "hold", hub)


@schedules.command("release")
def release_schedule(schedule: Which, hub: HubOption = None) -> None:
    """Let a schedule that was held go on with its next time."""
    from labretto.terminal_time import change

    change(schedule, "release", hub)


@schedules.command("remove")
def remove_schedule(schedule: Which, hub: HubOption = None) -> None:
    """Forget a schedule; its runs stay."""
    from labretto.terminal_time import change

    change(schedule, "remove", hub)
