"""The baseline: the orchestrator of the HELAO tutorial, written anew from its contract, with nothing durable.

`python primitive_orchestrator.py server PORT` is an action server, `... orchestrator PORT SERVER_URL KIND` the
orchestrator: a FastAPI app that puts experiments into an asyncio queue, asks the action servers by GET, and keeps
results in a dict. KIND is "requests" (`requests.get` for each action, as such scripts are usually written) or "kept"
(an async client that keeps its connection: the same idea in the hands of somebody who measures).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import requests
import uvicorn
from fastapi import FastAPI


def action_server() -> FastAPI:
    app = FastAPI()

    @app.get("/nop")
    async def nop(x: float) -> dict[str, float]:
        return {"x": x}

    return app


def orchestrator(servers: dict[str, str], kind: str) -> FastAPI:
    data: dict[str, Any] = {}
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def consume() -> None:
        async with httpx2.AsyncClient() as client:
            while True:
                experiment = await queue.get()
                results = data[f"experiment_{len(data)}"] = {}
                for step in experiment["soe"]:
                    server, action = step.split("/")
                    results[action] = "here"
                    path = action.split("_")[0]
                    url, query = f"{servers[server]}/{path}", experiment["params"][action]
                    if kind == "kept":
                        results[action] = (await client.get(url, params=query)).json()
                    else:
                        results[action] = (await asyncio.to_thread(requests.get, url, params=query)).json()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(consume())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.post("/addExperiment")
    async def add(experiment: str) -> None:
        await queue.put(json.loads(experiment))

    @app.get("/getData")
    async def get_data() -> dict[str, Any]:
        return data

    return app


if __name__ == "__main__":
    kind, port, *rest = sys.argv[1:]
    made = action_server() if kind == "server" else orchestrator({"nop": rest[0]}, rest[1])
    uvicorn.run(made, host="127.0.0.1", port=int(port), log_level="critical")
