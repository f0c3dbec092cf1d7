"""Answers that are not simply JSON with status 200: `Response`, tuples with a status, bodies made while they are sent.

Loaded with the first of them. The words of a refusal are in `trouble`, files and event streams in `files` and `stream`.
"""

from .answer import encode
from .port import coroutine, wait
from .server import STREAM


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

    @coroutine
    def reply(self, connection, keep: bool, no_body: bool):
        """Sends head and body."""
        yield from connection.send(self.head(keep))
        if no_body or self.status in (204, 304):
            return
        if isinstance(self.body, (bytes, bytearray)):
            yield from connection.send(self.body)
        else:
            yield from pour(connection, self, keep and self.length is None)


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


@coroutine
def pour(connection, response, chunked: bool):
    """Sends it all; a body that breaks off ends the connection, which is how the client is told."""

    @coroutine
    def send(data):
        if isinstance(data, str):
            data = data.encode()
        if data:
            yield from connection.send(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)

    body = response.body
    connection.enter(STREAM)
    try:
        if callable(body):
            yield from body(send)
        else:
            for piece in body:
                yield from send(piece)
                yield from wait(0)
        if chunked:
            yield from connection.send(b"0\r\n\r\n")
    except OSError:
        raise
    except Exception as error:
        connection.app.report(error)
        raise OSError
    finally:
        if hasattr(body, "close"):
            body.close()
