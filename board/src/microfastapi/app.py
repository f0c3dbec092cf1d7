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
from .response import HTTPException
from .server import FULL, LIMITS, Connection

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
        self._lock = None

    # Registering

    def route(self, method: str, path: str, **spec):
        """Decorator: the function answers `method` on `path`. Keyword arguments say parameters: `q=str`,
        `n=Query(int, ge=0)`.
        """

        def register(handler):
            self.all.append(Route(method, path, handler, spec))
            return handler

        return register

    def get(self, path: str, **spec):
        return self.route("GET", path, **spec)

    def post(self, path: str, **spec):
        return self.route("POST", path, **spec)

    def put(self, path: str, **spec):
        return self.route("PUT", path, **spec)

    def patch(self, path: str, **spec):
        return self.route("PATCH", path, **spec)

    def delete(self, path: str, **spec):
        return self.route("DELETE", path, **spec)

    def include(self, app: "MicroFastApi", prefix: str = "") -> None:
        """Takes over the routes of another application, below `prefix`."""
        for route in app.all:
            route.path = prefix + route.path
            self.all.append(route)

    def instrument(self, driver, name: "str | None" = None, **facts):
        """Offers `driver` (an object of any class) as an instrument: its attributes, actions and stop. See
        `instrument.mount`.
        """
        from .instrument import mount

        return mount(self, driver, name, **facts)

    def files(self, path: str, folder: str) -> None:
        """Serves the files of a folder below `path`."""
        from .files import serve

        serve(self, path, folder)

    def updates(self, folder: str = ".") -> None:
        """Takes new files by `PUT /files/{name}`; only with a token."""
        from .update import accept

        accept(self, folder)

    @property
    def routes(self) -> dict:
        """Path -> function; where a path has several methods, the others stand under `"POST /path"` and so on."""
        answer = {}
        for route in self.all:
            if not route.hidden:
                key = route.path
                answer[route.method.decode() + " " + key if key in answer else key] = route.handler
        return answer

    @property
    def address(self) -> str:
        return "http://" + (self.ip or "127.0.0.1") + ("" if self.port == 80 else ":%d" % self.port)

    def __str__(self) -> str:
        return "%s at %s (MAC %s)\nOpen %s/docs" % (self.title, self.ip, self.mac, self.address)

    # Preparing

    def add(self, method: str, path: str, handler, *parameters, **spec) -> None:
        """Registers a route of our own, whose parameters need not be learnt."""
        route = Route(method, path, handler, spec)
        route.parameters = parameters
        self.all.append(route)

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

    def openapi(self):
        """The description of all routes."""
        from .openapi import document

        return document(self)

    def page(self):
        """The documentation for people."""
        from .openapi import page

        return page()

    def guards(self, route: Route) -> bool:
        return bool(self.token) and (self.guard_reads or route.guarded or route.method != b"GET")

    # Answering

    def find(self, request) -> Route:
        """The route for a request; 404, 405 or 401 where there is none for this client."""
        key = request.key
        if key[0] == 72 and key[:5] == b"HEAD ":
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
        if self.token and self.guards(route):
            from .trouble import authorise

            authorise(self, request)
        return route

    def match(self, key: bytes, request):
        """The route whose pattern fits; the request is given the parts of its path."""
        try:
            for prefix, name, words, route in self.patterns:
                if key.startswith(prefix):
                    rest = key[len(prefix) :]
                    if not name:
                        parts = fit(words, rest)
                        if not parts:
                            continue
                        request.parts = parts
                    elif not rest or b"/" in rest:
                        continue
                    else:
                        request.parts = {name: unquote(rest) if b"%" in rest else rest.decode()}
                    return route
        except ValueError:
            raise HTTPException(400, "a path is percent-encoded UTF-8")
        return None

    def report(self, error: BaseException) -> None:
        """Keeps the last faults for people; the loop goes on."""
        from .trouble import report

        self.errors += 1
        report(self, error)

    # Serving

    def admit(self, sock) -> None:
        """Takes a new client; where the house is full, the one that has been idle for longest makes room."""
        if len(self.connections) >= self.most:
            idlest = self.connections[0]
            for connection in self.connections:
                if (connection.phase, connection.since) < (idlest.phase, idlest.since):
                    idlest = connection
            if idlest.busy():
                sock.send(FULL)
                sock.close()
                return
            idlest.dismiss()
        connection = Connection(self, sock)
        self.connections.append(connection)
        connection.task = spawn(connection.serve())

    async def serve(self, host: str = "0.0.0.0") -> None:
        """Serves until cancelled."""
        self.prepare()
        if self.safe:
            self.safe()
        listener = listen(host, self.port, self.most + 1)
        tasks = [asyncio.create_task(function()) for function in [self._heart] + self.background]
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
        """Counts the beats, ends what takes too long, keeps watchdog and network alive."""
        dog = None
        if self.watchdog:
            from machine import WDT

            dog = WDT(timeout=self.watchdog)
        while True:
            await wait(self.beat_milliseconds)
            self.beat += 1
            for connection in list(self.connections):
                connection.check(self.beat)
            if dog:
                dog.feed()
            if self.wifi and self.beat % 10 == 0:
                self.wifi.keep()

    def run(self, host: str = "0.0.0.0") -> None:
        """Serves until Ctrl-C."""
        try:
            asyncio.run(self.serve(host))
        except KeyboardInterrupt:
            pass

    def start(self) -> None:
        """Serves in a thread of its own; not on a board whose sockets hang on the second core."""
        from .threads import start

        start(self)

    def worker(self, function, *arguments) -> None:
        """Runs a function beside the server, on the second core where there is one; share data under `with
        app.lock`.
        """
        import _thread

        _thread.start_new_thread(function, arguments)

    @property
    def lock(self):
        if self._lock is None:
            import _thread

            self._lock = _thread.allocate_lock()
        return self._lock


def fit(words: list, rest: bytes) -> "dict | None":
    """The parameters in what follows the fixed part of a path, if it fits: a name takes one piece, `*name` all the
    rest.
    """
    parts = {}
    pieces = rest.split(b"/", len(words) - 1)
    if len(pieces) != len(words):
        return None
    for word, piece in zip(words, pieces):
        if type(word) is bytes:
            if word != piece:
                return None
        elif word[0] == "*":
            parts[word[1:]] = unquote(piece)
        elif not piece or b"/" in piece:
            return None
        else:
            parts[word] = unquote(piece) if b"%" in piece else piece.decode()
    return parts
