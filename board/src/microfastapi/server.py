"""One connection, from accept to close: heads are read, handlers called, answers sent. Which handler is `app`'s to say.

The idea to read on with: a request without parameters and body costs one look into a table whose keys are the first
words of the request line as they came (`b"GET /"`), one call and one send; a `Request` is made only where one is
needed.
Memory is bounded: a head has to fit the connection's buffer, and buffers are used again.

A phase says what a connection waits for. `App.beat` counts; a connection that stays in a phase for more beats than
`limits` allows is closed, and when a newcomer finds the house full the one in the lowest phase for longest goes.
"""

import gc

from .port import COROUTINE, const, coroutine, pause, readable, writable
from .request import Request
from .response import HTTPException, Response, encode, respond

_IDLE = const(0)  # kept open, nothing asked
_HEAD = const(1)
_BODY = const(2)
_SEND = const(3)  # the client reads slowly
_STREAM = const(4)
_WAIT = const(5)  # for the end of an action, which goes on without the connection
_HANDLE = const(6)  # in a handler; never closed by us
_EAGAIN = const(11)
_LARGE = const(600)

LIMITS = (15, 5, 10, 10, 0, 0, 0)  # beats a connection may stay in each phase; 0 = as long as it likes
_KEPT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
_LAST = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
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

                        yield from refuse(self, HTTPException(431, "the head is longer than %d bytes" % have))
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
                        self.phase = _HEAD
                        self.since = app.beat
                used = end + 4
                keep = True
                request = response = None
                left = 0  # bytes of a body that nobody has read
                self.phase = _HANDLE
                try:
                    head = bytes(view[: end + 2])
                    lower = head.lower()
                    stop = head.find(b" HTTP/1.1\r\n")
                    if stop < 0:
                        stop = head.find(b" HTTP/1.0\r\n")
                        if stop < 0:
                            raise HTTPException(400, "not a request of HTTP/1.1")
                        keep = False
                    if b"\nconnection:" in lower and b"\nconnection: keep-alive\r" not in lower:
                        keep = keeps(lower, keep)
                    line = head[:stop]
                    route = app.table.get(line)
                    bodied = b"\ncontent-length:" in lower or b"\ntransfer-encoding:" in lower
                    if route and not route.needs and not bodied:
                        result = route.handler()
                    else:
                        request = Request(self, head, lower, line)
                        if bodied:
                            left = body_length(lower)
                        route = app.find(request)
                        if route.raw:
                            request.body = bytes(view[used : min(have, used + left)])
                            request.left = left - len(request.body)
                            used += len(request.body)
                        elif left:
                            if left > app.body_limit:
                                raise HTTPException(413, "a body may have %d bytes here" % app.body_limit)
                            if used + left <= have:
                                request.body = bytes(view[used : used + left])
                                used += left
                            else:
                                request.body = yield from self.body(request, left, view[used:have])
                                used = have
                            self.phase = _HANDLE
                            left = 0
                        result = route.call(request)
                    kind = type(result)
                    if kind is COROUTINE:
                        result = yield from result
                        kind = type(result)
                    if (
                        kind is Response
                        or kind is tuple
                        or kind is bytes
                        or (request and request.key[0] == 72 and request.key[:5] == b"HEAD ")
                    ):
                        response = respond(result)
                    else:
                        result = encode(result)
                    if route.raw:
                        left = request.left
                except HTTPException as error:
                    response = error.response()
                except GoneError:
                    return
                except MemoryError:
                    head = lower = result = request = None
                    gc.collect()
                    app.errors += 1  # no more words about it: they need memory
                    yield from self.send(FULL)
                    return
                except Exception as error:
                    app.report(error)
                    response = HTTPException(500, "the handler failed; the board's log says how").response()
                if left:
                    keep = False
                if response:
                    yield from self.reply(
                        response, keep, request and request.key[0] == 72 and request.key[:5] == b"HEAD "
                    )
                else:
                    rest = b""
                    if len(result) > _LARGE:  # a copy of it behind the head would be one too many
                        rest = result
                        result = b""
                    result = (_KEPT if keep else _LAST) % (len(result) or len(rest), result)
                    try:
                        sent = sock.send(result)
                    except OSError as error:
                        if error.errno != _EAGAIN:
                            return
                        sent = 0
                    if sent != len(result):
                        yield from self.send(memoryview(result)[sent:])
                    if rest:
                        yield from self.send(rest)
                if not keep:
                    if left:
                        from .trouble import drain

                        yield from drain(self)
                    return
                head = lower = line = result = rest = request = response = (
                    None  # an idle connection holds its buffer only
                )
                self.phase = _IDLE
                self.since = app.beat
                have -= used
                if have:  # the next request came with this one; others have their turn first
                    view[:have] = bytes(view[used : used + have])
                    yield from pause()
                else:
                    yield from readable(sock)
        except MemoryError:
            app.errors += 1
        except OSError:
            pass  # the client is gone; what it asked for has been done or not, and its next question will say
        finally:
            self.close()

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

    def busy(self) -> bool:
        """Whether a handler is at work that nobody may interrupt."""
        return self.phase == _HANDLE

    def check(self, beat: int) -> None:
        """Closes a connection that has been in its phase for too long."""
        limit = self.app.limits[self.phase]
        if limit and beat - self.since > limit:
            self.dismiss(_LATE if self.phase in (_HEAD, _BODY) else b"")

    def waits(self) -> None:
        """Says that this connection waits for an action and may be closed when a newcomer needs its place."""
        self.phase = _WAIT
        self.since = self.app.beat

    def streams(self) -> None:
        """Says that an answer of unknown length is on its way."""
        self.phase = _STREAM
        self.since = self.app.beat

    def drains(self) -> None:
        """Says that only the rest of a refused request is read."""
        self.phase = _BODY
        self.since = self.app.beat

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
            if phase == _HANDLE:  # a handler that reads its body itself has a new deadline for each piece
                self.phase = _BODY
                self.since = self.app.beat
            yield from readable(self.sock)
            self.phase = phase

    @coroutine
    def body(self, request, length: int, begun):
        """A body whose first bytes came with the head and whose others are still to come."""
        self.phase = _BODY
        self.since = self.app.beat
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
            self.phase = _SEND
            self.since = self.app.beat
            yield from writable(self.sock)
            self.phase = phase

    @coroutine
    def reply(self, response, keep: bool, no_body: bool):
        yield from self.send(response.head(keep))
        if no_body or response.status in (204, 304):
            return
        if isinstance(response.body, (bytes, bytearray)):
            yield from self.send(response.body)
        else:
            from .pour import pour

            yield from pour(self, response, keep and response.length is None)


def keeps(lower: bytes, keep: bool) -> bool:
    """Whether the header Connection leaves the connection open."""
    at = lower.find(b"\nconnection:")
    value = lower[at + 12 : lower.find(b"\r", at)]
    return b"keep-alive" in value or (keep and b"close" not in value)


def body_length(lower: bytes) -> int:
    """Bytes in the body; 411 or 400 where the head does not say it plainly."""
    if b"\ntransfer-encoding:" in lower:
        raise HTTPException(411, "send a Content-Length; a chunked body is not read here")
    at = lower.find(b"\ncontent-length:")
    if at < 0:
        return 0
    text = lower[at + 16 : lower.find(b"\r", at)].strip()
    if not text.isdigit():
        raise HTTPException(400, "Content-Length is a number of bytes")
    return int(text)
