"""Names become addresses: which hosts and hubs of this machine live, as their files say and their locks prove.

A file whose lock nobody holds was left by a process that was killed, and counts for nothing. Nothing is asked over a
wire here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labretto.errors import ConflictError, NotFoundError, StorageError
from labretto.lab import ALONE, did_you_mean, home
from labretto.network.liveness import held

REGISTERED = "registered.json"
"""Of a lab's folder: the instruments that have registered themselves (`labretto.network.registry`)."""


@dataclass(frozen=True)
class HostFile:
    """host.json: what a host says of itself once it answers."""

    name: str
    pid: int
    addresses: Mapping[str, str]
    """"http", "zmq", "events" → address."""
    driver: str
    """`module:Class`."""
    started: str
    """ISO 8601, UTC."""
    fingerprint: str = ""
    """Changes when what it was told to serve changes."""
    source: str = ""
    """The file of its driver."""
    written: int = 0
    """When that file was written, as it was read (ns)."""

    @property
    def address(self) -> str:
        """Where a client connects: ZMQ, which is quicker, if there is one."""
        return self.addresses.get("zmq") or self.addresses["http"]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class HubFile:
    """hub.json: what a hub says of itself once it answers."""

    lab: str
    url: str
    pid: int
    started: str
    instruments: Mapping[str, str] = field(default_factory=dict)
    """Instruments whose hosts run elsewhere → address."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def write_file(path: Path, body: Mapping[str, Any]) -> None:
    """Write `body` as JSON aside, then rename: a reader sees all of it or nothing.

    Raises:
        StorageError: the disk does not take it.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(body, indent=1) + "\n", "utf-8")
        aside.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.", way_out="Free space there.") from error


def remove_file(path: Path) -> None:
    """Remove a file of ours if it is there."""
    path.unlink(missing_ok=True)


def read_host(folder: Path) -> HostFile | None:
    """What the living host of `folder` says of itself; None if none lives there, or it does not answer yet."""
    body = _read(folder / "host.json") if held(folder / "lock") else None
    try:
        return HostFile(**body) if body else None
    except TypeError:
        return None


def read_hub(folder: Path) -> HubFile | None:
    """What the living hub of the lab `folder` says of itself; None if none lives there, or it does not answer yet."""
    body = _read(folder / "hub.json") if held(folder / "hub.lock") else None
    try:
        return HubFile(**body) if body else None
    except TypeError:
        return None


def hubs() -> list[HubFile]:
    """Every hub that runs here."""
    return [hub for folder in _folders(home()) if (hub := read_hub(folder))]


def find_hub(lab: str | None = None) -> str:
    """The URL of the hub of `lab`, or of the only one that runs here.

    Raises:
        NotFoundError: none runs, or none of this lab.
        ConflictError: several run, and none was named.
    """
    running = {hub.lab: hub.url for hub in hubs()}
    if lab is not None and lab not in running:
        way_out = did_you_mean(lab, running) or "Start it: labretto up lab.toml"
        raise NotFoundError(f"No hub of the lab {lab!r} runs here.", way_out=way_out)
    if not running:
        raise NotFoundError("No hub runs here.", way_out="Start one: labretto up lab.toml")
    if lab is None and len(running) > 1:
        raise ConflictError(f"Several hubs run here: {', '.join(running)}.", way_out="Say which lab is meant.")
    return running[lab] if lab else next(iter(running.values()))


def known() -> dict[str, str]:
    """Every instrument that lives here, as "lab/name" and "name" alone if only one has it → address.

    One that is served without a lab goes by its name alone.
    """
    full = dict(_instruments())
    short: dict[str, list[str]] = {}
    for path, address in full.items():
        short.setdefault(path.rpartition("/")[2], []).append(address)
    return full | {name: addresses[0] for name, addresses in short.items() if len(addresses) == 1}


def find(name: str) -> str:
    """The address that `name` stands for: an address itself, an instrument's name, or "lab/name".

    Raises:
        NotFoundError: nothing of this name lives here; says what does.
        ConflictError: several labs have it.
    """
    if "://" in name or name.startswith("memory:"):
        return name
    addresses = known()
    if name in addresses:
        return addresses[name]
    several = [path for path in addresses if path.endswith(f"/{name}")]
    if several:
        raise ConflictError(f"Several labs have an instrument {name!r}.", way_out=f"Write {' or '.join(several)}.")
    way_out = did_you_mean(name, addresses) or "Start one: labretto serve module:Class --name " + name[:60]
    raise NotFoundError(f"No instrument {name[:80]!r} lives on this machine.", way_out=way_out)


def folder_of(address: str) -> Path | None:
    """The lab's folder whose hub or host lives here at `address`; None if it is none of this machine's."""
    wanted = address.rstrip("/")
    for lab in _folders(home()):
        hub = read_hub(lab)
        if hub and hub.url == wanted:
            return lab
        for folder in _folders(lab if lab.name == ALONE else lab / "hosts"):
            if (host := read_host(folder)) and wanted in host.addresses.values():
                return lab
    return None


def _instruments() -> Iterator[tuple[str, str]]:
    for lab in _folders(home()):
        if lab.name == ALONE:
            yield from ((host.name, host.address) for folder in _folders(lab) if (host := read_host(folder)))
            continue
        for folder in _folders(lab / "hosts"):
            if host := read_host(folder):
                yield f"{lab.name}/{host.name}", host.address
        if hub := read_hub(lab):
            yield from ((f"{lab.name}/{name}", address) for name, address in hub.instruments.items())
            registered = (_read(lab / REGISTERED) or {}).get("instruments", [])
            yield from ((f"{lab.name}/{each['name']}", each["url"]) for each in registered if each.get("accepted_by"))


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _read(path: Path) -> dict[str, Any] | None:
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None
