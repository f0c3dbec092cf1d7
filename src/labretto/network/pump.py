"""A ZMQ socket in an asyncio loop: messages go to a callback as they come, without a coroutine in between.

`zmq.asyncio` makes a future for each message and a task for each of them; that costs more than the message.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
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
    """Owns `socket`: calls `take` with the frames of each message, in the running loop, until closed.

    Args:
        socket: used by nobody else from now on.
        take: called with each message.
        copied: so many frames of a message are bytes; those after them are the memory that ZMQ received them in.
        named: find out from where each message comes.
    """

    def __init__(
        self, socket: Socket, take: Callable[[list[Any]], None], *, copied: int = 1_000, named: bool = False
    ) -> None:
        self.peer = ""
        """Address of whoever sent the message that is being taken, where that is found out."""
        self._named = named
        self._socket = socket
        self._take = take
        self._copied = copied
        # A ZMQ socket may be used in any thread, but by one at a time.
        self._using = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._detached = False
        self._descriptor = socket.fileno()
        self._loop.add_reader(self._descriptor, self.drain)
        self._soon()

    def send(self, frames: Sequence[Any], *, copy: bool = True) -> Any:
        """Send one message, from any thread.

        Args:
            frames: bytes, or anything with memory.
            copy: False: what is large is sent from where it lies; then the answer is a tracker that says when it left.

        Raises:
            zmq.ZMQError: it cannot be sent now (`zmq.Again`), or never to this peer, or the socket is closed.
        """
        with self._using:
            tracker = self._socket.send_multipart(frames, zmq.NOBLOCK, copy=copy, track=not copy)
            # ZMQ's descriptor is edge-triggered: sending may swallow the edge of a message that came meanwhile.
            missed = self._waiting()
        if missed:
            self._loop.call_soon_threadsafe(self.drain)
        return tracker

    def drain(self) -> None:
        """Take what is there."""
        for _ in range(_BATCH):
            with self._using:
                if self._detached or not self._waiting():
                    return
                frames = self._receive()
            self._take_safely(frames)
        self._soon()

    def _waiting(self) -> bool:
        """A message is there."""
        events: Any = self._socket.get(zmq.EVENTS)
        return bool(events & zmq.POLLIN)

    def _receive(self) -> list[Any]:
        if self._named:
            first = self._socket.recv(zmq.NOBLOCK, copy=False)
            self.peer = _address(first)
            return [first.bytes, *(self._socket.recv_multipart(zmq.NOBLOCK) if first.more else [])]
        if self._copied >= 1_000:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        frames: list[Any] = [self._socket.recv(zmq.NOBLOCK)]
        while self._socket.get(zmq.RCVMORE):
            copy = len(frames) < self._copied
            frame: Any = self._socket.recv(zmq.NOBLOCK, copy=copy)
            frames.append(frame if copy else frame.buffer)
        return frames

    def _take_safely(self, frames: list[Any]) -> None:
        # A message that cannot be taken must not keep the next ones waiting for an edge that never comes.
        try:
            self._take(frames)
        except Exception:
            logger.exception("a message could not be taken")

    def detach(self) -> None:
        """Nothing is taken any more; the socket stays open."""
        with self._using:
            if self._detached:
                return
            self._detached = True
        self._loop.remove_reader(self._descriptor)

    def close(self) -> None:
        """Detach and close the socket."""
        self.detach()
        with self._using:
            self._socket.close(linger=0)

    def _soon(self) -> None:
        self._loop.call_soon(self.drain)


def _address(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("Peer-Address"))
    except (zmq.ZMQError, KeyError):  # of a message within this process nobody has one
        return ""
