"""The hub's web application: the page, the interface it stands on, its documentation.

The page is one HTML file and ES modules in `static/`, served as they lie there; nothing is built and nothing comes from
elsewhere, which its content security policy also says. What the interface offers is the routers' business (`build` is
given them), how changes reach the page is `live`, who may knock is `guard`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from labretto.access.gate import Gate
from labretto.catalog.live import Changes
from labretto.network.docs import offline_docs
from labretto.network.http_wire import answer_problems
from labretto.web import live, sign_in
from labretto.web.guard import Guard

STATIC = Path(__file__).parent / "static"

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes of one request; an experiment is text."""


def build(
    *,
    routers: Iterable[APIRouter],
    changes: Changes,
    look: Callable[[], Awaitable[object]] | None = None,
    bound: str = "127.0.0.1",
    gate: Gate | None = None,
    lab: str = "lab",
    version: str = "0",
) -> FastAPI:
    """The application that `labretto up` serves.

    Args:
        routers: the interface, with the prefix /api.
        changes: what the page is told.
        look: reads all attributes and publishes them; called once a second while somebody looks at the page.
        bound: the address on which the hub listens.
        gate: who may do what; None: everybody everything.
        lab: name of the lab, for the interface's title.
        version: of Labretto.
    """
    shown = live.Live(changes, look)

    app = FastAPI(
        title=f"Labretto: {lab}",
        version=version,
        summary="Instruments, queue, runs and records of one laboratory.",
        max_body_size=BODY_LIMIT,
        docs_url=None,
        redoc_url=None,
    )
    for router in routers:
        app.include_router(router)
    app.include_router(live.router(shown))
    app.include_router(sign_in.router())

    @app.get("/api/lab", summary="Which lab this is, and who asks", tags=["lab"])
    async def about(request: Request) -> dict[str, Any]:
        return {"name": lab, "version": version, "who": sign_in.who(request)}

    app.state.live = shown
    answer_problems(app)
    offline_docs(app)
    _offer_page(app)
    app.add_middleware(Guard, bound=bound, gate=gate)
    return app


def _offer_page(app: FastAPI) -> None:
    page, policy = page_and_policy()

    @app.get("/", include_in_schema=False)
    async def _page(request: Request) -> Response:
        if not sign_in.is_known(request):
            return sign_in.form(policy)
        host = request.headers.get("host", "")
        # 'self' does not mean our WebSocket in every browser
        told = policy.replace("connect-src 'self'", f"connect-src 'self' ws://{host} wss://{host}")
        return Response(
            page, media_type="text/html", headers={"Content-Security-Policy": told, "Cache-Control": "no-cache"}
        )

    app.mount("/static", _Static(directory=STATIC), name="static")


def page_and_policy() -> tuple[str, str]:
    """The page with its import map in place, and the policy that lets the browser run this map and our modules only."""
    importmap = (STATIC / "vendor/importmap.json").read_text("utf-8")
    page = (STATIC / "index.html").read_text("utf-8").replace("{{importmap}}", importmap)
    digest = base64.b64encode(hashlib.sha256(importmap.encode()).digest()).decode()
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' 'sha256-{digest}'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "manifest-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return page, "; ".join(f"{name} {value}" for name, value in policy.items())


class _Static(StaticFiles):
    """Files with an ETag that the browser asks about each time: after an update no old module meets a new one."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
