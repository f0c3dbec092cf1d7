"""What `labretto queue` prints: who waits, in order, and why.

Also how a run is found by what a person calls it, and how it is said to stand after something was done to it:
`terminal_runs` does so in the same way.
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

GOES_ON = "/api/runs?state=running&state=waiting&state=paused&limit=1000"
_QUEUED = "/api/runs?state=queued&limit=1000"
_OVER = "/api/runs?state=succeeded&state=failed&state=aborted&limit=1000"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
First = Literal["goes on", "queued"]
"""Which of two runs of one name is meant by a command for runs that go on, or for runs that wait."""


def show_queue(hub: str | None, *, as_json: bool) -> None:
    """See `labretto queue`."""
    with Hub(hub) as found:
        queue, halt = found.ask("GET", "/api/queue"), found.ask("GET", "/api/halt")
    if as_json:
        print_json(queue)
        return
    tell_halt(halt)
    if queue["why"]:
        console.print(escape(queue["why"]), highlight=False, soft_wrap=True)
    table = Table("", "run", "name", "who", "priority", "labels", "turn", "why it waits", box=None)
    for place, run in enumerate(queue["runs"], 1):
        words = [run["id"], run["name"], run["who"] or "", str(run["priority"] or ""), ", ".join(run["labels"])]
        table.add_row(str(place), *map(escape, words), _turn(run), escape(run["reason"] or "It begins."))
    console.print(table if queue["runs"] else "Nothing waits.")


def _turn(run: Mapping[str, Any]) -> str:
    """`2 of 5`, `2 of ∞`; nothing for a run that is done once."""
    if run["again"] == 0 and run["turn"] == 1:
        return ""
    return f"{run['turn']} of {'∞' if run['again'] is None else run['turn'] + run['again']}"


def change(hub: str | None, run: str, act: Callable[[RunHandle], object]) -> None:
    """Do something to a run that waits, then say how it stands."""
    change_run(hub, run, act, first="queued")


def change_run(hub: str | None, run: str, act: Callable[[RunHandle], object], *, first: First) -> None:
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


def relabel(handle: RunHandle, added: list[str], removed: list[str]) -> None:
    """Give a run more labels, or take some away."""
    labels = [label for label in handle.status()["labels"] if label not in removed]
    handle.edit(labels=[*labels, *added])


def switch(hub: str | None, *, stopped: bool) -> None:
    """See `labretto queue stop` and `start`."""
    with Hub(hub) as found:
        (found.stop_queue if stopped else found.start_queue)()
    console.print("Nothing begins any more; what runs goes on to its end." if stopped else "Runs begin again.")


def tell_halt(halt: Mapping[str, Any]) -> None:
    """Why nothing moves, if the lab is halted."""
    if halt["halted"]:
        by = f" by {halt['by']}" if halt.get("by") else ""
        line = f"The lab was halted{by}: no run takes another step until `labretto halt --reset`."
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def find(hub: Hub, named: str, *, first: First) -> str:
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
    for path in (GOES_ON, _QUEUED, _OVER) if first == "goes on" else (_QUEUED, GOES_ON, _OVER):
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
