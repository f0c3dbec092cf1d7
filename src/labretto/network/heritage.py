"""Old routes of the HELAO tutorial beside an instrument's own: `GET /move?loc=[5,5,5]` acts, `GET /getPos` looks.

A GET that moves something is unsafe: browsers fetch ahead, links are followed, proxies repeat. So these routes exist
only where the configuration asks for them (`[compat] helao = true`), and refuse what no person asked for. Each becomes
a message to the host like any other; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from labretto.errors import BusyError, ForbiddenError, InvalidError, LabError, RefusedError
from labretto.experiment.soe import decoded
from labretto.experiment.values import may_be_text
from labretto.instrument.codec import encode_json
from labretto.instrument.describe import Action, Description
from labretto.instrument.host import Host
from labretto.instrument.reading import isoformat
from labretto.network import messages
from labretto.network.http_door import require
from labretto.network.http_wire import (
    Handler,
    UnderStatusError,
    answering,
    encoded,
    invocation_response,
    lease_of,
)

BUSY_UNTIL = "busy_until"
"""The attribute in which a driver that knows it says when its running action will have ended; null at rest."""


def offer_old_routes(app: FastAPI, host: Host, compat: Mapping[str, str]) -> None:
    """Add a GET route for each action of `host`, and for each entry of `compat` (old name → action or attribute).

    A route of our own goes before an old one of the same name.

    Raises:
        InvalidError: `compat` names what the instrument has not, or hides a route of our own; nothing was added.
    """
    described = host.description
    taken = {getattr(route, "path", "") for route in app.routes}
    _check_compat(described, compat, taken)
    for name, meant in ({name: name for name in described.actions} | dict(compat)).items():
        if f"/{name}" not in taken:
            app.router.add_route(f"/{name}", answering(_route(host, meant)), methods=["GET"], include_in_schema=False)


def _check_compat(described: Description, compat: Mapping[str, str], taken: set[str]) -> None:
    known = [*described.actions, *described.attributes]
    faults = [
        {"detail": f"{described.name} has no action or attribute {meant!r}.", "way_out": f"It has {', '.join(known)}."}
        for meant in compat.values()
        if meant not in known
    ]
    faults += [
        {"detail": f"/{name} is a route of every instrument.", "way_out": "Give the old route another name."}
        for name in compat
        if f"/{name}" in taken
    ]
    if faults:
        raise InvalidError(f"The compat table of {described.name} does not fit it.", faults=faults)


def _route(host: Host, meant: str) -> Handler:
    action = host.description.actions.get(meant)

    async def respond(request: Request) -> Response:
        refuse_unasked(request)
        if action is None:
            return encoded(request, {meant: (await host.read(meant)).value})
        return await _act(host, action, request)

    return respond


async def _act(host: Host, action: Action, request: Request) -> Response:
    require(request, "act")
    try:
        parameters = _parameters(request, action)
        asked = messages.Invoke(action.name, parameters, None, lease_of(request), request.headers.get("labretto-actor"))
        invocation = await messages.handle(host, asked)
    except BusyError as error:
        raise await _with_its_end(error, host) from None
    except InvalidError as error:
        raise _with_what_is_wanted(error, action) from None
    if invocation["state"] == "succeeded":
        return encoded(request, invocation["result"])
    return invocation_response(request, invocation)


def refuse_unasked(request: Request) -> None:
    """Nothing moves because a browser looks ahead, asks for the head alone, or shows a page from elsewhere."""
    if request.method != "GET":
        raise UnderStatusError(RefusedError(f"{request.url.path} is asked with GET only."), 405)
    if _looks_ahead(request.headers) or request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise ForbiddenError(
            f"{request.url.path} acts, and no person has asked for it: a browser looked ahead or followed a page from "
            "elsewhere.",
            way_out="Ask from a program, or type the address.",
        )


def _looks_ahead(headers: Headers) -> bool:
    return any("prefetch" in headers.get(name, "") for name in ("purpose", "sec-purpose", "x-moz"))


def _parameters(request: Request, action: Action) -> dict[str, Any]:
    """The query as parameters: values are JSON text where the parameter is no text itself."""
    given = request.query_params.multi_items()
    twice = sorted({name for name, _ in given if len(request.query_params.getlist(name)) > 1})
    if twice:
        raise InvalidError(
            f"{request.url.path}: {', '.join(twice)} was given more than once.",
            way_out="Give a list as JSON text, such as loc=[5,5,5].",
        )
    return {name: _value(name, text, action) for name, text in given}


def _value(name: str, text: str, action: Action) -> Any:
    parameter = action.parameters.get(name)
    if parameter is None or may_be_text(parameter.schema):
        return text
    value = decoded(text, parameter.schema)
    if isinstance(value, str):  # a driver's validator would read "1e999" as a number
        raise InvalidError(f"{action.name}: {name}={text[:80]!r} is not JSON text of what is wanted.")
    return value


async def _with_its_end(error: BusyError, host: Host) -> BusyError:
    """The refusal with the time until which the instrument is busy, where its driver knows it."""
    if BUSY_UNTIL not in host.description.attributes:
        return error
    try:
        until = (await host.read(BUSY_UNTIL)).value
    except LabError:
        return error
    if until is None:
        return error
    text = until if isinstance(until, str) else isoformat(until)
    return BusyError(f"{error.detail} It is busy until {text}.", way_out=error.way_out, **error.fields, until=text)


def _with_what_is_wanted(error: InvalidError, action: Action) -> InvalidError:
    wanted = ", ".join(f"{name}: {_spelled(parameter.schema)}" for name, parameter in action.parameters.items())
    words = f"Wanted as JSON text in the query: {wanted or 'nothing'}."
    return type(error)(error.detail, way_out=f"{error.way_out} {words}".strip(), **error.fields)


def _spelled(schema: Mapping[str, Any]) -> str:
    """A JSON schema in few words: `array of 3 (number in mm, -100 to 100)`."""
    if "anyOf" in schema:
        return " or ".join(_spelled(branch) for branch in schema["anyOf"])
    if "enum" in schema:
        return f"one of {encode_json(schema['enum']).decode()}"
    if schema.get("type") == "array":
        return _spelled_list(schema)
    unit = f" in {schema['unit']}" if schema.get("unit") else ""
    limits = "".join(f" {word} {schema[key]:g}" for key, word in _LIMITS.items() if key in schema)
    return f"{schema.get('type', 'any value')}{unit}{limits}"


_LIMITS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}


def _spelled_list(schema: Mapping[str, Any]) -> str:
    counts = sorted({schema[word] for word in ("minItems", "maxItems") if word in schema})
    number = f" of {' to '.join(map(str, counts))}" if counts else ""
    items = schema.get("prefixItems", [schema["items"]] if "items" in schema else [])
    inner = ", ".join(dict.fromkeys(_spelled(item) for item in items))
    return f"list{number} ({inner})" if inner else f"list{number}"
