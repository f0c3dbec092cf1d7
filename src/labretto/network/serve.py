"""What one host process does from its start to its end: lock, ports, driver, wires, and leaving within two seconds.

`serving` is the part that any process may do (`labretto.network.background` does it in a notebook); `serve` is a whole
process: signals, the watch on the hub that started it, the exit status. Who starts such processes and again after
their death is decided in `labretto.network.supervise`.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import hashlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from labretto.access import gate_of
from labretto.errors import ConflictError, LabError
from labretto.instrument.adopt import adopt, arguments, constructor
from labretto.instrument.describe import Offer
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.instrument.limits_file import read_limits
from labretto.instrument.overlay import Overlay
from labretto.instrument.reading import isoformat, now
from labretto.lab import Lab, LabInstrument, alone_folder, check_name
from labretto.network.announce import announced, ended
from labretto.network.curve import server_key
from labretto.network.directory import HostFile, remove_file, write_file
from labretto.network.liveness import held, hold, released
from labretto.network.load import load_driver, maker, source_of
from labretto.network.log import keep_bounded
from labretto.network.log_lines import configure
from labretto.network.wires import LOOPBACK, answering, reserved

logger = logging.getLogger(__name__)

LEAVE_WITHIN = 1.5
"""Seconds after a signal in which hardware and sockets are let go; what is not done by then goes with the process."""

END_WITHIN = 1.0
"""Seconds of these in which an action may run what it has in `finally`."""

GRACE = 10.0
"""Seconds that a host waits for its hub to come back before it leaves too."""


@dataclass(frozen=True)
class Order:
    """What one host process shall serve; travels from the hub to the process as JSON."""

    instrument: LabInstrument
    folder: Path
    """Where ledger, lock, address and log stand."""
    search_path: tuple[Path, ...] = ()
    helao: bool = False
    """Offer the old routes as well."""
    hub_lock: Path | None = None
    """Leave when the hub that holds this has gone; None for an instrument that is served alone."""
    grace: float = GRACE
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports that the last host of this instrument had ("http", "zmq", "events"): taken again where they are free."""
    log: Path | None = None
    """Where standard output goes already, so that it can be bounded."""

    @property
    def lab_folder(self) -> Path:
        """Where tokens and audit trail of the lab stand, or of all instruments that are served alone."""
        return self.hub_lock.parent if self.hub_lock else self.folder.parent

    @property
    def fingerprint(self) -> str:
        """Changes when what is served changes."""
        told = [self.instrument.model_dump(mode="json"), list(map(str, self.search_path)), self.helao]
        told += [_content(self.instrument.limits)] if isinstance(self.instrument.limits, Path) else []
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def as_json(self) -> str:
        """The form that `from_json` reads."""
        plain = {name: getattr(self, name) for name in ("helao", "grace")} | {"ports": dict(self.ports)}
        plain |= {name: str(getattr(self, name) or "") for name in ("folder", "hub_lock", "log")}
        plain |= {"search_path": [str(folder) for folder in self.search_path]}
        return json.dumps(plain | {"instrument": self.instrument.model_dump(mode="json")})

    @classmethod
    def from_json(cls, text: str) -> Order:
        """The order that `as_json` wrote."""
        body = json.loads(text)
        paths = {name: Path(body[name]) if body[name] else None for name in ("hub_lock", "log")}
        return cls(
            LabInstrument.model_validate(body["instrument"]),
            Path(body["folder"]),
            tuple(Path(folder) for folder in body["search_path"]),
            body["helao"],
            grace=body["grace"],
            ports=body["ports"],
            **paths,
        )


def _content(path: Path) -> str:
    try:
        return path.read_bytes().hex()
    except OSError as error:
        return str(error.errno)


def order_alone(instrument: LabInstrument) -> Order:
    """The order for an instrument that is served without a lab, from a driver in the working folder or installed."""
    search_path = tuple(path for path in (instrument.path, Path.cwd()) if path)
    return Order(instrument, alone_folder(instrument.name), search_path)


def order_in_lab(lab: Lab, name: str, **more: Any) -> Order:
    """The order for one instrument of a lab whose hub starts it."""
    folder = lab.host_folder(name)
    compat = lab.compat.helao
    return Order(
        lab.instruments[name], folder, lab.search_path(name), compat, lab.hub_lock, log=folder / "log.txt", **more
    )


def overlay(instrument: LabInstrument) -> Overlay:
    """What lab.toml says about the driver that its class does not."""
    return Overlay(**{word.name: getattr(instrument, word.name) for word in fields(Overlay)})


@dataclass(frozen=True)
class Serving:
    """An instrument that answers."""

    host: Host
    file: HostFile
    """As written beside the ledger."""


@contextlib.asynccontextmanager
async def serving(order: Order, driver: object = None) -> AsyncIterator[Serving]:
    """Serve while the block runs; afterwards nothing is left of it but ledger, lock file and log.

    Args:
        order: what to serve, and where its things stand.
        driver: a class or an instance to serve instead of what `order` names.

    Raises:
        ConflictError: another process serves this instrument, or the port is in use.
        ForbiddenError: others could reach it, and there is no token that would let anybody in.
        InvalidError, NotFoundError: the driver cannot be imported, described or made with its settings.
        DriverError: the driver's constructor raised.
    """
    name = check_name(order.instrument.name)
    async with contextlib.AsyncExitStack() as stack:
        where = order.instrument.host.strip("[]").replace("localhost", LOOPBACK)
        gate = gate_of(order.lab_folder, where, name)
        key = server_key(order.folder) if gate else None
        stack.enter_context(_only_host_of(order, name))
        remove_file(order.folder / "host.json")  # left by one that was killed: we hold its lock now
        listener = stack.enter_context(reserved(order.instrument.port, order.ports.get("http"), where))
        make, offer = offered(order, driver)
        limits = read_limits(order.instrument.limits)
        ledger = Ledger(order.folder / "ledger.db")
        host = Host(make, offer, ledger, limits=limits, overrun=order.instrument.overrun)
        stack.push_async_callback(_idle, host)  # as long as its driver is busy nobody else may have this ledger
        await stack.enter_async_context(host)
        old_routes = order.instrument.compat if order.helao else None
        former = order.ports or (_beside(order.instrument.port) if gate else {})
        answers = answering(host, listener, former, old_routes=old_routes, gate=gate, key=key)
        addresses = await stack.enter_async_context(answers)
        words = (name, os.getpid(), addresses, host.description.driver, isoformat(now()), order.fingerprint)
        file = HostFile(*words, *source_of(host.description.driver))
        write_file(order.folder / "host.json", file.as_dict())
        stack.callback(remove_file, order.folder / "host.json")
        if order.instrument.announce:
            stack.push_async_callback(ended, asyncio.create_task(announced(host.description, addresses, where)))
        yield Serving(host, file)


def _beside(port: int | None) -> dict[str, int]:
    """Ports of ZMQ where they have to be known beforehand: those that follow the one of HTTP, if they are free."""
    return {"zmq": port + 1, "events": port + 2} if port and port < 65_534 else {}


def offered(order: Order, driver: object = None) -> tuple[Callable[[], object], Offer]:
    """What makes the driver, and what it offers."""
    name, settings = order.instrument.name, order.instrument.settings
    said = overlay(order.instrument)
    if driver is not None and not isinstance(driver, type):
        return adopt(type(driver), lambda: driver, name=name, overlay=said)
    cls = driver or load_driver(order.instrument.driver or "", order.search_path)
    make = maker(constructor(cls), arguments(cls, settings, name), name)
    return adopt(cls, make, name=name, overlay=said)


# A whole process --------------------------------------------------------------------------------------------------


def serve(order: Order, *, ready: Callable[[HostFile], None] = lambda file: None) -> int:
    """Serve until SIGTERM or SIGINT, or until the hub that started us is gone; answers the exit status.

    Leaves within two seconds even while an action blocks in its driver, then by `os._exit`: it is recorded as
    interrupted. An action that gives opportunities to end does, and what it has in `finally` is run. SIGUSR1 means:
    leave unless an action runs.

    Args:
        order: what to serve.
        ready: called once the instrument answers.

    Raises:
        LabError: as `serving`; nothing is left behind.
    """
    # Nearly all that a start makes are modules, which stay: looking for garbage among them takes a tenth of its time.
    gc.disable()
    try:
        # Here and not in the loop: a module may take long or need the main thread, and Ctrl-C ends it as any import.
        driver = load_driver(order.instrument.driver or "", order.search_path)
        return asyncio.run(_serve(order, driver, ready))
    finally:
        gc.enable()


async def _serve(order: Order, driver: type, ready: Callable[[HostFile], None]) -> int:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    leaving = False

    def leave(reason: str) -> None:
        nonlocal leaving
        logger.info("leaving: %s", reason)
        if not leaving and main:
            leaving = True
            _leave_at_the_latest(order)
            main.cancel()

    def leave_if_idle(host: Host) -> None:
        if not host.running():
            leave("asked to while idle")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave, signal.Signals(number).name)
    try:
        async with serving(order, driver) as served:
            loop.add_signal_handler(signal.SIGUSR1, leave_if_idle, served.host)
            ready(served.file)
            gc.freeze()  # and later on nobody waits for a walk through them
            gc.enable()
            logger.info("%s answers at %s", served.file.name, ", ".join(served.file.addresses.values()))
            try:
                await _until_the_hub_is_gone(order, served.host)
                leave("the hub is gone")
                await asyncio.sleep(LEAVE_WITHIN)
            finally:
                await _end_actions(order, served.host)
    except asyncio.CancelledError:
        if not leaving:
            raise
    return 0


async def _until_the_hub_is_gone(order: Order, host: Host) -> None:
    """Return when the hub is gone, has not come back within the grace time, and no action runs."""
    if order.hub_lock is None:
        await asyncio.Event().wait()
        return
    while True:
        await released(order.hub_lock)
        logger.info("the hub is gone; waiting %s s for it to come back", order.grace)
        await asyncio.sleep(order.grace)
        await _idle(host)
        if not held(order.hub_lock):
            return
        logger.info("the hub is back")


@contextlib.contextmanager
def _only_host_of(order: Order, name: str) -> Iterator[None]:
    """Own the folder of an instrument while the block runs."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(order.folder / "lock"))
        except ConflictError as error:
            raise ConflictError(
                f"An instrument {name!r} is served already: {error.detail}",
                way_out="Stop that process first, or give this one another name.",
                **error.fields,
            ) from None
        yield


async def _idle(host: Host) -> None:
    """Return when no action runs."""
    changed = asyncio.Event()
    end = host.listen(lambda topic, body: changed.set())
    try:
        while host.running():
            await changed.wait()
            changed.clear()
    finally:
        end()


async def _end_actions(order: Order, host: Host) -> None:
    """Let end what can, so that its clean-up runs; record the rest as interrupted, and leave at once."""
    if host.running() and await host.wind_up(END_WITHIN):
        with contextlib.suppress(LabError):
            host.leave_interrupted()
        _leave_now(order)  # the driver is busy: nothing of it can be let go


def _leave_at_the_latest(order: Order) -> None:
    """A driver's `close()`, or its constructor, may block for ever, and the loop may wait for it."""
    timer = threading.Timer(LEAVE_WITHIN, _leave_now, [order])
    timer.daemon = True
    timer.start()


def _leave_now(order: Order) -> None:
    remove_file(order.folder / "host.json")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


# Started by a hub -------------------------------------------------------------------------------------------------


def main() -> int:
    """`python -m labretto.network.serve NAME READY`: the order is JSON on standard input.

    One line of JSON goes to the file descriptor READY: what `host.json` holds once the instrument answers, or the
    problem that stands against it.
    """
    report = int(sys.argv[2])
    os.set_inheritable(report, False)
    order = Order.from_json(sys.stdin.read())
    faulthandler.enable()
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    configure(logging.INFO, fields={"instrument": order.instrument.name})
    if order.log:
        keep_bounded(order.log)

    def tell(body: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the hub is gone; it will find us by our lock
            os.write(report, json.dumps(body).encode() + b"\n")
        os.close(report)

    try:
        return serve(order, ready=lambda file: tell(file.as_dict()))
    except LabError as error:
        logger.error("%s\n%s", error, error.fields.get("traceback", ""))
        tell(error.problem())
        return 1


if __name__ == "__main__":
    sys.exit(main())
