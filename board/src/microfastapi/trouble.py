"""What is needed only when a request is refused or goes wrong; a board loads it when that happens for the first
time.
"""

import sys

from .answer import HTTPException, encode
from .limits import accept, take
from .port import MICROPYTHON, coroutine
from .response import Response

_METHODS = (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE")
_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    422: "Unprocessable Content",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
}
_DETAILS = {  # of refusals that the core says by their number only
    411: "send a Content-Length; a chunked body is not read here",
    413: "the body is longer than this board takes",
    431: "the head is longer than this board takes",
    500: "the handler failed; the board's log says how",
}
LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_DRAIN = 65536  # bytes of a refused request that are read before the connection is closed


def problem(error: HTTPException) -> dict:
    """A refusal as problem details (RFC 9457); of a 422, `detail` is FastAPI's list of faults."""
    title = _REASONS.get(error.status, "Error")
    answer = {
        "type": "about:blank",
        "title": title,
        "status": error.status,
        "detail": error.detail or _DETAILS.get(error.status, title),
    }
    answer.update(error.fields)
    return answer


def response(error: HTTPException) -> Response:
    answer = Response(encode(problem(error)), error.status, error.headers, "application/problem+json")
    answer.reason = _REASONS.get(error.status, "")
    return answer


def no_route(app, request) -> HTTPException:
    """405 with what is allowed, else 404."""
    path = request.key[request.key.find(b" ") :]
    allowed = [method for method in _METHODS if method + path in app.table or app.match(method + path, request)]
    if allowed:
        return HTTPException(405, headers={"Allow": b", ".join(allowed).decode()})
    return HTTPException(404, "nothing is at this path; /docs lists what there is" if app.docs else "")


def make_room(app) -> bool:
    """Ends the connection that has been idle for longest; False where all of them are in a handler."""
    from .server import HANDLE

    idlest = app.connections[0]
    for connection in app.connections:
        if (connection.phase, connection.since) < (idlest.phase, idlest.since):
            idlest = connection
    if idlest.phase == HANDLE:  # nobody may interrupt a handler
        return False
    idlest.dismiss()
    return True


def authorise(app, request) -> None:
    """Compares the bearer token without stopping at the first difference, so that time tells nothing."""
    given = request.header("authorization", "").encode()
    wanted = b"Bearer " + app.token.encode()
    difference = len(given) ^ len(wanted)
    for at in range(len(wanted)):
        difference |= wanted[at] ^ (given[at] if at < len(given) else 0)
    if difference:
        raise HTTPException(401, "send the header Authorization: Bearer <token>", {"WWW-Authenticate": "Bearer"})


def refuse_foreign(request) -> None:
    """A page of another site, shown by a browser in this network, may not move anything here."""
    if request.header("origin").split("//")[-1] != request.header("host"):
        raise HTTPException(403, "a page from elsewhere may not ask this board to do something")


def trace(error: BaseException) -> str:
    """The traceback as text."""
    if not MICROPYTHON:
        from .desktop import trace as whole

        return whole(error)
    import io

    text = io.StringIO()
    sys.print_exception(error, text)
    return text.getvalue()


def report(app, error: BaseException) -> None:
    """Keeps the last faults for people; the loop goes on."""
    app.errors += 1
    text = trace(error)[-400:]
    app.log.append(text)
    if len(app.log) > 8:
        app.log.pop(0)
    print(text)


@coroutine
def refuse(connection, error: HTTPException):
    """Answers before the request has been read, and reads on so that the answer is not lost on the way."""
    answer = response(error)
    yield from connection.send(answer.head(False) + answer.body)
    yield from drain(connection)


@coroutine
def drain(connection):
    """Reads and forgets what a refused client still sends: closing on unread bytes would destroy our answer."""
    from .server import BODY, GoneError

    connection.enter(BODY)
    count = 0
    try:
        while count < _DRAIN:
            count += yield from connection.read(connection.buffer)
    except GoneError:
        pass


def faults(misfits: list) -> HTTPException:
    """422 for parameters whose values are missing, of another type or beyond a limit, in FastAPI's shape."""
    told = []
    for parameter, value in misfits:
        kind, text = ("missing", "Field required") if value is ... else misfit(parameter, value)
        place = ["body"] if parameter.where == "content" else [parameter.where, parameter.name]
        told.append({"type": kind, "loc": place, "msg": text, "input": None if value is ... else value})
    return HTTPException(422, told)


def misfit(parameter, value) -> "tuple[str, str]":
    """Type and message of what is wrong with a value."""
    try:
        value = (take if parameter.where in ("path", "query") else accept)(parameter, value)
    except (ValueError, TypeError, OverflowError):
        return _wrong_type(parameter.kind)
    if parameter.choices and value not in parameter.choices:
        return "literal_error", "Input should be " + " or ".join([repr(choice) for choice in parameter.choices])
    ge, gt, le, lt = parameter.limits
    if ge is not None and value < ge:
        return "greater_than_equal", "Input should be greater than or equal to %s" % ge
    if gt is not None and value <= gt:
        return "greater_than", "Input should be greater than %s" % gt
    if le is not None and value > le:
        return "less_than_equal", "Input should be less than or equal to %s" % le
    return "less_than", "Input should be less than %s" % lt


def _wrong_type(kind) -> "tuple[str, str]":
    if kind is dict:
        return "dict_type", "Input should be an object"
    if kind is list:
        return "list_type", "Input should be a list"
    word = {int: "integer", float: "number", bool: "boolean", str: "string"}.get(kind, "value")
    return "int_parsing" if kind is int else word + "_parsing", "Input should be a valid " + word


def keeps(lower: bytes, keep: bool) -> bool:
    """Whether the header Connection, if it says more than one plain word, leaves the connection open."""
    at = lower.find(b"\nconnection:")
    value = lower[at + 12 : lower.find(b"\r", at)]
    return b"keep-alive" in value or (keep and b"close" not in value)


def no_object(fields) -> HTTPException:
    told = {"type": "dict_type", "loc": ["body"], "msg": "Input should be an object", "input": fields}
    return HTTPException(422, [told])


def no_json() -> HTTPException:
    return HTTPException(422, [{"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error", "input": {}}])


def check_brackets(body: bytes) -> None:
    """ValueError unless every bracket outside a text is closed and every key has its value."""
    opened = []
    quoted = escaped = False
    before = 0
    for byte in body:
        if quoted:
            if escaped:
                escaped = False
            elif byte == 92:
                escaped = True
            elif byte == 34:
                quoted = False
        elif byte == 34:
            quoted = True
        elif byte in b"{[":
            opened.append(byte + 2)
        elif byte in b"}]" and (not opened or opened.pop() != byte or before == 58):
            raise ValueError
        if byte > 32:
            before = byte
    if opened or quoted:
        raise ValueError
