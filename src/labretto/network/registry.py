"""Instruments that have told a hub where they are: boards, and hosts that somebody else runs.

Whoever registers is not trusted for it: until a person (or a token that may start hosts anew) has accepted an entry,
nobody asks anything of its address. One idea keeps a hub from being sent to knock at doors for others: without that
right an instrument can only name the very address from which it asks, as a number. The list outlives the hub.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labretto.access.listening import is_loopback
from labretto.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from labretto.instrument.reading import isoformat, now
from labretto.lab import LabInstrument, check_name
from labretto.network.directory import REGISTERED, write_file

MOST = 200
"""Entries of one lab that wait to be accepted or are."""


@dataclass(frozen=True)
class Registrant:
    """Who registers."""

    name: str
    token: str = ""
    """Id of the token that was shown."""
    where: str = ""
    """The address from which it asks."""
    trusted: bool = False
    """It may start hosts anew, so what it registers is accepted at once, wherever that is."""


@dataclass(frozen=True)
class Entry:
    """One instrument that was registered."""

    name: str
    url: str
    by: str
    token: str
    where: str
    at: str
    """ISO 8601, UTC."""
    accepted_by: str | None = None
    """None: a person has to."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form for everybody; which token it was is nobody's business."""
        plain = asdict(self)
        del plain["token"]
        return plain | {"accepted": self.accepted_by is not None}


class Registry:
    """The entries of one lab, in `registered.json` of its folder.

    Args:
        folder: the lab's.
        taken: names that lab.toml has.
    """

    def __init__(self, folder: Path, taken: Collection[str] = ()) -> None:
        self._file = folder / REGISTERED
        self._taken = taken
        self._entries = {entry.name: entry for entry in _read(self._file) if entry.name not in taken}

    def entries(self) -> dict[str, Entry]:
        """Name → entry."""
        return dict(self._entries)

    def register(self, name: str, url: str, who: Registrant, own: Collection[int] = ()) -> tuple[Entry, bool]:
        """The entry, and whether it is new or has another address than before.

        Args:
            name, url: of the instrument.
            who: registers it.
            own: ports on which the hub itself listens.

        Raises:
            InvalidError: the name or the address is none.
            ForbiddenError: the address is not the registrant's own.
            ConflictError: lab.toml, or another registrant, has this name.
            StorageError: it cannot be kept.
        """
        check_name(name)
        url = checked_url(url, who, own)
        if name in self._taken:
            raise ConflictError(f"lab.toml has an instrument {name!r}.", way_out="Register under another name.")
        known = self._entries.get(name)
        if known and known.url == url and (known.accepted_by or not who.trusted):
            return known, False
        if known and not who.trusted and known.token != who.token:
            raise ConflictError(f"{known.by} has registered {name!r}.", way_out="Register under another name.")
        if known is None and len(self._entries) >= MOST:
            raise ConflictError(f"{MOST} instruments are registered already.", way_out="Remove some first.")
        accepted_by = who.name if who.trusted else known.accepted_by if known else None
        entry = Entry(name, url, who.name, who.token, who.where, isoformat(now()), accepted_by)
        self._keep({**self._entries, name: entry})
        return entry, True

    def accept(self, name: str, by: str) -> Entry:
        """Somebody trusts it. Raises `NotFoundError` if it is not registered."""
        entry = self._entry(name)
        if entry.accepted_by is None:
            entry = replace(entry, accepted_by=by)
            self._keep({**self._entries, name: entry})
        return entry

    def remove(self, name: str) -> None:
        """Forget it. Raises `NotFoundError` if it is not registered."""
        self._entry(name)
        self._keep({key: entry for key, entry in self._entries.items() if key != name})

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            way_out = "It stands in lab.toml." if name in self._taken else ""
            raise NotFoundError(f"{name[:80]!r} was not registered.", way_out=way_out)
        return self._entries[name]

    def _keep(self, entries: dict[str, Entry]) -> None:
        write_file(self._file, {"instruments": [asdict(entry) for entry in entries.values()]})
        self._entries = entries


_PLACE = re.compile(r"(/[A-Za-z0-9_-]{1,64}){0,4}/?", re.ASCII)
"""Of one of several instruments of a board; nothing that leads elsewhere."""


def as_lab_instrument(entry: Entry) -> LabInstrument:
    """The entry as lab.toml would have it."""
    return LabInstrument(name=entry.name, url=entry.url)


def checked_url(url: str, who: Registrant, own: Collection[int] = ()) -> str:
    """`url` in its plain form, if `who` may register it. Raises as `Registry.register`."""
    way_out = "Write http://HOST:PORT, of one of several on a board http://HOST/NAME, or tcp://HOST:PORT."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        LabInstrument(name="x", url=url)
    except ValueError:
        raise InvalidError(f"{url[:200]!r} is no address of an instrument.", way_out=way_out) from None
    plain = parts.scheme in ("http", "https", "tcp") and not (parts.username or parts.password or parts.query)
    if not plain or not _PLACE.fullmatch(parts.path) or not host or (parts.scheme == "tcp" and not port):
        raise InvalidError(f"{url[:200]!r} is no address of an instrument.", way_out=way_out)
    _refuse_odd_places(url, host, port, who, own)
    if not who.trusted and (_plain(host) is None or _plain(host) != _plain(who.where)):
        raise ForbiddenError(
            f"{who.name} asks from {who.where or 'nowhere'} and may register only what is there, not {host}.",
            way_out="Name that address as a number, or let somebody who is admin register it.",
        )
    return url.rstrip("/")


def _refuse_odd_places(url: str, host: str, port: int | None, who: Registrant, own: Collection[int]) -> None:
    address = _plain(host)
    if is_loopback(host) or (address and address.is_loopback):
        if not is_loopback(who.where):
            raise ForbiddenError(f"{url} would be the hub's own machine.", way_out="Name the address in the network.")
        if port in own:
            raise InvalidError(f"{url} is the hub itself.", way_out="Name the instrument's own port.")
    elif address and (address.is_unspecified or address.is_multicast or address.is_link_local or address.is_reserved):
        raise InvalidError(f"{url} is no address at which an instrument can be.", way_out="Name its own address.")


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address as a number; None for a name."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _read(file: Path) -> list[Entry]:
    try:
        return [Entry(**each) for each in json.loads(file.read_bytes())["instruments"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
