"""The hub's web application on a real socket, with a real change stream and a few routes of its own."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
from fastapi import APIRouter, FastAPI

from labretto.catalog.live import Changes
from labretto.errors import LimitError
from labretto.network.http import bound, run_app
from labretto.web.app import build


@dataclass
class Web:
    """A running application."""

    app: FastAPI
    changes: Changes
    url: str
    client: httpx2.AsyncClient
    looks: asyncio.Queue[None]
    """One entry for each time that the attributes were read for viewers."""


def routes() -> APIRouter:
    router = APIRouter(prefix="/api")

    @router.get("/things/{number}")
    async def thing(number: int) -> dict[str, int]:
        return {"number": number}

    @router.post("/things")
    async def keep(body: dict[str, object]) -> dict[str, object]:
        return body

    @router.get("/refused")
    async def refused() -> None:
        raise LimitError("x=150 mm is above 100 mm.", way_out="Give less.")

    @router.get("/mistake")
    async def mistake() -> None:
        raise ZeroDivisionError("secret detail")

    return router


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    changes, looks = Changes(), asyncio.Queue[None]()

    async def look() -> None:
        looks.put_nowait(None)

    app = build(routers=[routes()], changes=changes, look=look, lab="bench")
    listening = bound("http://127.0.0.1:0")
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with run_app(app, listening, websockets=True), httpx2.AsyncClient(base_url=url) as client:
        yield Web(app, changes, url, client, looks)
        changes.close()
