"""The shortest way to read an attribute over HTTP: answered where the bytes arrive, before any machinery of HTTP.

A client that reads an attribute sends the same bytes again and again. The first time they are looked at closely: are
they exactly one request of that kind, with nothing unusual in it, from somebody who may speak here? What follows
from the bytes alone is kept (`Quick.asked`); everything else, and whoever has to show a token, goes the long way
(`labretto.network.http`), whose answers these are to the byte.

The driver's own thread sends the answer when it has looked, so that nobody else has to be woken for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import h11
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from labretto.errors import LabError, UnreachableError
from labretto.instrument import codec
from labretto.instrument.host import Host
from labretto.instrument.reading import Reading
from labretto.network import messages
from labretto.network.http_formats import JSON, RAW, accepted
from labretto.network.http_guard import refusal
from labretto.network.http_wire import MSGPACK, problem_response

_REQUEST = re.compile(rb"GET /attributes/([A-Za-z_][A-Za-z0-9_]*) HTTP/1\.1")
_HEADER = re.compile(rb"([A-Za-z-]+): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")

_USUAL = frozenset({b"host", b"accept", b"accept-encoding", b"accept-language", b"user-agent", b"connection"})
"""Headers that a reading client sends; a request with any other goes the long way."""

_PLAIN = ("number", "integer", "boolean", "string")
"""Attributes of these types; arrays have more formats than are known here."""

_LONGEST = 2_048
_KEPT = 256
"""Requests of which is kept what they ask; more than so many different ones are nobody who reads in a loop."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the bytes of a request ask."""

    attribute: str
    msgpack: bool


class Quick:
    """What may be answered at once for one instrument.

    Args:
        host: the instrument.
        names: what a request's Host header may say; None: anything.
    """

    def __init__(self, host: Host, names: Collection[str] | None) -> None:
        self.host = host
        self._names = names
        self._kept: dict[bytes, Asked | None] = {}

    def asked(self, data: bytes) -> Asked | None:
        """What `data` asks; None if that is for the long way to find out."""
        if not data.startswith(b"GET /attributes/") or len(data) > _LONGEST:
            return None
        try:
            return self._kept[data]
        except KeyError:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            asked = self._kept[bytes(data)] = self._looked_at(data)
            return asked

    def _looked_at(self, data: bytes) -> Asked | None:
        if data.find(b"\r\n\r\n") != len(data) - 4:
            return None
        line, *fields = data[:-4].split(b"\r\n")
        request = _REQUEST.fullmatch(line)
        headers = _headers(fields)
        if request is None or headers is None:
            return None
        described = self.host.description.attributes.get(request[1].decode())
        media = accepted(headers.get(b"accept", b"").decode())[0]
        if described is None or described.schema.get("type") not in _PLAIN or media in RAW or b"host" not in headers:
            return None
        if refusal(Headers(raw=[*headers.items()]), self._names) is not None:
            return None
        return Asked(described.name, media != JSON)


def _headers(fields: list[bytes]) -> dict[bytes, bytes] | None:
    """The headers where they are usual ones, each there once; else None."""
    headers = {}
    for field in fields:
        found = _HEADER.fullmatch(field)
        name = found[1].lower() if found else b""
        if found is None or name not in _USUAL or name in headers:
            return None
        headers[name] = found[2]
    return headers if headers.get(b"connection", b"keep-alive").lower() == b"keep-alive" else None


def rendered(response: Response, defaults: list[tuple[bytes, bytes]]) -> bytes:
    """A whole answer as bytes, with the server's own headers first."""
    lines = [b"HTTP/1.1 %d %s" % (response.status_code, STATUS_PHRASES[response.status_code])]
    lines += [b"%s: %s" % header for header in (*defaults, *response.raw_headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body)


class QuickProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """A connection of uvicorn's, before whose parser stands what can be answered at once."""

    quick: Quick

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Of asyncio."""
        super().connection_made(transport)
        self._home = threading.get_ident()
        self._sending = threading.Lock()
        self._looking: object | None = None
        """The look that the driver is asked for; nothing else is answered meanwhile."""
        self._behind = b""
        """What came behind it."""
        self._direct: int | None = None
        """The same connection, for the driver's thread."""
        self._empty = False
        """Nothing of an earlier answer waits to be sent."""
        self._amid = False
        self._asked_at = 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio."""
        with self._sending:
            self._looking = None
            if self._direct is not None:
                os.close(self._direct)
                self._direct = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        with self._sending:
            if self._looking is not None:
                self._behind += data
                self.transport.pause_reading()
                return
        asked = self.quick.asked(data) if self._between() else None
        if asked is None:
            super().data_received(data)
        else:
            self._look(asked)

    def shutdown(self) -> None:
        """Of uvicorn: who waits is told that the host ends."""
        with self._sending:
            waits, self._looking = self._looking is not None, None
        if waits:
            error = UnreachableError("The host ends.", way_out="Ask again when it is back.")
            self.transport.write(self._refused(error, msgpack=False))
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Of uvicorn: close, unless somebody was answered meanwhile."""
        left = self._asked_at + self.timeout_keep_alive - self.loop.time()
        if self._looking is None and left <= 0:
            super().timeout_keep_alive_handler()
        else:
            self._keep(max(left, 1.0))

    def on_message_begin(self) -> None:
        """Of the parser in C."""
        self._amid = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Of the parser in C."""
        self._amid = False
        super().on_message_complete()

    def _between(self) -> bool:
        """No request is being received, answered or waiting; and what is sent is taken."""
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        if self._amid or self.flow.write_paused or self.transport.is_closing():
            return False
        if not isinstance(self, H11Protocol):
            return True
        states = self.conn.states
        return states[h11.CLIENT] is states[h11.SERVER] is h11.IDLE and not self.conn.trailing_data[0]

    def _keep(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _look(self, asked: Asked) -> None:
        self.server_state.total_requests += 1
        self._asked_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep(self.timeout_keep_alive)
        self._empty = not self.transport.get_write_buffer_size()
        ticket = self._looking = object()

        def told(reading: Reading | None, error: LabError | None) -> None:
            self._told(ticket, asked, reading, error)

        try:
            known = self.quick.host.look(asked.attribute, told)
        except LabError as error:
            told(None, error)
        else:
            if known is not None:
                told(known, None)
            elif self._direct is None:
                self._direct = os.dup(self.transport.get_extra_info("socket").fileno())

    def _told(self, ticket: object, asked: Asked, reading: Reading | None, error: LabError | None) -> None:
        """Called in the loop or in the driver's thread."""
        if threading.get_ident() == self._home:
            self._send(ticket, self._answer(asked, reading, error))
        elif reading is not None and not isinstance(reading.value, int | float | str | None):
            # Spelling an array out takes its time, which is not the driver's.
            self._in_loop(self._told, ticket, asked, reading, error)
        else:
            self._send_directly(ticket, self._answer(asked, reading, error))

    def _send(self, ticket: object, data: bytes) -> None:
        with self._sending:
            if self._looking is not ticket:
                return
            self._looking = None
        self.transport.write(data)
        self._go_on()

    def _send_directly(self, ticket: object, data: bytes) -> None:
        """In the driver's thread: one that the loop does not have to be woken for."""
        with self._sending:
            if self._looking is not ticket:
                return
            left = self._written(data) if self._direct is not None and self._empty else data
            if not left:
                self._looking = None
                if not self._behind:
                    return
        self._in_loop(self._send, ticket, left) if left else self._in_loop(self._go_on)

    def _written(self, data: bytes) -> bytes:
        """What of `data` the connection does not take now."""
        assert self._direct is not None
        try:
            return data[os.write(self._direct, data) :]
        except BlockingIOError:
            return data
        except OSError:  # the client has gone away; the loop sees that too
            return b""

    def _go_on(self) -> None:
        behind, self._behind = self._behind, b""
        if behind:
            self.transport.resume_reading()
            self.data_received(behind)

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # it is closed: nobody is there to be told
            self.loop.call_soon_threadsafe(call, *arguments)

    def _answer(self, asked: Asked, reading: Reading | None, error: LabError | None) -> bytes:
        if reading is None:
            return self._refused(error or LabError("The host met a fault of its own."), msgpack=asked.msgpack)
        try:
            body = messages.encode_value(reading.as_dict(), codec.encode if asked.msgpack else codec.encode_json)
        except LabError as fault:
            return self._refused(fault, msgpack=asked.msgpack)
        own = b"".join(b"%s: %s\r\n" % header for header in self.server_state.default_headers)
        return _OK % (own, len(body), _MSGPACK if asked.msgpack else _JSON, body)

    def _refused(self, error: LabError, *, msgpack: bool) -> bytes:
        accept = [(b"accept", _MSGPACK)] if msgpack else []
        response = problem_response(messages.problem_of(error), Request({"type": "http", "headers": accept}))
        return rendered(response, self.server_state.default_headers)


_OK = b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\ncontent-type: %s\r\n\r\n%s"
_JSON = b"application/json"
_MSGPACK = MSGPACK.encode()


def connection_with(quick: Quick) -> type[QuickProtocol]:
    """The kind of connection that answers what `quick` can."""
    return type("QuickConnection", (QuickProtocol,), {"quick": quick})
