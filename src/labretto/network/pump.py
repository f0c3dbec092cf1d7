"""A ZMQ socket whose messages go to a callback as they come, without a coroutine in between.

`zmq.asyncio` makes a future for each message and a task for each of them; that costs more than the message. A `Pump`
lives in the asyncio loop, a `ThreadedPump` in a thread of its own, which is woken sooner than a loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import zmq

logger = logging.getLogger(__name__)

Socket: TypeAlias = zmq.SyncSocket

_AND_MORE = zmq.NOBLOCK | zmq.SNDMORE

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
        self._draining: int | None = None
        """The thread that takes what is there, while it does."""
        self._detached = False
        self._descriptor = socket.fileno()
        self._begin()

    def send(self, frames: Sequence[Any], *, copy: bool = True) -> Any:
        """Send one message, from any thread.

        Args:
            frames: bytes, or anything with memory.
            copy: False: what is large is sent from where it lies; then the answer is a tracker that says when it left.

        Raises:
            zmq.ZMQError: it cannot be sent now (`zmq.Again`), or never to this peer, or the pump is detached.
        """
        with self._using:
            if self._detached:  # whoever closes the socket does so without this lock
                raise zmq.ZMQError(zmq.ENOTSOCK)
            tracker = None
            if copy:
                self._send_copies(frames)
            else:
                tracker = self._socket.send_multipart(frames, zmq.NOBLOCK, copy=False, track=True)
            # ZMQ's descriptor is edge-triggered: sending may swallow the edge of a message that came meanwhile. Who
            # sends out of `take` looks again anyway.
            missed = self._draining != threading.get_ident() and self._waiting()
        if missed:
            self._soon()
        return tracker

    def _send_copies(self, frames: Sequence[Any]) -> None:
        # What `send_multipart` does, without looking at each frame before: a third of its time.
        *before, last = frames
        for frame in before:
            self._socket.send(frame, _AND_MORE)
        self._socket.send(last, zmq.NOBLOCK)

    def drain(self) -> None:
        """Take what is there."""
        self._draining = threading.get_ident()
        try:
            for _ in range(_BATCH):
                with self._using:
                    if self._detached or not self._waiting():
                        return
                    frames = self._receive()
                self._take_safely(frames)
        finally:
            self._draining = None
        self._soon()

    def _waiting(self) -> bool:
        """A message is there."""
        events: Any = self._socket.get(zmq.EVENTS)
        return bool(events & zmq.POLLIN)

    def _receive(self) -> list[Any]:
        # A frame says itself whether another one follows. To ask the socket, as `recv_multipart` does, takes longer
        # than to receive the next.
        frame = self._socket.recv(zmq.NOBLOCK, copy=False)
        if self._named:
            self.peer = _address(frame)
        frames: list[Any] = [frame.bytes]
        while frame.more:
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            frames.append(frame.bytes if len(frames) < self._copied else frame.buffer)
        return frames

    def _take_safely(self, frames: list[Any]) -> None:
        # A message that cannot be taken must not keep the next ones waiting for an edge that never comes.
        try:
            self._take(frames)
        except Exception:
            logger.exception("a message could not be taken")

    def detach(self) -> None:
        """Nothing is taken or sent any more; the socket stays open."""
        with self._using:
            if self._detached:
                return
            self._detached = True
        self._end()

    def close(self) -> None:
        """Detach and close the socket."""
        self.detach()
        with self._using:
            self._socket.close(linger=0)

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self.drain)
        self._soon()

    def _end(self) -> None:
        self._loop.remove_reader(self._descriptor)

    def _soon(self) -> None:
        """Drain when others have had their turn. From any thread."""
        self._loop.call_soon_threadsafe(self.drain)


class ThreadedPump(Pump):
    """The same in a thread of its own, in which `take` is called; it must not block for long."""

    def _begin(self) -> None:
        self._ear, self._mouth = socket.socketpair()
        for end in (self._ear, self._mouth):
            end.setblocking(False)
        self._thread = threading.Thread(target=self._live, name="zmq", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._ear, select.POLLIN)
        while not self._detached:
            try:
                self.drain()
            except zmq.ZMQError:
                logger.exception("messages could not be received")
            for descriptor, _ in poll.poll():
                if descriptor == self._ear.fileno():
                    self._ear.recv(4_096)

    def _end(self) -> None:
        self._soon()
        self._thread.join()
        self._ear.close()
        self._mouth.close()

    def _soon(self) -> None:
        with contextlib.suppress(OSError):  # it is full of such bytes, or closed
            self._mouth.send(b"\0")


def _address(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("Peer-Address"))
    except (zmq.ZMQError, KeyError):  # of a message within this process nobody has one
        return ""
