"""What is asked of the hosts behind a lab's instruments, over the hub's HTTP: logs, a changed driver, alarms; and what
hosts themselves ask: to be among the instruments.

What instruments do is asked in `labretto.orchestrator.instruments`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from labretto.access.rule import Actor as Showing, allow
from labretto.errors import BusyError
from labretto.network.http_door import ACTOR
from labretto.network.registry import Registrant
from labretto.orchestrator.api import Actor, answer
from labretto.orchestrator.holding import person
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.supervised import SupervisedInstruments


def host_routes(instruments: SupervisedInstruments, orchestrator: Orchestrator) -> APIRouter:
    """`/api/alarms`, and of each instrument its log and the loading of its driver."""
    router = APIRouter(prefix="/api", tags=["instruments"])

    @router.get("/alarms")
    async def alarms() -> Response:
        return answer(instruments.alarms())

    @router.post("/instruments/{name}/alarms/{alarm}/acknowledge")
    async def acknowledge(
        name: str, alarm: str, note: Annotated[str, Body(embed=True)] = "", actor: Actor = None
    ) -> Response:
        return answer(await instruments.acknowledge(name, alarm, person(actor), note))

    @router.get("/instruments/{name}/log")
    async def log(name: str, lines: Annotated[int, Query(ge=1, le=10_000)] = 200) -> Response:
        return answer({"instrument": name, "lines": instruments.log(name, lines)})

    @router.post("/instruments/{name}/reload")
    async def reload(name: str) -> Response:
        different = await instruments.reload(name)
        status: dict[str, Any] = next(one for one in instruments.status() if one["name"] == name)
        return answer({**status, "different": different})

    @router.post("/instruments")
    async def register(body: Registration, request: Request) -> Response:
        who = _registrant(request)
        own = {port for port in (request.url.port, (request.scope.get("server") or (None, None))[1]) if port}
        entry, changed = await instruments.register(body.name, body.url, who, own)
        return answer(entry, 202 if not entry["accepted"] else 201 if changed else 200)

    @router.get("/registered")
    async def registered() -> Response:
        return answer([*instruments.registered().values()])

    @router.post("/instruments/{name}/accept")
    async def accept(name: str, actor: Actor = None) -> Response:
        return answer(await instruments.accept(name, person(actor)))

    @router.delete("/instruments/{name}", status_code=204)
    async def remove(name: str) -> Response:
        if run := orchestrator.holder_of(name):  # else the run would end, and what it began there would go on unseen
            raise BusyError(
                f"Run {run} has {name}; it was not removed.", way_out="Abort the run first, or await its end.", run=run
            )
        await instruments.remove(name)
        return Response(status_code=204)

    return router


class Registration(BaseModel):
    """What an instrument says of itself."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "pump", "url": "http://192.0.2.7"}]}
    )
    name: str = Field(max_length=64)
    url: str = Field(max_length=200)


def _registrant(request: Request) -> Registrant:
    where = request.client.host if request.client else ""
    shown: Showing = request.scope.get(ACTOR) or Showing()
    return Registrant(shown.name, shown.token, where, trusted=bool(allow(shown, "configure", "instruments")))
