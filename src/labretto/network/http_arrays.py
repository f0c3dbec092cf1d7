"""Readings and results over HTTP: whole, or of them the array alone, in whichever format the request accepts.

What an array's own format cannot say of a reading (when, how sure) or of a result (of which invocation) is in headers.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from labretto.errors import ConflictError, NotFoundError, from_problem
from labretto.instrument.describe import Description
from labretto.instrument.reading import with_dims
from labretto.network import messages
from labretto.network.http_formats import in_format
from labretto.network.http_wire import invocation_response


def reading_response(request: Request, description: Description, attribute: str, reading: dict[str, Any]) -> Response:
    """One reading."""
    told = messages.labelled_reading(description, attribute, reading)
    about = {"labretto-time": reading["time"], "labretto-status": reading["status"]}
    if reading["unit"]:
        about["labretto-unit"] = quote(reading["unit"], safe="/ ")
    return in_format(request, told, array=told["value"], about=about)


def outcome_response(request: Request, description: Description, invocation: dict[str, Any]) -> Response:
    """An invocation at its end, or what is known of it now."""
    if invocation["state"] != "succeeded":
        return invocation_response(request, invocation)
    return found_response(request, description, invocation)


def found_response(request: Request, description: Description, invocation: dict[str, Any]) -> Response:
    """What is known of an invocation, whatever that is."""
    told = _labelled(description, invocation)
    return in_format(request, told, array=told.get("result"), about=_of(invocation))


def result_response(request: Request, description: Description, invocation: dict[str, Any], path: str) -> Response:
    """The result of an invocation that is over, or the place in it that `path` names ("image", "spectra/0").

    Raises:
        ConflictError: it is not over.
        NotFoundError: there is no such invocation, or no such place in its result.
        LabError: it ended with this.
    """
    name = f"{invocation['action'] or 'the invocation'} {invocation['id']}"
    if invocation["state"] in ("not arrived", "cannot tell"):
        raise NotFoundError(f"No invocation {invocation['id']} is known here.")
    if invocation["state"] == "running":
        raise ConflictError(f"{name} runs still.", way_out="Ask again when it is over.")
    if invocation.get("result") is None and invocation.get("error"):
        raise from_problem(invocation["error"])
    value = _labelled(description, invocation).get("result")
    for part in path.split("/") if path else ():
        value = _within(value, part, f"{name}: its result")
    return in_format(request, value, array=value, about=_of(invocation))


def _labelled(description: Description, invocation: dict[str, Any]) -> dict[str, Any]:
    action = description.actions.get(invocation.get("action", ""))
    if action is None or invocation.get("result") is None:
        return invocation
    return {**invocation, "result": with_dims(invocation["result"], action.result)}


def _of(invocation: dict[str, Any]) -> dict[str, str]:
    return {"labretto-invocation": invocation["id"]}


def _within(value: Any, part: str, where: str) -> Any:
    if isinstance(value, dict) and part in value:
        return value[part]
    if isinstance(value, list) and part.isdigit() and int(part[:9]) < len(value):
        return value[int(part[:9])]
    has = ", ".join(map(str, value)) if isinstance(value, dict) else ""
    raise NotFoundError(
        f"{where} has no {part[:80]!r}.", way_out=f"It has {has[:300]}." if has else "Ask for all of it."
    )
