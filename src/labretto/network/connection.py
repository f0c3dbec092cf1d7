"""What a client needs of a transport, and what all transports' client sides share.

A transport is a module with `serve(host, ...)` and `open(address)`; the latter answers a `Connection`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from labretto.errors import UnreachableError
from labretto.network.messages import Request

logger = logging.getLogger(__name__)

Listener = Callable[[str, dict[str, Any]], None]
"""Called in the client's loop with a topic ("stream", "invocation", "attribute") and a body; must not block."""

CONNECT_WITHIN = 3.0
"""Seconds after which a host that does not even take the connection counts as unreachable."""


DESCRIBED_WITHIN = 10.0
"""Seconds after which one that took the connection and has not said what it offers is no instrument, or stuck."""


class Connection(Protocol):
    """The client's end of a wire to one host."""

    @property
    def address(self) -> str:
        """Where the host is."""

    async def ask(self, request: Request) -> Any:
        """The value that answers `request`; connects first where it is not connected.

        Raises:
            LabError: the problem that the host answered.
            UnreachableError: at once when the connection is lost or cannot be made; what became of the request is
                not known.
        """

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for what the host tells from now on, best effort; the answer ends that."""

    async def hearing(self) -> None:
        """Return when the host's events are on their way to the listeners."""

    async def close(self) -> None:
        """Let the connection go; what still waits gets an `UnreachableError`."""


class Listeners:
    """Those who listen on one connection."""

    def __init__(self) -> None:
        self._all: list[Listener] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` from now on; the answer ends that and may be called twice."""
        self._all.append(listener)

        def end() -> None:
            if listener in self._all:
                self._all.remove(listener)

        return end

    def tell(self, topic: str, body: dict[str, Any]) -> None:
        """Call every listener; one that raises does not keep the others from hearing."""
        for listener in tuple(self._all):
            try:
                listener(topic, body)
            except Exception:
                logger.exception("a listener raised", extra={"topic": topic})


def back_off(first: float = 0.02, longest: float = 0.25) -> Iterator[float]:
    """Seconds to wait before each further attempt: doubling, up to `longest`, for ever."""
    pause = first
    while True:
        yield pause
        pause = min(pause * 2.0, longest)


def unreachable(address: str, why: str, *, sent: bool = True) -> UnreachableError:
    """The error of a wire that is not there; `sent`: the request may have arrived before it was lost."""
    unknown = "Ask again with the same id; what became of the request is not known."
    way_out = unknown if sent else "Nothing was sent. Is it started, and is this its address?"
    detail = f"The instrument at {address} is not reachable: {why.rstrip('.')}."
    return UnreachableError(detail, way_out=way_out, address=address)


def closed(address: str) -> UnreachableError:
    """The error of who asks through a connection that they have closed."""
    detail = f"The connection to {address} was closed by who had it."
    return UnreachableError(detail, way_out="Nothing was sent. Connect anew.", address=address)
