"""A client without a network: requests go through the real parser and the real handlers, on CPython and on the board.

    client = TestClient(app)
    assert client.get("/items/5?q=x").json() == {"item_id": 5, "q": "x"}

Connections, deadlines and slow clients are not in it; for those, open a socket.
"""

import asyncio
import gc
import json as codec

from .server import Connection


class TestClient:
    """Asks an application that is not being served.

    Args:
        token: sent with every request.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name

    def __init__(self, app, token: "str | None" = None):
        app.prepare()
        self.app = app
        self.token = token
        self.loop = asyncio.new_event_loop()

    def request(self, method: str, path: str, json=None, body: bytes = b"", headers: "dict | None" = None) -> "Reply":
        """Sends one request and answers what came back; tasks that it started go on with the next request."""
        if json is not None:
            body = codec.dumps(json).encode()
        lines = [
            "%s %s HTTP/1.1" % (method, path),
            "Host: board",
            "Connection: close",
            "Content-Length: %d" % len(body),
        ]
        if self.token:
            lines.append("Authorization: Bearer " + self.token)
        for name in headers or {}:
            lines.append("%s: %s" % (name, headers[name]))
        sock = _Memory("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.run(self._talk(sock))
        gc.collect()
        return Reply(sock.sent)

    def get(self, path: str, **more) -> "Reply":
        return self.request("GET", path, **more)

    def post(self, path: str, json=None, **more) -> "Reply":
        return self.request("POST", path, json, **more)

    def put(self, path: str, json=None, **more) -> "Reply":
        return self.request("PUT", path, json, **more)

    def patch(self, path: str, json=None, **more) -> "Reply":
        return self.request("PATCH", path, json, **more)

    def delete(self, path: str, **more) -> "Reply":
        return self.request("DELETE", path, **more)

    def run(self, awaitable):
        """Runs something in the loop that the requests run in."""

        async def go():
            return await awaitable

        return self.loop.run_until_complete(go())

    def close(self) -> None:
        """Ends the loop."""
        self.loop.close()

    async def _talk(self, sock) -> None:
        connection = Connection(self.app, sock)
        self.app.connections.append(connection)
        await connection.serve()


class Reply:
    """What came back."""

    def __init__(self, pieces: list):
        head, _, begun = pieces.pop(0).partition(b"\r\n\r\n")  # a head is sent in one piece
        self.content = begun + (pieces[0] if len(pieces) == 1 else b"".join(pieces))
        lines = head.decode().split("\r\n")
        self.status_code = int(lines[0].split(" ")[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self):
        return codec.loads(self.content)


class _Memory:
    """A socket whose other end has said everything already."""

    def __init__(self, data: bytes):
        self.data = data
        self.sent = []

    def readinto(self, buffer) -> int:
        count = min(len(buffer), len(self.data))
        memoryview(buffer)[:count] = self.data[:count]
        self.data = self.data[count:]
        return count

    def send(self, data) -> int:
        self.sent.append(bytes(data))
        return len(data)

    def close(self) -> None:
        pass
