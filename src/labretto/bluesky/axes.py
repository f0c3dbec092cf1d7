"""Actions that set a place, as what Bluesky moves: one parameter of them, or all at once.

Only an action whose effect is "absolute" becomes one, because a plan that is paused goes on by doing what
followed its last checkpoint once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labretto.bluesky.documents import DataKey, Readings, data_key, reading_at
from labretto.bluesky.parts import Part
from labretto.bluesky.status import Status
from labretto.errors import ConflictError, InvalidError
from labretto.instrument.describe import Action, Attribute
from labretto.instrument.reading import now
from labretto.network.blocking import elsewhere

if TYPE_CHECKING:
    from labretto.bluesky.device import Device

_LEFT_OUT: Any = object()
"""Of a parameter that has a default."""


class Axis(Part):
    """One parameter of an action that sets a place: Movable, Readable, Locatable, Stoppable."""

    def __init__(
        self,
        parent: Device,
        action: Action,
        parameter: str,
        readback: Attribute | None,
        fixed: Mapping[str, Any],
    ) -> None:
        super().__init__(parent, parent.key(readback.name) if readback else parent.key(action.name, parameter))
        self._action = action
        self._parameter = parameter
        self._readback = readback
        self._fixed = dict(fixed)
        self._told: tuple[Any, datetime] | None = None

    def set(self, value: Any) -> Status:
        """Go there."""
        return self.parent.begin(self._go(value), f"{self.parent.name}.{self._action.name}({self._parameter}={value})")

    def stop(self, success: bool = False) -> None:
        """See `Device.stop`."""
        self.parent.stop(success=success)

    def check_value(self, value: Any) -> None:
        """Refuse, as `LimitError` would, what the description does not allow; nothing moves."""
        schema = self._action.parameters[self._parameter].schema
        low, high = schema.get("minimum"), schema.get("maximum")
        if (low is not None and value < low) or (high is not None and value > high):
            raise InvalidError(f"{self._name}: {value} is not between {low} and {high} {schema.get('unit', '')}.")

    async def read(self) -> Readings:
        """Where it is, or if no attribute says that, where it was told to go."""
        if self._readback is not None:
            return await elsewhere(self.parent.readings([self._readback.name]))
        if self._told is None:
            raise ConflictError(f"{self._name} was not set yet, and no attribute says where it is.")
        return {self._name: reading_at(*self._told)}

    async def describe(self) -> dict[str, DataKey]:
        """Its type, unit and limits."""
        if self._readback is not None:
            return await elsewhere(self.parent.data_keys([self._readback.name]))
        schema = self._action.parameters[self._parameter].schema
        return {self._name: data_key(schema, self.parent.source(f"actions/{self._action.name}"))}

    async def locate(self) -> dict[str, Any]:
        """Where it was told to go, and where it is."""
        readback = (await self.read())[self._name]["value"]
        return {"setpoint": self._told[0] if self._told else readback, "readback": readback}

    async def _go(self, value: Any) -> None:
        await self.parent.do(self._action, lambda: self._parameters(value))
        self._told = value, now()

    async def _parameters(self, value: Any) -> dict[str, Any]:
        others = {name: await self._stays(name) for name in self._action.parameters if name != self._parameter}
        return {self._parameter: value} | {name: other for name, other in others.items() if other is not _LEFT_OUT}

    async def _stays(self, name: str) -> Any:
        """What another parameter of the action is given, so that only this one changes."""
        if name in self._fixed:
            return self._fixed[name]
        if name in (told := self.parent.told.get(self._action.name, {})):
            return told[name]
        if not self._action.parameters[name].required:
            return _LEFT_OUT
        if name in self.parent.description.attributes:
            return (await self.parent.instrument.read(name)).value
        raise InvalidError(
            f"{self.parent.name}.{self._action.name} also needs {name}, and no attribute says what it is now.",
            way_out=f"Say it: axis({self._action.name!r}, {self._parameter!r}, {name}=...).",
        )


class Place(Part):
    """An action of several parameters that sets a place: Movable, with all of them at once as a mapping."""

    def __init__(self, parent: Device, action: Action) -> None:
        super().__init__(parent, parent.key(action.name))
        self._action = action

    def set(self, value: Mapping[str, Any]) -> Status:
        """Go there: `bps.mv(stage.move, {"x": 1, "y": 2})`."""
        if not isinstance(value, Mapping):
            raise InvalidError(
                f"{self._name} is set to a mapping of {', '.join(self._action.parameters)}, not to {value!r}.",
                way_out=f"For one of them: {self.parent.name}.axis({self._action.name!r}, NAME).",
            )
        return self.parent.begin(self.parent.do(self._action, dict(value)), f"{self._name}({value})")

    def stop(self, success: bool = False) -> None:
        """See `Device.stop`."""
        self.parent.stop(success=success)
