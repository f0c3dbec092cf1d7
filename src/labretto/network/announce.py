"""Names in the network without anybody's list: a host announces itself, and who looks sees what is announced (mDNS).

What is seen is a claim, not a fact: anybody can announce any name. So nothing here connects to anything; lab.toml, or a
person, says which name is meant, and a key says who has to be there (`labretto.network.keeper`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urldefrag, urlsplit

from labretto.access.listening import is_loopback
from labretto.errors import FailedError, UnreachableError
from labretto.instrument import codec
from labretto.instrument.describe import Description
from labretto.lab import NAME, LabInstrument

logger = logging.getLogger(__name__)

SERVICE = "_labretto._tcp.local."
WOT = "_wot._tcp.local."
"""As W3C's WoT Discovery has it."""

LOOK_FOR = 3.0
"""Seconds in which hosts answer; a board only tells now and then."""

_FAREWELL_WITHIN = 0.5
"""Seconds."""

_RESOLVE_WITHIN = 1_500
"""Milliseconds."""


@dataclass(frozen=True)
class Found:
    """What somebody announces."""

    name: str
    url: str
    description: str = ""
    """Changes when what it offers changes."""
    key: str = ""
    """Of the host, for ZMQ; a claim like the rest."""
    zmq: int = 0
    """Its port for ZMQ; 0: none."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    def with_key(self, key: str) -> str:
        """Its address for ZMQ, at which only the host with this key is understood."""
        host = urlsplit(self.url).hostname or ""
        return f"tcp://{f'[{host}]' if ':' in host else host}:{self.zmq}#curve={key}"


def digest(description: Description) -> str:
    """16 letters that change when the description does."""
    return hashlib.sha256(codec.encode_sorted(description.as_dict())).hexdigest()[:16]


@contextlib.asynccontextmanager
async def announcing(description: Description, addresses: Mapping[str, str], where: str) -> AsyncIterator[None]:
    """Announce an instrument while the block runs.

    Args:
        description: of the instrument.
        addresses: "http" and "zmq", as this machine reaches them.
        where: on which it listens; on the loopback it is announced there only.

    Raises:
        FailedError: there is no network on which it could be.
    """
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    own = _own_addresses(where)
    words: dict[str, Any] = {
        "port": urlsplit(addresses["http"]).port,
        "addresses": [socket.inet_aton(address) for address in own],
        "server": f"{description.name.replace('_', '-')}-{socket.gethostname().partition('.')[0]}.local.",
    }
    about = {"name": description.name, "td": "/thing-description", "description": digest(description), "path": "/"}
    thing = {"td": "/thing-description", "type": "Thing", "scheme": "http"}
    infos = [
        AsyncServiceInfo(SERVICE, f"{description.name}.{SERVICE}", properties=about | _zmq(addresses), **words),
        AsyncServiceInfo(WOT, f"{description.name}.{WOT}", properties=thing, **words),
    ]
    with _no_network():
        zeroconf = AsyncZeroconf(**_interfaces(own))
    try:
        await asyncio.gather(*[_registered(zeroconf, info) for info in infos])
        yield
    finally:
        with contextlib.suppress(Exception):  # a farewell that nobody hears is no reason not to leave
            await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


async def _registered(zeroconf: Any, info: Any) -> None:
    await (await zeroconf.async_register_service(info, allow_name_change=True))


async def announced(description: Description, addresses: Mapping[str, str], where: str) -> None:
    """The same until it is cancelled; an instrument answers also where it cannot be announced, and its log says so."""
    try:
        async with announcing(description, addresses, where):
            logger.info("%s is announced", description.name)
            await asyncio.Event().wait()
    except Exception as error:  # noqa: BLE001 - what is wrong with a network comes in many kinds
        logger.warning("%s cannot be announced: %s", description.name, error)


async def ended(task: asyncio.Task[None]) -> None:
    """Return when the announcement has been taken back."""
    task.cancel()
    await asyncio.wait([task], timeout=_FAREWELL_WITHIN)


async def find_announced(
    seconds: float = LOOK_FOR, *, wanted: str | None = None, key: str | None = None
) -> list[Found]:
    """What is announced on this machine's networks and on its loopback.

    Args:
        seconds: how long to look.
        wanted: this name only.
        key: the one with this key only, and no longer than until it is seen.

    Raises:
        FailedError: there is no network on which anything could be.
    """
    from zeroconf import ServiceStateChange
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

    found: dict[tuple[str, str], Found] = {}
    enough = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    with _no_network():
        zeroconf = AsyncZeroconf(**_interfaces([*_own_addresses("0.0.0.0"), "127.0.0.1"]))

    def fits(each: Found) -> bool:
        return wanted in (None, each.name) and key in (None, each.key)

    async def resolve(service_type: str, name: str) -> None:
        info = AsyncServiceInfo(service_type, name)
        if not await info.async_request(zeroconf.zeroconf, _RESOLVE_WITHIN):
            return
        for each in _found(info.decoded_properties, info.parsed_addresses(), info.port):
            found[each.name, each.url] = each
            if key and fits(each):
                enough.set()

    def seen(zeroconf: Any, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is not ServiceStateChange.Removed:
            task = asyncio.get_running_loop().create_task(resolve(service_type, name))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[seen])
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), seconds)
    finally:
        await browser.async_cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await zeroconf.async_close()
    return sorted(filter(fits, found.values()), key=lambda each: each.name)


async def announced_address(entry: LabInstrument, seconds: float | None = None) -> str:
    """Where the host is that lab.toml names by what it announces.

    Raises:
        UnreachableError: nobody announces that now, or several do and no key says which is meant.
    """
    name = entry.name if entry.discover is True else str(entry.discover)
    found = await find_announced(LOOK_FOR if seconds is None else seconds, wanted=name, key=entry.key)
    if not found:
        with_key = " with the key that lab.toml names" if entry.key else ""
        raise UnreachableError(f"Nobody announces {name!r}{with_key} on this network.")
    if len(found) > 1 and not entry.key:
        several = ", ".join(each.url for each in found)
        raise UnreachableError(f"Several announce {name!r}: {several}.", way_out="Say its `key`, or its `url`.")
    return found[0].with_key(entry.key) if entry.key else found[0].url


def _found(properties: Mapping[str, str | None], addresses: Sequence[str], port: int | None) -> list[Found]:
    """What an announcement says, as far as it can be true."""
    name, key, zmq = (properties.get(word) or "" for word in ("name", "key", "zmq"))
    if not NAME.fullmatch(name) or not port or not addresses:
        return []
    host = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    zmq_port = int(zmq) if zmq.isdecimal() and len(zmq) < 6 else 0
    return [Found(name, f"http://{host}:{port}", (properties.get("description") or "")[:64], key[:64], zmq_port)]


def _zmq(addresses: Mapping[str, str]) -> dict[str, str]:
    bare, fragment = urldefrag(addresses.get("zmq", ""))
    told = {"zmq": str(urlsplit(bare).port or ""), "key": fragment.removeprefix("curve=")}
    return {word: value for word, value in told.items() if value}


def _own_addresses(where: str) -> list[str]:
    """This machine's addresses of IPv4 on which something that listens at `where` is reached."""
    if is_loopback(where):
        return ["127.0.0.1"]
    if where not in ("0.0.0.0", "::", ""):
        return [where]
    import ifaddr  # of zeroconf, which asks it too

    own = [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    return [address for address in own if not is_loopback(address)] or ["127.0.0.1"]


def _interfaces(addresses: Sequence[str]) -> dict[str, Any]:
    from zeroconf import IPVersion

    return {"interfaces": list(dict.fromkeys(addresses)), "ip_version": IPVersion.V4Only}


@contextlib.contextmanager
def _no_network() -> Any:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise FailedError(
            f"Multicast DNS is not possible here: {error}.", way_out="Name the instrument by its address."
        ) from error
