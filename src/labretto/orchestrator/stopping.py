"""`POST /api/runs/{run}/cancel`: one action of a run is asked to end; the run stays.

Pause, resume and abort of a whole run stand in `api`, the halt of the lab in `instruments`.
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from labretto.orchestrator.api import Actor, answer
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.worker import END_WITHIN


class CancelBody(BaseModel):
    """Which action, and how long it is waited for."""

    model_config = ConfigDict(extra="forbid")
    path: str | None = Field(None, max_length=1000, description="Of its step; needed where several are in flight.")
    within: float = Field(END_WITHIN, gt=0, le=60, description="Seconds after which this answers in any case.")


def stop_routes(orchestrator: Orchestrator) -> APIRouter:
    """What ends one action."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])

    @router.post("/{run}/cancel", summary="Ask one action of a run to end; a person then says what became of it")
    async def cancel(run: str, body: CancelBody | None = None, actor: Actor = None) -> Response:
        asked = body or CancelBody(path=None, within=END_WITHIN)
        told = await orchestrator.walker(run).cancel(asked.path, actor, asked.within)
        return answer(told.as_dict())

    return router
