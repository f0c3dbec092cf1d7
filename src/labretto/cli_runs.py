"""`labretto runs`, `labretto halt`: look at what goes on, and stop it. Commands read; `terminal_runs` prints."""

from __future__ import annotations

from typing import Annotated

import typer

from labretto.cli_queue import AsJson, HubOption

Run = Annotated[str, typer.Argument(help="Its id, the beginning or end of it, or its name.")]

app = typer.Typer(help="What goes on: look at it, pause, resume and abort runs, cancel one of their actions.")


@app.callback(invoke_without_command=True)
def show(context: typer.Context, hub: HubOption = None, as_json: AsJson = False) -> None:
    """Without a command: the runs that have begun and are not over, with what they do and wait for."""
    from labretto.terminal_runs import show_runs

    if context.invoked_subcommand is None:
        show_runs(hub, as_json=as_json)


@app.command()
def pause(run: Run, hub: HubOption = None) -> None:
    """Let a run stand still before its next step."""
    from labretto.terminal_runs import change

    change(hub, run, lambda handle: handle.pause())


@app.command()
def resume(run: Run, hub: HubOption = None) -> None:
    """Let a paused run go on."""
    from labretto.terminal_runs import change

    change(hub, run, lambda handle: handle.resume())


@app.command()
def abort(run: Run, hub: HubOption = None) -> None:
    """End a run: what runs is asked to end, then the run cleans up. Once more, while it cleans up: that ends too."""
    from labretto.terminal_runs import change

    change(hub, run, lambda handle: handle.abort())


@app.command()
def cancel(
    run: Run,
    path: Annotated[str | None, typer.Argument(help="Of the step; needed where several are in flight.")] = None,
    within: Annotated[float, typer.Option(help="Seconds to wait for its end.", min=0.1, max=60)] = 5.0,
    hub: HubOption = None,
) -> None:
    """Ask one action of a run to end; the run stays, and a person says what became of the action."""
    from labretto.terminal_runs import cancel_action

    cancel_action(hub, run, path, within)


def halt(
    reset: Annotated[bool, typer.Option("--reset", help="Let runs go on again after a halt.")] = False,
    hub: HubOption = None,
    as_json: AsJson = False,
) -> None:
    """Call every driver's stop() at once, and hold all runs. Not an emergency stop."""
    from labretto.terminal_runs import halt_lab, reset_halt

    (reset_halt if reset else halt_lab)(hub, as_json=as_json)
