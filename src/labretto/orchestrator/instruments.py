"""The lab's instruments over the hub's HTTP: look, set, do, stop. The hub passes on; the hosts decide.

A person may act on an instrument as long as no run acts on it; reading and stopping are always possible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Header, Response

from labretto.errors import BusyError, ConflictError, LabError, LeaseError, NoStopError, NotFoundError, from_problem
from labretto.instrument.invocation import Invocation
from labretto.instrument.leases import lease_as_dict
from labretto.network.client import Instrument
from labretto.orchestrator.api import Actor, answer
from labretto.orchestrator.holding import number_of, person, take_over
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.submission import LabInstruments

STOP_WITHIN = 3.0
"""Seconds after which a halt answers for a host that has not; the host itself answers within two."""

KEPT_WITHIN = 1.0
"""Seconds after which a halt is answered although the disk has not taken it; it counts all the same."""


class WatchedInstruments(LabInstruments, Protocol):
    """The instruments of a lab, with how they are."""

    def status(self) -> list[dict[str, Any]]:
        """Each instrument's name, state, reason and address."""

    async def restart(self, name: str) -> None:
        """End the host of an instrument, if it lives, and start it anew; returns when it is known what came of it."""


def instrument_routes(instruments: WatchedInstruments, orchestrator: Orchestrator) -> APIRouter:
    """`/api/instruments` and `/api/halt`."""
    router = APIRouter(prefix="/api", tags=["instruments"])
    described = instruments.descriptions

    async def for_people(name: str, asked: str) -> Instrument:
        """The instrument, if a person may act on it now."""
        client = await instruments.instrument(name)
        if orchestrator.halted:
            raise ConflictError(f"The lab is halted; {asked} was refused.", way_out="Reset the halt first.")
        if run := orchestrator.user_of(name):
            raise BusyError(
                f"Run {run} acts on {name}; {asked} was refused.", way_out="Pause or abort the run.", run=run
            )
        return client

    @router.get("/instruments")
    async def list_instruments() -> Response:
        return answer([{**one, "description": described().get(one["name"])} for one in instruments.status()])

    @router.get("/instruments/{name}")
    async def show(name: str) -> Response:
        one = next((one for one in instruments.status() if one["name"] == name), None)
        if one is None:
            raise NotFoundError(f"The lab has no instrument {name[:80]!r}.", way_out="GET /api/instruments lists them.")
        return answer({**one, "description": described().get(name)})

    @router.get("/instruments/{name}/attributes")
    async def read_all(name: str) -> Response:
        readings = await (await instruments.instrument(name)).read_all()
        return answer({attribute: reading.as_dict() for attribute, reading in readings.items()})

    @router.get("/instruments/{name}/attributes/{attribute}")
    async def read(name: str, attribute: str) -> Response:
        return answer((await (await instruments.instrument(name)).read(attribute)).as_dict())

    @router.put("/instruments/{name}/attributes/{attribute}")
    async def write(
        name: str, attribute: str, value: Annotated[Any, Body(embed=True)], actor: Actor = None
    ) -> Response:
        client = await for_people(name, f"setting {name}.{attribute}")
        return answer((await client.write(attribute, value, lease=await number_of(client, actor))).as_dict())

    @router.post("/instruments/{name}/actions/{action}")
    async def invoke(
        name: str,
        action: str,
        parameters: Annotated[dict[str, Any] | None, Body()] = None,
        actor: Actor = None,
        prefer: Annotated[str, Header()] = "",
    ) -> Response:
        client = await for_people(name, f"{name}.{action}")
        wait, lease = "respond-async" not in prefer, await number_of(client, actor)
        invocation = await client.invoke(action, parameters or {}, lease=lease, actor=person(actor), wait=wait)
        if invocation.state == "failed":
            raise _with_invocation(from_problem(dict(invocation.error or {})), invocation)
        return answer(invocation.as_dict(), 200 if wait else 202)

    @router.get("/instruments/{name}/invocations/{identity}")
    async def find(name: str, identity: str) -> Response:
        return answer((await (await instruments.instrument(name)).find(identity)).as_dict())

    @router.delete("/instruments/{name}/invocations/{identity}", status_code=202)
    async def cancel(name: str, identity: str) -> Response:
        return answer((await (await instruments.instrument(name)).cancel(identity)).as_dict(), 202)

    @router.get("/instruments/{name}/lease")
    async def lease(name: str) -> Response:
        return answer(lease_as_dict(name, await (await instruments.instrument(name)).lease()))

    @router.post("/instruments/{name}/take-over")
    async def take_instrument_over(name: str, actor: Actor = None) -> Response:
        taken = await take_over(await instruments.instrument(name), orchestrator.journal, actor)
        return answer(lease_as_dict(name, taken))

    @router.post("/instruments/{name}/give-back")
    async def give_back(name: str, actor: Actor = None) -> Response:
        client = await instruments.instrument(name)
        if (lease := await client.lease()) and lease.holder != person(actor):
            way_out = "Take it over first, which everybody will see."
            raise LeaseError(f"{lease.holder} has {name}, not {person(actor)}.", way_out=way_out, holder=lease.holder)
        if lease:
            await client.give_back(lease.number)
        return answer(lease_as_dict(name, None))

    @router.post("/instruments/{name}/stop")
    async def stop(name: str) -> Response:
        return answer(await _stop(name, instruments))

    @router.post("/instruments/{name}/restart")
    async def restart(name: str) -> Response:
        await instruments.restart(name)
        return await show(name)

    @router.get("/halt")
    async def halted() -> Response:
        return answer(orchestrator.halt_words)

    @router.post("/halt")
    async def halt(actor: Actor = None) -> Response:
        orchestrator.halt(actor)
        names = [one["name"] for one in instruments.status()]
        stopped = await asyncio.gather(*(_stop(name, instruments) for name in names))
        orchestrator.stopped(stopped)
        kept = await orchestrator.halt_kept(KEPT_WITHIN)
        return answer({"halted": True, "stopped": stopped, "kept": kept})

    @router.post("/halt/reset")
    async def reset(actor: Actor = None) -> Response:
        orchestrator.reset(actor)
        return answer({"halted": False, "kept": await orchestrator.halt_kept(KEPT_WITHIN)})

    return router


async def _stop(name: str, instruments: WatchedInstruments) -> dict[str, Any]:
    """What came of a stop, in words; never a success for doing nothing."""
    try:
        async with asyncio.timeout(STOP_WITHIN):
            outcome: Mapping[str, Any] = await (await instruments.instrument(name)).stop()
    except NotFoundError:
        raise
    except NoStopError as error:
        return {"instrument": name, "stopped": False, "no_software_stop": True, "detail": error.detail}
    except TimeoutError:
        return {"instrument": name, "stopped": False, "detail": f"No answer within {STOP_WITHIN} s."}
    except LabError as error:
        return {"instrument": name, "stopped": False, "detail": str(error)}
    return {"instrument": name, **outcome}


def _with_invocation(error: LabError, invocation: Invocation) -> LabError:
    error.fields["invocation"] = invocation.as_dict()
    return error
