"""The W3C Thing Description 1.1 of one instrument, made from its description: pure, no server.

Properties, actions and events are answered under /thing (`labretto.network.http_thing`) with the plain values that the
standard expects, where our own routes answer readings and invocations; docs/reference/thing-description.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from labretto.instrument.describe import Action, Attribute, Description
from labretto.instrument.schema import Schema
from labretto.network.openapi import COMPONENTS, STOPPED, parameters_schema
from labretto.network.thing_schema import PREFIX, data_schema

Document = dict[str, Any]

MEDIA_TYPE = "application/td+json"
CONTEXTS = ("https://www.w3.org/2019/wot/td/v1", "https://www.w3.org/2022/wot/td/v1.1")
"""1.0 first, as 1.1 wants it where consumers may know only that; node-wot 0.9, as npm installs it, does."""

_JSON = "application/json"
_PROBLEM = {"success": False, "contentType": "application/problem+json", "schema": "problem"}
_INVOCATION = {"success": True, "contentType": _JSON, "schema": "invocation"}


def thing_description(description: Description, *, identity: str, base: str, bearer: bool = False) -> Document:
    """The document.

    Args:
        description: of the instrument.
        identity: a UUID that stays when the host is started again.
        base: the address under which the one who asks has found the host; ends with "/".
        bearer: whether a token is needed.
    """
    words = {"title": description.name, "description": description.description or description.title}
    return {
        "@context": [*CONTEXTS, {PREFIX: f"urn:{PREFIX}:term:", "@language": "en"}],
        "@type": f"{PREFIX}:Instrument",
        "id": f"urn:uuid:{identity}",
        **words,
        "base": base,
        **_security(bearer=bearer),
        "properties": {name: _property(attribute) for name, attribute in description.attributes.items()},
        "actions": {name: _action(action) for name, action in description.actions.items()} | _stop(description),
        "events": {topic: _event(topic, *said) for topic, said in _events(description).items()},
        "forms": [_form("readallproperties", "thing/properties", method="GET")],
        "links": _LINKS,
        "schemaDefinitions": {name: _named(name.capitalize()) for name in ("invocation", "problem")},
        f"{PREFIX}:driver": description.driver,
    }


def _security(*, bearer: bool) -> Document:
    scheme = {"scheme": "bearer", "in": "header", "format": "opaque"} if bearer else {"scheme": "nosec"}
    return {"securityDefinitions": {scheme["scheme"]: scheme}, "security": [scheme["scheme"]]}


def _form(operation: str | list[str], href: str, *, method: str | None = None, **words: Any) -> Document:
    how = {"htv:methodName": method} if method else {}
    return {"op": operation, "href": href, "contentType": _JSON} | how | {"additionalResponses": [_PROBLEM]} | words


def _sent_events(operations: list[str], href: str) -> Document:
    """A form of server-sent events; the content type is that of each event's data, as consumers expect."""
    return _form(operations, href, subprotocol="sse")


def _property(attribute: Attribute) -> Document:
    href = f"thing/properties/{quote(attribute.name)}"
    written = ["writeproperty"] if attribute.writable else []
    marks = {"@type": f"{PREFIX}:Measurement"} if attribute.measurement else {}
    said = {"description": attribute.description} if attribute.description else {}
    return data_schema(attribute.schema) | {
        **said,
        **marks,
        "title": attribute.name,
        "readOnly": not attribute.writable,
        "observable": True,
        "forms": [
            _form(["readproperty", *written], href),
            _sent_events(["observeproperty", "unobserveproperty"], f"{href}/changes"),
        ],
    }


def _action(action: Action) -> Document:
    name = quote(action.name)
    doing = _form("invokeaction", f"thing/actions/{name}{{?id}}", method="POST")
    one, answers = f"actions/{name}/{{id}}", [_INVOCATION, _PROBLEM]
    streamed = {f"{PREFIX}:stream": _columns(action.stream)} if action.stream is not None else {}
    return {
        "title": action.name,
        **({"description": action.description} if action.description else {}),
        **_ends(action),
        "safe": action.effect == "read",
        "idempotent": action.effect in ("read", "absolute"),
        "synchronous": True,
        f"{PREFIX}:effect": action.effect,
        f"{PREFIX}:exclusive": action.exclusive,
        **streamed,
        "uriVariables": {"id": _ID},
        "forms": [
            doing,
            _form("queryaction", one, method="GET", additionalResponses=answers),
            _form("cancelaction", one, method="DELETE", additionalResponses=answers),
        ],
    }


def _ends(action: Action) -> Document:
    """Input and output, where there are any."""
    words = {"input": data_schema(parameters_schema(action))} if action.parameters else {}
    return words | ({} if answers_nothing(action) else {"output": data_schema(action.result)})


def answers_nothing(action: Action) -> bool:
    """It has no result, only an end."""
    return action.result.get("type") == "null"


def _columns(stream: Mapping[str, Schema]) -> dict[str, Schema]:
    return {name: data_schema(column) for name, column in stream.items()}


def _stop(description: Description) -> Document:
    if not description.stop:
        return {}
    return {
        "stop": {
            "title": "stop",
            "description": "Call the driver's stop() at once, past every queue. Not an emergency stop.",
            "output": data_schema(STOPPED),
            "safe": False,
            "idempotent": True,
            "synchronous": True,
            "forms": [_form("invokeaction", "stop", method="POST")],
        }
    }


def _events(description: Description) -> dict[str, tuple[str, Schema]]:
    """Topic → what it tells, and the schema of that."""
    streams = any(action.stream is not None for action in description.actions.values())
    rows = {"stream": ("Rows of an action that measures, as they come.", _ROW)} if streams else {}
    return _EVENTS | rows


def _event(topic: str, description: str, schema: Schema) -> Document:
    forms = [_sent_events(["subscribeevent", "unsubscribeevent"], f"thing/events/{topic}")]
    return {"title": topic, "description": description, "data": schema, "forms": forms}


def _named(name: str) -> Schema:
    return data_schema(COMPONENTS[name], COMPONENTS)


_TEXT: Schema = {"type": "string"}
_ID: Schema = {
    "type": "string",
    "format": "uuid",
    "description": "Of the invocation. A UUIDv7 of your own makes it safe to ask again; without one the host makes it.",
}
_READING = _named("Reading")
_READING["properties"] = {"attribute": _TEXT} | _READING["properties"]
_ROW: Schema = {
    "type": "object",
    "properties": {"invocation": _TEXT, "row": {"type": "integer", "minimum": 0}, "columns": {"type": "object"}},
}
_ON_ITS_WAY: Schema = {
    "type": "object",
    "properties": {
        "invocation": _TEXT,
        "instrument": _TEXT,
        "action": _TEXT,
        "started": {"type": "string", "format": "date-time"},
        "seconds": {"type": "number", "unit": "s", "description": "Since it began."},
        "progress": data_schema({"type": ["number", "null"], "minimum": 0, "maximum": 1}),
        "expected_seconds": data_schema({"type": ["number", "null"], "unit": "s"}),
        "cancelling": data_schema({"type": ["object", "null"]}),
    },
}
_EVENTS: dict[str, tuple[str, Schema]] = {
    "invocation": ("An action has begun or ended.", _named("Invocation")),
    "progress": ("How far an action is, where the driver says it.", _ON_ITS_WAY),
    "overrun": ("An action takes much longer than usual.", _ON_ITS_WAY),
    "overdue": ("An action was cancelled and has not ended in time.", _ON_ITS_WAY),
    "attribute": ("A reading says something new.", _READING),
    "alarm": ("A limit of the lab is passed, or is not any more, or somebody has seen that.", _named("Alarm")),
    "lease": ("Who alone may act has changed.", _named("Lease")),
    "problem": ("What the host cannot do now.", _named("Problem")),
}
_LINKS = [
    {"rel": "service-desc", "href": "openapi.json", "type": _JSON},
    {"rel": "service-doc", "href": "docs", "type": "text/html"},
    {"rel": "describedby", "href": "schemas", "type": "application/schema+json"},
    {"rel": "alternate", "href": "./", "type": _JSON},
]
EVENTS = frozenset(_EVENTS) | {"stream"}
"""Topics that may be listened to by name."""
