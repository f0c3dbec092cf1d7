"""What `labretto runs` and `labretto halt` print: what goes on, what each run waits for, what a halt reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from labretto.orchestrator.client import Hub, RunHandle
from labretto.terminal import console, print_json
from labretto.terminal_queue import GOES_ON, change_run, find, tell_halt


def show_runs(hub: str | None, *, as_json: bool) -> None:
    """See `labretto runs`."""
    with Hub(hub) as found:
        runs, halt = found.ask("GET", GOES_ON), found.ask("GET", "/api/halt")
    if as_json:
        print_json(runs)
        return
    tell_halt(halt)
    table = Table("run", "name", "who", "state", "steps", "what it waits for", box=None)
    for run in runs:
        done, total = run.get("steps_done"), run.get("steps_total")
        steps = f"{done} of {total}" if total else str(done or "")
        words = (run["id"], run["name"], run["who"] or "", run["state"], steps, run["reason"] or "")
        table.add_row(*map(escape, words))
    console.print(table if runs else "No run goes on.")


def change(hub: str | None, run: str, act: Callable[[RunHandle], None]) -> None:
    """Do something to a run that goes on, then say how it stands."""
    change_run(hub, run, act, first="goes on")


def cancel_action(hub: str | None, run: str, path: str | None, within: float) -> None:
    """See `labretto runs cancel`."""
    with Hub(hub) as found:
        told = found.run(find(found, run, first="goes on")).cancel(path, within=within)
    name = f"{told['instrument']}.{told['action']}"
    words = "has been asked to end and runs still" if told["state"] == "running" else f"is {told['state']}"
    console.print(f"{name} {words}.", highlight=False, soft_wrap=True)


def halt_lab(hub: str | None, *, as_json: bool) -> None:
    """See `labretto halt`."""
    with Hub(hub) as found:
        stopped = found.halt()
    if as_json:
        print_json({"halted": True, "stopped": stopped})
        return
    for each in stopped:
        console.print(escape(_reached(each)), highlight=False, soft_wrap=True)
    console.print("Halted: no run takes another step until `labretto halt --reset`. This is not an emergency stop.")


def reset_halt(hub: str | None, *, as_json: bool) -> None:
    """See `labretto halt --reset`."""
    with Hub(hub) as found:
        found.reset()
    if as_json:
        print_json({"halted": False})
    else:
        console.print("The halt is reset: runs go on.")


def _reached(each: Mapping[str, Any]) -> str:
    if each["stopped"]:
        return f"{each['instrument']}: stopped in {each.get('seconds', 0):.3g} s"
    return f"{each['instrument']}: NOT stopped. {each.get('detail') or ''}".rstrip()
