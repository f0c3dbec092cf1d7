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
from labretto.errors import ConflictError, NotFoundError
from labretto.instrument import codec
from labretto.orchestrator.asked import asked_for
from labretto.orchestrator.bodies import FirstTerms
from labretto.orchestrator.engine import OVER, RunWord
from labretto.orchestrator.looking import MOST_STEPS, USUAL_STEPS, Archive, show_run
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.submission import Submission
from labretto.orchestrator.terms import LONGEST_LABEL

Actor = Annotated[str | None, Header(alias="Labretto-Actor", max_length=200)]


class SubmissionBody(FirstTerms):
    """What to run: the text of an experiment file (or the same as an object), or a Python source with a function."""

    model_config = ConfigDict(
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
        words: dict[str, Any] = {"name": self.name, "who": self.who or actor, "file": self.file, "terms": self.said()}
        return Submission(self.experiment, self.parameters, self.function, **words)


class AnswerBody(BaseModel):
    """A person's answer to a run's question."""

    model_config = ConfigDict(extra="forbid")
    choice: str = Field(max_length=200)
    value: Any = None
    why: str | None = Field(None, max_length=2000)
    who: str | None = Field(None, max_length=200)
    path: str | None = Field(None, max_length=1000, description="Of the step that asks, where several do.")
    number: int | None = Field(
        None,
        ge=1,
        le=2**53,
        description="Of the question that is meant, as it shows it: an answer sent twice does not meet the next one.",
    )


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as JSON, whatever an instrument put into it."""
    return Response(codec.encode_json(body), status, headers=headers, media_type="application/json")


def run_routes(orchestrator: Orchestrator) -> APIRouter:
    """`/api/runs`: submit, look, wait, pause, resume, abort, answer."""
    router = APIRouter(prefix="/api/runs", tags=["runs"])
    archive = Archive(orchestrator.journal)

    @router.post("", status_code=201)
    async def submit(body: SubmissionBody, actor: Actor = None) -> Response:
        row = await orchestrator.submit(body.submission(actor))
        return answer(row.as_dict(), 201, {"Location": f"/api/runs/{row.id}"})

    @router.post("/check")
    async def check(body: SubmissionBody) -> Response:
        wanted = body.submission(None)
        faults, asked = await asyncio.to_thread(lambda: (orchestrator.check(wanted), asked_for(wanted)))
        return answer({"faults": faults, "parameters": asked})

    @router.get("")
    async def list_runs(
        state: Annotated[list[RunWord] | None, Query()] = None,
        label: Annotated[str | None, Query(max_length=LONGEST_LABEL)] = None,
        before: Annotated[str | None, Query(max_length=100, description="A run: only those submitted earlier.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> Response:
        """The newest first; those that are not over, if only such are asked for, in the order of the queue."""
        if state and label is None and before is None and OVER.isdisjoint(state):
            rows = orchestrator.journal.rows(state, limit=limit)
        else:
            rows = orchestrator.journal.newest(limit, before=before, states=state or (), label=label)
        return answer([orchestrator.summary(row) for row in rows])

    @router.get("/{run}")
    async def show(
        run: str,
        steps: Annotated[int, Query(ge=0, le=MOST_STEPS, description="How many steps at most.")] = USUAL_STEPS,
        after: Annotated[int | None, Query(ge=0, le=2**53, description="Those after so many; none: the last.")] = None,
    ) -> Response:
        try:
            state = orchestrator.walker(run).state
        except ConflictError:  # nobody does it now
            state = await asyncio.to_thread(archive.state, run)
        return answer(show_run(state, steps, after) | orchestrator.summary(run))

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
        walker, who = orchestrator.walker(run), body.who or actor
        await walker.answer(body.choice, body.value, who=who, why=body.why, path=body.path, number=body.number)
        return answer(orchestrator.summary(run))

    @router.delete("/{run}", status_code=204)
    async def remove(run: str, actor: Actor = None) -> Response:
        await orchestrator.remove(run, actor)
        return Response(status_code=204)

    return router


def record_routes(orchestrator: Orchestrator) -> APIRouter:
    """`/api/records`: find, read, hand out."""
    router = APIRouter(prefix="/api/records", tags=["records"])

    @router.get("")
    async def search(
        text: str | None = None,
        state: RunWord | None = None,
        after: str | None = None,
        before: str | None = None,
        label: Annotated[str | None, Query(max_length=LONGEST_LABEL)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> Response:
        asked = {"text": text, "state": state, "after": after, "before": before, "label": label}
        return answer(orchestrator.index.search(**asked, limit=limit))

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
