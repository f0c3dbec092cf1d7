"""Arrays that are on their way out: as long as they are, their memory cannot be given back.

ZMQ sends them from where they lie, when the peer takes them. One that asks for image after image and takes none would
fill the memory of the host; so it is told to take those first that it has asked for.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from labretto.errors import BusyError

MOST = 16
"""Answers with large arrays that one peer may have on their way at one time."""


class Leaving:
    """What has not left yet, by peer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_peer: dict[bytes, deque[Any]] = {}

    def check(self, peer: bytes) -> None:
        """Raises `BusyError` where that peer has asked for more than it takes."""
        with self._lock:
            self._forget_what_left()
            if len(self._by_peer.get(peer, ())) >= MOST:
                raise BusyError(
                    f"{MOST} answers with arrays wait for you to take them; this one was refused.",
                    way_out="Receive those first.",
                )

    def note(self, peer: bytes, tracker: Any) -> None:
        """Another one is on its way; `tracker.done` says when it has left."""
        with self._lock:
            self._by_peer.setdefault(peer, deque()).append(tracker)

    def _forget_what_left(self) -> None:
        for peer, trackers in tuple(self._by_peer.items()):
            while trackers and trackers[0].done:
                trackers.popleft()
            if not trackers:
                del self._by_peer[peer]
