"""Time over HTTP: forecasts before, during and after a run, learned durations, and schedules. Routes translate only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labretto.errors import InvalidError
from labretto.instrument.reading import isoformat, now
from labretto.orchestrator.api import Actor, SubmissionBody, answer
from labretto.orchestrator.durations import Durations
from labretto.orchestrator.journal import Also
from labretto.orchestrator.outlook import Outlook
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.schedule import WORDS, zone_of
from labretto.orchestrator.schedules import Schedule, new_schedule
from labretto.orchestrator.table import RunRow
from labretto.orchestrator.timetable import Submit, Timetable

_SHOWN = 5
"""Coming times that are told of a schedule."""


class ScheduleBody(BaseModel):
    """What is to be submitted, and when."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "rule": "every day 02:00",
                    "zone": "Europe/Berlin",
                    "submission": {"experiment": "name: calibrate\nsteps:\n  - read: stage.x\n"},
                }
            ]
        },
    )
    rule: str = Field(max_length=200, description=WORDS)
    zone: str = Field(max_length=64, description="The time zone in which the rule is meant, such as Europe/Berlin.")
    submission: SubmissionBody
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    missed: Literal["late", "skip"] = Field(
        "late", description="A time at which the hub did not run: the run comes late, once; or not at all."
    )
    finish_within: float | None = Field(
        None, gt=0, le=366 * 86400, description="Seconds after its time: the deadline of each run."
    )


def forecast_routes(outlook: Outlook, durations: Durations) -> APIRouter:
    """`/api/forecast`, `/api/runs/{run}/forecast`, `/api/durations`."""
    router = APIRouter(prefix="/api", tags=["time"])

    @router.post("/forecast")
    async def forecast(body: SubmissionBody, actor: Actor = None) -> Response:
        await durations.catch_up()
        return answer(await outlook.of_submission(body.submission(actor)))

    @router.get("/forecast")
    async def expected() -> Response:
        return answer([each.as_dict() for each in await outlook.expected()])

    @router.get("/runs/{run}/forecast")
    async def of_run(run: str) -> Response:
        return answer(await outlook.of_run(run))

    @router.get("/durations")
    async def known() -> Response:
        await durations.catch_up()
        return answer(await asyncio.to_thread(durations.table))

    return router


def schedule_routes(orchestrator: Orchestrator, timetable: Timetable) -> APIRouter:
    """`/api/schedules`: add, list, look, hold, release, remove."""
    router = APIRouter(prefix="/api/schedules", tags=["time"])
    schedules = orchestrator.journal.schedules

    @router.post("", status_code=201)
    async def add(body: ScheduleBody, actor: Actor = None) -> Response:
        words = body.submission.model_dump(exclude_unset=True)
        words |= {"finish_within": body.finish_within} if body.finish_within else {}
        who = body.submission.who or actor
        prepared = await asyncio.to_thread(orchestrator.prepared, body.submission.submission(who))
        name = body.name or prepared["name"]
        times: dict[str, Any] = {"rule": body.rule, "zone": body.zone, "missed": body.missed}
        made = new_schedule(**times, submission=words, who=who, name=name, now=now())
        return answer(_shown(await timetable.add(made)), 201, {"Location": f"/api/schedules/{made.id}"})

    @router.get("")
    async def list_schedules() -> Response:
        return answer([_shown(each) for each in schedules.all()])

    @router.get("/{schedule}")
    async def show(schedule: str) -> Response:
        return answer(_shown(schedules.find(schedule)))

    @router.post("/{schedule}/hold")
    async def hold(schedule: str) -> Response:
        return answer(_shown(await timetable.hold(schedule, True)))

    @router.post("/{schedule}/release")
    async def release(schedule: str) -> Response:
        return answer(_shown(await timetable.hold(schedule, False)))

    @router.delete("/{schedule}", status_code=204)
    async def remove(schedule: str) -> Response:
        await timetable.remove(schedule)
        return Response(status_code=204)

    return router


def _shown(schedule: Schedule) -> dict[str, Any]:
    """A schedule with its coming times, in UTC and on its own clock on the wall."""
    coming: list[dict[str, str]] = []
    rule, zone = schedule.parsed, zone_of(schedule.zone)
    moment = datetime.fromisoformat(schedule.due) if schedule.due else None
    while moment is not None and len(coming) < _SHOWN:
        coming.append({"at": isoformat(moment), "local": f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M %Z}"})
        moment = rule.next_after(moment)
    return schedule.as_dict() | {"coming": coming}


def submit_through(orchestrator: Orchestrator) -> Submit:
    """How a schedule's run is submitted: as if somebody had posted it."""

    async def submit(schedule: Schedule, due: datetime, also: Callable[[str], Also]) -> RunRow:
        words = dict(schedule.submission)
        if within := words.pop("finish_within", None):
            words["finish_by"] = isoformat(due + timedelta(seconds=within))
        try:
            body = SubmissionBody.model_validate(words)
        except ValidationError as error:  # kept by a Labretto that asked for other words
            raise InvalidError(f"What it submits is no submission any more: {error.errors()[0]['msg']}.") from error
        return await orchestrator.submit(body.submission(schedule.who), also=also)

    return submit
