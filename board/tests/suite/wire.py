"""A served application and a raw client for it, in one loop."""

import asyncio
import os
import socket


def free_port() -> int:
    """A port of the loopback that nobody listens on; MicroPython's sockets do not tell which one they were given."""
    while True:
        port = 10000 + int.from_bytes(os.urandom(2), "big") % 20000
        sock = socket.socket()
        try:
            sock.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
            return port
        except OSError:
            pass
        finally:
            sock.close()


class Served:
    """Serves `app` on a port of its own for as long as the `async with` lasts."""

    def __init__(self, app):
        self.app = app

    async def __aenter__(self):
        self.app.port = free_port()
        self.task = asyncio.create_task(self.app.serve("127.0.0.1"))
        for _ in range(5):
            await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass
        for _ in range(5):
            await asyncio.sleep(0)

    async def open(self) -> "Client":
        return Client(*await asyncio.open_connection("127.0.0.1", self.app.port))


class Client:
    """Bytes out, bytes in."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> "tuple[int, bytes, bytes]":
        """Status, head and body of the next answer; status 0 where the server closed."""
        head = b""
        while True:
            line = await self.reader.readline()
            head += line
            if line == b"\r\n" or not line:
                break
        if not head.strip():
            return 0, b"", b""
        status = int(head.split(b" ", 2)[1])
        body = b""
        low = head.lower()
        if b"content-length:" in low:
            length = int(low.split(b"content-length:")[1].split(b"\r")[0])
            while len(body) < length:
                body += await self.reader.read(length - len(body))
        elif b"chunked" in low:
            while True:
                size = int((await self.reader.readline()).strip(), 16)
                end = len(body) + size
                while len(body) < end:
                    body += await self.reader.read(end - len(body))
                await self.reader.readline()
                if not size:
                    break
        return status, head, body

    async def ask(self, data: bytes) -> "tuple[int, bytes, bytes]":
        await self.send(data)
        return await self.reply()

    async def ended(self) -> bool:
        """Whether the server closes without another word."""
        try:
            return await self.reader.read(1) == b""
        except OSError:
            return True

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()
