"""What goes back to a client: results as JSON, `Response` for everything else, `HTTPException` for a refusal.

Sending is done in `server`; the words of a refusal are in `trouble`, files and event streams in `files` and `stream`.
"""

import json

from .port import NOT_FINITE

_NAN, _INF = NOT_FINITE


class Response:
    """An answer that is not simply JSON with status 200.

    Args:
        body: bytes or text; or an iterable of such pieces; or an async function that is given `send` and awaits
            `send(piece)` for as long as it likes.
        length: bytes in all, where `body` is an iterable whose length is known; without it pieces go out chunked.
    """

    def __init__(self, body=b"", status: int = 200, headers: "dict | None" = None, content_type=None, length=None):
        if isinstance(body, str):
            body = body.encode()
            content_type = content_type or "text/plain; charset=utf-8"
        self.body = body
        self.status = status
        self.reason = ""
        self.headers = headers or {}
        self.content_type = content_type or "application/octet-stream"
        self.length = len(body) if isinstance(body, (bytes, bytearray)) else length

    def head(self, keep: bool) -> bytes:
        """Status line and headers."""
        lines = ["HTTP/1.1 %d %s" % (self.status, "OK" if self.status == 200 else self.reason)]
        if self.status not in (204, 304):
            lines.append("Content-Type: " + self.content_type)
        if self.length is not None and self.status != 204:
            lines.append("Content-Length: %d" % self.length)
        elif keep and self.status not in (204, 304):
            lines.append("Transfer-Encoding: chunked")  # else the end of the connection is the end of the body
        for name in self.headers:
            lines.append("%s: %s" % (name, self.headers[name]))
        if not keep:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class HTTPException(Exception):  # noqa: N818  FastAPI's spelling
    """A refusal, to be raised by a handler; answered as problem details (RFC 9457), which FastAPI's clients read
    too.
    """

    def __init__(self, status_code: int, detail="", headers: "dict | None" = None, **fields):
        super().__init__(detail)
        self.status = status_code
        self.detail = detail
        self.headers = headers
        self.fields = fields

    def problem(self) -> dict:
        from .trouble import problem

        return problem(self)

    def response(self) -> Response:
        from .trouble import response

        return response(self)


def encode(value) -> bytes:
    """JSON, as UTF-8. What JSON has no word for (NaN, infinity) becomes null; arrays become lists, bytes base64."""
    if type(value) is bytes:
        return value
    try:
        text = json.dumps(value)
        # MicroPython writes `nan`, `<object>` and `array(...)` without complaint; a text like that is looked at.
        if not (_NAN in text or _INF in text or "<" in text or "(" in text):
            return text.encode()
    except TypeError:
        pass
    from .plain import plain

    return json.dumps(plain(value)).encode()


def respond(result) -> Response:
    """What a handler returned, as a Response: a tuple (body, status) or (body, status, headers) says more than a
    body.
    """
    if isinstance(result, Response):
        return result
    status, headers = 200, None
    if isinstance(result, tuple) and len(result) in (2, 3) and type(result[1]) is int and 100 <= result[1] < 600:
        status = result[1]
        headers = result[2] if len(result) == 3 else None
        result = result[0]
        if isinstance(result, Response):
            result.status = status
            result.headers.update(headers or {})
            return result
    kind = "application/octet-stream" if type(result) is bytes else "application/json"
    return Response(encode(result), status, headers, kind)
