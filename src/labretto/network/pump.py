"""A ZMQ socket in an asyncio loop: messages go to a callback as they come, without a coroutine in between.

`zmq.asyncio` makes a future for each message and a task for each of them; that costs more than the message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import zmq

logger = logging.getLogger(__name__)

Socket: TypeAlias = zmq.SyncSocket

_BATCH = 64
"""Messages taken before others in the loop get their turn."""


def new_socket(kind: int, options: Mapping[zmq.SocketOption, Any]) -> Socket:
    """A socket of the process's context that forgets at once what it could not send when it is closed."""
    socket: Socket = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    for option, value in options.items():
        socket.setsockopt(option, value)
    return socket


class Pump:
    """Owns `socket`: calls `take` with the frames of each message, in the running loop, until closed."""

    def __init__(self, socket: Socket, take: Callable[[list[bytes]], None]) -> None:
        self._socket = socket
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._detached = False
        self._descriptor = socket.fileno()
        self._loop.add_reader(self._descriptor, self.drain)
        self._soon()

    def send(self, frames: list[bytes]) -> None:
        """Send one message.

        Raises:
            zmq.ZMQError: it cannot be sent now (`zmq.Again`), or never to this peer.
        """
        self._socket.send_multipart(frames, zmq.NOBLOCK)
        # ZMQ's descriptor is edge-triggered: sending may swallow the edge of a message that came meanwhile.
        events: Any = self._socket.getsockopt(zmq.EVENTS)
        if events & zmq.POLLIN:
            self._soon()

    def drain(self) -> None:
        """Take what is there."""
        with contextlib.suppress(zmq.Again):
            for _ in range(_BATCH):
                if self._detached:
                    return
                self._take_safely(self._socket.recv_multipart(zmq.NOBLOCK))
            self._soon()

    def _take_safely(self, frames: list[bytes]) -> None:
        # A message that cannot be taken must not keep the next ones waiting for an edge that never comes.
        try:
            self._take(frames)
        except Exception:
            logger.exception("a message could not be taken")

    def detach(self) -> None:
        """Nothing is taken any more; the socket stays open."""
        if not self._detached:
            self._detached = True
            self._loop.remove_reader(self._descriptor)

    def close(self) -> None:
        """Detach and close the socket."""
        self.detach()
        self._socket.close(linger=0)

    def _soon(self) -> None:
        self._loop.call_soon(self.drain)
