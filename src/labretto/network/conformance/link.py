"""A link that breaks: a small TCP proxy that cuts each connection after a random number of bytes.

It stands between a client and a host, on the loopback, and carries any wire. Nothing is delayed or changed; a
connection is cut in the middle of a request, of an answer, or between them, as chance has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Link:
    """One proxy."""

    address: str
    """What a client asks instead of the host."""
    cuts: int = 0
    """Connections that were cut."""


@contextlib.asynccontextmanager
async def breaking(target: str, chance: random.Random, longest: int) -> AsyncIterator[Link]:
    """A link to `target` ("tcp://127.0.0.1:5555", "http://...") while the block runs.

    Args:
        target: the host.
        chance: where the moments come from.
        longest: bytes after which a connection is cut at the latest, both directions together; at least as many as
            the client needs from its first byte to an answer, or it never gets one.
    """
    parts = urlsplit(target)
    link = Link("")
    tasks: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        where = (parts.hostname or "", parts.port or 0)
        # asyncio's streams of Python 3.11 report a connection that was cancelled at the end as a fault.
        with contextlib.suppress(asyncio.CancelledError):
            await _carried((reader, writer), where, chance.randint(1, longest), link)
        tasks.discard(task)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    link.address = f"{parts.scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield link
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tuple(tasks), return_exceptions=True)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _carried(client: Ends, where: tuple[str, int], budget: int, link: Link) -> None:
    """Carry bytes both ways until so many have passed or one side ends, then cut both."""
    left = [budget]
    try:
        host = await asyncio.open_connection(*where)
    except OSError:
        _cut(client[1])
        return
    ways = [
        asyncio.create_task(_one_way(client[0], host[1], left)),
        asyncio.create_task(_one_way(host[0], client[1], left)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        link.cuts += left[0] <= 0
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        _cut(client[1])
        _cut(host[1])


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int]) -> None:
    while left[0] > 0 and (data := await reader.read(4096)):
        passed = data[: left[0]]
        left[0] -= len(data)
        writer.write(passed)
        await writer.drain()


def _cut(writer: asyncio.StreamWriter) -> None:
    """Close at once, without the good-bye that TCP would say: what is in the buffers is lost."""
    connected = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()
