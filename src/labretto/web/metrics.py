"""`GET /metrics`: how the laboratory does, for Prometheus.

What happened since the hub started is counted from the change stream, in one task; what is so now is asked when
Prometheus asks. Nothing that acts knows that it is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, Response

from labretto.catalog.live import Change, Changes
from labretto.orchestrator.engine import OVER
from labretto.orchestrator.journal import Journal
from labretto.web.exposition import MEDIA_TYPE, Counter, Gauge, Histogram, Metric, exposed

_WORDS = ("queued", "running", "waiting", "paused", "succeeded", "failed", "aborted")
_TOGETHER = 0.5
"""Seconds for which changes are gathered before they are counted; what Prometheus reads is counted up to then."""
_REMEMBERED = 10_000
_DIED = frozenset({"restarting", "crash loop"})


class Lab(Protocol):
    """What is asked of the lab when Prometheus asks."""

    def status(self) -> Sequence[Mapping[str, Any]]:
        """Each instrument's name and state."""


class Metrics:
    """What is measured. Use `counting`, while the hub lives.

    Args:
        changes: what is counted.
        journal: asked how many runs there are.
        instruments: asked how they are.
        folder: of the lab; on its disk the records grow.
        viewers: what looks at the hub → asked how many do.
        halted: whether the lab is.
        lab, version: told as they are.
    """

    def __init__(
        self,
        changes: Changes,
        journal: Journal,
        instruments: Lab,
        folder: Path,
        *,
        viewers: Mapping[str, Callable[[], int]],
        halted: Callable[[], bool],
        lab: str,
        version: str,
    ) -> None:
        self._changes = changes
        self._journal = journal
        self._instruments = instruments
        self._folder = folder
        self._viewers = viewers
        self._halted = halted
        self._info = Gauge("labretto_info", "Which lab, and of which version.", ("lab", "version"))
        self._info.set(1, lab, version)
        self._place = changes.sequence
        self._over: dict[str, None] = {}
        """Runs whose end was counted: it is told more than once."""
        self._started = Gauge("process_start_time_seconds", "When the hub started, seconds since 1970.")
        self._started.set(time.time())
        self._cpu = Counter("process_cpu_seconds_total", "Processor time that the hub has used, seconds.")
        self._memory = Gauge("process_resident_memory_bytes", "Memory that the hub has, bytes.")
        self._runs = Gauge("labretto_runs", "Runs by their word now.", ("state",))
        self._queue = Gauge("labretto_queue_length", "Runs that have not begun.")
        self._waiting = Gauge("labretto_runs_waiting_for_people", "Runs that wait for a person's answer.")
        self._ended = Counter("labretto_runs_ended_total", "Runs that ended since the hub started.", ("state",))
        labels = ("instrument", "action")
        self._steps = Counter("labretto_steps_total", "Steps that ended, by what came of them.", (*labels, "outcome"))
        self._seconds = Histogram("labretto_step_seconds", "How long steps took at the instrument.", labels)
        self._up = Gauge("labretto_instrument_up", "1: it answers.", ("instrument",))
        self._deaths = Counter("labretto_instrument_deaths_total", "How often its host died.", ("instrument",))
        self._events = Counter("labretto_journal_events_total", "Events in the journal, of all time.")
        self.commits = Histogram("labretto_journal_commit_seconds", "Time to commit to the journal.", ("flush",))
        self._told = Counter("labretto_changes_total", "Changes that were told to viewers.", ("topic",))
        self._missed = Counter("labretto_changes_not_counted_total", "Gaps in what is counted here.")
        self._missed.add(by=0)
        self._looking = Gauge("labretto_viewers", "Who looks now.", ("kind",))
        self._halt = Gauge("labretto_halted", "1: no step may begin until somebody resets the halt.")
        self._free = Gauge("labretto_disk_free_bytes", "Free on the disk where the records are.")

    @contextlib.asynccontextmanager
    async def counting(self) -> AsyncIterator[Metrics]:
        """Count while the block runs."""
        task = asyncio.create_task(self._count(), name="metrics")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def on_commit(self, seconds: float, flush: bool) -> None:
        """For the journal's database."""
        self.commits.observe(seconds, "yes" if flush else "no")

    def text(self) -> bytes:
        """All of it now; reads the journal's table of runs."""
        self._look()
        return exposed(each for each in vars(self).values() if isinstance(each, Metric))

    async def _count(self) -> None:
        while await self._changes.wait(self._place) is not None:
            await asyncio.sleep(_TOGETHER)  # at a thousand changes a second, not woken a thousand times
            self.count()

    def count(self) -> None:
        """Count what was told since the last time."""
        if (batch := self._changes.batch(self._place)) is None:
            return
        self._place = batch.sequence
        self._missed.add(by=batch.missed)
        for change in batch.changes:
            self._told.add(change.topic)
            self._count_one(change)

    def _count_one(self, change: Change) -> None:
        body = change.body
        if change.topic == "step" and (outcome := _outcome(body)):
            self._steps.add(body["instrument"], body["action"], outcome)
            if (seconds := _seconds(body)) is not None:
                self._seconds.observe(seconds, body["instrument"], body["action"])
        elif change.topic == "run" and body.get("state") in OVER and body["id"] not in self._over:
            self._ended.add(body["state"])
            self._over[body["id"]] = None
            if len(self._over) > _REMEMBERED:
                del self._over[next(iter(self._over))]
        elif change.topic == "instrument" and body.get("state") in _DIED:
            self._deaths.add(body["name"])

    def _look(self) -> None:
        counts = self._journal.counts()
        for word in _WORDS:
            self._runs.set(counts.get(word, 0), word)
        self._queue.set(counts.get("queued", 0))
        self._waiting.set(counts.get("waiting", 0))
        self._events.rise_to(self._journal.newest_sequence())
        self._up.clear()
        for one in self._instruments.status():
            self._up.set(one["state"] == "ready", one["name"])
        for kind, count in self._viewers.items():
            self._looking.set(count(), kind)
        self._halt.set(self._halted())
        self._free.set(shutil.disk_usage(self._folder).free)
        self._cpu.rise_to(time.process_time())
        self._memory.set(_resident())


def metrics_routes(metrics: Metrics) -> APIRouter:
    """`/metrics`."""
    router = APIRouter(tags=["lab"])

    @router.get("/metrics")
    async def scrape() -> Response:
        """For Prometheus."""
        metrics.count()
        return Response(await asyncio.to_thread(metrics.text), headers={"Content-Type": MEDIA_TYPE})

    return router


def _outcome(step: Mapping[str, Any]) -> str | None:
    """What came of a step, in a word; None if it has only begun."""
    return str(step["state"]) if "ended" in step or step["state"] == "interrupted" else None


def _seconds(step: Mapping[str, Any]) -> float | None:
    try:
        return (datetime.fromisoformat(step["ended"]) - datetime.fromisoformat(step["started"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    import resource

    return pages * resource.getpagesize()
