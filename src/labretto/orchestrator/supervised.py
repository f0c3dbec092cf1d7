"""The lab's instruments as the orchestrator and the page see them: clients, descriptions, readings, alarms, all told.

What keeps them up is `labretto.network.supervise`; here is what is known of them while they are, and that everybody is
told when it changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any

from labretto.catalog.live import Changes
from labretto.errors import LabError, NotFoundError
from labretto.lab import Lab
from labretto.network.client import Instrument
from labretto.network.registry import Registrant
from labretto.network.supervise import Status, Supervisor

logger = logging.getLogger(__name__)

TELL_EVERY = 1.0
"""Seconds for which readings that hosts tell by themselves are put together, so that a noisy one floods nobody."""


LOOK_WITHIN = 1.0
"""Seconds for which one look at all instruments waits for the slowest; that one's readings come when they come."""


class SupervisedInstruments:
    """The lab's instruments as the orchestrator and the page see them: clients, descriptions, changes told."""

    def __init__(self, lab: Lab, supervisor: Supervisor, changes: Changes) -> None:
        self._lab = lab
        self._supervisor = supervisor
        self._changes = changes
        self._descriptions: dict[str, Mapping[str, Any]] = {}
        self._watched: dict[str, Instrument] = {}
        self._alarms: dict[str, list[dict[str, Any]]] = {}
        self._pushed: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._stop_listening = supervisor.listen(self._on_status)

    async def instrument(self, name: str) -> Instrument:
        """A connected client; see `Supervisor.instrument`."""
        return await self._supervisor.instrument(name)

    async def reachable(self, name: str) -> Instrument:
        """Return when the instrument answers; see `Supervisor.reachable`."""
        return await self._supervisor.reachable(name)

    def descriptions(self) -> Mapping[str, Mapping[str, Any]]:
        """Name → description (JSON form) of every instrument that has answered."""
        return self._descriptions

    def why_unknown(self, name: str) -> str | None:
        """Why an instrument of the lab has never answered; None if the lab has none of that name."""
        status = self._supervisor.status().get(name)
        return f"{name} is {status.state}{f': {status.reason}' if status.reason else ''}" if status else None

    def status(self) -> list[dict[str, Any]]:
        """Each instrument's name, state, reason and address, in the order of lab.toml."""
        return [status.as_dict() for status in self._supervisor.status().values()]

    async def restart(self, name: str) -> None:
        """End its host, if it lives, and start it anew; see `Supervisor.restart`."""
        await self._supervisor.restart(name)

    async def reload(self, name: str) -> list[str]:
        """Start its host anew with its driver as it is written now; see `Supervisor.reload`."""
        return await self._supervisor.reload(name)

    def log(self, name: str, most: int) -> list[str]:
        """The last lines that its host wrote; see `Supervisor.log`."""
        return self._supervisor.log(name, most)

    def registered(self) -> dict[str, dict[str, Any]]:
        """What has registered itself, with who and when; see `Supervisor.register`."""
        return {name: entry.as_dict() for name, entry in self._supervisor.registered().items()}

    async def register(self, name: str, url: str, who: Registrant, own: Collection[int]) -> tuple[dict[str, Any], bool]:
        """Take an instrument that tells where it is; see `Supervisor.register`."""
        entry, changed = await self._supervisor.register(name, url, who, own)
        return entry.as_dict(), changed

    async def accept(self, name: str, by: str) -> dict[str, Any]:
        """Trust one; see `Supervisor.accept`."""
        return (await self._supervisor.accept(name, by)).as_dict()

    async def remove(self, name: str) -> None:
        """Forget one; see `Supervisor.remove`."""
        await self._supervisor.remove(name)
        for known in (self._descriptions, self._watched, self._alarms, self._pushed):
            known.pop(name, None)

    def alarms(self) -> list[dict[str, Any]]:
        """Of all instruments, as they were told last: those that are not over, or that nobody has seen."""
        return [alarm for listed in self._alarms.values() for alarm in listed]

    async def acknowledge(self, name: str, alarm: str, by: str, note: str) -> dict[str, Any]:
        """Somebody has seen an alarm; see `Instrument.acknowledge`."""
        seen = (await (await self.instrument(name)).acknowledge(alarm, by, note)).as_dict()
        self._note_alarm(seen)
        return seen

    async def meet(self) -> None:
        """Return when every instrument that is up has been asked what it offers."""
        await self._supervisor.settled()
        for name, status in self._supervisor.status().items():
            if status.state == "ready":
                await self._look(name)

    async def read_all(self) -> None:
        """Read every attribute and tell it; for the page, while somebody looks.

        An instrument that has not answered the look before is not asked again, and keeps the others from nothing.
        """
        ready = [name for name, status in self._supervisor.status().items() if status.state == "ready"]
        new = {name: asyncio.create_task(self._read(name)) for name in ready if name not in self._looks}
        self._looks |= new
        if new:
            await asyncio.wait(new.values(), timeout=LOOK_WITHIN)

    def close(self) -> None:
        """Stop listening."""
        self._stop_listening()
        for task in (*self._tasks, *self._looks.values()):
            task.cancel()

    def _on_status(self, status: Status) -> None:
        self._changes.publish("instrument", status.as_dict() | {"description": self._descriptions.get(status.name)})
        if status.state == "ready":
            task = asyncio.get_running_loop().create_task(self._look(status.name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look(self, name: str) -> None:
        """Ask what it offers (a restart may have changed that), and listen to what it does."""
        try:
            client = await self._supervisor.instrument(name)
            await client.describe()
        except LabError as error:
            logger.warning("an instrument was not met", extra={"instrument": name, "why": str(error)})
            return
        await self._ask_for_alarms(name, client)
        known = self._descriptions.get(name)
        self._descriptions[name] = client.description.as_dict() | self._old_names(name)
        if self._watched.get(name) is not client:
            self._watched[name] = client
            client.listen(lambda topic, body: self._on_event(name, topic, body))
        if known != self._descriptions[name]:
            status = self._supervisor.status()[name]
            self._changes.publish("instrument", status.as_dict() | {"description": self._descriptions[name]})

    def _old_names(self, name: str) -> dict[str, Any]:
        """What an experiment of the old form may call its attributes and actions (`labretto.experiment.soe`)."""
        return (
            {"compat": self._lab.instruments[name].compat}
            if self._lab.compat.helao and name in self._lab.instruments
            else {}
        )

    def _on_event(self, name: str, topic: str, body: dict[str, Any]) -> None:
        if topic == "invocation":
            self._changes.publish("invocation", {**body, "result": None})
        elif topic in ("lease", "progress", "overrun", "overdue"):
            self._changes.publish(topic, body)

        elif topic == "alarm":
            self._note_alarm(body)
        elif topic == "attribute":
            self._note_reading(name, dict(body))

    def _note_reading(self, name: str, reading: dict[str, Any]) -> None:
        """What a host tells by itself; what is large is shown only to who asks for it."""
        attribute = reading.pop("attribute")
        described = (self._descriptions.get(name) or {}).get("attributes", {}).get(attribute, {})
        if not described.get("poll") or not isinstance(reading["value"], int | float | str | None):
            return
        if name not in self._pushed:
            asyncio.get_running_loop().call_later(TELL_EVERY, self._tell_readings, name)
        self._pushed.setdefault(name, {})[attribute] = reading

    def _tell_readings(self, name: str) -> None:
        self._changes.publish("readings", {"instrument": name, "readings": self._pushed.pop(name, {})})

    async def _ask_for_alarms(self, name: str, client: Instrument) -> None:
        try:
            self._alarms[name] = [alarm.as_dict() for alarm in await client.alarms()]
        except NotFoundError:  # a board, or a host of an earlier version
            self._alarms[name] = []
        except LabError as error:
            logger.warning("its alarms are not known", extra={"instrument": name, "why": str(error)})
            return
        self._changes.publish("alarms", {"instrument": name, "alarms": self._alarms[name]})

    def _note_alarm(self, alarm: dict[str, Any]) -> None:
        name = alarm["instrument"]
        others = [each for each in self._alarms.get(name, []) if each["id"] != alarm["id"]]
        over = not alarm["active"] and alarm["acknowledged"]
        self._alarms[name] = others if over else [alarm, *others]
        self._changes.publish("alarms", {"instrument": name, "alarms": self._alarms[name], "changed": alarm})

    async def _read(self, name: str) -> None:
        try:
            readings = await (await self._supervisor.instrument(name)).read_all()
        except LabError:
            return  # its status says why, and is told already
        finally:
            self._looks.pop(name, None)
        body = {attribute: reading.as_dict() for attribute, reading in readings.items()}
        self._changes.publish("readings", {"instrument": name, "readings": body})
