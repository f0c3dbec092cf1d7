"""What `labretto forecast`, `record` and `schedule` print: times by the clock here, durations as people say them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rich.markup import escape
from rich.table import Table

from labretto.errors import NotFoundError, from_problem
from labretto.experiment.compared import compare
from labretto.experiment.estimate import spelled
from labretto.lab import load_lab
from labretto.orchestrator.client import Hub
from labretto.terminal import console, found_records, on_this_clock, print_json

if TYPE_CHECKING:
    from labretto.hub import RunningHub


# labretto forecast ------------------------------------------------------------------------------------------------


def show_forecast(
    file: Path, parameters: Mapping[str, Any], *, lab: Path | None, hub: str | None, as_json: bool
) -> None:
    """See `labretto forecast`."""
    if lab is None:
        _ask(hub, file, parameters, as_json=as_json)
        return
    from labretto import hub as hubs

    def ready(running: RunningHub) -> Any:
        return asyncio.to_thread(_ask, running.url, file, parameters, as_json=as_json)

    if not hubs.serve(load_lab(lab), port=0, ready=ready):
        raise KeyboardInterrupt


def _ask(hub: str | None, file: Path, parameters: Mapping[str, Any], *, as_json: bool) -> None:
    with Hub(hub) as found:
        told = found.forecast(file, **parameters)
    if as_json:
        print_json(told)
    else:
        for line in _lines(told):
            _say(line)


def _lines(told: Mapping[str, Any]) -> Iterable[str]:
    forecast, expected = told["forecast"], told["expected"]
    yield f"{told['name']}: {_spread(forecast['seconds'])}"
    begin = expected["begin"] and datetime.fromisoformat(expected["begin"])
    if begin:
        end = f" and ends {_at(expected['end']['p50'])}" if expected["end"] else ""
        yield f"Submitted now it begins {_at(expected['begin'])}{end}."
    for each in forecast["people"]:
        when = _at(begin, each["at"]["p50"]) if begin else f"after {spelled(each['at']['p50'])}"
        sure = "" if each["certain"] else " perhaps, if a result asks for it,"
        yield f"People are needed{sure} at {when}: {each['text']}"
    for each in forecast["consumables"]:
        yield _consumable(each, begin)
    for name, each in forecast["instruments"].items():
        steps = "one step" if each["steps"] == 1 else f"{each['steps']} steps"
        known = f"is occupied for {spelled(each['seconds'])}, by {steps}" if each["seconds"] else f"has {steps} to do"
        yield f"{name} {known}."
    if forecast["critical"]:
        yield "It takes its time for: " + ", ".join(
            f"{part['path']} ({spelled(part['seconds'])})" for part in forecast["critical"][:5]
        )
    yield from forecast["notes"]


def _spread(seconds: Mapping[str, float] | None) -> str:
    if seconds is None:
        return "how long it takes is not known."
    return f"about {spelled(seconds['p50'])} ({spelled(seconds['p10'])} to {spelled(seconds['p90'])})"


def _consumable(each: Mapping[str, Any], begin: datetime | None) -> str:
    unit = f" {each['unit']}" if each["unit"] else ""
    name = f"{each['instrument']}.{each['attribute']}"
    there = "nobody knows how much is there" if each["available"] is None else f"{each['available']:g}{unit} are there"
    needed = f"{name}: {each['needed']:g}{unit} are needed, {there}"
    more = f"; {each['unknown']} steps take what only a result will say" if each["unknown"] else ""
    if not each["runs_out"]:
        return needed + more + "."
    seconds = each["runs_out"]["p50"]
    when = f"at {_at(begin, seconds)}" if begin else f"after {spelled(seconds)}"
    return f"{needed}{more}: IT RUNS OUT {when}" + (f", at {each['path']}." if each["path"] else ".")


def _at(moment: datetime | str, seconds: float = 0.0) -> str:
    """A moment on this machine's clock; with its day if that is not today."""
    told = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    local = datetime.fromtimestamp(told.timestamp() + seconds).astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return f"{local:%H:%M}" if today else f"{local:%a %Y-%m-%d %H:%M}"


_NOT_OVER = "state=queued&state=running&state=waiting&state=paused"


def show_expected(hub: str | None, *, as_json: bool) -> None:
    """See `labretto forecast` without a file."""
    with Hub(hub) as found:
        runs = found.ask("GET", "/api/forecast")
        if as_json:
            print_json(runs)
            return
        rows = found.ask("GET", f"/api/runs?{_NOT_OVER}&limit=1000")
    names = {row["id"]: row["name"] for row in rows}
    table = Table("run", "name", "begins", "ends", "at the latest (9 of 10)", "to be finished by", box=None)
    for run in runs:
        begin = _at(run["begin"]) if run["begin"] else "not known"
        ends = [_at(run["end"][word]) for word in ("p50", "p90")] if run["end"] else ["not known", ""]
        by = _at(run["finish_by"]) + (" (rather not)" if run["late"] else "") if run["finish_by"] else ""
        table.add_row(run["run"], escape(names.get(run["run"], "")), begin, *ends, by)
    console.print(table if runs else "Nothing runs or waits.")


# labretto record --------------------------------------------------------------------------------------------------


def show_record(run: str, lab: str, *, as_json: bool) -> None:
    """See `labretto record`."""
    from labretto.catalog.read import open_record

    found = found_records(lab, {"text": run, "limit": 1})
    if not found:
        raise NotFoundError(f"No record is called {run[:80]!r}.", way_out="`labretto records` lists them.")
    folder = Path(found[0]["folder"])
    manifest, compared = open_record(folder).manifest, compared_in(folder)
    if as_json:
        print_json({**manifest, "folder": str(folder), "compared": compared})
        return
    for word in ("id", "name", "state", "who"):
        console.print(f"{word:<10} {manifest.get(word) or ''}", highlight=False, soft_wrap=True, markup=False)
    for word in ("submitted", "started", "ended"):
        console.print(f"{word:<10} {on_this_clock(manifest.get(word))}", highlight=False, markup=False)
    if error := manifest.get("error"):
        console.print(f"{'why':<10} {from_problem(error)}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"{'record':<10} {folder}", highlight=False, soft_wrap=True, markup=False)
    if compared is not None:
        _show_comparison(compared)


def compared_in(folder: Path) -> dict[str, Any] | None:
    """What was foreseen of a record's run beside what happened; None if nothing was foreseen."""
    from labretto.catalog.events import read_events

    events = list(read_events(folder))
    said: dict[str, Any] = {}
    for event in events:
        said |= event if event["kind"] == "submitted" else event.get("changed", {}) if event["kind"] == "edited" else {}
    return compare(said["forecast"], events) if said.get("forecast") else None


def _show_comparison(compared: Mapping[str, Any]) -> None:
    console.print(escape(compared["sentence"]), highlight=False, soft_wrap=True)
    table = Table("", "foreseen", "happened", box=None)
    for name, each in compared["instruments"].items():
        foreseen = spelled(each["foreseen"]["seconds"]) if each["foreseen"] else "not foreseen"
        table.add_row(escape(name), foreseen, spelled(each["happened"]["seconds"]))
    for each in compared["people"]:
        foreseen = f"after {spelled(each['foreseen_at']['p50'])}" if each["foreseen_at"] else "not foreseen"
        happened = _asked(each["happened"]) if each["happened"] else "was not asked"
        table.add_row(escape(each.get("text") or each["path"]), foreseen, happened)
    console.print(table)


def _asked(happened: Mapping[str, Any]) -> str:
    at = "before the start" if happened["at"] is None else f"after {spelled(happened['at'])}"
    return at + (f", answered in {spelled(happened['answer'])}" if happened["answer"] is not None else ", not answered")


# labretto schedule ------------------------------------------------------------------------------------------------


def add(
    file: Path,
    rule: str,
    zone: str | None,
    parameters: Mapping[str, Any],
    terms: Mapping[str, Any],
    *,
    hub: str | None,
    as_json: bool,
) -> None:
    """See `labretto schedule add`."""
    with Hub(hub) as found:
        made = found.schedule(file, rule, zone=zone or local_zone(), parameters=parameters, **terms)
    if as_json:
        print_json(made)
    else:
        first = made["coming"][0]["local"]
        _say(f"{made['id']}: {made['name']}, {made['rule']} ({made['zone']}); first {first}")


def show_schedules(hub: str | None, *, as_json: bool) -> None:
    """See `labretto schedule list`."""
    with Hub(hub) as found:
        schedules = found.ask("GET", "/api/schedules")
    if as_json:
        print_json(schedules)
        return
    table = Table("schedule", "name", "rule", "zone", "due next", "the last time", box=None)
    for each in schedules:
        due = "held" if each["held"] else _next(each)
        words = (each["id"], each["name"], each["rule"], each["zone"], due, each["last_word"] or "")
        table.add_row(*map(escape, words))
    console.print(table if schedules else "Nothing is scheduled.")


def change(schedule: str, how: str, hub: str | None) -> None:
    """See `labretto schedule hold`, `release` and `remove`."""
    path = f"/api/schedules/{quote(schedule, safe='')}"
    with Hub(hub) as found:
        if how == "remove":
            found.ask("DELETE", path)
            _say(f"{schedule} is forgotten; its runs stay.")
            return
        told = found.ask("POST", f"{path}/{how}")
    _say(f"{told['name']} is held." if told["held"] else f"{told['name']} is due {_next(told)}.")


def _next(schedule: Mapping[str, Any]) -> str:
    return str(schedule["coming"][0]["local"]) if schedule["coming"] else "never again"


def _say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def local_zone() -> str:
    """The name of this machine's time zone: from TZ, or where /etc/localtime leads; else UTC."""
    if name := os.environ.get("TZ", "").lstrip(":"):
        return name
    try:
        return str(Path("/etc/localtime").resolve()).split("/zoneinfo/", 1)[1]
    except (OSError, IndexError):
        return "UTC"
