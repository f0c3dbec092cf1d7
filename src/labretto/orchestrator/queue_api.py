"""The queue over HTTP: who waits and why, in which order, and what people change of it. Routes translate only.

What may be changed is decided in `line`, what may be said of a run's waiting in `terms`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from labretto.orchestrator.api import Actor, answer
from labretto.orchestrator.bodies import EditBody
from labretto.orchestrator.line import CHANGEABLE, Edit, Line
from labretto.orchestrator.queue import Orchestrator


class HoldBody(BaseModel):
    """Why a run is kept back."""

    model_config = ConfigDict(extra="forbid")
    why: str | None = Field(None, max_length=500)


class MoveBody(BaseModel):
    """Where a run is to stand; it takes the priority of that place."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"where": "first"}]})
    where: Literal["first", "last", "before", "after"]
    of: str | None = Field(None, max_length=100, description="The other run, for before and after.")


def queue_routes(orchestrator: Orchestrator) -> APIRouter:
    """`/api/queue`, and under `/api/runs/{run}` what is done to a run that waits."""
    router = APIRouter(prefix="/api", tags=["queue"])
    line = Line(orchestrator)

    @router.get("/queue", summary="Who waits, in order, and why")
    async def show() -> Response:
        return answer(_queue(orchestrator))

    @router.post("/queue/stop", summary="Let nothing begin any more; what runs goes on to its end")
    async def stop(actor: Actor = None) -> Response:
        await orchestrator.switch.turn(actor, stopped=True)
        orchestrator.look_at_queue()
        return answer(_queue(orchestrator))

    @router.post("/queue/start", summary="Let runs begin again")
    async def start(actor: Actor = None) -> Response:
        await orchestrator.switch.turn(actor, stopped=False)
        orchestrator.look_at_queue()
        return answer(_queue(orchestrator))

    @router.post("/runs/{run}/hold", summary="Keep a run from beginning")
    async def hold(run: str, body: HoldBody | None = None, actor: Actor = None) -> Response:
        return answer(await line.hold(run, actor, body.why if body else None))

    @router.post("/runs/{run}/release", summary="Let a held run begin when its turn comes")
    async def release(run: str, actor: Actor = None) -> Response:
        return answer(await line.release(run, actor))

    @router.post("/runs/{run}/move", summary="Put a run elsewhere in the queue")
    async def move(run: str, body: MoveBody, actor: Actor = None) -> Response:
        return answer(await line.move(run, body.where, body.of, actor))

    @router.patch("/runs/{run}", summary="Change a run that waits")
    async def edit(run: str, body: EditBody, actor: Actor = None) -> Response:
        wanted = Edit(body.said(*CHANGEABLE), actor, body.expected)
        return answer(await line.edit(run, wanted))

    @router.post("/runs/{run}/again", status_code=201, summary="Submit a run of before once more")
    async def again(run: str, body: EditBody | None = None, actor: Actor = None) -> Response:
        changes = body.said(*CHANGEABLE) if body else {}
        row = await orchestrator.submit(await asyncio.to_thread(line.copy, run, changes, actor))
        return answer(row.as_dict(), 201, {"Location": f"/api/runs/{row.id}"})

    return router


def _queue(orchestrator: Orchestrator) -> dict[str, Any]:
    waiting = [orchestrator.summary(row) for row in orchestrator.journal.rows(("queued",), limit=None)]
    words = {name: orchestrator.switch.words.get(name) for name in ("stopped", "by", "at")}
    return words | {"why": orchestrator.switch.why, "runs": waiting}
