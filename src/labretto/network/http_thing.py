"""The routes of a Thing Description: the document itself, and under /thing plain values instead of readings.

`GET /thing/properties/x` answers `1.5`, `POST /thing/actions/move` answers the result; server-sent events have no name,
so that `onmessage` of every EventSource is called. What is described there is decided in `labretto.network.thing`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from labretto.access.gate import Gate
from labretto.errors import InvalidError, LabError, NotFoundError
from labretto.instrument import codec
from labretto.instrument.describe import Action
from labretto.instrument.host import Host
from labretto.network import messages
from labretto.network.http_door import GATE
from labretto.network.http_events import Encode, Events
from labretto.network.http_wire import Handler, actor_of, encoded, invocation_response, lease_of, parsed_body
from labretto.network.openapi import action_schema
from labretto.network.thing import EVENTS, MEDIA_TYPE, answers_nothing, thing_description

Ask = Callable[[messages.Request], Awaitable[Any]]


class ThingRoutes:
    """What each route asks of the host.

    Args:
        host: the instrument.
        events: its streams.
        ask: answers a request.
    """

    def __init__(self, host: Host, events: Events, ask: Ask) -> None:
        self._host = host
        self._events = events
        self._ask = ask

    def table(self) -> dict[str, dict[str, Handler]]:
        """Path → method → what it asks."""
        return {
            "/thing/properties/{name}": {"GET": self.read, "PUT": self.write},
            "/thing/properties/{name}/changes": {"GET": self.observe},
            "/thing/properties": {"GET": self.read_all},
            "/thing/actions/{action}": {"POST": self.invoke},
            "/thing/events/{topic}": {"GET": self.subscribe},
            "/thing-description": {"GET": self.describe},
            "/.well-known/wot": {"GET": self.describe},
            "/schemas": {"GET": self.schemas},
            "/schemas/{action}": {"GET": self.schema},
        }

    async def describe(self, request: Request) -> Response:
        gate: Gate | None = request.scope.get(GATE)
        document = thing_description(
            self._host.description,
            identity=self._host.ledger_birth,
            base=str(request.base_url),
            bearer=gate is not None and gate.guarded,
        )
        return _plain(document, MEDIA_TYPE)

    async def schemas(self, request: Request) -> Response:
        return _plain({action.name: action_schema(action) for action in self._host.description.actions.values()})

    async def schema(self, request: Request) -> Response:
        return _plain(action_schema(self._action(request)), "application/schema+json")

    async def read(self, request: Request) -> Response:
        reading = await self._ask(messages.Read(request.path_params["name"]))
        headers = {"labretto-time": reading["time"], "labretto-status": reading["status"]}
        return encoded(request, reading["value"], headers=headers)

    async def read_all(self, request: Request) -> Response:
        readings = await self._ask(messages.ReadAll())
        return encoded(request, {name: each["value"] for name, each in readings.items() if each["status"] != "error"})

    async def write(self, request: Request) -> Response:
        value = await parsed_body(request)
        await self._ask(messages.Write(request.path_params["name"], value, lease_of(request)))
        return Response(status_code=204)

    async def invoke(self, request: Request) -> Response:
        described, body = self._action(request), await parsed_body(request)
        if body is not None and not isinstance(body, dict):
            raise InvalidError("The parameters are not an object.", way_out='Send a body such as {"to": 1.5}, or none.')
        asked = messages.Invoke(
            described.name,
            body or {},
            request.query_params.get("id"),
            lease_of(request),
            actor_of(request),
            wait="respond-async" not in request.headers.get("prefer", ""),
        )
        invocation = await self._ask(asked)
        if invocation["state"] != "succeeded":
            return invocation_response(request, invocation)
        where = {"content-location": f"/actions/{described.name}/{invocation['id']}"}
        if answers_nothing(described):
            return Response(status_code=204, headers=where)
        return encoded(request, invocation["result"], headers=where)

    def _action(self, request: Request) -> Action:
        name = request.path_params["action"]
        if name not in self._host.description.actions:
            raise NotFoundError(f"{self._host.description.name} has no action {name[:80]!r}.")
        return self._host.description.actions[name]

    # Events -------------------------------------------------------------------------------------------------------

    async def observe(self, request: Request) -> Response:
        await self.read(request)  # whatever stands against reading it is told with its status
        return _stream(request, self._values(request.path_params["name"]))

    async def _values(self, name: str) -> AsyncIterator[bytes]:
        """The value as it is, then what it becomes; a reading that failed has none and is left out."""
        told = ""

        def changed(topic: str, body: dict[str, Any]) -> bytes:
            if topic == "attribute" and body["attribute"] == name and body["status"] == "ok" and body["time"] > told:
                return _event(body["value"])
            return b"" if topic else _event_of_nothing()

        async with contextlib.aclosing(self._of(changed)) as changes:
            yield await anext(changes)  # from here on nothing is missed
            with contextlib.suppress(LabError):
                reading = await self._host.read(name)
                told = reading.as_dict()["time"]
                yield _event(reading.value)
            async for event in changes:
                yield event

    async def subscribe(self, request: Request) -> Response:
        wanted = request.path_params["topic"]
        if wanted not in EVENTS:
            raise NotFoundError(
                f"There are no events {wanted[:80]!r}.", way_out=f"There are {', '.join(sorted(EVENTS))}."
            )

        def encode(topic: str, body: dict[str, Any]) -> bytes:
            if topic == wanted:
                return _event(body)
            return b"" if topic else _event_of_nothing()

        return _stream(request, self._of(encode))

    async def _of(self, encode: Encode) -> AsyncGenerator[bytes, None]:
        """The events of which `encode` makes something."""
        async with contextlib.aclosing(self._events.stream(encode)) as events:  # type: ignore[type-var]
            async for event in events:
                if event:
                    yield event


def _event(value: Any) -> bytes:
    return b"data: %s\n\n" % codec.encode_json(value)


def _event_of_nothing() -> bytes:
    """A sign of life."""
    return b":\n\n"


def _stream(request: Request, events: AsyncIterator[bytes]) -> Response:
    words: dict[str, Any] = {"media_type": "text/event-stream", "headers": {"cache-control": "no-store"}}
    if request.method == "HEAD":  # a body that is not sent must end all the same, or the connection is lost
        return Response(**words)
    return StreamingResponse(events, **words)


def _plain(value: Any, media_type: str = "application/json") -> Response:
    return Response(codec.encode_json(value), media_type=media_type)
