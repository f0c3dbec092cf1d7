"""What an action yields while it runs goes into the record and to viewers at once; its result, when it has ended.

Arrays are on the disk before the journal knows of them. A live view may miss a piece; the record has the whole table
that comes with the answer.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from labretto.catalog.stream import StreamWriter
from labretto.errors import LabError
from labretto.instrument.invocation import Invocation
from labretto.network.client import Instrument
from labretto.orchestrator.engine import Ask, Step
from labretto.orchestrator.runlog import RunLog

logger = logging.getLogger(__name__)


class Measuring:
    """The streams and results of one run."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._record = log.record
        self._live: dict[str, StreamWriter] = {}

    @contextlib.contextmanager
    def listening(self, client: Instrument, step: Step, ask: Ask) -> Iterator[None]:
        """While it measures, what a generator action yields goes into the record and to viewers."""
        if ask.stream is None:
            yield
            return
        stream = self._live[step.invocation] = self._record.stream(step.path, ask.stream)

        def on_event(topic: str, body: dict[str, Any]) -> None:
            if topic == "stream" and body["invocation"] == step.invocation and not stream.closed:
                self._on_row(stream, step, body["columns"])

        stop_listening = client.listen(on_event)
        try:
            yield
        finally:
            stop_listening()

    def over(self, step: Step) -> None:
        """Nothing more is listened to."""
        self._live.pop(step.invocation, None)

    async def stored(self, step: Step, ended: Invocation, ask: Ask) -> Any:
        """The result's stored form, its arrays on disk."""
        if ask.stream is not None and ended.result is not None:
            # What was adopted after a crash was not listened to, or only in part: it gets a stream of its own.
            stream = self._live.get(step.invocation) or self._record.stream(step.path, ask.stream)
            return await self._log.keeping(lambda: self._record.settle(stream, ended.result, ask.schema))
        if not _holds_array(ended.result):
            return self._record.put(step.path, ended.result, ask.schema)
        return await self._log.keeping(lambda: self._record.put(step.path, ended.result, ask.schema))

    def _on_row(self, stream: StreamWriter, step: Step, columns: Mapping[str, Any]) -> None:
        run = self._log.state.id
        try:
            first = stream.append(columns)
        except LabError as error:
            logger.warning("a live row was not kept", extra={"run": run, "path": step.path, "why": str(error)})
            return
        self._log.changes.publish_curve(f"{run}/{step.path}", columns, start=first)


def _holds_array(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_array(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_array(item) for item in value)
    return hasattr(value, "dtype")
