"""Actions that measure: done at each point of a plan, or yielding rows while the plan waits.

One that must not be repeated by a machine says so to the RunEngine, which then does not rewind past it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labretto.bluesky.documents import DataKey, Readings, data_key, reading_at, result_values, results_of
from labretto.bluesky.parts import Part
from labretto.bluesky.status import Status
from labretto.errors import ConflictError
from labretto.instrument.describe import Action
from labretto.instrument.invocation import HARMLESS, new_id
from labretto.instrument.reading import now
from labretto.network.blocking import in_background

if TYPE_CHECKING:
    from labretto.bluesky.device import Device


class _Rewindable:
    """Whether a plan that was interrupted may do it again, as Bluesky asks it."""

    def __init__(self, *, harmless: bool) -> None:
        self._harmless = harmless

    def get(self) -> bool:
        """Whether repeating it is harmless."""
        return self._harmless


class Measurement(Part):
    """An action whose result belongs to the event: Triggerable and Readable.

    One that must not be repeated by a machine says so to the RunEngine, which then does not rewind past it.
    """

    def __init__(self, parent: Device, action: Action, parameters: Mapping[str, Any]) -> None:
        super().__init__(parent, parent.key(action.name))
        self._action = action
        self._parameters = dict(parameters)
        self._last: tuple[Any, datetime] | None = None
        self._triggered: Status | None = None
        self.rewindable = _Rewindable(harmless=action.effect in HARMLESS)

    @property
    def hints(self) -> dict[str, list[str]]:
        """The numbers among its results."""
        results = results_of(self._name, self._action.result).items()
        return {"fields": [key for key, schema in results if schema.get("type") in ("number", "integer")]}

    def trigger(self) -> Status:
        """Do it."""
        what = f"{self.parent.name}.{self._action.name}({self._parameters})"
        self._triggered = self.parent.begin(self._measure(), what)
        return self._triggered

    async def read(self) -> Readings:
        """What it answered last. Waits for what was triggered: a plan that was paused meanwhile does not."""
        if self._triggered is not None:
            await self._triggered.ended()
        if self._last is None:
            raise ConflictError(f"{self._name} was not triggered yet.", way_out="Use bps.trigger_and_read, or a plan.")
        result, time_ = self._last
        return {key: reading_at(value, time_) for key, value in result_values(self._name, result).items()}

    async def describe(self) -> dict[str, DataKey]:
        """Types, units, shapes; of a result that was seen also what its description does not say."""
        said = results_of(self._name, self._action.result)
        seen = result_values(self._name, self._last[0]) if self._last else {}
        source = self.parent.source(f"actions/{self._action.name}")
        return {key: data_key(said.get(key, {}), source, seen.get(key)) for key in (seen or said)}

    async def _measure(self) -> None:
        self._last = await self.parent.do(self._action, self._parameters), now()


class Flyer(Part):
    """An action that yields rows while it runs: Flyable, and EventCollectable when it has ended; a row is an event."""

    def __init__(self, parent: Device, action: Action, parameters: Mapping[str, Any]) -> None:
        super().__init__(parent, parent.key(action.name))
        self._action = action
        self._parameters = dict(parameters)
        self._arrived: list[float] = []
        self._rows: Mapping[str, Sequence[Any]] = {}
        self._ended = 0.0
        self._status: Status | None = None
        self.rewindable = _Rewindable(harmless=action.effect in HARMLESS)

    @property
    def hints(self) -> dict[str, list[str]]:
        """All columns."""
        return {"fields": list(self._columns())}

    def kickoff(self) -> Status:
        """Begin; done when the instrument has begun."""
        in_background(self._listen())
        self._status = self.parent.begin(self._fly(), f"{self.parent.name}.{self._action.name}")
        return self.parent.begin(self._begun(), f"start of {self._name}")

    def complete(self) -> Status:
        """Done when the instrument has ended it."""
        if self._status is None:
            raise ConflictError(f"{self._name} was not kicked off.")
        return self._status

    def describe_collect(self) -> dict[str, dict[str, DataKey]]:
        """The stream of its name, and its columns."""
        source = self.parent.source(f"actions/{self._action.name}")
        keys = {key: data_key(schema, source) for key, schema in self._columns().items()}
        return {self._name: {key: word | {"shape": []} for key, word in keys.items()}}

    def collect(self) -> Iterator[dict[str, Any]]:
        """Its rows, with the times at which they were heard."""
        columns = {self.parent.key(self._action.name, name): values for name, values in self._rows.items()}
        count = min((len(values) for values in columns.values()), default=0)
        heard = self._arrived if len(self._arrived) == count else [self._ended] * count
        for number, time_ in enumerate(heard):
            data = {key: _plain(values[number]) for key, values in columns.items()}
            yield {"data": data, "timestamps": dict.fromkeys(data, time_), "time": time_}

    def _columns(self) -> dict[str, Mapping[str, Any]]:
        return {self.parent.key(self._action.name, n): schema for n, schema in (self._action.stream or {}).items()}

    async def _listen(self) -> None:
        self._arrived = []
        self._began = asyncio.Event()
        self._identity = new_id()
        self._end_listening = self.parent.instrument.listen(self._on_event)
        await self.parent.instrument.hearing()

    def _on_event(self, topic: str, body: dict[str, Any]) -> None:
        if topic == "stream" and body["invocation"] == self._identity:
            self._arrived += [time.time()] * max((_length(c) for c in body["columns"].values()), default=0)
        elif topic == "invocation" and body["id"] == self._identity:
            self._began.set()

    async def _fly(self) -> None:
        try:
            result = await self.parent.do(self._action, self._parameters, identity=self._identity)
            self._rows, self._ended = result or {}, time.time()
        finally:
            self._end_listening()
            self._began.set()

    async def _begun(self) -> None:
        await self._began.wait()
        if self._status is not None and self._status.done:
            self._status.wait(0)  # refused: the plan hears it from its kickoff


def _length(column: Any) -> int:
    return len(column) if hasattr(column, "__len__") and not isinstance(column, str) else 1


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
