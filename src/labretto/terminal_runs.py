"""What `labretto runs` and `labretto halt` print: what goes on, what each run waits for, what a halt reached.

Also how a run is found by what a person calls it, and how one is said to stand after something was done to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from rich.markup import escape
from rich.table import Table

from labretto.errors import InvalidError, NotFoundError
from labretto.orchestrator.client import Hub, RunHandle
from labretto.terminal import console, print_json

_GOES_ON = "/api/runs?state=running&state=waiting&state=paused&limit=1000"
_QUEUED = "/api/runs?state=queued&limit=1000"
_OVER = "/api/runs?state=succeeded&state=failed&state=aborted&limit=1000"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


First = Literal["goes on", "queued"]
"""Which of two runs of one name is meant by a command for runs that go on, or for runs that wait."""


def show_runs(hub: str | None, *, as_json: bool) -> None:
    """See `labretto runs`."""
    with Hub(hub) as found:
        runs, halt = found.ask("GET", _GOES_ON), found.ask("GET", "/api/halt")
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


def change(hub: str | None, run: str, act: Callable[[RunHandle], object], *, first: First = "goes on") -> None:
    """Do something to a run, then say how it stands, or how the run stands that this has made."""
    with Hub(hub) as found:
        handle = found.run(find(found, run, first=first))
        answered = act(handle)
        changed = answered if isinstance(answered, RunHandle) else handle
        status = found.ask("GET", f"/api/runs/{changed.id}?steps=0")
    line = f"{status['id']} {status['name']} {_stands(status)}"
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _stands(status: Mapping[str, Any]) -> str:
    """What was asked for is said although the run has not come to it yet: it may be in the middle of an action."""
    if status.get("ended") is None and status.get("aborting"):
        return "ends: what it does now is waited for, then it cleans up"
    if status["state"] != "paused" and status.get("pausing"):
        return f"is {status['state']}, and stands still before its next step"
    if status["state"] == "paused" and status["reason"] == "Paused by a person." and not status.get("pausing"):
        return "goes on"
    return f"is {status['state']}" + (f": {status['reason']}" if status["reason"] else "")


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


def tell_halt(halt: Mapping[str, Any]) -> None:
    """Why nothing moves, if the lab is halted."""
    if halt["halted"]:
        by = f" by {halt['by']}" if halt.get("by") else ""
        line = f"The lab was halted{by}: no run takes another step until `labretto halt --reset`."
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def find(hub: Hub, named: str, *, first: First = "goes on") -> str:
    """The id of the run that is meant: by its id, the beginning or the end of it, or its name.

    Args:
        hub: whose runs.
        named: what a person calls it.
        first: where it is looked for first; what is over is looked at last.

    Raises:
        InvalidError: several are called so.
        NotFoundError: none is.
    """
    if _ID.fullmatch(named):
        return named
    for path in (_GOES_ON, _QUEUED, _OVER) if first == "goes on" else (_QUEUED, _GOES_ON, _OVER):
        runs = hub.ask("GET", path)
        called = [run for run in runs if run["name"] == named]
        called = called or [run for run in runs if run["id"].startswith(named) or run["id"].endswith(named)]
        if len(called) > 1:
            each = ", ".join(f"{run['id']} ({run['state']})" for run in called[:10])
            raise InvalidError(f"{len(called)} runs are called {named!r}.", way_out=f"Name one by its id: {each}.")
        if called:
            return str(called[0]["id"])
    raise NotFoundError(
        f"No run is called {named[:80]!r}.",
        way_out="`labretto runs` and `labretto queue` show what is not over, `labretto records` everything.",
    )
