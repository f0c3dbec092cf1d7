"""The journal of a hub, read by a script that may be away: piece by piece, and then as it grows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx2

from labretto.errors import from_problem

if TYPE_CHECKING:
    from labretto.orchestrator.client import Hub

PIECE = 1000
CONNECT_AGAIN_AFTER = 1.0
"""Seconds until a hub that is away is asked again."""


def events_of(hub: Hub, after: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    """Every event after the sequence number `after`, each with its `sequence`, in order and once.

    Args:
        hub: which.
        after: of the event worked through last; 0 for everything.
        follow: do not end; wait for what comes, also while the hub is away.

    Raises:
        UnreachableError: the hub does not answer (not with `follow`, once it has answered).
    """
    while True:
        told = hub.ask("GET", "/api/events", after=after, limit=PIECE)
        for event in told["events"]:
            yield event
            after = event["sequence"]
        if not told["more"]:
            break
    while follow:
        try:
            for event in _streamed(hub, after):
                yield event
                after = event["sequence"]
        except httpx2.TransportError:
            time.sleep(CONNECT_AGAIN_AFTER)


def _streamed(hub: Hub, after: int) -> Iterator[dict[str, Any]]:
    headers = hub.headers | {"Accept": "text/event-stream"}
    with httpx2.stream(
        "GET", f"{hub.address}/api/events", params={"after": after}, headers=headers, timeout=60
    ) as answer:
        if answer.status_code >= 500:  # it starts, or ends
            raise httpx2.RemoteProtocolError(f"The hub answered {answer.status_code}.")
        if not answer.is_success:
            raise from_problem(json.loads(answer.read()))
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))
