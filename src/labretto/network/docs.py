"""Swagger UI and ReDoc from the package, for any app: FastAPI's own pages fetch both from a CDN, a lab has none.

The files lie in `static/`, put there by `scripts/vendor-docs`.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"

_FILES = "/docs/static"
_ICON = "data:,"
_NOTHING_FROM_OUTSIDE = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src blob:; frame-ancestors 'none'"
)


def offline_docs(app: FastAPI, *, swagger: str = "/docs", redoc: str = "/redoc") -> None:
    """Give `app` (made with `docs_url=None, redoc_url=None`) its pages, at these paths, with nothing from outside."""

    async def swagger_page(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        page = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{_FILES}/swagger-ui/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_FILES}/swagger-ui/swagger-ui.css",
            swagger_favicon_url=_ICON,
            swagger_ui_parameters={"validatorUrl": None, "displayRequestDuration": True},
        )
        return _closed(page)

    async def redoc_page(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        page = get_redoc_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            redoc_js_url=f"{root}{_FILES}/redoc/redoc.standalone.js",
            redoc_favicon_url=_ICON,
            with_google_fonts=False,
        )
        return _closed(page)

    app.router.add_route(swagger, swagger_page, include_in_schema=False)
    app.router.add_route(redoc, redoc_page, include_in_schema=False)
    app.mount(_FILES, StaticFiles(directory=STATIC), name="docs-static")


def _closed(page: HTMLResponse) -> HTMLResponse:
    page.headers["content-security-policy"] = _NOTHING_FROM_OUTSIDE
    return page
