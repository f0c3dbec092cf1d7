"""The ports of one host process, taken before its driver is made, and everything that answers on them.

Taken first, because a port in use shall be told before hardware is touched. Only the loopback is listened on.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from urllib.parse import urlsplit

from labretto.errors import ConflictError
from labretto.instrument.host import Host
from labretto.network import zmq

LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def reserved(port: int | None, former: int | None = None) -> Iterator[socket.socket]:
    """A listening socket on `port`; on `former` if it is free, or on any free one, where no port is asked for.

    Raises:
        ConflictError: `port` is in use.
    """
    with contextlib.closing(_listening(port) if port else _listening_somewhere(former)) as listener:
        yield listener


@contextlib.asynccontextmanager
async def answering(
    host: Host, listener: socket.socket, former: Mapping[str, int], *, old_routes: Mapping[str, str] | None = None
) -> AsyncIterator[dict[str, str]]:
    """Answer for `host` on HTTP and ZMQ while the block runs; yields the addresses of both.

    Args:
        listener: where HTTP answers.
        former: ports of ZMQ that are taken again where they are free.
        old_routes: offer the routes of `labretto.network.heritage` with this table; None: do not.

    Raises:
        InvalidError: `old_routes` does not fit the instrument.
    """
    from labretto.network import http  # the slowest import of a host: not before its driver is known to be there

    addresses = {"http": f"http://{LOOPBACK}:{listener.getsockname()[1]}"}
    async with contextlib.AsyncExitStack() as stack:
        await _enter_zmq(stack, host, former, addresses)
        app = http.build_app(host, links=addresses)
        if old_routes is not None:
            from labretto.network.heritage import offer_old_routes

            offer_old_routes(app, host, old_routes)
        await stack.enter_async_context(http.run_app(app, listener))
        stack.callback(app.state.end)
        yield addresses


async def _enter_zmq(
    stack: contextlib.AsyncExitStack, host: Host, former: Mapping[str, int], addresses: dict[str, str]
) -> None:
    try:
        await stack.enter_async_context(
            zmq.serve(host, _tcp(former.get("zmq", 0)), events=_tcp(former.get("events", 0)), links=addresses)
        )
    except ConflictError:
        await stack.enter_async_context(zmq.serve(host, links=addresses))


def ports(addresses: Mapping[str, str]) -> dict[str, int]:
    """The ports in `addresses`."""
    return {wire: port for wire, address in addresses.items() if (port := urlsplit(address).port)}


def _tcp(port: int) -> str:
    return f"tcp://{LOOPBACK}:{port}"


def _listening_somewhere(former: int | None) -> socket.socket:
    try:
        return _listening(former or 0)
    except ConflictError:
        return _listening(0)


def _listening(port: int) -> socket.socket:
    # Said to be TCP, because asyncio sends small answers at once only then.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        # Two sockets may be bound to one port as long as neither listens.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConflictError(
            f"Port {port} cannot be used: {(error.strerror or str(error)).lower()}.",
            way_out="Choose another, or stop the process that has it.",
        ) from None
    return listener
