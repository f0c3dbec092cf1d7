"""A run is a trace: with OpenTelemetry's own in-memory exporter, and with its real exporter and a real collector."""

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from labretto.catalog.live import Changes
from labretto.errors import InvalidError
from labretto.network.http import bound, run_app
from labretto.orchestrator import tracing
from labretto.orchestrator.journal import SqliteJournal
from labretto.orchestrator.traces import Span, traceparent

from .conftest import Hub, World, do, steps

RUN = "019aa4c8-0000-7000-8000-0123456789ab"
INVOCATION = "019aa4c8-0000-7000-9000-00000000000f"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "TOGETHER", 0.0)


class Spans:
    """What a collector would have got."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self._tell = tracing.teller(SimpleSpanProcessor(self.exporter), "bench")
        self._more = asyncio.Event()

    def tell(self, span: Any) -> None:
        self._tell(span)
        self._more.set()

    async def named(self, name: str) -> ReadableSpan:
        """The span of this name, when it has come."""
        async with asyncio.timeout(10):
            while True:
                self._more.clear()
                if found := [span for span in self.exporter.get_finished_spans() if span.name == name]:
                    return found[0]
                await self._more.wait()

    @asynccontextmanager
    async def of(self, journal: Any, changes: Changes) -> AsyncIterator[None]:
        async with tracing.telling(journal, changes, self.tell):
            await asyncio.sleep(0)
            yield


@pytest.fixture
def spans() -> Spans:
    return Spans()


async def test_a_run_is_a_trace_with_a_span_for_each_step(hub: Hub, spans: Spans) -> None:
    async with spans.of(hub.journal, hub.orchestrator.changes):
        run = await hub.does(steps(do("move", x=3), do("fail")))
        root, move, fail = await spans.named("test"), await spans.named("rig.move"), await spans.named("rig.fail")
        queued = await spans.named("queued")

    assert f"{root.context.trace_id:032x}" == run.replace("-", "")
    assert root.parent is None
    assert {each.parent.span_id for each in (move, fail, queued) if each.parent} == {root.context.span_id}
    assert len({each.context.span_id for each in (root, move, fail, queued)}) == 4
    assert move.attributes is not None
    assert move.attributes["labretto.outcome"] == "succeeded"
    assert (move.status.status_code, fail.status.status_code) == (StatusCode.OK, StatusCode.ERROR)
    assert "the shutter is stuck" in str(fail.status.description)
    assert root.status.status_code == StatusCode.ERROR
    times = [root.start_time, queued.start_time, move.start_time, move.end_time, fail.end_time, root.end_time]
    assert times == sorted(time for time in times if time)
    assert root.resource.attributes["service.namespace"] == "bench"


async def test_what_happened_to_a_run_stands_on_its_span(hub: Hub, world: World, spans: Spans) -> None:
    async with spans.of(hub.journal, hub.orchestrator.changes):
        run = await hub.submit(steps("{ask: Which?, choices: [left, right]}"))
        await hub.comes_to(run, "waiting")
        await hub.orchestrator.walker(run).answer("left", None, who="ada", why=None)
        root = await spans.named("test")

    assert [event.name for event in root.events] == ["waiting", "settled"]
    assert dict(root.events[1].attributes or {})["who"] == "ada"


SUBMITTED = ("submitted", {"name": "scan", "experiment": {}, "parameters": {}})
INTENDED = (
    "intended",
    {"path": "m", "instrument": "rig", "action": "move", "parameters": {}, "effect": "absolute", "attempt": 1}
    | {"invocation": INVOCATION},
)  # fmt: skip
ENDED = ("ended", {"path": "m", "invocation": INVOCATION, "state": "succeeded", "result": None, "error": None})
FINISHED = ("finished", {"state": "succeeded", "error": None})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


async def test_a_hub_that_was_killed_goes_on_with_the_trace(journal: SqliteJournal, spans: Spans) -> None:
    changes = Changes()
    async with spans.of(journal, changes):
        await journal.append(RUN, 0, [SUBMITTED, ("started", {}), INTENDED])
        changes.publish("run", {})
        before = await spans.named("queued")
        await asyncio.to_thread(journal.note("x", 1).result)
    await journal.append(RUN, 3, [ENDED, FINISHED])

    later = Spans()
    async with later.of(journal, Changes()):
        move, root = await later.named("rig.move"), await later.named("scan")

    assert before.context.trace_id == move.context.trace_id == root.context.trace_id
    assert [span.name for span in later.exporter.get_finished_spans()] == ["rig.move", "scan"], "nothing twice"
    assert traceparent(RUN, INVOCATION) == f"00-{root.context.trace_id:032x}-{move.context.span_id:016x}-01"


async def test_the_real_exporter_and_a_real_collector(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: asyncio.Queue[ExportTraceServiceRequest] = asyncio.Queue()
    app = FastAPI()

    @app.post("/v1/traces")
    async def take(request: Request) -> Response:
        assert request.headers["content-type"] == "application/x-protobuf"
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        taken.put_nowait(ExportTraceServiceRequest.FromString(body))
        return Response(status_code=200)

    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    changes, listening = Changes(), bound("http://127.0.0.1:0")
    endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    names: list[str] = []
    async with run_app(app, listening), tracing.tracing(endpoint, "bench", journal, changes), asyncio.timeout(20):
        await asyncio.sleep(0)
        await journal.append(RUN, 0, [SUBMITTED, ("started", {}), INTENDED, ENDED, FINISHED])
        changes.publish("run", {})
        while len(names) < 3:
            request = await taken.get()
            scopes = [scope for each in request.resource_spans for scope in each.scope_spans]
            names += [span.name for scope in scopes for span in scope.spans]

    assert names == ["queued", "rig.move", "scan"]


async def test_a_collector_that_is_down_holds_nobody_up(free_port: int) -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    exporter, processor = tracing._collector(f"http://127.0.0.1:{free_port}")
    tell = tracing.teller(processor, "bench")

    for number in range(10_000):  # far more than the processor keeps
        tell(Span("move", 1, number + 1, None, at, at, {}))
    async with asyncio.timeout(10):
        await tracing.sent(exporter, processor, within=0.2)


async def test_without_the_extra_it_is_said_what_to_install(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(InvalidError, match="not installed") as error:
        async with tracing.tracing("http://127.0.0.1:4318", "bench", journal, Changes()):
            raise AssertionError

    assert "labretto[telemetry]" in str(error.value)
