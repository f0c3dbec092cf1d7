"""Spans of runs and steps leave for an OpenTelemetry collector, with `pip install 'labretto[telemetry]'`.

Where the hub's telemetry is switched on, one task follows the journal and hands over what is over; the SDK's own thread
sends it in batches, and drops what a collector that is down does not take. Nothing that acts waits, or knows of it. The
place in the journal is kept, so a hub that was killed goes on with the traces that it had begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from labretto.catalog.live import Changes
from labretto.errors import InvalidError, StorageError
from labretto.orchestrator.following import follow
from labretto.orchestrator.journal import Journal
from labretto.orchestrator.traces import Span, Traces

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter

logger = logging.getLogger(__name__)

TOGETHER = 1.0
"""Seconds for which events are gathered; a trace is in no hurry."""
AGAIN_AFTER = 10.0
LEAVE_WITHIN = 3.0
"""Seconds in which the last spans leave when the hub ends."""
_NOTE = "traced"

Tell = Callable[[Span], None]


@asynccontextmanager
async def tracing(endpoint: str, lab: str, journal: Journal, changes: Changes) -> AsyncIterator[None]:
    """Send spans to the collector at `endpoint` (OTLP over HTTP, such as "http://127.0.0.1:4318") meanwhile.

    Raises:
        InvalidError: the extra `telemetry` is not installed.
    """
    exporter, processor = _collector(endpoint)
    try:
        async with telling(journal, changes, teller(processor, lab)):
            yield
    finally:
        await sent(exporter, processor)


async def sent(exporter: SpanExporter, processor: SpanProcessor, *, within: float = LEAVE_WITHIN) -> None:
    """Return when what is left has been sent, or soon: a collector that is down must not hold up the hub's end."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        processor.shutdown()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    # No thread of the loop's own: the end of the loop would wait for it.
    threading.Thread(target=end, name="last spans", daemon=True).start()
    try:
        await asyncio.wait_for(done.wait(), within)
    except TimeoutError:
        exporter.shutdown()
        logger.warning("the collector of telemetry did not take the last spans")


@asynccontextmanager
async def telling(journal: Journal, changes: Changes, tell: Tell) -> AsyncIterator[None]:
    """Tell every span that ends, from where the last hub of this lab was."""
    task = asyncio.create_task(_tell_all(journal, changes, tell), name="tracing")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _tell_all(journal: Journal, changes: Changes, tell: Tell) -> None:
    place, traces = journal.noted(_NOTE), Traces()
    if place is None:
        place = journal.newest_sequence()
        journal.note(_NOTE, place)
    while True:
        try:
            async for piece in follow(journal, changes, place, together=TOGETHER):
                for sequence, event in piece:
                    if event.number > 1 and not traces.knows(event.run):
                        before = await asyncio.to_thread(journal.read, event.run)
                        traces.remember(each for each in before if each.number < event.number)
                    ended = traces.add(event)
                    for span in ended:
                        tell(span)
                    place = sequence
                if piece:
                    journal.note(_NOTE, place)
        except StorageError as error:
            logger.warning("traces wait for the journal", extra={"why": error.detail})
            await asyncio.sleep(AGAIN_AFTER)
        else:
            return  # the hub ends


def teller(processor: SpanProcessor, lab: str) -> Tell:
    """Hands spans to a processor of OpenTelemetry's SDK."""
    from opentelemetry.sdk.resources import Resource

    about = {"service.name": "labretto", "service.namespace": lab, "service.version": version("labretto")}
    resource = Resource.create(about)
    return lambda span: processor.on_end(as_readable(span, resource))


def as_readable(span: Span, resource: Resource) -> ReadableSpan:
    """The span as the SDK's exporters take it; its ids and times are its own."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(identity: int) -> SpanContext:
        return SpanContext(span.trace, identity, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    return ReadableSpan(
        span.name,
        context=context(span.span),
        parent=None if span.parent is None else context(span.parent),
        resource=resource,
        attributes=dict(span.attributes),
        events=[Event(name, dict(words), _nanoseconds(at)) for name, at, words in span.told],
        kind=SpanKind.INTERNAL if span.parent is None else SpanKind.CLIENT,
        status=Status(StatusCode.OK) if span.error is None else Status(StatusCode.ERROR, span.error),
        start_time=_nanoseconds(span.begin),
        end_time=_nanoseconds(span.end),
    )


def _collector(endpoint: str) -> tuple[SpanExporter, SpanProcessor]:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise InvalidError(
            f"lab.toml has a collector for telemetry, but {error.name} is not installed.",
            way_out="pip install 'labretto[telemetry]', or drop `telemetry`.",
        ) from None
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    return exporter, BatchSpanProcessor(exporter)


def _nanoseconds(at: datetime) -> int:
    whole = int(at.timestamp())
    return whole * 1_000_000_000 + at.microsecond * 1000
