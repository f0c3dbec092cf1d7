"""What Prometheus reads, read by Prometheus' own parser."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, strategies
from prometheus_client.parser import text_string_to_metric_families

from labretto.catalog.live import Changes
from labretto.network.http import bound, run_app
from labretto.orchestrator.journal import SqliteJournal
from labretto.web.app import build
from labretto.web.exposition import MOST_SERIES, Counter, Gauge, Histogram, Metric, exposed
from labretto.web.metrics import Metrics, metrics_routes


def parsed(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and labels → value."""
    families = text_string_to_metric_families(text.decode())
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    assert len(found) == len(samples), "no series twice"
    return found


# The text ---------------------------------------------------------------------------------------------------------


@given(strategies.text(), strategies.text(), strategies.floats())
def test_any_label_and_any_number_come_through(first: str, second: str, number: float) -> None:
    gauge = Gauge("g", "Help with \\ and\nlines.", ("a", "b"))
    gauge.set(number, first, second)

    ((name, labels), value) = next(iter(parsed(exposed([gauge])).items()))

    told = [text.encode("utf-8", "replace").decode() for text in (first, second)]
    assert (name, labels) == ("g", (("a", told[0]), ("b", told[1])))
    assert value == number or (math.isnan(value) and math.isnan(number))


def test_a_histogram_counts_upwards_to_everything() -> None:
    histogram = Histogram("h", "How long.", ("what",), bounds=(0.1, 1))
    for seconds in (0.05, 0.1, 0.5, 20):
        histogram.observe(seconds, "move")

    found = parsed(exposed([histogram]))

    buckets = [found["h_bucket", (("le", bound), ("what", "move"))] for bound in ("0.1", "1", "+Inf")]
    assert buckets == [2, 3, 4]
    assert found["h_count", (("what", "move"),)] == 4
    assert found["h_sum", (("what", "move"),)] == pytest.approx(20.65)


@pytest.mark.parametrize("metric", [Counter("c_total", "", ("n",)), Histogram("h", "", ("n",), bounds=(1,))])
def test_a_driver_that_makes_up_names_does_not_fill_the_memory(metric: Metric) -> None:
    for number in range(MOST_SERIES + 500):
        metric.add(number) if isinstance(metric, Counter) else metric.observe(0, number)  # type: ignore[attr-defined]

    lines = exposed([metric]).decode().splitlines()

    assert len({line.split('n="')[1].split('"')[0] for line in lines if 'n="' in line}) == MOST_SERIES + 1
    assert any('n="other"' in line and line.endswith(" 500") for line in lines)


# What is measured -------------------------------------------------------------------------------------------------


class Instruments:
    def status(self) -> list[dict[str, Any]]:
        return [{"name": "stage", "state": "ready"}, {"name": "pump", "state": "crash loop"}]


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture
async def client(changes: Changes, journal: SqliteJournal, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    metrics = Metrics(
        changes,
        journal,
        Instruments(),
        tmp_path,
        viewers={"page": lambda: 3},
        halted=lambda: True,
        lab='the "east" lab',
        version="1.2",
    )
    journal.on_commit(metrics.on_commit)
    app = build(routers=[metrics_routes(metrics)], changes=changes)
    listening = bound("http://127.0.0.1:0")
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with (
        metrics.counting(),
        run_app(app, listening, websockets=True),
        httpx2.AsyncClient(base_url=url) as client,
    ):
        yield client


async def scraped(client: httpx2.AsyncClient) -> dict[Any, float]:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parsed(answer.content)


async def test_what_is_so_now_is_asked_at_each_scrape(client: httpx2.AsyncClient, journal: SqliteJournal) -> None:
    await journal.append("a", 0, [("submitted", {"name": "scan", "experiment": {}, "parameters": {}})], flush=True)
    await journal.append("b", 0, [("submitted", {"name": "scan", "experiment": {}, "parameters": {}})])
    question = {"path": "a", "text": "?", "choices": [], "kind": "ask"}
    await journal.append("b", 1, [("started", {}), ("waiting", {"reason": "?", "question": question})])

    found = await scraped(client)

    assert found["labretto_info", (("lab", 'the "east" lab'), ("version", "1.2"))] == 1
    assert found["labretto_runs", (("state", "queued"),)] == 1
    assert found["labretto_runs", (("state", "failed"),)] == 0
    assert found["labretto_queue_length", ()] == 1
    assert found["labretto_runs_waiting_for_people", ()] == 1
    assert found["labretto_journal_events_total", ()] == 4
    assert found["labretto_instrument_up", (("instrument", "stage"),)] == 1
    assert found["labretto_instrument_up", (("instrument", "pump"),)] == 0
    assert found["labretto_viewers", (("kind", "page"),)] == 3
    assert found["labretto_halted", ()] == 1
    assert found["labretto_disk_free_bytes", ()] > 0
    assert found["process_resident_memory_bytes", ()] > 1e6
    assert found["labretto_journal_commit_seconds_count", (("flush", "yes"),)] >= 1
    assert found["labretto_journal_commit_seconds_count", (("flush", "no"),)] >= 1


async def test_what_happened_is_counted_once(client: httpx2.AsyncClient, changes: Changes) -> None:
    step = {"run": "a", "path": "m", "instrument": "stage", "action": "move", "state": "succeeded"}
    times = {"started": "2026-11-21T08:00:00Z", "ended": "2026-11-21T08:00:02Z"}
    changes.publish("step", {**step, "state": "intended"})
    changes.publish("step", step | times)
    changes.publish("step", {**step, "state": "interrupted"})
    for _ in range(2):  # a run's end is told more than once
        changes.publish("run", {"id": "a", "state": "failed", "error": {}})
    changes.publish("instrument", {"name": "pump", "state": "restarting"})

    found = await scraped(client)

    stage = (("action", "move"), ("instrument", "stage"))
    assert found["labretto_steps_total", (stage[0], stage[1], ("outcome", "succeeded"))] == 1
    assert found["labretto_steps_total", (stage[0], stage[1], ("outcome", "interrupted"))] == 1
    assert ("labretto_steps_total", (stage[0], stage[1], ("outcome", "intended"))) not in found
    assert found["labretto_step_seconds_sum", stage] == 2
    assert found["labretto_runs_ended_total", (("state", "failed"),)] == 1
    assert found["labretto_instrument_deaths_total", (("instrument", "pump"),)] == 1
    assert found["labretto_changes_total", (("topic", "step"),)] == 3
    assert found["labretto_changes_not_counted_total", ()] == 0


async def test_nothing_is_counted_twice_between_two_scrapes(client: httpx2.AsyncClient, changes: Changes) -> None:
    changes.publish("run", {"id": "a", "state": "succeeded"})
    await asyncio.gather(scraped(client), scraped(client))

    assert (await scraped(client))["labretto_runs_ended_total", (("state", "succeeded"),)] == 1
