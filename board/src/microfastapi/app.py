"""`MicroFastApi`: the table of routes, and the loop that serves it.

What a handler's parameters are is learnt once, in `prepare` (by `signature`, which then leaves the memory again).
Everything
that not every board needs (files, documentation, the instrument contract) is a module of its own, imported when it is
asked for.
"""

import asyncio
import gc
import sys

from .parameters import gather
from .port import MICROPYTHON, listen, readable, spawn, wait
from .request import unquote
from .server import FULL, LIMITS, Connection

_METHODS = ("get", "post", "put", "patch", "delete")
_FACTS = ("status_code", "raw", "guarded", "hidden")


class Route:
    """One operation: a method, a path, the function that answers, and what is known of its parameters."""

    status_code = 200
    raw = False  # the handler reads the body itself
    guarded = False  # needs the token although it only reads
    hidden = False  # is not in the documentation
    parameters = None  # not learnt yet
    summary = ""
    needs = True  # more than a call without arguments

    def __init__(self, method: str, path: str, handler, spec: dict):
        self.method = method.encode()
        self.path = path
        self.written = path  # as it stands in the source
        self.handler = handler
        for fact in _FACTS:
            if fact in spec:
                setattr(self, fact, spec.pop(fact))
        self.spec = spec

    def call(self, request):
        result = self.handler(**gather(self.parameters, request)) if self.parameters else self.handler()
        return result if self.status_code == 200 else (result, self.status_code)


class MicroFastApi:
    """A web application on a microcontroller.

    Args:
        ip, mac: as `Wifi` knows them; shown by `print(app)`, nothing else depends on them.
        token: who changes something must send `Authorization: Bearer <token>`; with `guard_reads` who reads, too.
        safe: called with nothing when the board starts and when serving ends, to bring the hardware to rest.
        wifi: a `Wifi` to be kept connected.
        watchdog: milliseconds after which the board resets if the loop stands still.
    """

    def __init__(
        self,
        ip: "str | None" = None,
        port: int = 80,
        mac: "str | None" = None,
        *,
        title: str = "MicroFastApi",
        version: str = "0.1.0",
        token: "str | None" = None,
        guard_reads: bool = False,
        safe=None,
        wifi=None,
        watchdog: int = 0,
        docs: bool = True,
        connections: int = 4,
        head_limit: int = 1024,
        body_limit: int = 4096,
    ):
        self.ip = ip or (wifi.ip if wifi else None)
        self.mac = mac or (wifi.mac if wifi else None)
        self.port = port
        self.title = title
        self.version = version
        self.token = token
        self.guard_reads = guard_reads
        self.safe = safe
        self.wifi = wifi
        self.watchdog = watchdog
        self.docs = docs
        self.most = connections
        self.head_limit = head_limit
        self.body_limit = body_limit
        self.limits = LIMITS
        self.beat = 0
        self.beat_milliseconds = 1000
        self.all = []  # every Route, as registered
        self.table = {}  # b"GET /path" -> Route
        self.patterns = []  # (b"GET /fixed/part/", the one name that follows it, or all that follows it, Route)
        self.connections = []
        self.buffers = []  # of closed connections, to be used again
        self.log = []  # the last faults, newest last
        self.errors = 0
        self.background = []  # async functions that run beside the server
        self.preparations = []  # called with nothing when the routes are prepared

    # Registering

    def route(self, method: str, path: str, **spec):
        """Decorator: the function answers `method` on `path`. Keyword arguments say parameters: `q=str`,
        `n=Query(int, ge=0)`.
        """

        def register(handler):
            self.all.append(Route(method, path, handler, spec))
            return handler

        return register

    def __getattr__(self, name: str):
        """`get`, `post`, `put`, `patch`, `delete`, and what stands in `features`: a method costs a board 100 bytes."""
        if name in _METHODS:
            return lambda path, **spec: self.route(name.upper(), path, **spec)
        from .features import Features

        return getattr(Features(self), name)

    def __str__(self) -> str:
        return self.banner

    # Preparing

    def prepare(self) -> None:
        """Learns the parameters of all handlers, fills the tables, once; an error names the handler that stays
        unknown.
        """
        if not self.table and not self.patterns:
            from .signature import prepare

            prepare(self)
            if MICROPYTHON:  # the reader has done its work; its memory is worth more
                del sys.modules["microfastapi.signature"], sys.modules["microfastapi"].signature
                gc.collect()
                if gc.mem_free() < 200000 and gc.threshold() < 0:
                    gc.threshold(gc.mem_free() // 16)  # modules that come later would else lie scattered in the heap

    # Answering

    def find(self, request) -> Route:
        """The route for a request; 404, 405 or 401 where there is none for this client."""
        key = request.key
        if request.heads:
            key = b"GET" + key[4:]
        route = self.table.get(key) or self.match(key, request)
        if not route:
            route = self.table.get(key[:-1] if key[-1:] == b"/" else key + b"/")
            if not route:
                from .trouble import no_route

                raise no_route(self, request)
        if route.method != b"GET" and b"\norigin:" in request.lower:
            from .trouble import refuse_foreign

            refuse_foreign(request)
        if route.guarded:
            from .trouble import authorise

            authorise(self, request)
        return route

    def match(self, key: bytes, request):
        """The route whose pattern fits; the request is given the parts of its path."""
        for prefix, name, words, route in self.patterns:
            if key.startswith(prefix):
                rest = key[len(prefix) :]
                if name:
                    if not rest or b"/" in rest:
                        continue
                    request.parts = {name: unquote(rest)}
                else:
                    from .paths import fit

                    request.parts = fit(words, rest)
                    if not request.parts:
                        continue
                return route
        return None

    # Serving

    def admit(self, sock) -> None:
        """Takes a new client; where the house is full, the one that has been idle for longest makes room."""
        if len(self.connections) >= self.most:
            from .trouble import make_room

            if not make_room(self):
                sock.send(FULL)
                sock.close()
                return
        connection = Connection(self, sock)
        self.connections.append(connection)
        connection.task = spawn(connection.serve())

    async def serve(self, host: str = "0.0.0.0") -> None:
        """Serves until cancelled."""
        self.prepare()
        if self.safe:
            self.safe()
        listener = listen(host, self.port, self.most + 1)
        beside = [self._heart] + self.background
        if self.watchdog or self.wifi:
            beside.append(self.keep_alive)
        tasks = [asyncio.create_task(function()) for function in beside]
        try:
            while True:
                await readable(listener)
                try:
                    sock = listener.accept()[0]
                    sock.setblocking(False)
                    self.admit(sock)
                except (OSError, MemoryError) as error:  # the network is away or memory short: others are served on
                    self.report(error)
                    gc.collect()
                    await wait(100)
        finally:
            for task in tasks:
                task.cancel()
            for connection in list(self.connections):
                connection.dismiss()
            listener.close()
            if self.safe:
                self.safe()

    async def _heart(self) -> None:
        """Counts the beats and ends what takes too long."""
        while True:
            await wait(self.beat_milliseconds)
            self.beat += 1
            for connection in list(self.connections):
                connection.check(self.beat)

    def run(self, host: str = "0.0.0.0") -> None:
        """Serves until Ctrl-C."""
        try:
            asyncio.run(self.serve(host))
        except KeyboardInterrupt:
            pass
