"""What the commands about hosts print: logs, a driver loaded anew, alarms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from labretto.errors import ConflictError, InvalidError, NotFoundError
from labretto.lab import ALONE, Lab, check_name, did_you_mean, home
from labretto.network.announce import find_announced
from labretto.network.log import last_lines
from labretto.orchestrator.client import Hub
from labretto.terminal import console, print_json

LOOK_EVERY = 0.5
"""Seconds between two looks at a log that is followed."""

_COLOURS = {"critical": "bold red", "warning": "yellow"}


def with_certificate(lab: Lab, certificate: Path | None, key: Path | None) -> Lab:
    """The lab as a command line wants it: with this certificate, if one is named."""
    if (certificate is None) != (key is None):
        raise InvalidError("--tls-cert and --tls-key go together.", way_out="Name both files, or neither.")
    if certificate is None:
        return lab
    return lab.model_copy(update={"access": lab.access.model_copy(update={"tls_cert": certificate, "tls_key": key})})


def reload(name: str, hub: str | None, *, as_json: bool) -> None:
    """`labretto reload NAME`."""
    with Hub(hub) as lab:
        told = lab.ask("POST", f"/api/instruments/{check_name(name)}/reload")
    if as_json:
        print_json(told)
        return
    print(f"{name} is {told['state']}" + (", with what its driver's file says now:" if told["different"] else "."))
    for line in told["different"] or ["What it offers is the same."]:
        print(f"  {line}")


def show_log(name: str, lines: int, hub: str | None, *, follow: bool, as_json: bool) -> None:
    """`labretto logs NAME`: from the hub that was named, or from this machine's disk, whether or not a hub runs."""
    if hub and "://" in hub:
        with Hub(hub) as lab:
            told = lab.ask("GET", f"/api/instruments/{check_name(name)}/log", lines=lines)["lines"]
        file = None
    else:
        file = _log_of(name, hub)
        told = last_lines(file, lines)
    if as_json:
        print_json(told)
        return
    for line in told:
        print(line)
    if follow and file is None:
        raise ConflictError("A log is followed only on the machine on which it is.", way_out="Leave out --follow.")
    if follow and file:
        for line in _growing(file):
            print(line, end="", flush=True)


def show_alarms(hub: str | None, seen: str | None, note: str, *, as_json: bool) -> None:
    """`labretto alarms`."""
    with Hub(hub) as lab:
        listed: list[dict[str, Any]] = lab.ask("GET", "/api/alarms")
        if seen:
            alarm = next((each for each in listed if each["id"].startswith(seen)), None)
            if alarm is None:
                raise NotFoundError(f"There is no alarm {seen!r}.", way_out="labretto alarms lists them.")
            path = f"/api/instruments/{alarm['instrument']}/alarms/{alarm['id']}/acknowledge"
            listed = [lab.ask("POST", path, {"note": note})]
    if as_json:
        print_json(listed)
    elif not listed:
        print("No alarms.")
    else:
        console.print(_table(listed))


def show_announced(seconds: float, *, as_json: bool) -> None:
    """`labretto find`."""
    found = asyncio.run(find_announced(seconds))
    if as_json:
        print_json([each.as_dict() for each in found])
    elif not found:
        print("Nothing announces itself here. A host does with `labretto serve ... --announce`.")
    for each in [] if as_json else found:
        print(f"{each.name}  {each.url}" + (f"  key {each.key}" if each.key else ""))


def _table(alarms: list[dict[str, Any]]) -> Table:
    table = Table("", "what", "is", "raised", "over", "seen by", "id")
    for alarm in alarms:
        colour = _COLOURS.get(alarm["severity"], "") if alarm["active"] else "dim"
        what, value = f"{alarm['instrument']}.{alarm['attribute']}", alarm["reading"]["value"]
        is_ = f"{alarm['condition']}: {value}" if value is not None else alarm["condition"]
        times = [(alarm[word] or "")[:19].replace("T", " ") for word in ("raised", "cleared")]
        # A UUIDv7 begins with its time: two of one night differ only at the end.
        table.add_row(
            alarm["severity"], *map(escape, (what, is_, *times, alarm["by"] or "", alarm["id"])), style=colour
        )
    return table


def _log_of(name: str, lab: str | None) -> Path:
    """The log of the host `name`, in the only lab that has one, or in `lab`."""
    found = {path.parent.parent.parent.name: path for path in home().glob(f"*/hosts/{check_name(name)}/log.txt")}
    if lab:
        found = {key: path for key, path in found.items() if key == lab}
    if not found:
        names = {path.parent.name for path in home().glob("*/hosts/*/log.txt") if path.parents[2].name != ALONE}
        way_out = did_you_mean(name, sorted(names)) or "Hosts that a hub has started have a log."
        raise NotFoundError(f"There is no log of {name!r} on this machine.", way_out=way_out)
    if len(found) > 1:
        raise ConflictError(f"Several labs have {name!r}: {', '.join(sorted(found))}.", way_out="Say --hub LAB.")
    return next(iter(found.values()))


def _growing(path: Path) -> Iterator[str]:
    """What is written to a log from now on, through its renamings, for ever."""
    file = path.open(encoding="utf-8", errors="replace")
    file.seek(0, 2)
    while True:
        if line := file.readline():
            yield line
            continue
        time.sleep(LOOK_EVERY)
        try:
            renamed = path.stat().st_ino != Path(f"/dev/fd/{file.fileno()}").stat().st_ino
        except FileNotFoundError:
            continue
        if renamed:
            file.close()
            file = path.open(encoding="utf-8", errors="replace")
