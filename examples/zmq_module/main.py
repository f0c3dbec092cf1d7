"""The front: HTTP in, the experiment's JSON out. `uvicorn main:app`.

It knows no module and no command: it puts each request on the experiment's socket and hands the answer on, with the
status that the answer names. Where the experiment or a module is down it says so at once (503).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from config import config_file, load_config
from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from routing import told

from labretto.errors import InvalidError, LabError, UnreachableError
from labretto.instrument.codec import decode_json, encode_json
from labretto.network.docs import offline_docs
from labretto.network.heritage import refuse_unasked
from labretto.network.http_guard import LOOPBACK, Guard
from labretto.network.zmq_client import Line

experiment_socket = load_config(config_file()).experiment_socket


class Answer(BaseModel):
    """What the experiment said."""

    message: str
    """The command."""
    value: Any


class Error(BaseModel):
    """What stood against it."""

    error: str
    status: int
    way_out: str = ""


class Experiment:
    """The front's line to the experiment; a new one where the old one broke."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._line: Line | None = None
        self._dialling = asyncio.Lock()

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The experiment's answer.

        Raises:
            UnreachableError: nobody answers there, or no longer.
        """
        line = await self._connected()
        try:
            (data,) = await line.ask(encode_json(request))
        except UnreachableError:
            raise UnreachableError(
                "The experiment ended before it answered.",
                way_out="Look what became of it when it is back, before you ask again.",
            ) from None
        answer: dict[str, Any] = decode_json(data)
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._line:
            self._line.fail("the front ends")

    async def _connected(self) -> Line:
        async with self._dialling:
            if self._line is None or self._line.lost:
                line = Line(self._address)
                try:
                    await line.open()
                except UnreachableError:
                    raise UnreachableError(
                        f"The experiment does not answer at {self._address}.",
                        way_out="Start it: python start_experiment.py",
                    ) from None
                self._line = line
            return self._line


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The line lives as long as the app."""
    app.state.experiment = Experiment(experiment_socket.address)
    yield
    app.state.experiment.close()


app = FastAPI(
    title="A module behind a ZMQ socket",
    description="`/module_a/description` says what there is; `/experiment/status` how all modules are.",
    docs_url=None,
    redoc_url=None,
    lifespan=lifespan,
    responses={
        404: {"model": Error, "description": "Module or command not known"},
        422: {"model": Error, "description": "A value does not fit; nothing moved"},
        503: {"model": Error, "description": "The module or the experiment is down at this moment"},
    },
)
app.add_middleware(Guard, names=LOOPBACK)
offline_docs(app)


@app.exception_handler(LabError)
async def tell(request: Request, error: LabError) -> Response:
    """Errors of the front look like the experiment's."""
    return answered(told(error))


@app.exception_handler(RequestValidationError)
async def refuse(request: Request, error: RequestValidationError) -> Response:
    """What the front cannot read looks like what the experiment refuses."""
    why = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    refused = InvalidError(f"The body does not fit: {why}.", way_out='Send JSON such as {"value": 3} with PUT.')
    return answered(told(refused))


@app.get("/{module}/{command}", response_model=Answer)
async def look(module: str, command: str, request: Request) -> Response:
    """An attribute, or `attributes`, `parameters`, `description`; or a command without parameters, which then acts."""
    refuse_unasked(request)
    return answered(await app.state.experiment.ask({module: command}))


@app.put("/{module}/{attribute}", response_model=Answer)
async def put(module: str, attribute: str, value: Annotated[Any, Body(embed=True, examples=[3.0])]) -> Response:
    """Set an attribute; answers it read back."""
    return answered(await app.state.experiment.ask({module: {"set": {attribute: value}}}))


@app.post("/{module}/{command}", response_model=Answer)
async def call(module: str, command: str, parameters: Annotated[dict[str, Any] | None, Body()] = None) -> Response:
    """A command, with its parameters; answers at its end."""
    return answered(await app.state.experiment.ask({module: {"call": {command: parameters or {}}}}))


def answered(answer: dict[str, Any]) -> Response:
    """The experiment's answer, with the status that it names."""
    status = answer["status"] if "error" in answer else 200
    return JSONResponse(answer, status, headers={"retry-after": "1"} if status == 503 else None)
