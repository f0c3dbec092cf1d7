"""OpenAPI 3.1 of the board's own routes, made and sent one operation at a time, and the page that shows it.

The whole document is never in memory: a board with thirty routes needs as much as one with three.
"""

import json

from .describe import schema
from .response import Response


def document(app) -> Response:
    return Response(_pieces(app), content_type="application/json")


def page() -> Response:
    """The documentation with forms to try things out; one file, nothing from elsewhere."""
    from .files import File

    answer = File(__file__.rsplit("/", 1)[0] + "/docs.html.gz")
    answer.headers["Content-Encoding"] = "gzip"
    answer.content_type = "text/html; charset=utf-8"
    return answer


def _pieces(app):
    info = {"title": app.title, "version": app.version}
    yield '{"openapi": "3.1.0", "info": %s, "paths": {' % json.dumps(info)
    told = []
    between = ""
    for route in app.all:
        if route.hidden or route.path in told:
            continue
        told.append(route.path)
        yield "%s%s: {" % (between, json.dumps(route.path.replace(":path}", "}")))
        comma = ""
        for other in app.all:
            if other.path == route.path and not other.hidden:
                method = other.method.decode().lower()
                yield "%s%s: %s" % (comma, json.dumps(method), json.dumps(operation(other)))
                comma = ", "
        yield "}"
        between = ", "
    yield "}"
    if app.token:
        yield ', "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}'
    yield "}"


def operation(route) -> dict:
    """One method of one path."""
    answer = {
        "summary": route.summary or getattr(route.handler, "__name__", route.path),
        "responses": {str(route.status_code): {"description": "OK"}},
    }
    places = [parameter for parameter in route.parameters if parameter.where in ("path", "query")]
    if places:
        answer["parameters"] = [_place(parameter) for parameter in places]
    fields = [parameter for parameter in route.parameters if parameter.where == "body"]
    whole = [parameter for parameter in route.parameters if parameter.where == "content"]
    if fields or whole:
        answer["requestBody"] = {"required": True, "content": {"application/json": {"schema": _body(fields, whole)}}}
    if route.parameters:
        answer["responses"]["422"] = {"description": "A parameter does not fit"}
    if route.guarded:
        answer["security"] = [{"token": []}]
    return answer


def _place(parameter) -> dict:
    required = parameter.where == "path" or parameter.default is ...
    return {"name": parameter.name, "in": parameter.where, "required": required, "schema": schema(parameter)}


def _body(fields: list, whole: list) -> dict:
    if whole:
        return schema(whole[0])
    wanted = [parameter.name for parameter in fields if parameter.default is ...]
    return {"type": "object", "properties": {p.name: schema(p) for p in fields}, "required": wanted}
