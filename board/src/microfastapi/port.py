"""What CPython and MicroPython do differently: waiting for a socket, the text of a traceback, what JSON calls infinity.

On a board everything here is a few lines over `asyncio.core`; the desktop's half stands in `desktop` and never
reaches a
board's flash. The one idea: a connection is a plain generator that says `yield from readable(sock)`. MicroPython's
own asyncio needs no object for that, and so a wait costs no memory.
"""

import sys

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    import socket
    from asyncio import core

    from micropython import const

    NOT_FINITE = ("nan", "inf")  # as this interpreter's json.dumps spells them
    _PAUSE = (None,)  # one turn of the loop, without an object of its own

    async def _nothing() -> None:
        pass

    COROUTINE = type(_nothing())

    def coroutine(function):
        return function

    def readable(sock):
        """To be said as `yield from readable(sock)`: goes on when there is something to read."""
        core._io_queue.queue_read(sock)
        return _PAUSE

    def writable(sock):
        core._io_queue.queue_write(sock)
        return _PAUSE

    spawn = core.create_task

    wait = core.sleep_ms

    def listen(host: str, port: int, backlog: int):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket.getaddrinfo(host, port)[0][-1])
        sock.listen(backlog)
        sock.setblocking(False)
        return sock

else:
    from .desktop import (  # noqa: F401
        COROUTINE,
        NOT_FINITE,
        const,
        coroutine,
        listen,
        readable,
        spawn,
        wait,
        writable,
    )
