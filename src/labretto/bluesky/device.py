"""An instrument as a Bluesky device: readable as a whole, its attributes and actions as parts.

A plan that *stages* it holds its lease: nobody else, no run of a hub either, acts on it meanwhile. Actions are done one
after the other, as the instrument does them, also if a plan sets two axes at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any

from labretto.bluesky.axes import Axis, Place
from labretto.bluesky.documents import DataKey, Readings, data_key, reading_of
from labretto.bluesky.measurements import Flyer, Measurement
from labretto.bluesky.parts import Signal, WritableSignal
from labretto.bluesky.status import Status
from labretto.errors import InvalidError, LabError, NotFoundError
from labretto.instrument.describe import Action, Attribute, Description
from labretto.instrument.invocation import HARMLESS, new_id
from labretto.instrument.leases import Lease
from labretto.instrument.reading import now
from labretto.network import directory
from labretto.network.blocking import begin_in_background, elsewhere, in_background, outcome
from labretto.network.client import Instrument, open_instrument

Part = Signal | Axis | Place | Measurement
Parameters = Mapping[str, Any] | Callable[[], Awaitable[Mapping[str, Any]]]

_NUMBERS = ("number", "integer")

LEASE = 60.0
"""Seconds after which others may act although the process that staged the instrument has not given it back: it died."""
RENEW_EVERY = 15.0


def device(
    name: str,
    *,
    read: Sequence[str] | None = None,
    configuration: Sequence[str] = (),
    called: str | None = None,
    token: str | None = None,
) -> Device:
    """The instrument of this name (or "lab/name", or at this address) for Bluesky's RunEngine.

    Args:
        name: as `labretto.connect` takes it.
        read: attributes that belong to each event; default: all but the slow ones and the configuration.
        configuration: attributes that are read once per run.
        called: its name in documents; default: its own.
        token: shown there if it asks for one.

    Raises:
        NotFoundError: nothing of this name lives here, or it has no such attribute; says what there is.
        UnreachableError: nobody answers there.
    """
    instrument = in_background(open_instrument(directory.find(name), token=token))
    try:
        return Device(instrument, read=read, configuration=configuration, called=called)
    except LabError:
        in_background(instrument.close())
        raise


class Device:
    """Readable, Stageable and Stoppable; `device.x` is the attribute x, `device.move_to` the action move_to.

    Use `labretto.bluesky.device`.
    """

    parent: None = None

    def __init__(
        self,
        instrument: Instrument,
        *,
        read: Sequence[str] | None = None,
        configuration: Sequence[str] = (),
        called: str | None = None,
    ) -> None:
        self._instrument = instrument
        self._name = called or instrument.name
        attributes = self.description.attributes
        for wanted in (*(read or ()), *configuration):
            self._attribute(wanted)
        self._configuration = list(configuration)
        usual = [a.name for a in attributes.values() if not a.slow and a.name not in configuration]
        self._read = list(read) if read is not None else usual
        self._parts: dict[str, Part] = {}
        self._acting = asyncio.Lock()
        self._in_flight: dict[str, str] = {}
        """Invocation → action, of what was begun here and has not ended."""
        self._stopped_as_planned = False
        self._lease: Lease | None = None
        self._renewing: asyncio.Task[None] | None = None
        self.told: dict[str, dict[str, Any]] = {}
        """Action → the parameters with which it was done last, from here."""

    @property
    def name(self) -> str:
        """Its name in documents."""
        return self._name

    @property
    def description(self) -> Description:
        """What the instrument offers."""
        return self._instrument.description

    @property
    def hints(self) -> dict[str, list[str]]:
        """What is worth a plot: the measurement, or else every number."""
        read = [self.description.attributes[name] for name in self._read]
        chosen = [a for a in read if a.measurement] or [a for a in read if a.schema.get("type") in _NUMBERS]
        return {"fields": [self.key(attribute.name) for attribute in chosen]}

    # Readable, Configurable ---------------------------------------------------------------------------------------

    async def read(self) -> Readings:
        """Every attribute that belongs to an event, read now."""
        return await elsewhere(self.readings(self._read))

    async def describe(self) -> dict[str, DataKey]:
        """What `read` answers: units, types, shapes."""
        return await elsewhere(self.data_keys(self._read))

    async def read_configuration(self) -> Readings:
        """What is read once per run."""
        return await elsewhere(self.readings(self._configuration))

    async def describe_configuration(self) -> dict[str, DataKey]:
        """What `read_configuration` answers."""
        return await elsewhere(self.data_keys(self._configuration))

    # Stageable ----------------------------------------------------------------------------------------------------

    def stage(self) -> Status:
        """Let nobody else act; fails, saying who has it, if somebody else does."""
        return self.begin(self._take(), f"lease of {self.name}")

    def unstage(self) -> Status:
        """Let others act again."""
        return self.begin(self._give_back(), f"giving {self.name} back")

    # Stoppable ----------------------------------------------------------------------------------------------------

    def stop(self, success: bool = False) -> None:
        """Call the driver's `stop()` at once; where it has none, cancel what was begun here.

        Args:
            success: as planned (a plan was paused): only what was begun here and still runs is stopped, and counts as
                done. Otherwise the instrument is stopped whatever it does.
        """
        if success and not self._in_flight:
            return
        self._stopped_as_planned = success
        in_background(self._stop())

    # Parts --------------------------------------------------------------------------------------------------------

    def axis(self, action: str, parameter: str, *, readback: str | None = None, **fixed: Any) -> Axis:
        """One parameter of an action that sets a place, as what Bluesky calls a motor: `axis("move", "x", y=0)`.

        Args:
            action: its effect is "absolute": to do it again, as a plan that is resumed does, is harmless.
            parameter: what a plan sets.
            readback: the attribute that says where it is; default: that of the parameter's name, if there is one.
            fixed: the other parameters. Those left out stay where they were told last, or where they are read.

        Raises:
            NotFoundError, InvalidError: there is no such action, parameter or attribute, or its effect is another one.
        """
        described = self._absolute(action)
        self._check_parameters(described, [parameter, *fixed])
        shown = readback or (parameter if parameter in self.description.attributes else None)
        return Axis(self, described, parameter, self._attribute(shown) if shown else None, fixed)

    def measure(self, action: str, **parameters: Any) -> Measurement:
        """An action that is done at each point, its result in the event: `measure("photograph", exposure=0.2)`."""
        described = self._action(action)
        self._check_parameters(described, parameters)
        return Measurement(self, described, parameters)

    def fly(self, action: str, **parameters: Any) -> Flyer:
        """An action that yields rows while it runs, one event each, for `bp.fly`.

        Raises:
            NotFoundError, InvalidError: there is no such action or parameter, or it yields nothing.
        """
        described = self._action(action)
        self._check_parameters(described, parameters)
        if described.stream is None:
            raise InvalidError(
                f"{self.name}.{action} yields no rows while it runs; it answers at its end.",
                way_out=f"Use {self.name}.measure({action!r}).",
            )
        return Flyer(self, described, parameters)

    def __getattr__(self, name: str) -> Part:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._parts:
            self._parts[name] = self._part(name)
        return self._parts[name]

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self.description.attributes, *self.description.actions]

    def __repr__(self) -> str:
        return f"<{self.name} ({self.description.title}) for Bluesky, at {self._instrument.address}>"

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection, and the lease if there is one, go."""
        in_background(self._leave())

    def _part(self, name: str) -> Part:
        if attribute := self.description.attributes.get(name):
            return (WritableSignal if attribute.writable else Signal)(self, attribute)
        action = self.description.actions.get(name)
        if action is None:
            known = ", ".join([*self.description.attributes, *self.description.actions])
            raise AttributeError(f"{self.name} has no attribute or action {name!r}; it has {known}.")
        if action.effect != "absolute" or not action.parameters:
            return Measurement(self, action, {})
        needed = [key for key, parameter in action.parameters.items() if parameter.required]
        only = needed if len(needed) == 1 else list(action.parameters)
        return self.axis(name, only[0]) if len(only) == 1 else Place(self, action)

    # For its parts; these run in the background's loop -------------------------------------------------------------

    def key(self, *parts: str) -> str:
        """The key of a part of it in an event."""
        return "-".join([self._name, *parts])

    def source(self, place: str) -> str:
        """Where the data of a part come from."""
        return f"{self._instrument.address.rstrip('/')}/{place}"

    def begin(self, work: Coroutine[Any, Any, Any], what: str) -> Status:
        """Begin `work` in the background."""
        return Status(begin_in_background(work), what)

    @property
    def instrument(self) -> Instrument:
        """The client, for the background's loop only."""
        return self._instrument

    async def readings(self, names: Sequence[str]) -> Readings:
        """These attributes, read now, by their keys."""
        seen = await self.instrument.read_all() if len(names) > 1 else {}
        missing = [name for name in names if name not in seen]
        seen |= {name: await self.instrument.read(name) for name in missing}
        return {self.key(name): reading_of(seen[name], f"{self.name}.{name}") for name in names}

    async def data_keys(self, names: Sequence[str]) -> dict[str, DataKey]:
        """What `readings` of these answers."""
        seen = await self.readings(names)
        attributes = {self.key(name): self.description.attributes[name] for name in names}
        return {
            key: data_key(a.schema, self.source(f"attributes/{a.name}"), seen[key]["value"])
            for key, a in attributes.items()
        }

    async def do(self, action: Action, parameters: Parameters, *, identity: str | None = None) -> Any:
        """Do an action when the one before it has ended; answers its result with units.

        Args:
            action: which.
            parameters: its own; or what tells them, asked when nothing moves any more.
            identity: of the invocation.

        Raises:
            LabError: it was refused, or failed.
        """
        async with self._acting, self._counted(action, identity or new_id()) as identity:
            given = parameters if isinstance(parameters, Mapping) else await parameters()
            ended = await self.instrument.invoke(action.name, given, identity=identity, lease=self.lease_number)
            if ended.state != "succeeded" and self._stopped_as_planned:
                return None  # a pause: the plan does this again when it goes on
            result = outcome(ended, action)
            self.told[action.name] = dict(given)
        return result

    async def write(self, attribute: str, value: Any) -> None:
        """Set an attribute."""
        async with self._acting:
            await self.instrument.write(attribute, value, lease=self.lease_number)

    @property
    def lease_number(self) -> int | None:
        """Under which a staged device acts."""
        return self._lease.number if self._lease else None

    @contextlib.asynccontextmanager
    async def _counted(self, action: Action, identity: str) -> AsyncIterator[str]:
        self._in_flight[identity] = action.name
        self._stopped_as_planned = False
        try:
            yield identity
        finally:
            del self._in_flight[identity]

    async def _stop(self) -> None:
        if self.description.stop:
            await self.instrument.stop()
            return
        for identity, action in list(self._in_flight.items()):
            await self.instrument.cancel(identity, action=action)

    # Lease --------------------------------------------------------------------------------------------------------

    async def _take(self) -> None:
        await self._renew()
        self._renewing = asyncio.create_task(self._keep_renewing())

    async def _renew(self) -> None:
        number = self._lease.number if self._lease else None
        until = now() + timedelta(seconds=LEASE)
        self._lease = await self.instrument.take(f"a Bluesky plan ({self.name})", number, until=until)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY)
            with contextlib.suppress(LabError):  # out of reach for a moment, or taken over: the next act says so
                await self._renew()

    async def _give_back(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        lease, self._lease, self._renewing = self._lease, None, None
        if lease is not None:
            with contextlib.suppress(LabError):  # somebody has taken it over
                await self.instrument.give_back(lease.number)

    async def _leave(self) -> None:
        await self._give_back()
        await self.instrument.close()

    # Checks -------------------------------------------------------------------------------------------------------

    def _attribute(self, name: str) -> Attribute:
        attributes = self.description.attributes
        if name not in attributes:
            raise NotFoundError(f"{self.name} has no attribute {name!r}; it has {', '.join(attributes) or 'none'}.")
        return attributes[name]

    def _action(self, name: str) -> Action:
        actions = self.description.actions
        if name not in actions:
            raise NotFoundError(f"{self.name} has no action {name!r}; it has {', '.join(actions) or 'none'}.")
        return actions[name]

    def _absolute(self, name: str) -> Action:
        action = self._action(name)
        if action.effect not in HARMLESS:
            raise InvalidError(
                f"{self.name}.{name} has the effect {action.effect!r}; a plan that is resumed would do it twice.",
                way_out=f'Use {self.name}.measure("{name}", ...), or declare its effect "absolute" if it sets a place.',
            )
        return action

    def _check_parameters(self, action: Action, names: Mapping[str, Any] | Sequence[str]) -> None:
        for name in names:
            if name not in action.parameters:
                known = ", ".join(action.parameters) or "none"
                raise InvalidError(f"{self.name}.{action.name} has no parameter {name!r}; it has {known}.")
