"""The ports of one host process, taken before its driver is made, and everything that answers on them.

Taken first, because a port in use shall be told before hardware is touched. Only the loopback is listened on unless the
order says otherwise; then there is a gate (`labretto.access`) before every wire.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from labretto.access.gate import Gate
from labretto.access.listening import names_answered
from labretto.errors import ConflictError
from labretto.instrument.host import Host
from labretto.network import zmq
from labretto.network.curve import ServerKey

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def reserved(port: int | None, former: int | None = None, where: str = LOOPBACK) -> Iterator[socket.socket]:
    """A listening socket on `port`; on `former` if it is free, or on any free one, where no port is asked for.

    Raises:
        ConflictError: `port` is in use.
    """
    with contextlib.closing(_listening(port, where) if port else _listening_somewhere(former, where)) as listener:
        yield listener


@contextlib.asynccontextmanager
async def answering(
    host: Host,
    listener: socket.socket,
    former: Mapping[str, int],
    *,
    old_routes: Mapping[str, str] | None = None,
    gate: Gate | None = None,
    key: ServerKey | None = None,
) -> AsyncIterator[dict[str, str]]:
    """Answer for `host` on HTTP and ZMQ while the block runs; yields the addresses of both, as they
    are reached on this machine.

    Args:
        listener: where HTTP answers.
        former: ports of ZMQ that are taken again where they are free.
        old_routes: offer the routes of `labretto.network.heritage` with this table; None: do not.
        gate: who may do what; None: everybody everything, as on the loopback.
        key: of this host, for ZMQ where there is a gate.

    Raises:
        InvalidError: `old_routes` does not fit the instrument.
    """
    from labretto.network import http  # the slowest import of a host: not before its driver is known to be there

    where, port = listener.getsockname()[:2]
    links = {"http": f"http://{_in_url(where)}:{port}"}
    async with contextlib.AsyncExitStack() as stack:
        await _enter_zmq(stack, host, former, links, _in_url(where), gate=gate, key=key)
        app = http.build_app(host, links=links, names=gate.names if gate else names_answered(where, ()), gate=gate)
        if old_routes is not None:
            from labretto.network.heritage import offer_old_routes

            offer_old_routes(app, host, old_routes)
        await stack.enter_async_context(http.run_app(app, listener, quick=app.state.quick))
        stack.callback(app.state.end)
        yield {wire: _seen_here(address) for wire, address in links.items()}


async def _enter_zmq(
    stack: contextlib.AsyncExitStack,
    host: Host,
    former: Mapping[str, int],
    links: dict[str, str],
    where: str,
    **access: Any,
) -> None:
    asked, events = (f"tcp://{where}:{former.get(wire, 0)}" for wire in ("zmq", "events"))
    try:
        await stack.enter_async_context(zmq.serve(host, asked, events=events, links=links, **access))
    except ConflictError:
        free = f"tcp://{where}:0"
        await stack.enter_async_context(zmq.serve(host, free, events=free, links=links, **access))


def ports(addresses: Mapping[str, str]) -> dict[str, int]:
    """The ports in `addresses`."""
    return {wire: port for wire, address in addresses.items() if (port := urlsplit(address).port)}


def _in_url(where: str) -> str:
    return f"[{where}]" if ":" in where else where


def _seen_here(address: str) -> str:
    """An address on all of this machine's, as programs on it reach it."""
    return address.replace("//0.0.0.0:", f"//{LOOPBACK}:", 1).replace("//[::]:", "//[::1]:", 1)


def _listening_somewhere(former: int | None, where: str) -> socket.socket:
    try:
        return _listening(former or 0, where)
    except ConflictError:
        return _listening(0, where)


def _listening(port: int, where: str) -> socket.socket:
    # Said to be TCP, because asyncio sends small answers at once only then.
    family = socket.AF_INET6 if ":" in where else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((where, port))
        # Two sockets may be bound to one port as long as neither listens.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConflictError(
            f"Port {port} cannot be used: {(error.strerror or str(error)).lower()}.",
            way_out="Choose another, or stop the process that has it.",
        ) from None
    return listener
