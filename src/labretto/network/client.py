"""An instrument seen from afar; the same whichever wire leads there.

The blocking face of it is in `labretto.network.blocking`. Names of a lab are turned into addresses elsewhere
(`labretto.network.directory`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from labretto.errors import FailedError, InvalidError, UnreachableError
from labretto.instrument.alarms import Alarm
from labretto.instrument.checks import Checked
from labretto.instrument.describe import Description
from labretto.instrument.invocation import Invocation, new_id
from labretto.instrument.leases import Lease
from labretto.instrument.reading import Reading
from labretto.network.connection import DESCRIBED_WITHIN, Connection, Listener, back_off, unreachable
from labretto.network.credentials import token_for
from labretto.network.messages import (
    Acknowledge,
    Alarms,
    Cancel,
    Check,
    Describe,
    Find,
    GiveBack,
    Health,
    Invoke,
    Read,
    ReadAll,
    Stop,
    Take,
    Write,
)

T = TypeVar("T")


async def open_instrument(address: str, *, token: str | None = None) -> Instrument:
    """The instrument at `address`: "http://...", "tcp://..." (ZMQ) or "memory:NAME".

    Args:
        address: beyond the loopback a ZMQ address carries the host's public key, as the host tells it.
        token: shown there; default: LABRETTO_TOKEN, or this machine's own.

    Raises:
        UnreachableError: nobody answers there.
        InvalidError: the address is none.
    """
    connection = await open_connection(address, token)
    try:
        async with asyncio.timeout(DESCRIBED_WITHIN):
            description = parsed(address, Description.from_dict, await connection.ask(Describe()))
    except TimeoutError:
        await connection.close()
        silent = f"it took the connection and has said nothing within {DESCRIBED_WITHIN:g} s"
        raise unreachable(address, silent, sent=False) from None
    except BaseException:
        await connection.close()
        raise
    return Instrument(connection, description)


class Instrument:
    """What `labretto.instrument.host.Host` offers, from afar. Use `open_instrument`, and `close` it.

    Every method raises what the host raised, and `UnreachableError` as soon as the connection is lost or cannot be
    made; the next call tries to connect again.
    """

    def __init__(self, connection: Connection, description: Description) -> None:
        self.description = description
        self._connection = connection

    @property
    def name(self) -> str:
        """Its name in the lab."""
        return self.description.name

    @property
    def address(self) -> str:
        """Where it was opened."""
        return self._connection.address

    async def __aenter__(self) -> Instrument:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Instrument {self.name} at {self.address}>"

    async def describe(self) -> Description:
        """Ask anew what it offers: a host that was started again may serve a changed driver."""
        self.description = Description.from_dict(await self._connection.ask(Describe()))
        return self.description

    async def read(self, attribute: str, *, fresh: bool = False) -> Reading:
        """One look at `attribute`; of a polled one the last, while it is young enough, unless it has to be `fresh`."""
        return self._parsed(Reading.from_dict, await self._connection.ask(Read(attribute, fresh)))

    async def read_all(self) -> dict[str, Reading]:
        """Every attribute; one that cannot be read has the status "error"."""
        body = await self._connection.ask(ReadAll())
        return {name: self._parsed(Reading.from_dict, reading) for name, reading in self._parsed(dict, body).items()}

    async def write(self, attribute: str, value: Any, *, lease: int | None = None) -> Reading:
        """Set `attribute`; answers it read back."""
        return self._parsed(Reading.from_dict, await self._connection.ask(Write(attribute, value, lease)))

    async def invoke(
        self,
        action: str,
        parameters: Mapping[str, Any],
        *,
        identity: str | None = None,
        lease: int | None = None,
        actor: str | None = None,
        wait: bool = True,
    ) -> Invocation:
        """Do `action`; answers at its end (with `wait=False` as soon as it has begun).

        An action that failed is an answer, not an exception: see `state` and `error`. The same `identity` asked again
        is answered from the host's memory; nothing is done twice.

        Raises:
            RefusedError: nothing moved; its kind says why.
            UnreachableError: what became of it is not known; `find` it, or ask again with the same identity.
        """
        request = Invoke(action, dict(parameters), identity or new_id(), lease, actor, wait)
        return self._parsed(Invocation.from_dict, await self._connection.ask(request))

    async def find(self, identity: str, *, action: str | None = None) -> Invocation:
        """What is known of an invocation now; a board wants to be told of which action."""
        return self._parsed(Invocation.from_dict, await self._connection.ask(Find(identity, action)))

    async def check(self, identity: str, *, action: str | None = None) -> Checked:
        """Let the driver look whether an interrupted invocation happened.

        Raises:
            NotFoundError, ConflictError: its action cannot be checked, or it was not interrupted.
            DriverError: the check failed.
        """
        return self._parsed(Checked.from_dict, await self._connection.ask(Check(identity, action)))

    async def cancel(self, identity: str, *, action: str | None = None, within: float | None = None) -> Invocation:
        """Ask a running action to end at its next opportunity; answers what is known now.

        With `within` it answers at the action's end, or after so many seconds: what runs still then says in
        `cancelling` that it is overdue. It is never ended by force.
        """
        return self._parsed(Invocation.from_dict, await self._connection.ask(Cancel(identity, action, within)))

    async def stop(self) -> dict[str, Any]:
        """Call the driver's `stop()` at once; answers `{"stopped", "seconds", "detail"}`."""
        return self._parsed(dict, await self._connection.ask(Stop()))

    async def take(
        self, holder: str, number: int | None = None, *, until: datetime | None = None, over: bool = False
    ) -> Lease:
        """Let nobody but `holder` act from now on; acts then need `lease=` with the number answered.

        Raises:
            LeaseError: somebody else has it (not with `over`), or the number is an old one.
        """
        return self._parsed(Lease.from_dict, await self._connection.ask(Take(holder, number, until, over)))

    async def give_back(self, number: int) -> None:
        """Let everybody act again. Raises `LeaseError` if somebody else has it by now."""
        await self._connection.ask(GiveBack(number))

    async def lease(self) -> Lease | None:
        """Who alone may act now; None if everybody may."""
        told = (await self.health()).get("lease")
        return self._parsed(Lease.from_dict, told) if told else None

    async def alarms(self) -> list[Alarm]:
        """What is beyond its limits, or was and nobody has seen it; the gravest first."""
        body = await self._connection.ask(Alarms())
        return [self._parsed(Alarm.from_dict, alarm) for alarm in self._parsed(list, body)]

    async def acknowledge(self, alarm: str, by: str = "", note: str = "") -> Alarm:
        """Say that somebody has seen the alarm of this id.

        Raises:
            NotFoundError: it is not on the list.
            ConflictError: somebody has said so before.
        """
        return self._parsed(Alarm.from_dict, await self._connection.ask(Acknowledge(alarm, by, note)))

    async def health(self) -> dict[str, Any]:
        """`{"status", "running", "lease", "ledger", "process"}` of the host."""
        return self._parsed(dict, await self._connection.ask(Health()))

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(topic, body)` for what the host tells from now on, best effort; the answer ends that.

        Topics: "stream" (a row of a measurement), "invocation" (began, ended), "attribute", "alarm" (raised, cleared,
        acknowledged), "lease" (who has it now), "progress", "overrun" and "overdue" (how far an action is, that it
        takes longer than usual, that it was cancelled and has not ended), "lost" (so many "events" were missed, because
        they were not taken in time). It is called in this event loop and must not block.
        """
        return self._connection.listen(listener)

    async def hearing(self) -> None:
        """Return when the host's events are on their way to the listeners."""
        await self._connection.hearing()

    async def reachable(self) -> None:
        """Return when the host answers; tries again and again, soon at first."""
        for pause in back_off():
            try:
                await self._connection.ask(Health())
            except UnreachableError:
                await asyncio.sleep(pause)
            else:
                return

    async def close(self) -> None:
        """Let the connection go; what still waits gets an `UnreachableError`."""
        await self._connection.close()

    def _parsed(self, kind: Callable[[Any], T], body: Any) -> T:
        return parsed(self.address, kind, body)


def parsed(address: str, kind: Callable[[Any], T], body: Any) -> T:
    """What `kind` makes of `body`.

    Raises:
        FailedError: nothing; whoever answers at `address` is no instrument, or speaks another version.
    """
    try:
        return kind(body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FailedError(
            f"{address} answered something that is no answer of an instrument ({type(error).__name__}: {error}).",
            way_out="Is it the address of an instrument, and of the same version of Labretto?",
        ) from error


async def open_connection(address: str, token: str | None = None) -> Connection:
    """The wire to `address`, for who speaks in requests; only the transport that is needed is imported.

    Raises:
        UnreachableError: nobody answers there.
        InvalidError: the address is none.
    """
    match urlsplit(address).scheme:
        case "http" | "https":
            from labretto.network import http_client

            return await http_client.open(address, token_for(address, token))
        case "tcp" | "ipc":
            from labretto.network import zmq_client

            return await zmq_client.open(address, token_for(address, token))
        case "memory":
            from labretto.network import memory

            return await memory.open(address)
        case _:
            raise InvalidError(
                f"{address!r} is no address of an instrument.",
                way_out="Write http://HOST:PORT, tcp://HOST:PORT or memory:NAME.",
            )
