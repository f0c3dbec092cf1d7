"""The OpenAPI document of one instrument, made from its description: pure, no server.

One path for each attribute and each action, with units, limits, defaults and an example. A unit is the word "unit" in
the schema it belongs to, and is said in the text too, for readers who see only that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.instrument.describe import Action, Attribute, Description
from labretto.instrument.schema import Schema

Document = dict[str, Any]

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_STATES = ["not arrived", "running", "succeeded", "failed", "cancelled", "interrupted", "cannot tell"]
_EXAMPLE_ID = "019aa4c8-1c5e-7cc3-9a52-3f1e6a4a0d11"


def paths_and_components(description: Description) -> tuple[Document, Document]:
    """The members "paths" and "components/schemas" of the document."""
    paths = _general_paths(description)
    for attribute in description.attributes.values():
        paths[f"/attributes/{attribute.name}"] = _attribute_paths(attribute)
    for action in description.actions.values():
        paths |= _action_paths(action)
    return paths, COMPONENTS


def example(schema: Mapping[str, Any]) -> Any:
    """A value that fits `schema`, for people to start from; None where the schema does not say enough."""
    for word in ("default", "const", "example"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    if "anyOf" in schema:
        return example(schema["anyOf"][0])
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return _number(schema, whole=kind == "integer")
    if kind == "array":
        return [example(schema.get("items", {}))] * max(1, schema.get("minItems", 1))
    if kind == "object":
        return {name: example(inner) for name, inner in schema.get("properties", {}).items()}
    return {"string": "text".ljust(schema.get("minLength", 0), "."), "boolean": True}.get(str(kind))


def _number(schema: Mapping[str, Any], *, whole: bool) -> float | int:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        middle = (low + high) / 2
        return int(middle) if whole else float(middle)
    edge = low if low is not None else high
    if edge is None:
        return 1 if whole else 1.0
    step = 1 if low is not None else -1
    return int(edge + step) if whole else float(edge + step)


def in_words(schema: Mapping[str, Any]) -> str:
    """Unit and limits as text: "mm, 0 to 100"."""
    if "minimum" in schema and "maximum" in schema:
        limits = [f"{schema['minimum']:.12g} to {schema['maximum']:.12g}"]
    else:
        limits = [f"{said} {schema[word]:.12g}" for word, said in _LIMITS.items() if word in schema]
    return ", ".join([schema["unit"], *limits] if schema.get("unit") else limits)


_LIMITS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}


def _attribute_paths(attribute: Attribute) -> Document:
    value = _told(attribute.schema)
    reading = {
        "allOf": [{"$ref": "#/components/schemas/Reading"}],
        "properties": {"value": value, "unit": {"const": attribute.unit}},
    }
    paths = {"get": _operation(f"Read {attribute.name}", attribute.description, f"read_{attribute.name}", reading)}
    if attribute.schema.get("type") == "array":
        paths["get"]["responses"]["200"] |= _ALONE | {"content": _json(reading) | _RAW}
    if attribute.writable:
        body = {"type": "object", "required": ["value"], "properties": {"value": value}, "additionalProperties": False}
        operation = _operation(f"Set {attribute.name}", attribute.description, f"set_{attribute.name}", reading)
        paths["put"] = operation | _body(body, {"value": example(value)}) | {"parameters": [_LEASE]}
    return _tagged(paths, "attributes")


def _action_paths(action: Action) -> Document:
    body = parameters_schema(action)
    invocation = {"allOf": [{"$ref": "#/components/schemas/Invocation"}], "properties": {"result": action.result}}
    wanted = _body(body, {n: example(s) for n, s in body["properties"].items()})
    how = f"{action.description}\n\nEffect: {action.effect}. {'' if action.exclusive else 'May run beside others.'}"

    def operation(summary: str, name: str, *, text: str = "", status: str = "200") -> Document:
        return _operation(summary, text, f"{name}_{action.name}", invocation, status=status)

    ask = {"parameters": [_LEASE, _ACTOR, _PREFER]} | wanted
    with_id: Document = {
        "parameters": [_ID],
        "put": operation(f"Do {action.name}, under an id of yours", "put", text=how) | ask,
        "get": operation(f"What became of one {action.name}", "find"),
        "delete": operation(f"Ask a running {action.name} to end", "cancel", status="202"),
    }
    post = operation(f"Do {action.name}", "do", text=how) | ask
    for doing in (post, with_id["put"]):
        doing["responses"]["202"] = {"description": "It has begun; see Location.", "content": _json(invocation)}
        doing["responses"]["502"] = {"description": "The driver raised; see `invocation`.", "content": _PROBLEM}
    result = _operation(f"What one {action.name} resulted in", "", f"result_{action.name}", action.result)
    place = _operation(f"One place in what {action.name} resulted in", _PLACE_SAID, f"place_{action.name}", {})
    for operation_ in (result, place):
        content = operation_["responses"]["200"]["content"]
        operation_["responses"]["200"] |= _ALONE | {"content": content | _RAW}
    where = f"/actions/{action.name}"
    return {
        where: _tagged({"post": post}, "actions"),
        f"{where}/{{id}}": _tagged(with_id, "actions"),
        f"{where}/{{id}}/result": _tagged({"parameters": [_ID], "get": result}, "actions"),
        f"{where}/{{id}}/result/{{place}}": _tagged({"parameters": [_ID, _PLACE], "get": place}, "actions"),
    }


def action_schema(action: Action) -> Schema:
    """JSON Schema of an action's parameters; its result and rows are among the definitions."""
    rows = {"rows": {"type": "object", "properties": dict(action.stream)}} if action.stream is not None else {}
    about = {"title": action.name, "description": action.description}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | about | parameters_schema(action)
    return head | {"$defs": {"result": action.result, **rows}}


def parameters_schema(action: Action) -> Schema:
    """JSON Schema of an action's parameters, as one object."""
    properties = {name: _told(parameter.schema) for name, parameter in action.parameters.items()}
    required = [name for name, parameter in action.parameters.items() if parameter.required]
    body: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return body | ({"required": required} if required else {})


def _told(schema: Schema) -> Schema:
    """The schema, with unit and limits in its text."""
    words = in_words(schema)
    said = schema.get("description", "")
    return schema | ({"description": f"{said} ({words})".strip() if said else words} if words else {})


def _operation(summary: str, text: str, identity: str, answer: Schema, *, status: str = "200") -> Document:
    return {
        "summary": summary,
        "description": text.strip(),
        "operationId": identity,
        "responses": {
            status: {"description": "Done.", "content": _json(answer)},
            "default": {"description": "What stood against it.", "content": _PROBLEM},
        },
    }


def _body(schema: Schema, given: Any) -> Document:
    content = {"application/json": {"schema": schema, "example": given}}
    return {"requestBody": {"required": bool(schema.get("required")), "content": content}}


def _json(schema: Schema) -> Document:
    return {"application/json": {"schema": schema}}


def _tagged(paths: Document, tag: str) -> Document:
    return {k: v | {"tags": [tag]} if isinstance(v, dict) else v for k, v in paths.items()}


def _general_paths(description: Description) -> Document:
    anything: Schema = {"type": "object"}
    readings = {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Reading"}}
    stop = _operation("Call the driver's stop() at once", "Not an emergency stop.", "stop", STOPPED)
    if not description.stop:
        stop["responses"]["501"] = {"description": "This driver has no software stop.", "content": _PROBLEM}
    find = _operation("What became of an invocation", "", "find", {"$ref": "#/components/schemas/Invocation"})
    cancel = _operation("Ask it to end", "", "cancel", {"$ref": "#/components/schemas/Invocation"}, status="202")
    check = _operation("Let the driver look whether an interrupted one happened", "", "check", _CHECKED)
    listen = _operation("What happens, as server-sent events", "", "listen", {"type": "string"})
    listen["responses"]["200"]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    lease = {"$ref": "#/components/schemas/Lease"}
    take = _operation("Let nobody but the holder act", _TAKE, "take", lease) | _body(_TAKING, {"holder": "Ada"})
    give_back = _operation("Let everybody act again", "", "give_back", lease) | {"parameters": [_LEASE]}
    alarm: Schema = {"$ref": "#/components/schemas/Alarm"}
    alarms: Schema = {"type": "array", "items": alarm}
    note: Schema = {"type": "object", "properties": {"note": {"type": "string"}}, "additionalProperties": False}
    seen = _operation("Say that somebody has seen it", "", "acknowledge", alarm) | _body(note, {"note": "I look."})
    seen["parameters"] = [_ACTOR]
    schema = _operation("JSON Schema of an action's parameters", "", "schema", anything)
    schema["responses"]["200"]["content"] = {"application/schema+json": {"schema": anything}}
    thing = _operation("W3C Thing Description 1.1", "", "thing_description", anything)
    thing["responses"]["200"]["content"] = {"application/td+json": {"schema": anything}}
    paths: Document = {
        "/": {"get": _operation("What this instrument offers", "", "describe", anything)},
        "/health": {"get": _operation("How its host is", "", "health", anything)},
        "/attributes": {"get": _operation("Every attribute", "", "read_all", readings)},
        "/invocations/{id}": {"parameters": [_ID], "get": find, "delete": cancel | {"parameters": [_WITHIN]}},
        "/invocations/{id}/check": {"parameters": [_ID], "post": check},
        "/stop": {"post": stop},
        "/alarms": {
            "get": _operation("What is beyond its limits, and what was and nobody has seen", "", "alarms", alarms)
        },
        "/alarms/{alarm}/acknowledge": {"parameters": [_ALARM], "post": seen},
        "/lease": {
            "get": _operation("Who alone may act now", "", "lease", lease),
            "put": take,
            "delete": give_back,
        },
        "/events": {"get": listen},
        "/thing-description": {"get": thing},
        "/schemas/{action}": {"parameters": [_ACTION], "get": schema},
    }
    return {path: _tagged(operations, "instrument") for path, operations in paths.items()}


_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "A UUIDv7 that you make; asked again with the same body it is answered, not done twice.",
    "schema": {"type": "string", "format": "uuid"},
    "example": _EXAMPLE_ID,
}
_PLACE_SAID = "A field, or the number of an item; deeper ones behind a slash: `spectra/0`."
_PLACE = {"name": "place", "in": "path", "required": True, "schema": {"type": "string"}, "example": "image"}
_BYTES: Schema = {"schema": {"type": "string", "format": "binary"}}
_RAW: Document = {
    "application/octet-stream": _BYTES,
    "application/x-npy": _BYTES,
    "application/vnd.apache.arrow.stream": _BYTES,
}
"""Formats of an array alone; the last one where pyarrow is installed at the instrument."""
_ALONE: Document = {
    "headers": {
        "Labretto-Dtype": {"schema": {"type": "string"}, "description": 'As numpy spells it, "<f8"; of octets.'},
        "Labretto-Shape": {"schema": {"type": "string"}, "description": 'Lengths of the axes, "480,640".'},
        "Labretto-Dims": {"schema": {"type": "string"}, "description": 'Names of the axes, "y,x".'},
        "Labretto-Unit": {"schema": {"type": "string"}, "description": "Percent-encoded UTF-8."},
    }
}
_ALARM = {"name": "alarm", "in": "path", "required": True, "schema": {"type": "string"}}
_ACTION = {"name": "action", "in": "path", "required": True, "schema": {"type": "string"}}
_LEASE = {
    "name": "Labretto-Lease",
    "in": "header",
    "description": "Number of your lease; another than the holder's, or one lower than the highest seen, is refused.",
    "schema": {"type": "integer", "minimum": 0},
}
_ACTOR = {"name": "Labretto-Actor", "in": "header", "description": "Who asks.", "schema": {"type": "string"}}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`: answer as soon as it has begun.",
    "schema": {"type": "string"},
}
_TAKE = (
    "While it is held every act needs the header `Labretto-Lease` with its number; others are refused with 409. "
    "Reading, finding, stopping and cancelling need none."
)
_TAKING: Schema = {
    "type": "object",
    "required": ["holder"],
    "properties": {
        "holder": {"type": "string"},
        "number": {"type": ["integer", "null"], "description": "Higher than all before; none: one more."},
        "until": _TIME,
        "over": {"type": "boolean", "default": False, "description": "Take it from whoever has it."},
    },
}
_WITHIN = {
    "name": "within",
    "in": "query",
    "description": "Seconds: answer at its end, or then; else at once.",
    "schema": {"type": "number", "minimum": 0},
}
_CHECKED: Schema = {
    "type": "object",
    "properties": {
        "invocation": {"type": "string", "format": "uuid"},
        "action": {"type": "string"},
        "outcome": {"enum": ["done", "not done", "partly"]},
        "result": {},
    },
}
STOPPED: Schema = {
    "type": "object",
    "properties": {
        "stopped": {"type": "boolean"},
        "seconds": {"type": "number", "unit": "s"},
        "detail": {"type": ["string", "null"]},
    },
}
COMPONENTS: Document = {
    "Reading": {
        "type": "object",
        "required": ["value", "unit", "time", "status"],
        "properties": {
            "value": {},
            "unit": {"type": ["string", "null"]},
            "time": {"type": "string", "format": "date-time"},
            "status": {"enum": ["ok", "stale", "error"]},
            "detail": {"type": "string", "description": "Why the status is not ok."},
        },
    },
    "Invocation": {
        "type": "object",
        "required": ["id", "instrument", "action", "parameters", "state", "effect"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "instrument": {"type": "string"},
            "action": {"type": "string"},
            "parameters": {"type": "object"},
            "state": {"enum": _STATES},
            "effect": {"enum": ["read", "absolute", "checkable", "once"]},
            "accepted": _TIME,
            "started": _TIME,
            "ended": _TIME,
            "result": {},
            "error": {"anyOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "null"}]},
            "actor": {"type": ["string", "null"]},
            "progress": {"type": "number", "minimum": 0, "maximum": 1},
            "expected_seconds": {"type": "number", "unit": "s", "description": "How long it usually takes here."},
            "cancelling": {
                "type": "object",
                "description": "Its end was asked for: when, within how many seconds, and whether it is overdue.",
            },
        },
    },
    "Alarm": {
        "type": "object",
        "required": ["id", "instrument", "attribute", "condition", "severity", "active", "raised", "reading"],
        "properties": {
            "id": {"type": "string"},
            "instrument": {"type": "string"},
            "attribute": {"type": "string"},
            "condition": {"type": "string", "example": "above 800 degC"},
            "severity": {"enum": ["notice", "warning", "critical"]},
            "active": {"type": "boolean"},
            "raised": _TIME,
            "reading": {"type": "object", "description": "That raised it."},
            "times": {"type": "integer", "description": "How often it was raised since somebody last saw it."},
            "cleared": _TIME,
            "acknowledged": _TIME,
            "by": {"type": ["string", "null"]},
            "note": {"type": "string"},
        },
    },
    "Lease": {
        "type": "object",
        "properties": {
            "instrument": {"type": "string"},
            "number": {"type": ["integer", "null"]},
            "holder": {"type": ["string", "null"]},
            "since": _TIME,
            "until": _TIME,
        },
    },
    "Problem": {
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "example": "urn:labretto:error:LimitError"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What was asked and what stood against it."},
            "way_out": {"type": "string", "description": "What you can do now."},
            "faults": {"type": "array", "items": {"type": "object"}},
            "invocation": {"$ref": "#/components/schemas/Invocation"},
        },
    },
}
