"""What people ask of the hosts behind a lab's instruments, over the hub's HTTP: logs, a changed driver, alarms.

What instruments do is asked in `labretto.orchestrator.instruments`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response

from labretto.orchestrator.api import Actor, answer
from labretto.orchestrator.holding import person
from labretto.orchestrator.supervised import SupervisedInstruments


def host_routes(instruments: SupervisedInstruments) -> APIRouter:
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

    return router
