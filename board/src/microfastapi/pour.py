"""Sends a body that is made while it is sent: pieces of an iterable, or what an async function gives to `send`."""

from .port import coroutine, pause


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
    connection.streams()
    try:
        if callable(body):
            yield from body(send)
        else:
            for piece in body:
                yield from send(piece)
                yield from pause()
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
