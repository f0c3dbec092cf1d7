"""Signing in to the page: a token is given once, a cookie comes back that no script can read and no other site can use.

The cookie is a session (`labretto.access.session`) and not the token, and ends with it. Whether one is needed at all,
and what its owner may do, is decided in `labretto.access`.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from labretto.access.gate import Gate
from labretto.access.rule import Actor
from labretto.access.tokens import LONGEST
from labretto.errors import LabError
from labretto.network.http_door import ACTOR, GATE
from labretto.web.guard import COOKIE

_FORM = Path(__file__).parent / "static" / "sign-in.html"


class SignIn(BaseModel):
    """What is given."""

    model_config = ConfigDict(extra="forbid")
    token: str = Field(min_length=1, max_length=LONGEST, description="As `labretto token create` told it.")


def is_known(request: Request) -> bool:
    """The one who asks needs not sign in."""
    return request.scope.get(ACTOR, True) is not None


def who(request: Request) -> dict[str, str] | None:
    """Name and role of the one who asks, where a token said it."""
    actor: Actor | None = request.scope.get(ACTOR)
    return {"name": actor.name, "role": actor.role} if actor and actor.token else None


def form(policy: str) -> Response:
    """The page on which one signs in."""
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return Response(_FORM.read_text("utf-8"), media_type="text/html", headers=headers)


def router() -> APIRouter:
    """The route `/session`."""
    routes = APIRouter(prefix="/session", tags=["session"])

    @routes.post("", status_code=204, summary="Sign in: a token for a cookie")
    def begin(body: SignIn, request: Request) -> Response:
        gate: Gate | None = request.scope.get(GATE)
        answer = Response(status_code=204)
        if gate is None or not gate.guarded:
            return answer
        where = request.client.host if request.client else ""
        try:
            actor = gate.who(body.token.strip(), where)
        except LabError as error:
            gate.note_refusal(None, "read", "sign in to the page", error, where=where)
            raise
        cookie, seconds = gate.cookie(actor)
        secure = request.headers.get("origin", "").startswith("https:")  # as the browser sees it, before any proxy
        answer.set_cookie(COOKIE, cookie, max_age=seconds, httponly=True, samesite="strict", secure=secure)
        gate.note(actor, "read", "signed in to the page", 204, where=where)
        return answer

    @routes.delete("", status_code=204, summary="Sign out")
    def end() -> Response:
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return routes
