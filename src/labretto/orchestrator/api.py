"""The queue and the records over HTTP. Routes translate; the deciding is done in `queue`, `worker` and `catalog`.

Answers are JSON by `labretto.instrument.codec`, errors problem details by the app that includes these routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from labretto.catalog.export import format_named
from labretto.catalog.read import open_record
from labretto.catalog.store import Catalog
from labretto.errors import NotFoundError
from labretto.instrument import codec
from labretto.orchestrator.engine import RunState, RunWord
from labretto.orchestrator.queue import Orchestrator, Submission
from labretto.orchestrator.table import RunRow

Actor = Annotated[str | None, Header(alias="Labretto-Actor", max_length=200)]


class SubmissionBody(BaseModel):
    """What to run: the text of an experiment file (or the same as an object), or a Python source with a function."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"experiment": "name: look\nsteps:\n  - read: stage.x\n", "parameters": {}}]},
    )
    experiment: str | dict[str, Any] = Field(description="YAML or JSON text, an object, or Python source.")
    parameters: dict[str, Any] = Field(default_factory=dict)
    function: str | None = Field(None, max_length=200, description="Python: the async function in the source.")
    name: str | None = Field(None, max_length=200)
    who: str | None = Field(None, max_length=200)
    file: str | None = Field(None, max_length=1000)

    def submission(self, actor: str | None) -> Submission:
        """The same for the queue."""
        return Submission(self.experiment, self.parameters, self.function, self.name, self.who or actor, file=self.file)


class AnswerBody(BaseModel):
    """A person's answer to a run's question."""

    model_config = ConfigDict(extra="forbid")
    choice: str = Field(max_length=200)
    value: Any = None
    why: str | None = Field(None, max_length=2000)
    who: str | None = Field(None, max_length=200)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as JSON, whatever an instrument put into it."""
    return Response(codec.encode_json(body), status, headers=headers, media_type="application/json")


def run_routes(orchestrator: Orchestrator) -> APIRouter:
    """`/api/runs`: submit, look, wait, pause, resume, abort, answer."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])

    @router.post("", status_code=201)
    async def submit(body: SubmissionBody, actor: Actor = None) -> Response:
        row = await orchestrator.submit(body.submission(actor))
        return answer(row.as_dict(), 201, {"Location": f"/api/runs/{row.id}"})

    @router.post("/check")
    async def check(body: SubmissionBody) -> Response:
        return answer({"faults": await asyncio.to_thread(orchestrator.check, body.submission(None))})

    @router.get("")
    async def list_runs(
        state: Annotated[list[RunWord] | None, Query()] = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> Response:
        rows = orchestrator.journal.rows(state, limit=limit) if state else orchestrator.journal.newest(limit)
        return answer([orchestrator.summary(row) for row in rows])

    @router.get("/{run}")
    async def show(run: str) -> Response:
        return answer(await asyncio.to_thread(_run, orchestrator, run) | orchestrator.summary(run))

    @router.get("/{run}/events")
    async def events(run: str, after: Annotated[int, Query(ge=0, le=2**53)] = 0) -> Response:
        orchestrator.journal.row(run)
        found = await asyncio.to_thread(orchestrator.journal.read, run, after)
        return answer([event.as_dict() for event in found])

    @router.get("/{run}/wait")
    async def wait(run: str, timeout: Annotated[float, Query(gt=0, le=3600)] = 60) -> Response:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(orchestrator.ended(run), timeout)
        return answer(orchestrator.summary(run))

    @router.post("/{run}/pause")
    async def pause(run: str, actor: Actor = None) -> Response:
        await orchestrator.walker(run).pause(actor)
        return answer(orchestrator.summary(run))

    @router.post("/{run}/resume")
    async def resume(run: str, actor: Actor = None) -> Response:
        await orchestrator.walker(run).resume(actor)
        return answer(orchestrator.summary(run))

    @router.post("/{run}/abort")
    async def abort(run: str, actor: Actor = None) -> Response:
        await orchestrator.walker(run).abort(actor)
        return answer(orchestrator.summary(run))

    @router.post("/{run}/answer")
    async def settle(run: str, body: AnswerBody, actor: Actor = None) -> Response:
        await orchestrator.walker(run).answer(body.choice, body.value, who=body.who or actor, why=body.why)
        return answer(orchestrator.summary(run))

    @router.delete("/{run}", status_code=204)
    async def remove(run: str, actor: Actor = None) -> Response:
        await orchestrator.remove(run, actor)
        return Response(status_code=204)

    return router


def _run(orchestrator: Orchestrator, run: str) -> dict[str, Any]:
    """A run with its experiment and all its steps."""
    row: RunRow = orchestrator.journal.row(run)
    events = [event.as_dict() for event in orchestrator.journal.read(run)]
    state = RunState.replay(run, events)
    times = {event["path"]: event for event in events if event["kind"] == "ended"}
    begun = {event["path"]: event["at"] for event in events if event["kind"] == "intended"}
    steps = [
        {
            **{word: getattr(step, word) for word in ("path", "instrument", "action", "effect", "state", "attempt")},
            "invocation": step.invocation,
            "parameters": codec.decode(step.parameters),
            "result": step.result,
            "error": step.error,
            "origin": times.get(path, {}).get("origin"),
            "started": times.get(path, {}).get("started") or begun[path],
            "ended": times.get(path, {}).get("ended"),
        }
        for path, step in state.steps.items()
    ]
    experiment = dict(state.experiment)
    total = {"steps_total": experiment.get("steps")}
    more = {"steps": steps, "experiment": experiment, "parameters": dict(state.parameters), "question": state.question}
    return row.as_dict() | total | more | {"error": state.error, "steps_done": state.done}


def record_routes(orchestrator: Orchestrator) -> APIRouter:
    """`/api/records`: find, read, hand out."""
    router = APIRouter(prefix="/api/records", tags=["records"])

    @router.get("")
    async def search(
        text: str | None = None,
        state: str | None = None,
        after: str | None = None,
        before: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> Response:
        return answer(orchestrator.index.search(text=text, state=state, after=after, before=before, limit=limit))

    @router.get("/{run}")
    async def show(run: str) -> Response:
        folder = orchestrator.catalog.find(run)
        record = await asyncio.to_thread(open_record, folder)
        return answer({**record.manifest, "folder": str(folder), "files": list(_files(orchestrator.catalog, run))})

    @router.get("/{run}/data")
    async def data(run: str) -> Response:
        record = await asyncio.to_thread(open_record, orchestrator.catalog.find(run))
        return answer(list(record.rows))

    @router.get("/{run}/streams/{path:path}")
    async def stream(run: str, path: str) -> Response:
        record = await asyncio.to_thread(open_record, orchestrator.catalog.find(run))
        columns = await asyncio.to_thread(record.stream, path)
        return answer({"columns": dict(columns), "units": columns.units})

    @router.get("/{run}/export/{form}")
    async def export(run: str, form: str) -> Response:
        chosen = await asyncio.to_thread(format_named, form)
        record = await asyncio.to_thread(open_record, orchestrator.catalog.find(run))
        name = f'attachment; filename="{record.id}{chosen.ending}"'
        pieces = iter(chosen(record))
        first = await asyncio.to_thread(next, pieces, b"")  # what cannot be written is said before the status is
        return StreamingResponse(
            itertools.chain([first], pieces), media_type=chosen.media_type, headers={"Content-Disposition": name}
        )

    @router.get("/{run}/files/{path:path}")
    async def file(run: str, path: str) -> Response:
        files = _files(orchestrator.catalog, run)
        if path not in files:
            raise NotFoundError(
                f"The record {run} has no file {path[:200]!r}.", way_out="GET the record: it lists them."
            )
        return FileResponse(files[path], filename=files[path].name)

    return router


def _files(catalog: Catalog, run: str) -> dict[str, Path]:
    """The files of a record. What is asked for is looked up here and never joined to a path."""
    folder = catalog.find(run)
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
