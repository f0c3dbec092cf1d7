"""What `labretto runs` and `labretto halt` print: what goes on, what each run waits for, what a halt reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from labretto.errors import InvalidError
from labretto.orchestrator.client import Hub, RunHandle
from labretto.terminal import console, print_json

_GOES_ON = "/api/runs?state=running&state=waiting&state=paused&limit=1000"


def show_runs(hub: str | None, *, as_json: bool) -> None:
    """See `labretto runs`."""
    with Hub(hub) as found:
        runs = found.ask("GET", _GOES_ON)
    if as_json:
        print_json(runs)
        return
    table = Table("run", "name", "who", "state", "steps", "what it waits for", box=None)
    for run in runs:
        done, total = run.get("steps_done"), run.get("steps_total")
        steps = f"{done} of {total}" if total else str(done or "")
        words = (run["id"], run["name"], run["who"] or "", run["state"], steps, run["reason"] or "")
        table.add_row(*map(escape, words))
    console.print(table if runs else "No run goes on.")


def change(hub: str | None, run: str, act: Callable[[RunHandle], None]) -> None:
    """Do something to a run that goes on, then say how it stands."""
    with Hub(hub) as found:
        handle = found.run(find(found, run))
        act(handle)
        status = found.ask("GET", f"/api/runs/{handle.id}?steps=0")
    reason = f": {status['reason']}" if status["reason"] else ""
    console.print(
        f"{status['id']} {status['name']} is {status['state']}{reason}", highlight=False, soft_wrap=True, markup=False
    )


def cancel_action(hub: str | None, run: str, path: str | None, within: float) -> None:
    """See `labretto runs cancel`."""
    with Hub(hub) as found:
        told = found.run(find(found, run)).cancel(path, within=within)
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


def find(hub: Hub, named: str) -> str:
    """The id of the run that is meant; what no run that goes on is called is an id that the hub may know.

    Raises:
        InvalidError: several are called so.
    """
    runs = hub.ask("GET", _GOES_ON)
    called = [run["id"] for run in runs if named in (run["id"], run["name"])]
    called = called or [run["id"] for run in runs if run["id"].startswith(named) or run["id"].endswith(named)]
    if len(called) > 1:
        raise InvalidError(f"{len(called)} runs are called {named!r}.", way_out=f"Name one: {', '.join(called[:10])}.")
    return str(called[0]) if called else named
