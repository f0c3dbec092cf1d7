"""Instruments without a wire: client and host in one process, for tests and notebooks.

Requests and answers go through the same bytes as on a wire, so that what works here works there. The client may live
in another event loop (another thread) than the host.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from labretto.errors import ConflictError
from labretto.instrument import codec
from labretto.instrument.host import Host
from labretto.network import messages
from labretto.network.connection import Listener, Listeners, closed, unreachable
from labretto.network.messages import Request

_SERVED: dict[str, _Served] = {}


@contextlib.asynccontextmanager
async def serve(host: Host, *, links: dict[str, str] | None = None) -> AsyncIterator[str]:
    """Make `host` reachable in this process while the context lasts; yields its address, "memory:NAME".

    Raises:
        ConflictError: an instrument of this name is served in this process already.
    """
    address = f"memory:{host.description.name}"
    if address in _SERVED:
        raise ConflictError(f"{address} is served in this process already.", way_out="Give one of them another name.")
    links = {} if links is None else links
    links["memory"] = address
    served = _SERVED[address] = _Served(host, links)
    try:
        yield address
    finally:
        del _SERVED[address]
        await served.close()


async def open(address: str) -> MemoryConnection:
    """A connection to the instrument served as `address` in this process."""
    return MemoryConnection(address)


class _Served:
    """The host's end; lives in the host's loop."""

    def __init__(self, host: Host, links: dict[str, str]) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[bytes]] = set()
        self._host = host
        self._links = links

    def answer(self, data: bytes) -> asyncio.Future[bytes]:
        task = asyncio.create_task(messages.answer(self._host, data, self._links))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        # The one who asked may go away; what it asked for goes on, as it would on a wire.
        return asyncio.shield(task)

    def listen(self, listener: Callable[[str, bytes], None]) -> Callable[[], None]:
        def tell(topic: str, body: dict[str, Any]) -> None:
            with contextlib.suppress(codec.CannotEncodeError):
                listener(topic, codec.encode(body))

        return self._host.listen(tell)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class MemoryConnection:
    """The client's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._closed = False
        self._listeners = Listeners()
        self._heard: tuple[_Served, Callable[[], None]] | None = None
        self._asking: set[asyncio.Future[bytes]] = set()

    async def ask(self, request: Request) -> Any:
        """The value that answers `request`; see `labretto.network.connection.Connection`."""
        if self._closed:
            raise closed(self.address)
        data = messages.encode_request(request)
        coming = self._coming(data)
        self._asking.add(coming)
        try:
            await asyncio.wait([coming])
        finally:
            self._asking.discard(coming)
        if coming.cancelled():
            raise unreachable(self.address, "it was closed while the request was on its way")
        return messages.decode_answer(coming.result())

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for what the host tells from now on; the answer ends that."""
        end = self._listeners.add(listener)
        self._hear()
        return end

    async def hearing(self) -> None:
        """Return when the host's events are on their way to the listeners."""
        self._hear()

    async def close(self) -> None:
        """Let the connection go; what still waits gets an `UnreachableError`."""
        self._closed = True
        if self._heard:
            self._heard[1]()
            self._heard = None
        for coming in tuple(self._asking):
            coming.cancel()

    def _coming(self, data: bytes) -> asyncio.Future[bytes]:
        served = self._served()
        if served.loop is asyncio.get_running_loop():
            return served.answer(data)

        async def answer() -> bytes:
            return await served.answer(data)

        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer(), served.loop))

    def _served(self) -> _Served:
        if self.address not in _SERVED:
            raise unreachable(self.address, "nothing is served under this name in this process", sent=False)
        return _SERVED[self.address]

    def _hear(self) -> None:
        served = self._served()
        if self._heard and self._heard[0] is served:
            return
        loop = asyncio.get_running_loop()

        def tell(topic: str, data: bytes) -> None:
            loop.call_soon_threadsafe(self._listeners.tell, topic, codec.decode(data))

        self._heard = served, served.listen(tell)
