"""Bodies and answers of HTTP: JSON or msgpack in, JSON or msgpack out, problem details for everything that went wrong.

What is asked and answered is decided elsewhere; any app of ours can use these (`answer_problems(app)`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from labretto.errors import InvalidError, LabError, NotFoundError, RefusedError
from labretto.instrument import codec
from labretto.network import messages

MSGPACK = "application/msgpack"
PROBLEM = "application/problem+json"

_BODY_WITHIN = 30.0
"""Seconds in which a body has to arrive."""

_TOLD = 100
"""Faults of one request that are told; a body of 300,000 of them is not answered with as many sentences."""


class UnderStatusError(Exception):
    """An error of ours that HTTP has a status of its own for."""

    def __init__(self, error: LabError, status: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.status = status


Handler = Callable[[Request], Awaitable[Response]]
Asked = TypeVar("Asked", bound=messages.Request)


def answering(handler: Handler) -> Handler:
    """`handler`, with every error answered as problem details."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the one who asked is told
            return problem_response(_problem(error), request)

    return endpoint


def answer_problems(app: FastAPI) -> None:
    """Let `app` answer every error as problem details: ours, unknown paths, wrong methods, bodies that do not fit."""

    async def respond(request: Request, error: Exception) -> Response:
        return problem_response(_problem(_ours(request, error)), request, _headers(error))

    for kind in (LabError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, respond)


def _problem(error: Exception) -> dict[str, Any]:
    if isinstance(error, UnderStatusError):
        return error.error.problem() | {"status": error.status}
    return messages.problem_of(error)


def _ours(request: Request, error: Exception) -> Exception:
    if isinstance(error, RequestValidationError):
        faults = [{"detail": f"{'.'.join(map(str, e['loc']))[:200]}: {_said(e)}"} for e in error.errors()[:_TOLD]]
        json = "json" in request.headers.get("content-type", "")
        way_out = "" if json or not isinstance(error.body, bytes) else "Send `Content-Type: application/json`."
        return InvalidError(f"{request.method} {request.url.path} does not fit.", faults=faults, way_out=way_out)
    if not isinstance(error, HTTPException):
        return error
    path = request.url.path[:200]
    if error.status_code == 404:
        return NotFoundError(f"There is nothing at {path}.", way_out="See /docs for what there is.")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        refused = RefusedError(f"{path} cannot be asked with {request.method}.", way_out=f"Use {allowed}.")
        return UnderStatusError(refused, 405)
    return UnderStatusError(RefusedError(str(error.detail)), error.status_code)


def _said(fault: Mapping[str, Any]) -> str:
    """What is wrong, without the words that pydantic and FastAPI put around it."""
    if fault["type"] == "json_invalid":
        return f"not JSON: {str(fault.get('ctx', {}).get('error', 'it ends too early'))[:200].lower()}"
    return str(fault["msg"]).removeprefix("Value error, ")


def _headers(error: Exception) -> dict[str, str]:
    return dict(error.headers or {}) if isinstance(error, HTTPException) else {}


def problem_response(
    problem: dict[str, Any], request: Request | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Problem details with their own status."""
    again = problem.get("retry_after")
    if isinstance(again, int | float) and 0 <= again < 1e6:
        headers = {**(headers or {}), "retry-after": str(max(1, round(again)))}
    if request is not None and wants_msgpack(request):
        return Response(codec.encode(problem), problem["status"], headers, MSGPACK)
    return Response(codec.encode_json(problem), problem["status"], headers, PROBLEM)


def encoded(request: Request, value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`value` in the format that the request accepts."""
    if wants_msgpack(request):
        return Response(messages.encode_value(value), status, headers, MSGPACK)
    return Response(messages.encode_value(value, codec.encode_json), status, headers, "application/json")


def invocation_response(request: Request, invocation: dict[str, Any]) -> Response:
    """200 succeeded, 202 with its Location while it runs, else its error with the field "invocation"."""
    if invocation["state"] == "succeeded":
        return encoded(request, invocation)
    if invocation["state"] == "running":
        where = f"/actions/{invocation['action']}/{invocation['id']}"
        headers = {"location": where, "preference-applied": "respond-async"}
        return encoded(request, invocation, status=202, headers=headers)
    problem = invocation["error"] or RefusedError(f"{invocation['action']} is {invocation['state']}.").problem()
    return problem_response({**problem, "invocation": invocation}, request)


def wants_msgpack(request: Request) -> bool:
    """The one who asks reads msgpack."""
    return MSGPACK in request.headers.get("accept", "")


def actor_of(request: Request) -> str | None:
    """Who asks, in the header `Labretto-Actor`; letters that a header cannot have are percent-encoded UTF-8."""
    name = request.headers.get("labretto-actor")
    return unquote(name) if name else None


def seconds_of(request: Request, name: str) -> float | None:
    """The seconds that the query says under this name; None if it says nothing."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return float(text[:20])
    except ValueError:
        raise InvalidError(f"{name}={text[:80]!r} is no number of seconds.") from None


def lease_of(request: Request) -> int | None:
    """The fencing number in the header `Labretto-Lease`."""
    text = request.headers.get("labretto-lease")
    if text is None:
        return None
    try:
        return int(text[:20])
    except ValueError:
        raise InvalidError(f"Labretto-Lease: {text[:80]!r} is not a whole number.") from None


def asked_from(kind: type[Asked], body: Any) -> Asked:
    """The request of this kind that a body describes.

    Raises:
        InvalidError: it does not; says what is missing or too much.
    """
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        wanted = ", ".join(kind.__struct_fields__)
        raise InvalidError(f"The body does not fit: {error}.", way_out=f"Send an object with {wanted}.") from error


async def parsed_body(request: Request) -> Any:
    """The value in the body; None for an empty one.

    Raises:
        InvalidError: not what its type says.
        UnderStatusError: too large (413), of another media type (415), too slow (408).
    """
    data = await _body(request)
    if not data:
        return None
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/json":
        return codec.decode_json(data)
    if media == MSGPACK:
        return codec.decode(data)
    way_out = "Send JSON with the header Content-Type: application/json."
    error = InvalidError(f"A body of the type {media[:80] or 'unknown'} is not read here.", way_out=way_out)
    raise UnderStatusError(error, 415)


async def _body(request: Request) -> bytes:
    told = request.headers.get("content-length", "0")
    if told.isdigit() and int(told[:20]) > messages.REQUEST_LIMIT:
        raise UnderStatusError(messages.too_large(int(told[:20])), 413)
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            async for chunk in request.stream():
                data += chunk
                if len(data) > messages.REQUEST_LIMIT:
                    raise UnderStatusError(messages.too_large(len(data)), 413)
    except TimeoutError:
        detail = f"The body did not arrive within {_BODY_WITHIN:g} s."
        raise UnderStatusError(InvalidError(detail), 408) from None
    except ClientDisconnect:
        raise UnderStatusError(InvalidError("The client went away before its body was complete."), 400) from None
    return bytes(data)
