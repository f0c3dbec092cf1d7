"""A server with a shared resource: who merges a branch has it alone for ten seconds. `uvicorn web_app.main:app`.

The environment says MERGE_SECONDS (10) and MERGE_DATABASE (a file in Labretto's data folder), the same for all workers.
That "in use" is answered with 401 is the old contract of this example, and wrong; the README says why.
"""

import contextlib
import math
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, StringConstraints

from labretto.errors import InvalidError, LabError
from labretto.lab import home
from labretto.network.docs import offline_docs
from labretto.network.http_guard import LOOPBACK, Guard
from labretto.network.http_wire import problem_response
from web_app.leases import Leases


class Merge(BaseModel):
    """What shall be merged."""

    branch_name: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=250),
        Field(description="The branch; one merge of each at a time.", examples=["feature/furnace"]),
    ]


class Message(BaseModel):
    """What was done."""

    message: Annotated[str, Field(examples=["The merge of 'feature/furnace' has begun."])]


class InUse(BaseModel):
    """Why it was not done."""

    detail: Annotated[str, Field(examples=["The shared resource is in use: 'feature/furnace' is free again in 7.2 s."])]


def seconds() -> float:
    """How long the resource is in use.

    Raises:
        InvalidError: the environment says something else than a number of seconds.
    """
    text = os.environ.get("MERGE_SECONDS", "10")
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise InvalidError(f"MERGE_SECONDS={text!r} is no number of seconds above 0.")
    return found


def database() -> Path:
    """Where the leases stand."""
    return Path(os.environ.get("MERGE_DATABASE") or home() / "merge_server" / "leases.db")


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Each worker opens the same file."""
    with contextlib.closing(Leases(database(), seconds())) as app.state.leases:
        yield


app = FastAPI(
    title="A server with a shared resource",
    description="Who merges a branch has it alone for some seconds; a second merge of the same branch is refused.",
    version="1",
    docs_url=None,
    redoc_url=None,
    lifespan=lifespan,
)
app.add_middleware(Guard, names=LOOPBACK)
offline_docs(app)


@app.exception_handler(LabError)
async def tell(request: Request, error: LabError) -> Response:
    """A full disk, say."""
    return problem_response(error.problem(), request)


@app.exception_handler(RequestValidationError)
async def refuse(request: Request, error: RequestValidationError) -> Response:
    """In FastAPI's words, without what came: not every text that JSON can spell can be sent back."""
    return JSONResponse(
        {"detail": [{key: fault[key] for key in ("type", "loc", "msg")} for fault in error.errors()]}, 422
    )


@app.get("/public/test", tags=["public"])
async def test() -> Message:
    """Whether the server answers."""
    return Message(message="The server answers.")


@app.post(
    "/merge",
    tags=["shared resource"],
    responses={
        200: {
            "description": "The merge has begun; the branch is in use from now on",
            "headers": {"Labretto-Lease": {"description": "Number of the lease", "schema": {"type": "integer"}}},
        },
        401: {
            "model": InUse,
            "description": "The branch is in use; ask again later. (A wrong status, kept for old clients.)",
            "headers": {"Retry-After": {"description": "Seconds until it is free", "schema": {"type": "integer"}}},
        },
        507: {"description": "The lease cannot be written to disk; nothing was begun"},
    },
)
async def merge(wanted: Merge, response: Response) -> Message:
    """Begin to merge a branch; answers at once."""
    name = wanted.branch_name
    taken, lease = await app.state.leases.take(name)
    if not taken:
        raise HTTPException(
            401,
            f"The shared resource is in use: {name!r} is free again in {lease.left:.1f} s.",
            {"Retry-After": str(math.ceil(lease.left))},
        )
    response.headers["Labretto-Lease"] = str(lease.number)
    return Message(message=f"The merge of {name!r} has begun.")
