"""What `labretto queue` prints: who waits, in order, and why.

Which run is meant, and how it stands afterwards, is found and said as in `terminal_runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from labretto import terminal_runs
from labretto.orchestrator.client import Hub, RunHandle
from labretto.terminal import console, print_json


def show_queue(hub: str | None, *, as_json: bool) -> None:
    """See `labretto queue`."""
    with Hub(hub) as found:
        queue, halt = found.ask("GET", "/api/queue"), found.ask("GET", "/api/halt")
    if as_json:
        print_json(queue)
        return
    terminal_runs.tell_halt(halt)
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
    terminal_runs.change(hub, run, act, first="queued")


def relabel(handle: RunHandle, added: list[str], removed: list[str]) -> None:
    """Give a run more labels, or take some away."""
    labels = [label for label in handle.status()["labels"] if label not in removed]
    handle.edit(labels=[*labels, *added])


def switch(hub: str | None, *, stopped: bool) -> None:
    """See `labretto queue stop` and `start`."""
    with Hub(hub) as found:
        (found.stop_queue if stopped else found.start_queue)()
    console.print("Nothing begins any more; what runs goes on to its end." if stopped else "Runs begin again.")
