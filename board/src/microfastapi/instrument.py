"""A driver on this board as an instrument of the laboratory: the contract that hosts and boards speak alike over HTTP.

Identity and memory are the point: an action is asked for with the caller's id, remembered before the driver is
called, and
asked again it is answered, not done again (`ledger`). What a driver offers is found in `describe`.
An action that is `async` or a generator leaves the loop free: attributes are read and `/stop` answered while it runs.
A plain
method blocks the loop until it returns, unless `thread=True` gives it the second core.
"""

import asyncio
import os
import time

from .answer import HTTPException, encode
from .clock import born, is_set, isoformat, new_id, now
from .ledger import Ledger
from .limits import accept, allows
from .parameters import Parameter
from .plain import plain
from .port import wait
from .request import unquote
from .response import Response
from .server import WAIT
from .stream import Events
from .trouble import misfit, problem, trace

_TITLES = {
    "InvalidError": "The request is not valid",
    "LimitError": "A value is outside its limits",
    "NotFoundError": "Not found",
    "BusyError": "The instrument is busy",
    "LeaseError": "The lease is no longer valid",
    "ConflictError": "In conflict with what is there",
    "NoStopError": "No software stop",
    "StorageError": "Cannot be written to disk",
    "DriverError": "The driver raised an error",
    "CancelledError": "Stopped before its end",
}


def mount(app, driver, name: "str | None" = None, **facts) -> "Instrument":
    """Offers `driver` below `prefix` of `app`; answers the Instrument, whose `tell` sends events.

    Args:
        name: in the laboratory; the class's name in small letters if left out.
        prefix: "" for the one instrument of a board; "/pump" where there are several.
        title, description: for people.
        ledger: file on the flash; None remembers `once` actions until the next restart only.
        rows: most rows of one measurement that this board's memory is given.
        thread: plain methods run beside the loop.
    """
    instrument = Instrument(app, driver, name or type(driver).__name__.lower(), **facts)
    instrument.route()
    return instrument


class Instrument:
    """One driver with its memory."""

    def __init__(
        self,
        app,
        driver,
        name: str,
        *,
        prefix: str = "",
        title: str = "",
        description: str = "",
        ledger: "str | None" = "",
        remember: int = 16,
        rows: int = 512,
        thread: bool = False,
    ):
        self.app = app
        self.driver = driver
        self.name = name
        self.prefix = prefix
        self.title = title or type(driver).__name__
        self.description = description or getattr(type(driver), "__doc__", "") or ""
        self.ledger = Ledger(name + ".ledger" if ledger == "" else ledger, remember)
        self.rows = rows
        self.thread = thread
        self.attributes = {}
        self.actions = {}
        self.events = Events()
        self.running = None  # the invocation under way
        self.task = None
        self.ended = None  # Event
        self.entered = False  # it has made its first step
        self.asked = ""  # "cancel" or "stop", once somebody asked the running action to end
        self.process = int.from_bytes(os.urandom(3), "big")  # another one after each restart

    def route(self) -> None:
        """Registers the contract's routes."""
        app = self.app
        app.preparations.append(self.learn)
        at = self.prefix
        request = _named("request", "request")
        name = _named("name", "path")
        action = _named("action", "path")
        identity = _named("identity", "path")
        app.add("GET", at or "/", self.describe)
        app.add("GET", at + "/health", self.health)
        app.add("GET", at + "/attributes", self.read_all)
        app.add("GET", at + "/attributes/{name}", self.read, name)
        app.add("PUT", at + "/attributes/{name}", self.write, name, request)
        app.add("POST", at + "/actions/{action}", self.begin, action, request)
        app.add("PUT", at + "/actions/{action}/{identity}", self.invoke, action, identity, request)
        app.add("GET", at + "/actions/{action}/{identity}", self.find, action, identity)
        app.add("DELETE", at + "/actions/{action}/{identity}", self.cancel, action, identity)
        app.add("GET", at + "/invocations/{identity}", self.find_any, identity)
        app.add("DELETE", at + "/invocations/{identity}", self.cancel_any, identity)
        app.add("POST", at + "/stop", self.stop)
        app.add("GET", at + "/events", self.listen, request)

    def learn(self) -> None:
        from .describe import offers

        self.attributes, self.actions = offers(self.driver)

    # Looking

    def describe(self) -> Response:
        """What the instrument offers, as data; sent piece by piece, whatever the driver's size."""
        return Response(self._pieces(), content_type="application/json")

    def _pieces(self):
        driver = type(self.driver)
        words = {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "driver": getattr(driver, "__module__", "main") + ":" + driver.__name__,
            "stop": hasattr(self.driver, "stop"),
            "links": {"events": self.prefix + "/events"},
        }
        yield encode(words)[:-1]
        for kind, offered in ((b"attributes", self.attributes), (b"actions", self.actions)):
            yield b', "%s": {' % kind
            comma = b""
            for name in offered:
                yield b"%s%s: %s" % (comma, encode(name), encode(offered[name].described()))
                comma = b", "
            yield b"}"
        yield b"}"

    def health(self) -> dict:
        """Whether it works, what it is doing, and since when it remembers."""
        import gc

        free = gc.mem_free() if hasattr(gc, "mem_free") else None
        return {
            "status": "busy" if self.running else "idle",
            "running": self.running,
            "ledger": {"birth": isoformat(self.ledger.birth), "lease": self.ledger.lease},
            "process": self.process,
            "clock": "set" if is_set() else "unset",
            "memory": {"free": free},
            "errors": self.app.errors,
            "log": self.app.log[-1:],
        }

    def read_all(self) -> dict:
        """Every attribute; one that cannot be read has the status "error"."""
        return {name: self.reading(self.attributes[name]) for name in self.attributes}

    def read(self, name: str) -> dict:
        """One look at one attribute."""
        return self.reading(self._attribute(name))

    def reading(self, attribute) -> dict:
        answer = {"value": None, "unit": attribute.value.unit, "time": now(), "status": "ok"}
        try:
            answer["value"] = plain(getattr(self.driver, attribute.name))
        except Exception as error:
            answer["status"] = "error"
            answer["detail"] = repr(error)
        return answer

    def _attribute(self, name: str):
        if name not in self.attributes:
            raise _problem(
                "NotFoundError", 404, "%s has no attribute %s; it has %s." % (self.name, name, _list(self.attributes))
            )
        return self.attributes[name]

    # Setting

    def write(self, name: str, request) -> dict:
        """Sets an attribute; answers it read back."""
        attribute = self._attribute(name)
        if not attribute.writable:
            raise _problem("ConflictError", 409, "%s.%s cannot be set." % (self.name, name), "It can be read.")
        fields = request.fields()
        values, faults = _check(
            {name: attribute.value}, {name: fields["value"]} if "value" in fields else {}, self.name
        )
        _refuse(faults)
        self._check_lease(request)
        self._refuse_if_busy("setting " + name)
        try:
            setattr(self.driver, name, values[name])
        except Exception as error:
            raise _problem("DriverError", 502, repr(error), traceback=trace(error))
        reading = self.reading(attribute)
        self.events.tell("attribute", {"name": name, "reading": reading})
        return reading

    # Acting

    async def begin(self, action: str, request):
        """An action under an id of our own, for clients without a journal."""
        return await self.invoke(action, new_id(), request)

    async def invoke(self, action: str, identity: str, request):
        """An action under the caller's id; the same id asked again is answered from memory."""
        offered = self._action(action)
        parameters = request.fields()
        identity = _canonical(identity)
        entry = self.ledger.find(identity)
        if entry:
            if entry["action"] != action or entry["parameters"] != parameters:
                raise _problem(
                    "ConflictError",
                    409,
                    "The id %s belongs to %s with other parameters." % (identity, entry["action"]),
                    "Make a new id for a new request.",
                )
        else:
            entry = self._accept(offered, identity, parameters, request)
        if "respond-async" in request.header("prefer", ""):
            where = "%s/actions/%s/%s" % (self.prefix, action, identity)
            return Response(encode(entry), 202, {"Location": where}, "application/json")
        if entry is self.running:
            request.connection.enter(WAIT)
            await self.ended.wait()
        return _outcome(entry)

    def _accept(self, action, identity: str, parameters: dict, request) -> dict:
        """Checks everything, remembers the invocation, and only then lets it begin."""
        wanted = {parameter.name: parameter for parameter in action.parameters}
        values, faults = _check(wanted, parameters, self.name + "." + action.name)
        _refuse(faults)
        self._check_lease(request)
        self._refuse_if_busy(action.name)
        moment = now()
        entry = {
            "id": identity,
            "instrument": self.name,
            "action": action.name,
            "parameters": parameters,
            "state": "running",
            "effect": action.effect,
            "actor": unquote(request.header("labretto-actor", "").encode()) or None,
            "accepted": moment,
            "started": moment,
            "ended": None,
            "result": None,
            "error": None,
        }
        try:
            self.ledger.begin(entry, action.effect == "once")
        except OSError as error:
            raise _problem("StorageError", 507, "The ledger cannot be written (%r); nothing moved." % error)
        self.running = entry
        self.asked = ""
        self.entered = False
        self.ended = asyncio.Event()
        self.task = asyncio.create_task(self._run(action, entry, values))
        self.events.tell("invocation", entry)
        return entry

    async def _run(self, action, entry: dict, values: dict) -> None:
        """Calls the driver and remembers how it ended; alone knows when that is."""
        state, result, error = "failed", None, None
        self.entered = True
        try:
            if not self.asked:
                result = await self._call(action, entry, values)
            state = "cancelled" if self.asked else "succeeded"
        except asyncio.CancelledError:
            state = "cancelled"
        except Exception as fault:
            self.app.report(fault)
            error = problem(_problem("DriverError", 502, repr(fault), traceback=trace(fault)))
        if state == "cancelled":
            result = None
            error = problem(
                _problem("CancelledError", 409, "%s was ended by %s." % (action.name, self.asked or "the board"))
            )
        entry.update({"state": state, "result": result, "error": error, "ended": now()})
        while True:
            try:
                self.ledger.end(entry, action.effect == "once")
                break
            except OSError as fault:  # not answered before it is remembered
                self.app.report(fault)
                await wait(1000)
        self.running = None
        self.events.tell("invocation", entry)
        self.ended.set()

    async def _call(self, action, entry: dict, values: dict):
        method = getattr(self.driver, action.name)
        if action.nature == "plain" and self.thread:
            return plain(await self._beside(method, values))
        answer = method(**values)
        if action.nature == "generator":
            return await self._collect(answer, entry)
        if action.nature == "async":
            answer = await answer
        return plain(answer)

    async def _beside(self, method, values: dict):
        """The driver's method in a thread; looked at again and again, because threads cannot wake every board's
        loop.
        """
        box = []

        def work():
            try:
                box.append((method(**values), None))
            except Exception as error:
                box.append((None, error))

        self.app.worker(work)
        while not box:
            try:
                await wait(10)
            except asyncio.CancelledError:
                pass  # a thread cannot be ended from outside; the driver's stop() has been told
        result, error = box[0]
        if error:
            raise error
        return result

    async def _collect(self, generator, entry: dict) -> dict:
        """The rows that a measurement yields, live to those who listen, in the end as columns."""
        columns = {}
        number = 0
        try:
            for row in generator:
                if number >= self.rows:
                    raise MemoryError(
                        "more than %d rows; yield fewer, or give the instrument more with rows=" % self.rows
                    )
                row = plain(row)
                for name in row:
                    columns.setdefault(name, []).append(row[name])
                self.events.tell("stream", {"invocation": entry["id"], "row": number, "columns": row})
                number += 1
                await wait(0)
        finally:
            generator.close()
        return columns

    def find(self, action: str, identity: str) -> dict:
        """What is known of an invocation, in one of the contract's words."""
        offered = self._action(action)
        identity = _canonical(identity)
        entry = self.ledger.find(identity)
        if entry:
            return entry
        state = self.ledger.missing(identity, offered.effect == "once")
        return _unknown(identity, self.name, action, offered.effect, state)

    def find_any(self, identity: str) -> dict:
        """The same, for who has forgotten which action it was."""
        entry = self.ledger.find(_canonical(identity))
        if entry:
            return entry
        states = [self.ledger.missing(identity, lasting) for lasting in (True, False)]
        state = "cannot tell" if "cannot tell" in states else states[0]
        return _unknown(identity, self.name, "", "once", state)

    def cancel(self, action: str, identity: str):
        """Asks a running action to end at its next wait or row."""
        entry = self.find_any(identity)
        if entry is not self.running:
            raise _problem("ConflictError", 409, "%s is over: %s." % (action, entry["state"]))
        if self.thread and self.actions[action].nature == "plain":
            raise _problem(
                "ConflictError",
                409,
                action + " blocks in its driver and cannot be cancelled.",
                "Stop the instrument, or wait.",
            )
        self._end("cancel")
        return entry, 202

    def cancel_any(self, identity: str):
        """The same, for who has forgotten which action it was."""
        return self.cancel(self.find_any(identity)["action"] or "the action", identity)

    def listen(self, request):
        """Rows, readings and invocations as they come: server-sent events, or framed msgpack for the hub."""
        return self.events.response("msgpack" in request.header("accept", ""))

    async def stop(self) -> dict:
        """Makes safe, at once: the driver's own `stop()`, outside every queue; then the running action ends."""
        if not hasattr(self.driver, "stop"):
            raise _problem("NoStopError", 501, self.name + " has no software stop.", "Use the instrument's own switch.")
        began = time.time_ns()
        detail = None
        try:
            answer = self.driver.stop()
            if hasattr(answer, "send"):
                await answer
        except Exception as error:
            detail = repr(error)
            self.app.report(error)
        if self.running:
            self._end("stop")
        return {"stopped": detail is None, "seconds": (time.time_ns() - began) / 1e9, "detail": detail}

    def _end(self, by: str) -> None:
        self.asked = by
        if self.entered:  # MicroPython drops a task that is cancelled before its first step, and with it the end
            self.task.cancel()

    def register(self, hub: str, token: "str | None" = None) -> "Instrument":
        """Tells a hub (`http://lab-pc:8000`) where this instrument is, for as long as the board serves."""
        from .presence import register

        register(self, hub, token)
        return self

    def announce(self) -> "Instrument":
        """Tells the network by multicast DNS that this instrument is here, for as long as the board serves."""
        from .presence import announce

        announce(self)
        return self

    def tell(self, topic: str, body) -> None:
        """Sends an event to everyone who listens to this instrument."""
        self.events.tell(topic, body)

    # Refusing

    def _action(self, name: str):
        if name not in self.actions:
            raise _problem(
                "NotFoundError", 404, "%s has no action %s; it has %s." % (self.name, name, _list(self.actions))
            )
        return self.actions[name]

    def _check_lease(self, request) -> None:
        text = request.header("labretto-lease")
        if text is None:
            return
        if not text.isdigit() or len(text) > 15:  # one that nobody could ever rise above would lock everybody out
            raise _problem(
                "InvalidError", 422, "The header Labretto-Lease is a number of at most 15 digits, not %s." % text[:80]
            )
        number = int(text)
        if number < self.ledger.lease:
            raise _problem(
                "LeaseError",
                409,
                "Lease %d on %s is over: number %d acts here." % (number, self.name, self.ledger.lease),
                "Take the instrument over again to get a higher number.",
                highest=self.ledger.lease,
            )
        if number > self.ledger.lease:
            self.ledger.raise_lease(number)

    def _refuse_if_busy(self, asked: str) -> None:
        if self.running:
            raise _problem(
                "BusyError",
                409,
                "%s is busy: %s runs since %s; %s was refused."
                % (self.name, self.running["action"], self.running["started"], asked),
                "Ask again when it has ended, or stop it.",
                running=self.running["id"],
                action=self.running["action"],
                since=self.running["started"],
            )


def _named(name: str, where: str) -> Parameter:
    parameter = Parameter(str, where=where)
    parameter.name = name
    return parameter


def _problem(kind: str, status: int, detail: str, way_out: str = "", **fields) -> HTTPException:
    if way_out:
        fields["way_out"] = way_out
    return HTTPException(status, detail, type="urn:labretto:error:" + kind, title=_TITLES[kind], **fields)


def _outcome(entry: dict) -> dict:
    """The answer to who asked for an action: the invocation, or the problem that it ended with."""
    if entry["state"] in ("running", "succeeded"):
        return entry
    problem = dict(entry["error"])
    problem["invocation"] = entry
    raise HTTPException(problem.pop("status"), problem.pop("detail"), **problem)


def _unknown(identity: str, instrument: str, action: str, effect: str, state: str) -> dict:
    """The answer about an invocation that is not in the ledger."""
    answer = {
        "id": identity,
        "instrument": instrument,
        "action": action,
        "effect": effect,
        "state": state,
        "parameters": {},
    }
    for word in ("accepted", "started", "ended", "result", "error", "actor"):
        answer[word] = None
    return answer


def _canonical(identity: str) -> str:
    identity = identity.lower()
    try:
        born(identity)
    except ValueError:
        raise _problem(
            "InvalidError",
            422,
            "The invocation id %s is not a UUID." % identity[:80],
            "Send a UUIDv7, or POST without an id.",
        )
    return identity


def _check(wanted: dict, given: dict, place: str) -> "tuple[dict, list]":
    """The values for the driver by name, and every fault: (kind of error, sentence)."""
    faults = []
    values = {}
    for name in given:
        if name not in wanted:
            faults.append(("InvalidError", "%s has no parameter %s; it has %s." % (place, name, _list(wanted))))
    for name in wanted:
        parameter = wanted[name]
        if name not in given:
            if parameter.default is ...:
                faults.append(("InvalidError", "%s needs the parameter %s." % (place, name)))
            continue
        value = given[name]
        try:
            value = values[name] = accept(parameter, value)
            if allows(parameter, value):
                continue
            unit = " " + parameter.unit if parameter.unit else ""
            wrong = misfit(parameter, value)[1] + unit
            faults.append(("LimitError", "%s: %s=%s%s is outside its limits. %s." % (place, name, value, unit, wrong)))
        except (ValueError, TypeError):
            wrong = misfit(parameter, value)[1]
            faults.append(("InvalidError", "%s: %s=%r does not fit. %s." % (place, name, value, wrong)))
    return values, faults


def _refuse(faults: list) -> None:
    """422 with every fault, if there is one; a LimitError where all of them are limits."""
    if faults:
        kinds = [kind for kind, _ in faults]
        kind = "InvalidError" if "InvalidError" in kinds else "LimitError"
        sentences = [sentence for _, sentence in faults]
        raise _problem(kind, 422, " ".join(sentences), faults=[{"detail": sentence} for sentence in sentences])


def _list(names) -> str:
    return ", ".join(sorted(names)) or "none"
