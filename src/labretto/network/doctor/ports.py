"""Ports that the lab wants, and devices that two instruments want at once.

A port is tried by binding to it and letting it go, without listening; one that the lab's own processes hold is fine.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

from labretto.access import gate_of
from labretto.errors import LabError
from labretto.lab import Lab
from labretto.network.directory import hubs, known, read_host, read_hub
from labretto.network.doctor.finding import Finding, fault, faults_of, note, ok
from labretto.network.wires import LOOPBACK, ports

_DEVICE = frozenset(
    {"port", "address", "resource", "resource_name", "device", "serial", "serial_port", "visa", "adapter"}
)
"""Settings that usually say where the device is."""


def check_ports(lab: Lab) -> Iterator[Finding]:
    """The hub's port and those that instruments ask for."""
    hub = read_hub(lab.folder)
    yield check_port("hub.port", lab.host, lab.port, _port(hub.url) if hub else None, hub.pid if hub else 0)
    yield from _check_listening("hub.host", lab, lab.host, lab.access.names)
    for name, entry in lab.instruments.items():
        if entry.driver is None:
            continue
        yield from _check_listening(f"{name}.host", lab, entry.host)
        if entry.port is not None:
            host = read_host(lab.host_folder(name))
            own = ports(host.addresses).get("http") if host else None
            yield check_port(f"{name}.port", entry.host, entry.port, own, host.pid if host else 0)


def check_port(subject: str, where: str, port: int, own: int | None, pid: int) -> Finding:
    """One port; `own` is the one that the lab's own process `pid` holds already."""
    if port == own:
        return ok(subject, f"Port {port} is held by the lab's own process {pid}.")
    if (error := _bound(where, port)) is None:
        return ok(subject, f"Port {port} of {where} is free.")
    if error.errno == errno.EADDRINUSE:
        detail = f"Port {port} of {where} is in use{_by_whom(port)}."
        return fault(subject, detail, f"Stop what has it (ss -ltnp 'sport = :{port}'), or choose another port.")
    detail = f"Port {port} of {where} cannot be used: {(error.strerror or str(error)).lower()}."
    return fault(subject, detail, "Choose a port above 1023 and an address of this machine (ip addr).")


def check_shared(lab: Lab) -> Iterator[Finding]:
    """One device or one address for two instruments; devices of this machine that are not there."""
    seen: dict[str, str] = {}
    for name, entry in lab.instruments.items():
        places = {str(value) for key, value in entry.settings.items() if key.lower() in _DEVICE and value}
        for place in [*sorted(places), *([entry.url.rstrip("/")] if entry.url else [])]:
            if place in seen:
                detail = f"{name} and {seen[place]} both have {place}."
                yield note(f"{name}.device", detail, "Correct one of them, unless it is a bus that several may use.")
            seen.setdefault(place, name)
            if place.startswith("/dev/"):
                yield _check_device(f"{name}.device", Path(place))


def _check_device(subject: str, path: Path) -> Finding:
    if not path.exists():
        detail = f"{path} is not there."
        return fault(subject, detail, "Is it plugged in and on? A name in /dev/serial/by-id stays the same.")
    if not os.access(path, os.R_OK | os.W_OK):
        return fault(subject, f"{path} may not be read and written by you.", f"sudo usermod -aG {_group(path)} $USER")
    return ok(subject, f"{path} is there, and may be read and written.")


def _group(path: Path) -> str:
    try:
        return path.group()
    except (KeyError, OSError):
        return "dialout"


def _check_listening(subject: str, lab: Lab, where: str, names: Collection[str] = ()) -> Iterator[Finding]:
    """Whether a server may listen there: where others reach it only with a token."""
    try:
        gate_of(lab.folder, where, subject, names=names)
    except LabError as error:
        yield from faults_of(subject, error)


def _bound(where: str, port: int) -> OSError | None:
    """Why the port cannot be bound to; None: it can."""
    bare = where.strip("[]").replace("localhost", LOOPBACK)
    with socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bare, port))
        except OSError as error:
            return error
    return None


def _by_whom(port: int) -> str:
    """Which hub or instrument of this machine has it."""
    for hub in hubs():
        if _port(hub.url) == port:
            return f" by the hub of the lab {hub.lab} (process {hub.pid})"
    names = [name for name, address in known().items() if _port(address) == port]
    return f" by the instrument {names[0]}" if names else " by another program"


def _port(url: str) -> int | None:
    return ports({"": url}).get("")
