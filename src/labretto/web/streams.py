"""What changes as server-sent events, for scripts, dashboards and `curl`: two streams, each resumed by its numbers.

    GET /api/changes   all that the page is told too (without the points of curves), as it happens; the newest 10,000
                       can be asked for again, and what was lost before them is said in an event `missed`
    GET /api/events    the journal: every decision and outcome of every run, for ever; who was away misses nothing

Both take `after` or the header `Last-Event-ID`, which a browser's EventSource sends by itself. A reader is only a place
in a ring or in a table: a slow one costs nothing and holds nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from labretto.catalog.live import Batch, Changes
from labretto.errors import InvalidError, LabError
from labretto.instrument import codec
from labretto.orchestrator.following import follow
from labretto.orchestrator.journal import Event, Journal

logger = logging.getLogger(__name__)

BEAT = 15.0
"""Seconds of silence after which a sign of life is sent, so that a reader that has vanished is noticed."""
TURN = 0.02
"""Seconds for which events are gathered: a thousand a second are not a thousand looks into the journal."""
_STREAM = "text/event-stream"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the second: no proxy may hold events back
_HIGHEST = 2**63 - 1

After = Annotated[int | None, Query(ge=0, le=_HIGHEST)]
LastEventId = Annotated[str | None, Header(max_length=40)]
Topics = Annotated[list[str] | None, Query(max_length=50)]


class Streams:
    """The open streams of one hub; `close` ends them, before the server waits for its answers."""

    def __init__(self, changes: Changes, journal: Journal) -> None:
        self._changes = changes
        self._journal = journal
        self._ended = asyncio.Event()
        self._open = 0

    @property
    def readers(self) -> int:
        """How many read now."""
        return self._open

    def close(self) -> None:
        """End every stream."""
        self._ended.set()

    async def changes(self, after: int | None, topics: list[str] | None) -> AsyncIterator[bytes]:
        """What follows the sequence number `after` (None: from now on)."""
        place = self._changes.sequence if after is None else after
        yield b"retry: 1000\nid: %d\n\n" % place
        while True:
            try:
                async with asyncio.timeout(BEAT):
                    batch = await self._changes.wait(place)
            except TimeoutError:
                yield b":\n\n"
                continue
            if batch is None:
                return
            place = batch.sequence
            for piece in _pieces(batch, topics):
                yield piece

    async def events(self, after: int, topics: list[str] | None) -> AsyncIterator[bytes]:
        """The journal after the sequence number `after`."""
        yield b"retry: 1000\nid: %d\n\n" % after
        async with contextlib.aclosing(
            follow(self._journal, self._changes, after, idle=BEAT, together=TURN)
        ) as following:
            async for piece in following:
                for sequence, event in piece:
                    if not topics or event.kind in topics:
                        yield server_sent(sequence, event.kind, body_of(sequence, event))
                yield b"id: %d\n\n" % piece[-1][0] if piece else b":\n\n"

    async def until_closed(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces of `stream`, until it or the hub ends."""
        self._open += 1
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            while True:
                piece = asyncio.ensure_future(anext(stream, None))
                try:
                    await asyncio.wait({piece, ended}, return_when=asyncio.FIRST_COMPLETED)
                    if ended.done() or (taken := piece.result()) is None:
                        return
                finally:
                    if not piece.done():
                        piece.cancel()
                        await asyncio.gather(piece, return_exceptions=True)
                yield taken
        finally:
            self._open -= 1
            ended.cancel()
            with contextlib.suppress(RuntimeError):
                await stream.aclose()  # type: ignore[attr-defined]


def stream_routes(streams: Streams, journal: Journal) -> APIRouter:
    """`/api/changes` and `/api/events`."""
    router = APIRouter(prefix="/api", tags=["streams"])

    @router.get("/changes", response_class=StreamingResponse)
    async def changes(after: After = None, topic: Topics = None, last_event_id: LastEventId = None) -> Response:
        return _stream(streams, streams.changes(_place(after, last_event_id), topic))

    @router.get("/events")
    async def events(
        after: After = None,
        kind: Topics = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        accept: Annotated[str, Header(max_length=1000)] = "",
        last_event_id: LastEventId = None,
    ) -> Response:
        place = _place(after, last_event_id)
        if _STREAM in accept:
            place = await asyncio.to_thread(journal.newest_sequence) if place is None else place
            return _stream(streams, streams.events(place, kind))
        found = await asyncio.to_thread(journal.since, place or 0, limit)
        chosen = [body_of(sequence, event) for sequence, event in found if not kind or event.kind in kind]
        newest = found[-1][0] if found else place or 0
        return Response(
            codec.encode_json({"sequence": newest, "events": chosen, "more": len(found) == limit}),
            media_type="application/json",
        )

    return router


def body_of(sequence: int, event: Event) -> dict[str, Any]:
    """An event with its place in the journal."""
    return {"sequence": sequence, **event.as_dict()}


def server_sent(sequence: int, topic: str, body: Any) -> bytes:
    """One event, to be resumed after by its `id`."""
    try:
        data = codec.encode_json(body)
    except LabError as error:  # one value that no wire carries must not end the stream
        logger.warning("a change cannot be told", extra={"topic": topic, "why": error.detail})
        topic, data = "unsaid", codec.encode_json(error.problem())
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (sequence, topic.encode(), data)


def _pieces(batch: Batch, topics: list[str] | None) -> list[bytes]:
    pieces = []
    if batch.missed:
        way_out = "Ask for the state again: GET /api/runs, /api/instruments; GET /api/events misses nothing."
        said = {"detail": "Changes before this one are no longer kept.", "way_out": way_out}
        first = batch.changes[0].sequence - 1 if batch.changes else batch.sequence
        pieces.append(server_sent(first, "missed", said))
    chosen = [change for change in batch.changes if not topics or change.topic in topics]
    pieces += [server_sent(change.sequence, change.topic, change.body) for change in chosen]
    if not pieces or (chosen and chosen[-1].sequence != batch.sequence):
        pieces.append(b"id: %d\n\n" % batch.sequence)  # who asks for few topics does not fall behind the ring for that
    return pieces


def _place(after: int | None, last_event_id: str | None) -> int | None:
    """`Last-Event-ID`, what a browser saw last before its connection broke, goes before the address it was given."""
    if not last_event_id:
        return after
    if not last_event_id.isdecimal() or int(last_event_id) > _HIGHEST:
        raise InvalidError(f"Last-Event-ID {last_event_id!r} is no sequence number.")
    return int(last_event_id)


def _stream(streams: Streams, stream: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(streams.until_closed(stream), media_type=_STREAM, headers=_HEADERS)
