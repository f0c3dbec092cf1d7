"""What runs of the lab now and what earlier runs left: hub, hosts, and records that were not closed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labretto.lab import NAME, Lab
from labretto.network.directory import read_host, read_hub
from labretto.network.doctor.finding import Finding, fault, note, ok
from labretto.network.liveness import held, holder
from labretto.network.serve import order_in_lab

_TAIL = 1 << 20
"""Bytes at the end of a record's events in which the last one is looked for."""


def check_lives(lab: Lab) -> Iterator[Finding]:
    """The hub, and every host that has a folder."""
    hub, hub_held = read_hub(lab.folder), held(lab.hub_lock)
    if hub:
        yield ok("hub", f"The hub of {lab.name} runs at {hub.url} (process {hub.pid}).")
    elif hub_held:
        detail = f"The hub of {lab.name} holds its lock and does not answer (process {holder(lab.hub_lock)})."
        yield note("hub", detail, "Is it just starting? Else end that process.")
    elif lab.hub_file.exists():
        yield note("hub", f"The last hub of {lab.name} was killed.", "Nothing to do: the next one takes up its runs.")
    for folder in sorted(lab.folder.glob("hosts/*")):
        if NAME.fullmatch(folder.name) and folder.is_dir():
            yield from _check_host(lab, folder, with_hub=hub_held)


def _check_host(lab: Lab, folder: Path, *, with_hub: bool) -> Iterator[Finding]:
    name, host = folder.name, read_host(folder)
    subject = f"{name}.host"
    if not held(folder / "lock"):
        if with_hub and name in lab.instruments and lab.instruments[name].driver:
            way_out = f"Read {folder / 'log.txt'}, mend it, and start it again from the page."
            yield fault(subject, f"{name} is not served although the hub runs.", way_out)
        elif (folder / "host.json").exists():
            yield note(subject, f"The last host of {name} was killed.", "Look at its instrument before the night.")
        return
    pid = host.pid if host else holder(folder / "lock")
    if not with_hub:
        detail = f"The host of {name} runs without a hub (process {pid})."
        yield note(subject, detail, f"It leaves 10 s after its hub; if it stays: kill {pid}")
    elif name not in lab.instruments:
        yield note(subject, f"{name} is served (process {pid}) and not in lab.toml.", "Start the hub anew.")
    elif host and lab.instruments[name].driver and host.fingerprint != order_in_lab(lab, name).fingerprint:
        detail = f"{name} is served as lab.toml was before it changed (process {pid})."
        yield note(subject, detail, "Start the hub anew to use what the file says now.")
    else:
        yield ok(subject, f"{name} is served (process {pid}).")


def check_records(lab: Lab) -> Iterator[Finding]:
    """Records that no run writes any more and that were not closed; runs that wait for the next hub."""
    with_hub, count = held(lab.hub_lock), 0
    for manifest in sorted(lab.folder.glob("records/[0-9][0-9][0-9][0-9]/[0-9][0-9]/*/run.json")):
        count += 1
        yield from _check_record(manifest, with_hub=with_hub)
    if count:
        yield ok("records", f"{count} record{'s' * (count != 1)} looked at.")


def _check_record(manifest: Path, *, with_hub: bool) -> Iterator[Finding]:
    folder = manifest.parent
    said = _read(manifest.read_bytes())
    if said is None:
        way_out = "Keep events.jsonl, from which all else is made; write down the run's id and ask for help."
        yield fault("records", f"{manifest} is no JSON object.", way_out)
        return
    if "finalised" in said or with_hub:
        return  # while a hub runs an open record is one that is being written
    if _last_event(folder / "events.jsonl").get("kind") == "finished":
        detail = f"The run {folder.name} ended and its record was not closed."
        yield note("records", detail, "labretto up closes it; it is as readable as before.")
    else:
        detail = f"The run {folder.name} is not over: the next hub goes on with it."
        yield note("records", detail, "Before that, see that its sample and its instruments are as it left them.")


def _last_event(file: Path) -> dict[str, Any]:
    """The last whole line; empty if there is none."""
    try:
        with file.open("rb") as events:
            events.seek(max(0, file.stat().st_size - _TAIL))
            lines = events.read().splitlines()
    except OSError:
        return {}
    return next((event for line in reversed(lines) if (event := _read(line))), {})


def _read(text: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(text)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
