"""What `labretto queue` prints: who waits, in order, and why.

A run may be named by its id, by the beginning or the end of it, or by its name, as long as only one that waits has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from labretto.errors import InvalidError
from labretto.orchestrator.client import Hub, RunHandle
from labretto.terminal import console, print_json


def show_queue(hub: str | None, *, as_json: bool) -> None:
    """See `labretto queue`."""
    with Hub(hub) as found:
        queue = found.ask("GET", "/api/queue")
    if as_json:
        print_json(queue)
        return
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
    with Hub(hub) as found:
        handle = found.run(find(found, run))
        answered = act(handle)
        changed = answered if isinstance(answered, RunHandle) else handle
        status = found.ask("GET", f"/api/runs/{changed.id}?steps=0")
    reason = f": {status['reason']}" if status["reason"] else ""
    console.print(
        f"{status['id']} {status['name']} is {status['state']}{reason}", highlight=False, soft_wrap=True, markup=False
    )


def relabel(handle: RunHandle, added: list[str], removed: list[str]) -> None:
    """Give a run more labels, or take some away."""
    labels = [label for label in handle.status()["labels"] if label not in removed]
    handle.edit(labels=[*labels, *added])


def switch(hub: str | None, *, stopped: bool) -> None:
    """See `labretto queue stop` and `start`."""
    with Hub(hub) as found:
        (found.stop_queue if stopped else found.start_queue)()
    console.print("Nothing begins any more; what runs goes on to its end." if stopped else "Runs begin again.")


def find(hub: Hub, named: str) -> str:
    """The id of the run that is meant; what nobody in the queue is called is an id that the hub may know.

    Raises:
        InvalidError: several that wait are called so.
    """
    called = [run for run in hub.queue() if named == run["name"] or run["id"].startswith(named)]
    called = called or [run for run in hub.queue() if run["id"].endswith(named)]
    exact = [run for run in called if run["id"] == named]
    found = exact or called
    if len(found) > 1:
        ids = ", ".join(run["id"] for run in found[:10])
        raise InvalidError(f"{len(found)} runs that wait are called {named!r}.", way_out=f"Name one by its id: {ids}.")
    return str(found[0]["id"]) if found else named
