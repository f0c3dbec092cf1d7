"""Parts of a device, and the simplest: signals, one for each attribute.

Each part satisfies the protocols that it can keep, and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labretto.bluesky.documents import DataKey, Readings, reading_of
from labretto.bluesky.status import Status
from labretto.instrument.describe import Attribute
from labretto.instrument.reading import Reading
from labretto.network.blocking import begin_in_background, elsewhere

if TYPE_CHECKING:
    from labretto.bluesky.device import Device

OnReadings = Callable[[Readings], None]


class Part:
    """A part of a device: it is staged and stopped with it."""

    def __init__(self, parent: Device, name: str) -> None:
        self.parent = parent
        self._name = name

    @property
    def name(self) -> str:
        """Its name, and the beginning of its keys in documents."""
        return self._name

    @property
    def hints(self) -> dict[str, list[str]]:
        """What is worth a plot."""
        return {"fields": [self._name]}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} of {self.parent!r}>"


class Signal(Part):
    """An attribute: Readable, and Subscribable for what it says between the points of a plan."""

    def __init__(self, parent: Device, attribute: Attribute) -> None:
        super().__init__(parent, parent.key(attribute.name))
        self.attribute = attribute
        self._subscribed: dict[OnReadings, Callable[[], None]] = {}

    async def read(self) -> Readings:
        """Read it now."""
        return await elsewhere(self.parent.readings([self.attribute.name]))

    async def describe(self) -> dict[str, DataKey]:
        """Its type, unit and limits."""
        return await elsewhere(self.parent.data_keys([self.attribute.name]))

    def subscribe(self, function: OnReadings) -> None:
        """Call `function` with its reading, now and whenever it is heard to say something new."""

        def on_event(topic: str, body: dict[str, Any]) -> None:
            if topic == "attribute" and body["attribute"] == self.attribute.name and body["status"] != "error":
                function({self._name: reading_of(Reading.from_dict(body), self._name)})

        async def begin() -> Readings:
            self._subscribed[function] = self.parent.instrument.listen(on_event)
            await self.parent.instrument.hearing()
            return await self.parent.readings([self.attribute.name])

        coming = begin_in_background(begin())
        coming.add_done_callback(lambda done: None if done.exception() else function(done.result()))

    def clear_sub(self, function: OnReadings) -> None:
        """Call it no more."""
        if end := self._subscribed.pop(function, None):
            end()


class WritableSignal(Signal):
    """An attribute that can be set: Movable and Locatable too."""

    def set(self, value: Any) -> Status:
        """Set it."""
        return self.parent.begin(self.parent.write(self.attribute.name, value), f"{self._name} = {value!r}")

    async def locate(self) -> dict[str, Any]:
        """Where it is; an attribute remembers no setpoint of its own."""
        value = (await self.read())[self._name]["value"]
        return {"setpoint": value, "readback": value}
