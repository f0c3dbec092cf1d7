"""One connection, from accept to close: heads are read, handlers called, answers sent. Which handler is `app`'s to say.

The idea to read on with: a request without parameters and body costs one look into a table whose keys are the first
words of the request line as they came (`b"GET /"`), one call and one send; a `Request` is made only where one is
needed.
Memory is bounded: a head has to fit the connection's buffer, and buffers are used again.

A phase says what a connection waits for. `App.beat` counts; a connection that stays in a phase for more beats than
`limits` allows is closed, and when a newcomer finds the house full the one in the lowest phase for longest goes.
"""

import gc

from .answer import HTTPException, encode
from .port import COROUTINE, const, coroutine, readable, wait, writable
from .request import Request

_IDLE = const(0)  # kept open, nothing asked
_HEAD = const(1)
BODY = 2
_SEND = const(3)  # the client reads slowly
STREAM = 4
WAIT = 5  # for the end of an action, which goes on without the connection
HANDLE = 6  # in a handler; never closed by us
_EAGAIN = const(11)
_LARGE = const(600)

LIMITS = (15, 5, 10, 10, 0, 0, 0)  # beats a connection may stay in each phase; 0 = as long as it likes
_HEAD_OF_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class GoneError(Exception):
    """The client closed its side in the middle of a request."""


class Connection:
    """One client, from accept to close."""

    def __init__(self, app, sock):
        self.app = app
        self.sock = sock
        self.phase = _HEAD
        self.since = app.beat
        self.task = None
        self.buffer = app.buffers.pop() if app.buffers else bytearray(app.head_limit)

    @coroutine
    def serve(self):
        """Reads, calls and answers until one of the two sides has had enough."""
        app = self.app
        sock = self.sock
        buffer = self.buffer
        view = memoryview(buffer)
        have = 0
        try:
            while True:
                end = buffer.find(b"\r\n\r\n", 0, have) if have else -1
                while end < 0:
                    if have == len(buffer):
                        from .trouble import refuse

                        yield from refuse(self, HTTPException(431))
                        return
                    count = sock.readinto(view[have:] if have else buffer)
                    if count is None:
                        yield from readable(sock)
                        continue
                    if not count:
                        return
                    have += count
                    end = buffer.find(b"\r\n\r\n", 0, have)
                    if end < 0 and self.phase == _IDLE:
                        self.enter(_HEAD)
                used = end + 4
                keep = True
                request = answer = None  # an answer that is not simply JSON with status 200
                left = 0  # bytes of a body that nobody has read
                self.phase = HANDLE
                try:
                    head = bytes(view[: end + 2])
                    lower = head.lower()
                    stop = head.find(b" HTTP/1.")
                    if stop < 0 or head[stop + 9] != 13:
                        raise HTTPException(400, "not a request of HTTP/1.1")
                    keep = head[stop + 8] != 48
                    if b"\nconnection: close\r" in lower:
                        keep = False
                    elif b"\nconnection:" in lower and b"\nconnection: keep-alive\r" not in lower:
                        from .trouble import keeps

                        keep = keeps(lower, keep)
                    line = head[:stop]
                    route = app.table.get(line)
                    bodied = b"\ncontent-length:" in lower or b"\ntransfer-encoding:" in lower
                    if route and not route.needs and not bodied:
                        result = route.handler()
                    else:
                        request = Request(self, head, lower, line)
                        if bodied:
                            at = lower.find(b"\ncontent-length:")
                            length = lower[at + 16 : lower.find(b"\r", at)].strip()
                            if not length.isdigit() or b"\ntransfer-encoding:" in lower:
                                raise HTTPException(411 if b"\ntransfer-encoding:" in lower else 400)
                            left = int(length)
                        route = app.find(request)
                        begun = view[used : min(have, used + left)]
                        used += len(begun)
                        if route.raw:
                            request.body = bytes(begun)
                            request.left = left - len(begun)
                        elif left:
                            if left > app.body_limit:
                                raise HTTPException(413)
                            request.body = (
                                bytes(begun) if len(begun) == left else (yield from self.body(request, left, begun))
                            )
                            self.phase = HANDLE
                            left = 0
                        result = route.call(request)
                    if type(result) is COROUTINE:
                        result = yield from result
                    kind = type(result)
                    if kind is tuple or kind is bytes or hasattr(result, "reply") or (request and request.heads):
                        from .response import respond

                        answer = respond(result)
                    else:
                        result = encode(result)
                    if route.raw:
                        left = request.left
                except GoneError:
                    return
                except MemoryError:
                    head = lower = result = request = None
                    gc.collect()
                    app.errors += 1  # no more words about it: they need memory
                    yield from self.send(FULL)
                    return
                except Exception as error:
                    from .trouble import response

                    if not isinstance(error, HTTPException):
                        app.report(error)
                        error = HTTPException(500)
                    answer = response(error)
                if left:
                    keep = False
                if answer:
                    yield from answer.reply(self, keep, request and request.heads)
                else:
                    head = _HEAD_OF_JSON % (b"" if keep else b"Connection: close\r\n", len(result))
                    if len(result) > _LARGE:  # a copy of it behind the head would be one too many
                        yield from self.send(head)
                    else:
                        result = head + result
                    yield from self.send(result)
                if not keep:
                    if left:
                        from .trouble import drain

                        yield from drain(self)
                    return
                # an idle connection holds its buffer only
                head = lower = line = result = request = answer = begun = None
                self.enter(_IDLE)
                have -= used
                if have:  # the next request came with this one; others have their turn first
                    view[:have] = bytes(view[used : used + have])
                    yield from wait(0)
                else:
                    yield from readable(sock)
        except MemoryError:
            app.errors += 1
        except OSError:
            pass  # the client is gone; what it asked for has been done or not, and its next question will say
        finally:
            self.close()

    def enter(self, phase: int) -> None:
        """Says what the connection waits for from now on."""
        self.phase = phase
        self.since = self.app.beat

    def close(self) -> None:
        """Lets go of the socket and gives the buffer back; a second call does nothing."""
        if self.sock:
            self.sock.close()
            self.sock = None
            app = self.app
            if self in app.connections:
                app.connections.remove(self)
            if len(app.buffers) < 2:
                app.buffers.append(self.buffer)

    def dismiss(self, word: bytes = b"") -> None:
        """Ends the connection from outside, with a last word if there is room for one."""
        try:
            if word:
                self.sock.send(word)
        except OSError:
            pass
        self.task.cancel()
        self.close()

    def check(self, beat: int) -> None:
        """Closes a connection that has been in its phase for too long."""
        limit = self.app.limits[self.phase]
        if limit and beat - self.since > limit:
            from .trouble import LATE

            self.dismiss(LATE if self.phase in (_HEAD, BODY) else b"")

    @coroutine
    def read(self, view):
        """Reads what there is into `view`, after waiting for it; answers how many bytes."""
        while True:
            count = self.sock.readinto(view)
            if count:
                return count
            if count is not None:
                raise GoneError
            phase = self.phase
            if phase == HANDLE:  # a handler that reads its body itself has a new deadline for each piece
                self.enter(BODY)
            yield from readable(self.sock)
            self.phase = phase

    @coroutine
    def body(self, request, length: int, begun):
        """A body whose first bytes came with the head and whose others are still to come."""
        self.enter(BODY)
        body = bytearray(length)
        have = len(begun)
        body[:have] = begun
        if b"\nexpect:" in request.lower:
            yield from self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        view = memoryview(body)
        while have < length:
            have += yield from self.read(view[have:])
        return bytes(body)

    @coroutine
    def send(self, data):
        """Sends all of `data`, for as long as the client takes to read it."""
        done = 0
        while done < len(data):
            try:
                count = self.sock.send(memoryview(data)[done:] if done else data)
            except OSError as error:
                if error.errno != _EAGAIN:
                    raise
                count = 0
            if count:
                done += count
                continue
            phase = self.phase
            self.enter(_SEND)
            yield from writable(self.sock)
            self.phase = phase
