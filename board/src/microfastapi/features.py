"""What an app offers beyond routes; loaded when a program first asks for it (`MicroFastApi.__getattr__`)."""

from .app import Route
from .port import wait


class Features:
    """The rest of `MicroFastApi`."""

    def __init__(self, app):
        self.app = app

    def add(self, method: str, path: str, handler, *parameters, **spec) -> None:
        """Registers a route of our own, whose parameters need not be learnt."""
        route = Route(method, path, handler, spec)
        route.parameters = parameters
        self.app.all.append(route)

    def include(self, app, prefix: str = "") -> None:
        """Takes over the routes of another application, below `prefix`."""
        for route in app.all:
            route.path = prefix + route.path
            self.app.all.append(route)

    def instrument(self, driver, name: "str | None" = None, **facts):
        """Offers `driver` (an object of any class) as an instrument: its attributes, actions and stop. See
        `instrument.mount`.
        """
        from .instrument import mount

        return mount(self.app, driver, name, **facts)

    def files(self, path: str, folder: str) -> None:
        """Serves the files of a folder below `path`."""
        from .files import serve

        serve(self.app, path, folder)

    def updates(self, folder: str = ".") -> None:
        """Takes new files by `PUT /files/{name}`; only with a token."""
        from .update import accept

        accept(self.app, folder)

    def start(self) -> None:
        """Serves in a thread of its own; not on a board whose sockets hang on the second core."""
        from .threads import start

        start(self.app)

    def worker(self, function, *arguments) -> None:
        """Runs a function beside the server, on the second core where there is one; share data under `with
        app.lock`.
        """
        import _thread

        _thread.start_new_thread(function, arguments)

    def report(self, error: BaseException) -> None:
        """Keeps the last faults for people; the loop goes on."""
        from .trouble import report

        report(self.app, error)

    async def keep_alive(self) -> None:
        """Feeds the watchdog with every beat, and joins the network again after a loss."""
        app = self.app
        dog = None
        if app.watchdog:
            from machine import WDT

            dog = WDT(timeout=app.watchdog)
        beats = 0
        while True:
            await wait(app.beat_milliseconds)
            beats += 1
            if dog:
                dog.feed()
            if app.wifi and beats % 10 == 0:
                app.wifi.keep()

    @property
    def lock(self):
        """One lock for each app, made when it is first asked for."""
        import _thread

        self.app.lock = _thread.allocate_lock()
        return self.app.lock

    @property
    def routes(self) -> dict:
        """Path -> function; where a path has several methods, the others stand under `"POST /path"` and so on."""
        answer = {}
        for route in self.app.all:
            if not route.hidden:
                key = route.path
                answer[route.method.decode() + " " + key if key in answer else key] = route.handler
        return answer

    @property
    def address(self) -> str:
        """Where the app is found, as a URL."""
        port = "" if self.app.port == 80 else ":%d" % self.app.port
        return "http://" + (self.ip or "127.0.0.1") + port

    @property
    def ip(self) -> "str | None":
        """The app may have been made before the network was joined, and the network may give another one later."""
        wifi = self.app.wifi
        return wifi.ip if wifi and wifi.ip else self.app.ip

    @property
    def banner(self) -> str:
        """What `print(app)` says."""
        app = self.app
        mac = app.mac or (app.wifi and app.wifi.mac)
        return "%s at %s (MAC %s)\nOpen %s/docs" % (app.title, self.ip, mac, self.address)
