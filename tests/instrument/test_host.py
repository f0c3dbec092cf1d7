"""One driver, one thread, every invocation in the ledger: whatever a driver does, an answer comes and it is true.

The drivers here block on events that a test sets: nothing sleeps.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest
from annotated_types import Interval, Unit

from labretto.errors import (
    BusyError,
    ConflictError,
    DriverError,
    InvalidError,
    LeaseError,
    LimitError,
    NoStopError,
    NotFoundError,
    StorageError,
    UnreachableError,
)
from labretto.instrument import backlog, execution, host as host_room
from labretto.instrument.codec import CannotEncodeError
from labretto.instrument.describe import concurrent, describe, effect
from labretto.instrument.host import Host
from labretto.instrument.invocation import Invocation, new_id
from labretto.instrument.ledger import Ledger

Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=100)]


class Row(NamedTuple):
    potential: Annotated[float, Unit("V")]


class Gate:
    """A place in a driver where it waits for the test."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.opened.wait(30)

    async def wait_until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 30)


class Driver:
    """Does what the tests need."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.log: list[Any] = []
        self._x = 1.0
        self.thread = threading.current_thread()

    @property
    def x(self) -> Millimetre:
        return self._x

    @x.setter
    def x(self, value: float) -> None:
        self._x = value

    @property
    def fixed(self) -> int:
        return 3

    @effect("absolute")
    def move(self, to: Millimetre) -> Millimetre:
        self.log.append(("move", to, threading.current_thread() is self.thread))
        self._x = to
        return to

    def block(self, tag: str = "") -> str:
        self.log.append(("block", tag))
        self.gate()
        return tag

    def scan(self, rows: int) -> Iterator[Row]:
        try:
            for row in range(rows):
                if row == 2:
                    self.gate()
                yield Row(float(row))
        finally:
            self.log.append("scan closed")

    async def glide(self) -> float:
        self.log.append("gliding")
        self.gate.reached.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.log.append("glide ended")
        return 0.0

    @concurrent
    def blink(self) -> bool:
        return threading.current_thread() is not self.thread

    def stop(self) -> None:
        self.log.append("stop")
        self.gate.opened.set()

    def close(self) -> None:
        self.log.append("close")


@asynccontextmanager
async def hosting(
    driver: type = Driver,
    *,
    ledger: Ledger | None = None,
) -> AsyncIterator[tuple[Host, Any]]:
    """A host and its driver; blocked drivers are let go at the end."""
    drivers: list[Any] = []

    def make() -> object:
        drivers.append(driver())
        return drivers[-1]

    def let_go() -> None:
        for each in drivers:
            if gate := getattr(each, "gate", None):
                gate.opened.set()

    host = Host(make, describe(driver, name="it"), ledger or Ledger())
    async with host:
        try:
            yield host, drivers[-1]
        finally:
            let_go()
    await asyncio.to_thread(host._thread._ended.wait, 30)


@asynccontextmanager
async def turns_change_often() -> AsyncIterator[None]:
    """Threads take turns at nearly every step, so that what must not happen between two steps does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def ended(host: Host, action: str, parameters: dict[str, Any] | None = None, **words: Any) -> Invocation:
    return await host.wait((await host.invoke(action, parameters or {}, **words)).id)


def one(source: str) -> type:
    """A driver class with the method `act`, from its source."""
    names: dict[str, Any] = {**globals(), "asyncio": asyncio}
    exec("class Driver:\n" + "\n".join(f"    {line}" for line in source.splitlines()), names)
    return names["Driver"]  # type: ignore[no-any-return]


# Actions and their ids


async def test_an_action_runs_in_the_thread_in_which_the_driver_was_made() -> None:
    async with hosting() as (host, driver):
        done = await ended(host, "move", {"to": 5}, actor="anna")

        assert driver.log == [("move", 5.0, True)]
        assert (done.state, done.result, done.effect, done.actor) == ("succeeded", 5.0, "absolute", "anna")
        assert done.accepted <= done.started <= done.ended  # type: ignore[operator]
        assert host.find(done.id) == done


async def test_the_same_id_is_answered_while_it_runs_and_for_ever_after_and_executed_once() -> None:
    async with hosting() as (host, driver):
        identity = new_id()
        first = await host.invoke("block", {"tag": "a"}, identity=identity)
        again = await host.invoke("block", {"tag": "a"}, identity=identity.upper())
        assert (first.state, again.state, again.id) == ("running", "running", identity)

        driver.gate.opened.set()
        done = await host.wait(identity.upper())
        assert await host.invoke("block", {"tag": "a"}, identity=identity) == done
        assert driver.log == [("block", "a")]


async def test_two_clients_that_send_the_same_id_at_the_same_moment_get_one_execution() -> None:
    async with hosting() as (host, driver):
        identity = new_id()
        asked = [host.invoke("block", {"tag": "a"}, identity=identity) for _ in range(20)]
        answers = await asyncio.gather(*asked)
        driver.gate.opened.set()
        ends = await asyncio.gather(*[host.wait(identity) for _ in range(20)])

        assert {answer.id for answer in answers} == {identity}
        assert {end.state for end in ends} == {"succeeded"}
        assert driver.log == [("block", "a")]


@pytest.mark.parametrize(("action", "parameters"), [("block", {"tag": "b"}), ("move", {"to": 1}), ("block", {})])
async def test_the_same_id_for_something_else_is_refused(action: str, parameters: dict[str, Any]) -> None:
    async with hosting() as (host, driver):
        identity = (await host.invoke("block", {"tag": "a"})).id
        with pytest.raises(ConflictError, match="belongs to block"):
            await host.invoke(action, parameters, identity=identity)
        driver.gate.opened.set()
        await host.wait(identity)
        with pytest.raises(ConflictError, match="belongs to block"):
            await host.invoke(action, parameters, identity=identity)


async def test_an_id_is_known_at_every_moment_between_the_begin_and_long_after_the_end() -> None:
    """Between the driver's end and the front loop's knowledge of it nobody is told "not arrived"."""
    async with hosting() as (host, _):
        for _ in range(200):
            identity = new_id()
            asking = asyncio.ensure_future(host.invoke("move", {"to": 1}, identity=identity))
            states = []
            while not states or states[-1] != "succeeded":
                await asyncio.sleep(0)
                states.append(host.find(identity).state)
            assert set(states) <= {"running", "succeeded"}
            await asking


async def test_an_id_that_never_came_has_not_arrived_and_one_of_before_cannot_be_told() -> None:
    async with hosting() as (host, _):
        assert host.find(new_id()).state == "not arrived"
        assert (await host.wait(new_id())).state == "not arrived"
        assert host.find("00000000-0000-7000-8000-000000000000").state == "cannot tell"
        with pytest.raises(InvalidError):
            host.find("42")


async def test_a_second_exclusive_action_is_refused_at_once_with_what_runs_and_since_when() -> None:
    async with hosting() as (host, driver):
        running = await host.invoke("block", {"tag": "a"})
        with pytest.raises(BusyError, match=r"it is busy: block\(tag='a'\) runs since 2") as refused:
            await host.invoke("move", {"to": 1})
        assert (refused.value.fields["running"], refused.value.fields["action"]) == (running.id, "block")
        with pytest.raises(BusyError, match="setting x was refused"):
            await host.write("x", 5)
        assert [invocation.id for invocation in host.running()] == [running.id]

        driver.gate.opened.set()
        await host.wait(running.id)
        assert host.running() == []
        assert (await ended(host, "move", {"to": 1})).state == "succeeded"


async def test_what_may_have_been_done_before_the_ledger_was_there_is_begun_only_where_that_is_harmless() -> None:
    """Who sends a request again to a host that has lost its memory is told, and the instrument does not move twice."""
    async with hosting() as (host, _):
        long_ago = "01890000-0000-7000-8000-000000000000"
        with pytest.raises(ConflictError, match=r"2023-06-.*nobody can tell; it was not begun"):
            await host.invoke("block", {"tag": "a"}, identity=long_ago)
        assert host.running() == []
        assert (await host.invoke("move", {"to": 1}, identity=long_ago)).id == long_ago


async def test_a_concurrent_action_runs_beside_a_blocking_one_in_a_thread_of_its_own() -> None:
    async with hosting() as (host, _):
        await host.invoke("block", {})
        assert (await ended(host, "blink")).result is True


@pytest.mark.parametrize(
    ("action", "parameters", "kind"),
    [
        ("fly", {}, NotFoundError),
        ("stop", {}, NotFoundError),
        ("move", {}, InvalidError),
        ("move", {"to": 101}, LimitError),
        ("move", {"to": float("nan")}, LimitError),
    ],
)
async def test_what_cannot_be_done_is_refused_and_leaves_nothing_behind(
    action: str, parameters: dict[str, Any], kind: type[Exception]
) -> None:
    async with hosting() as (host, driver):
        identity = new_id()
        with pytest.raises(kind):
            await host.invoke(action, parameters, identity=identity)
        assert host.find(identity).state == "not arrived"
        assert driver.log == []


async def test_a_listener_hears_the_begin_before_the_end_however_quick_the_action() -> None:
    async with hosting() as (host, _):
        heard: list[str] = []
        host.listen(lambda topic, body: heard.append(body["state"]) if topic == "invocation" else None)
        for _ in range(50):
            await ended(host, "move", {"to": 1})
        await asyncio.sleep(0)
        assert heard == ["running", "succeeded"] * 50


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_listener_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def faulty(topic: str, body: dict[str, Any]) -> None:
        raise RuntimeError("mine")

    async with hosting() as (host, _):
        heard: list[str] = []
        unsubscribe = host.listen(faulty)
        host.listen(lambda topic, body: heard.append(topic))
        assert (await ended(host, "move", {"to": 1})).state == "succeeded"
        unsubscribe()
        unsubscribe()
        assert "invocation" in heard
    assert "a listener raised" in caplog.text


# What drivers raise and answer


@pytest.mark.parametrize(
    "raised",
    ["ValueError('no')", "SystemExit(3)", "KeyboardInterrupt()", "StopIteration()", "GeneratorExit()",
     "asyncio.CancelledError()", "StopAsyncIteration()", "ExceptionGroup('g', [ValueError('no')])",
     "type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "ValueError('\\udcff junk of a serial line')"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_whatever_a_driver_raises_is_a_failed_action_and_the_host_lives_on(raised: str, kind: str) -> None:
    async with hosting(one(f"{kind} act(self): raise {raised}\ndef rest(self): return 1")) as (host, _):
        done = await ended(host, "act")

        assert done.state == "failed"
        assert done.error is not None
        assert done.error["detail"].startswith("it.act: the driver raised ")
        assert "Traceback" in done.error["traceback"]
        assert (await ended(host, "rest")).result == 1


async def test_stop_iteration_is_told_by_its_own_name() -> None:
    async with hosting(one("def act(self): return next(iter([]))")) as (host, _):
        assert (await ended(host, "act")).error["detail"] == "it.act: the driver raised StopIteration"  # type: ignore[index]


@pytest.mark.parametrize("raised", ["ValueError('no')", "SystemExit(3)", "KeyboardInterrupt()", "StopIteration()"])
async def test_an_attribute_that_raises_is_an_error_of_the_driver_and_the_host_lives_on(raised: str) -> None:
    source = (
        f"@property\ndef x(self): raise {raised}\n@x.setter\ndef x(self, v): raise {raised}\ndef act(self): return 1"
    )
    async with hosting(one(source)) as (host, _):
        with pytest.raises(DriverError, match=r"it\.x: the driver raised") as failed:
            await host.read("x")
        assert "Traceback" in failed.value.fields["traceback"]
        with pytest.raises(DriverError, match=r"it\.x = 5: the driver raised"):
            await host.write("x", 5)
        reading = (await host.read_all())["x"]
        assert (reading.value, reading.status) == (None, "error")
        assert (await ended(host, "act")).result == 1


@pytest.mark.parametrize("raised", ["OSError('no such port')", "SystemExit(3)", "StopIteration()"])
async def test_a_driver_that_cannot_be_made_is_told_and_leaves_nothing_open(tmp_path: Path, raised: str) -> None:
    driver = one(f"def __init__(self): raise {raised}\ndef close(self): raise AssertionError('there is no driver')")
    ledger = Ledger(tmp_path / "ledger.db")
    host = Host(driver, describe(driver, name="it"), ledger)
    with pytest.raises(DriverError, match="it: the driver raised"):
        await host.__aenter__()
    assert ledger.closed


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ("np.float32(1.5)", 1.5),
        ("np.int64(3)", 3),
        ("{7}", [7]),
        ("(1, 2)", [1, 2]),
        ("Row(1.0)", [1.0]),
        ("b'raw'", b"raw"),
        ("{'a': None}", {"a": None}),
        ("float('inf')", float("inf")),
        ("Path('/tmp/a.tif')", "/tmp/a.tif"),
        ("range(3)", [0, 1, 2]),
    ],
)
async def test_what_a_driver_answers_is_the_same_at_once_and_later(answer: str, result: Any) -> None:
    async with hosting(one(f"def act(self): return {answer}")) as (host, _):
        done = await ended(host, "act")
        assert (done.state, done.result, host.find(done.id).result) == ("succeeded", result, result)


async def test_arrays_and_nan_are_kept_exactly() -> None:
    async with hosting(one("def act(self): return {'image': np.eye(3), 'nan': float('nan')}")) as (host, _):
        done = host.find((await ended(host, "act")).id)
        np.testing.assert_equal(done.result, {"image": np.eye(3), "nan": float("nan")})


@pytest.mark.parametrize("answer", ["object()", "open", "2**70", "np.array([object()])", "(i for i in [object()])"])
async def test_a_result_that_cannot_be_kept_is_a_failure_that_says_it_was_executed(answer: str) -> None:
    async with hosting(one(f"def act(self): return {answer}\ndef rest(self): return 1")) as (host, _):
        done = await ended(host, "act")
        assert done.state == "failed"
        assert done.error is not None
        assert "cannot be" in done.error["detail"]
        assert (await ended(host, "rest")).result == 1


async def test_an_attribute_that_cannot_be_sent_says_so() -> None:
    async with hosting(one("@property\ndef port(self): return object()")) as (host, _):
        with pytest.raises(DriverError, match=r"it\.port cannot be sent: A value of type builtins\.object"):
            await host.read("port")


async def test_an_answer_shares_nothing_with_the_buffers_of_the_driver() -> None:
    source = (
        "frame = np.zeros(2)\n@property\ndef image(self): return self.frame\n"
        "def act(self):\n    self.frame += 1\n    return self.frame"
    )
    async with hosting(one(source)) as (host, _):
        reading = await host.read("image")
        first = await ended(host, "act")
        await ended(host, "act")
        assert (reading.value.tolist(), first.result.tolist()) == ([0, 0], [1, 1])


class Everything:
    """Answers to every name, as a proxy of a foreign library does."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.__dict__["asked"].append(name)
        return lambda *a, **k: f"{name} was called"


class Described:
    def act(self) -> str: ...


async def test_a_driver_that_answers_to_every_name_is_asked_only_for_what_is_described() -> None:
    proxy = Everything()
    async with Host(lambda: proxy, describe(Described, name="it"), Ledger()) as host:
        assert (await ended(host, "act")).result == "act was called"
    assert proxy.asked == ["act"]


async def test_a_plain_driver_may_use_asyncio_run_inside() -> None:
    """A library that hides its coroutines is a plain driver."""
    source = (
        "async def _ask(self): return 7\n@property\ndef x(self): return asyncio.run(self._ask())\n"
        "def act(self): return asyncio.run(self._ask())\ndef rows(self):\n    yield asyncio.run(self._ask())"
    )
    async with hosting(one(source)) as (host, _):
        assert (await ended(host, "act")).result == 7
        assert (await host.read("x")).value == 7
        assert (await ended(host, "rows")).result["value"].tolist() == [7]


async def test_an_asynchronous_driver_is_made_where_its_loop_runs() -> None:
    source = (
        "def __init__(self): self.loop_, self.event = asyncio.get_running_loop(), asyncio.Event()\n"
        "async def act(self): self.event.set(); return self.loop_ is asyncio.get_running_loop()\n"
        "def plain(self): return asyncio.get_running_loop() is self.loop_"
    )
    async with hosting(one(source)) as (host, _):
        assert (await ended(host, "act")).result is True
        assert (await ended(host, "plain")).result is True


# Generators


async def test_rows_are_heard_as_they_come_and_the_result_is_the_table_of_all() -> None:
    async with hosting() as (host, driver):
        rows: list[Any] = []
        second = asyncio.Event()

        def listener(topic: str, body: dict[str, Any]) -> None:
            if topic == "stream":
                rows.append((body["row"], body["columns"]))
                if len(rows) == 2:
                    second.set()

        host.listen(listener)
        running = await host.invoke("scan", {"rows": 4})
        await second.wait()
        assert rows == [(0, {"potential": 0.0}), (1, {"potential": 1.0})]
        assert host.find(running.id).state == "running"

        driver.gate.opened.set()
        done = await host.wait(running.id)
        assert done.result["potential"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("how", ["cancel", "stop"])
async def test_a_generator_ends_after_the_row_it_is_at_and_keeps_what_was_measured(how: str) -> None:
    async with hosting() as (host, driver):
        running = await host.invoke("scan", {"rows": 1000})
        await driver.gate.wait_until_reached()
        if how == "cancel":
            assert host.cancel(running.id.upper()).state == "running"
            driver.gate.opened.set()
        else:
            assert (await host.stop())["stopped"] is True
        done = await host.wait(running.id)

        assert done.state == "cancelled"
        assert done.error is not None
        assert f"it.scan was {'cancelled' if how == 'cancel' else 'stopped'} before its end" in done.error["detail"]
        assert done.result["potential"].tolist() == [0, 1, 2]
        assert driver.log[-1] == "scan closed"


FAILING = "def act(self) -> Iterator[Row]:\n    yield Row(1.0)\n    yield Row(2.0)\n    raise ValueError('lost')"


async def test_a_generator_that_raises_fails_and_what_it_yielded_stays() -> None:
    async with hosting(one(FAILING)) as (host, _):
        heard: list[Any] = []
        host.listen(lambda topic, body: heard.append(body["columns"]) if topic == "stream" else None)
        done = await ended(host, "act")

        assert done.state == "failed"
        assert done.error is not None
        assert "ValueError: lost" in done.error["detail"]
        assert heard == [{"potential": 1.0}, {"potential": 2.0}]
        assert done.result["potential"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "source",
    [
        "async def act(self) -> AsyncIterator[Row]:\n"
        "    yield Row(1.0)\n    await asyncio.sleep(0)\n    yield Row(2.0)",
        "def act(self) -> Iterator[Row]: return iter([Row(1.0), Row(2.0)])",
        "def act(self) -> Iterator[Row]: return (row for row in [Row(1.0), Row(2.0)])",
        "def act(self) -> Iterator[Row]:\n    yield {'potential': 1.0}\n    yield {'potential': 2.0}",
        "@concurrent\ndef act(self) -> Iterator[Row]:\n    yield Row(1.0)\n    yield Row(2.0)",
        "def act(self) -> Iterator[Row]:\n"
        "    b = np.zeros(1)\n    for v in (1, 2):\n        b[:] = v\n        yield Row(b)",
    ],
    ids=["async generator", "iterator", "expression", "mappings", "beside", "one buffer for all chunks"],
)
async def test_every_kind_of_generator_streams_and_answers_its_table(source: str) -> None:
    async with hosting(one(source)) as (host, _):
        heard: list[Any] = []
        host.listen(lambda topic, body: heard.append(body["columns"]["potential"]) if topic == "stream" else None)
        done = await ended(host, "act")

        assert done.result["potential"].tolist() == [1, 2]
        assert heard == [1, 2]


async def test_a_row_that_cannot_be_sent_fails_the_action_and_closes_the_generator() -> None:
    source = (
        "closed = False\ndef act(self):\n"
        "    try:\n        yield {'x': object()}\n    finally:\n        Driver.closed = True"
    )
    async with hosting(one(source)) as (host, driver):
        done = await ended(host, "act")
        assert done.state == "failed"
        assert driver.closed


async def test_a_generator_that_does_not_want_to_end_is_told_from_one_that_did() -> None:
    source = (
        "def __init__(self): self.gate = Gate()\ndef act(self):\n"
        "    try:\n        self.gate()\n        yield 1\n    finally:\n        yield 2"
    )
    async with hosting(one(source)) as (host, driver):
        running = await host.invoke("act", {})
        await driver.gate.wait_until_reached()
        host.cancel(running.id)
        driver.gate.opened.set()
        done = await host.wait(running.id)
        assert done.state == "cancelled"
        assert "generator ignored GeneratorExit" in done.error["detail"]  # type: ignore[index]


async def test_between_two_rows_what_was_asked_for_is_read() -> None:
    source = (
        "def __init__(self): self.n, self.gate = 0, Gate()\n"
        "@property\ndef level(self): return self.n\n"
        "def act(self):\n    self.n = 5\n    self.gate()\n    yield 1\n    yield 2"
    )
    async with hosting(one(source)) as (host, driver):
        running = await host.invoke("act", {})
        await driver.gate.wait_until_reached()
        stale = await host.read("level")
        assert (stale.value, stale.status) == (0, "stale")
        fresh = asyncio.Event()
        host.listen(lambda topic, body: fresh.set() if topic == "attribute" and body["value"] == 5 else None)
        driver.gate.opened.set()
        await fresh.wait()
        await host.wait(running.id)


# Reading and writing


async def test_a_reading_has_value_unit_time_and_status() -> None:
    async with hosting() as (host, driver):
        driver._x = 7.5
        reading = await host.read("x")
        assert (reading.value, reading.unit, reading.status) == (7.5, "mm", "ok")
        assert set(await host.read_all()) == {"x", "fixed"}


async def test_attributes_answer_while_an_action_blocks_with_the_last_value_marked_stale() -> None:
    async with hosting() as (host, driver):
        await host.invoke("block", {})
        await driver.gate.wait_until_reached()
        readings = await host.read_all()
        assert {name: (r.value, r.status) for name, r in readings.items()} == {
            "x": (1.0, "stale"),
            "fixed": (3, "stale"),
        }
        assert readings["x"].detail == "block keeps the driver busy"


async def test_attributes_are_read_afresh_while_an_asynchronous_action_waits() -> None:
    async with hosting() as (host, driver):
        await host.invoke("glide", {})
        await driver.gate.wait_until_reached()
        driver._x = 9.0
        assert (await host.read("x")).value == 9.0


async def test_what_is_written_is_read_back() -> None:
    async with hosting() as (host, driver):
        assert (await host.write("x", "5")).value == 5.0
        assert driver._x == 5.0


@pytest.mark.parametrize(
    ("attribute", "value", "kind"),
    [("x", 101, LimitError), ("x", "far", InvalidError), ("fixed", 4, ConflictError), ("nowhere", 1, NotFoundError)],
)
async def test_what_cannot_be_written_is_refused_before_the_driver(attribute: str, value: Any, kind: Any) -> None:
    async with hosting() as (host, driver):
        with pytest.raises(kind):
            await host.write(attribute, value)
        assert driver._x == 1.0
        with pytest.raises(NotFoundError, match="Known here: x, fixed"):
            await host.read("nowhere")


BLOCKED = (
    "def __init__(self): self.gate, self.stopped = Gate(), False\n"
    "@property\ndef x(self): self.gate()\n"
    "def act(self): pass\n"
    "def stop(self): self.stopped = True"
)


async def test_who_looks_from_another_thread_never_waits_behind_an_action_that_begins_meanwhile() -> None:
    async with hosting() as (host, driver), turns_change_often():
        for _ in range(50):
            driver.gate, ended, waiting = Gate(), threading.Event(), set[object]()

            def look_on(ended: threading.Event = ended, waiting: set[object] = waiting) -> None:
                while not ended.is_set():
                    waiting.add(ticket := object())
                    if host.look("x", lambda *told, ticket=ticket: waiting.discard(ticket)):  # type: ignore[misc]
                        waiting.discard(ticket)

            looking = threading.Thread(target=look_on)
            looking.start()
            begun = await host.invoke("block", {})
            await driver.gate.wait_until_reached()
            ended.set()
            await asyncio.to_thread(looking.join)
            assert not waiting

            driver.gate.opened.set()
            await host.wait(begun.id)


async def test_a_property_that_blocks_keeps_the_driver_but_not_the_host() -> None:
    """Description, health and stop answer; so does everything else when the driver comes back."""
    async with hosting(one(BLOCKED)) as (host, driver):
        await driver.gate.wait_until_reached()
        asking = asyncio.ensure_future(host.invoke("act", {}))
        await asyncio.sleep(0)  # it is asked for, and waits for the driver
        assert (await host.stop())["stopped"] is True
        assert driver.stopped
        driver.gate.opened.set()
        done = await host.wait((await asking).id)
        assert done.state == "cancelled"
        assert "The driver was not called" in done.error["detail"]  # type: ignore[index]


async def test_listeners_are_told_a_reading_that_says_something_new_and_only_that() -> None:
    async with hosting() as (host, _):
        await host.read("x")
        heard: list[Any] = []
        host.listen(
            lambda topic, body: heard.append((body["attribute"], body["value"])) if topic == "attribute" else None
        )
        await host.read("x")
        await host.write("x", 2)
        await host.read("x")
        await asyncio.sleep(0)
        assert heard == [("x", 2.0)]


# Leases


async def test_a_lower_lease_number_is_refused_and_a_higher_one_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with hosting(ledger=Ledger(path)) as (host, driver):
        await ended(host, "move", {"to": 1}, lease=17)
        await ended(host, "move", {"to": 2}, lease=17)
        await ended(host, "move", {"to": 3}, lease=18)
        with pytest.raises(LeaseError, match="number 18 acts here") as refused:
            await host.invoke("move", {"to": 4}, lease=17)
        assert refused.value.fields["highest"] == 18
        with pytest.raises(LeaseError):
            await host.write("x", 5, lease=17)
        await host.write("x", 5, lease=19)
        assert [entry[1] for entry in driver.log] == [1, 2, 3]
    async with hosting(ledger=Ledger(path)) as (host, _):
        with pytest.raises(LeaseError, match="number 19"):
            await host.invoke("move", {"to": 4}, lease=18)
        assert (await host.read("x")).status == "ok"


async def test_an_old_holder_is_still_told_what_became_of_its_own_invocation() -> None:
    async with hosting() as (host, _):
        done = await ended(host, "move", {"to": 1}, lease=1)
        await ended(host, "move", {"to": 2}, lease=2)
        assert await host.invoke("move", {"to": 1}, identity=done.id, lease=1) == done


async def test_a_generator_that_is_quicker_than_the_front_waits_and_its_result_loses_nothing() -> None:
    class Quick:
        def scan(self, rows: int) -> Iterator[Row]:
            for row in range(rows):
                yield Row(float(row))

    async with hosting(Quick) as (host, _):
        unread: list[int] = []
        backlogs: list[Any] = []

        def listener(topic: str, body: dict[str, Any]) -> None:
            if topic == "stream":
                backlogs[:] = backlogs or [front.execution._backlog for front in host._running.values()]
                unread.extend(each.unread for each in backlogs)

        host.listen(listener)
        done = await ended(host, "scan", {"rows": 5_000})

        assert len(unread) == 5_000
        assert max(unread) <= backlog.MOST
        assert list(done.result["potential"]) == [float(row) for row in range(5_000)]


# Cancel and stop


async def test_a_coroutine_is_cancelled_where_it_waits() -> None:
    async with hosting() as (host, driver):
        running = await host.invoke("glide", {})
        await driver.gate.wait_until_reached()
        host.cancel(running.id)
        done = await host.wait(running.id)
        assert (done.state, driver.log) == ("cancelled", ["gliding", "glide ended"])


async def test_what_is_cancelled_before_the_driver_is_called_is_not_called() -> None:
    async with hosting() as (host, driver):
        identity = new_id()
        asking = asyncio.ensure_future(host.invoke("glide", {}, identity=identity))
        await asyncio.sleep(0)
        host.cancel(identity)
        await asking
        done = await host.wait(identity)
        assert done.state == "cancelled"
        assert driver.log in ([], ["gliding", "glide ended"])


async def test_cancelling_at_any_moment_of_a_short_action_leaves_one_true_end() -> None:
    async with hosting(one("async def act(self, n: int):\n    for _ in range(n): await asyncio.sleep(0)")) as (host, _):
        for turns in range(40):
            running = await host.invoke("act", {"n": 10})
            for _ in range(turns):
                await asyncio.sleep(0)
            with contextlib.suppress(ConflictError):
                host.cancel(running.id)
            done = await host.wait(running.id)
            assert done.state in ("cancelled", "succeeded")
            assert host.find(done.id) == done


async def test_what_blocks_cannot_be_cancelled_and_it_is_said() -> None:
    async with hosting() as (host, _):
        running = await host.invoke("block", {})
        with pytest.raises(ConflictError, match="blocks in its driver"):
            host.cancel(running.id)


async def test_what_is_over_or_never_was_cannot_be_cancelled() -> None:
    async with hosting() as (host, _):
        done = await ended(host, "move", {"to": 1})
        with pytest.raises(ConflictError, match="is over: succeeded"):
            host.cancel(done.id)
        with pytest.raises(NotFoundError):
            host.cancel(new_id())
        with pytest.raises(InvalidError):
            host.cancel("42")


async def test_stop_goes_past_an_action_that_blocks() -> None:
    async with hosting() as (host, driver):
        running = await host.invoke("block", {"tag": "a"})
        await driver.gate.wait_until_reached()
        answer = await host.stop()
        done = await host.wait(running.id)

        assert (answer["stopped"], answer["detail"]) == (True, None)
        assert driver.log == [("block", "a"), "stop"]
        assert (done.state, done.result) == ("cancelled", "a")
        assert "was stopped before its end" in done.error["detail"]  # type: ignore[index]


async def test_a_driver_without_stop_says_so() -> None:
    async with hosting(one("def act(self): pass")) as (host, _):
        with pytest.raises(NoStopError, match="no software stop"):
            await host.stop()


@pytest.mark.parametrize("raised", ["OSError('gone')", "SystemExit(1)", "StopIteration()"])
async def test_a_stop_that_raises_never_counts_as_stopped(raised: str) -> None:
    async with hosting(one(f"def stop(self): raise {raised}")) as (host, _):
        answer = await host.stop()
        assert answer["stopped"] is False
        assert raised.partition("(")[0] in answer["detail"]


async def test_a_stop_that_blocks_is_answered_in_time_and_never_counts_as_stopped(monkeypatch: Any) -> None:
    monkeypatch.setattr(host_room, "STOP_WITHIN", 0.05)
    async with hosting(one("def __init__(self): self.gate = Gate()\ndef stop(self): self.gate()")) as (host, driver):
        answer = await host.stop()
        assert answer["stopped"] is False
        assert "has not returned" in answer["detail"]
        driver.gate.opened.set()


async def test_a_stop_that_is_a_coroutine_is_awaited() -> None:
    source = (
        "stopped = False\nasync def stop(self):\n    await asyncio.sleep(0)\n    self.stopped = True\n"
        "async def act(self): await asyncio.Event().wait()"
    )
    async with hosting(one(source)) as (host, driver):
        running = await host.invoke("act", {})
        assert (await host.stop())["stopped"] is True
        assert driver.stopped
        assert (await host.wait(running.id)).state == "cancelled"


async def test_a_coroutine_that_swallows_its_cancellation_is_not_lost() -> None:
    source = (
        "async def act(self):\n    try:\n        await asyncio.Event().wait()\n"
        "    except asyncio.CancelledError:\n        return 'parked'"
    )
    async with hosting(one(source)) as (host, _):
        running = await host.invoke("act", {})
        await host.read_all()
        host.cancel(running.id)
        done = await host.wait(running.id)
        assert done.state == "cancelled"
        assert done.result in ("parked", None)  # None: it was cancelled before the driver was called


# The disk


def fill(ledger: Ledger) -> None:
    used = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count={used}")


def free(ledger: Ledger) -> None:
    ledger._connection.execute("PRAGMA max_page_count=1000000")


async def test_a_full_disk_refuses_an_action_before_the_driver_is_called(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    async with hosting(ledger=ledger) as (host, driver):
        fill(ledger)
        identity, large = new_id(), {"tag": "x" * 50_000}
        asked = [host.invoke("block", large, identity=identity) for _ in range(3)]
        refused = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(error) for error in refused] == [StorageError] * 3
        assert (driver.log, host.running()) == ([], [])
        assert host.find(identity).state == "not arrived"

        free(ledger)
        driver.gate.opened.set()
        assert (await ended(host, "block", large, identity=identity)).state == "succeeded"


async def test_a_client_that_left_before_the_ledger_refused_leaves_no_busy_instrument(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    async with hosting(ledger=ledger) as (host, driver):
        fill(ledger)
        with ledger._lock:
            asking = asyncio.ensure_future(host.invoke("block", {"tag": "x" * 50_000}))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        await host._thread.call("the driver's thread has had its turn", lambda: None)
        free(ledger)
        driver.gate.opened.set()
        assert (await ended(host, "block")).state == "succeeded"


async def test_an_end_that_the_disk_does_not_take_is_written_later_and_nothing_begins_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "RETRY_WRITING_AFTER", 0.01)
    ledger = Ledger(tmp_path / "ledger.db")
    source = "def act(self): return 'x' * 50_000\ndef rest(self): pass\n@property\ndef x(self): return 1"
    async with hosting(one(source), ledger=ledger) as (host, _):
        problems: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        host.listen(lambda topic, body: problems.put_nowait(body) if topic == "problem" else None)
        fill(ledger)
        running = await host.invoke("act", {})
        for _ in range(3):
            assert (await problems.get())["type"].endswith("StorageError")
        assert host.find(running.id).state == "running"
        with pytest.raises(BusyError):
            await host.invoke("rest", {})
        assert (await host.read("x")).status == "ok"

        free(ledger)
        done = await host.wait(running.id)
        assert (done.state, len(done.result)) == ("succeeded", 50_000)
        assert host.find(running.id) == done


async def test_parameters_that_cannot_be_kept_are_refused_and_leave_nothing_behind() -> None:
    async with hosting(one("def act(self, value): pass")) as (host, _):
        with pytest.raises(CannotEncodeError):
            await host.invoke("act", {"value": object()})
        assert host.running() == []
        assert (await ended(host, "act", {"value": 1})).state == "succeeded"


DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
class Driver:
    def act(self) -> None:
        print("begun", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
async def main():
    async with Host(Driver, describe(Driver, name="it"), Ledger(Path(sys.argv[1]))) as host:
        await host.invoke("act", {}, identity=sys.argv[2])
        await host.wait(sys.argv[2])
asyncio.run(main())
"""


async def test_an_action_in_which_the_host_was_killed_is_interrupted_and_never_run_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    identity = new_id()
    died = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", DIES, str(path), identity], capture_output=True, check=False
    )
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, b"begun\n")

    calls: list[int] = []

    class Driver:
        def act(self) -> None:
            calls.append(1)

    async with hosting(Driver, ledger=Ledger(path)) as (host, _):
        found = host.find(identity)
        assert found.state == "interrupted"
        assert await host.invoke("act", {}, identity=identity) == found
        assert await host.wait(identity) == found
        assert calls == []


# Closing


async def test_closing_lets_the_driver_go_in_its_own_thread_and_closes_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    async with hosting(ledger=ledger) as (host, driver):
        pass
    await host.close()
    assert driver.log == ["close"]
    assert ledger.closed
    assert not driver.thread.is_alive()
    for ask in (host.read("x"), host.write("x", 1), host.invoke("move", {"to": 1})):
        with pytest.raises(UnreachableError, match="being closed"):
            await ask


@pytest.mark.parametrize(
    "close",
    [
        "def close(self): raise OSError('gone')",
        "def close(self): raise SystemExit",
        "async def close(self): raise OSError",
    ],
)
async def test_a_driver_whose_close_raises_does_not_keep_the_host(close: str, caplog: Any) -> None:
    ledger = Ledger()
    async with hosting(one(close), ledger=ledger):
        pass
    assert ledger.closed
    assert "close() raised" in caplog.text


async def test_closing_while_an_action_blocks_answers_in_time_and_the_end_is_still_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_room, "STOP_WITHIN", 0.05)
    path = tmp_path / "ledger.db"
    async with hosting(ledger=Ledger(path)) as (host, driver):
        running = await host.invoke("block", {"tag": "a"})
        await driver.gate.wait_until_reached()
        waiting = asyncio.ensure_future(host.wait(running.id))
        await host.close()
        with pytest.raises(UnreachableError):
            await waiting
        assert driver.log == [("block", "a")]

    # `hosting` let the driver come back: its end was written, then it was let go.
    assert driver.log == [("block", "a"), "close"]
    again = Ledger(path)
    found = again.find(running.id)
    again.close()
    assert found is not None
    assert (found.state, found.result) == ("succeeded", "a")


@pytest.mark.parametrize("action", ["glide", "scan"])
async def test_closing_ends_what_gives_an_opportunity_and_records_it(tmp_path: Path, action: str) -> None:
    path = tmp_path / "ledger.db"
    async with hosting(ledger=Ledger(path)) as (host, driver):
        running = await host.invoke(action, {"rows": 10} if action == "scan" else {})
        await driver.gate.wait_until_reached()
        asyncio.get_running_loop().call_soon(driver.gate.opened.set)
        waiting = asyncio.ensure_future(host.wait(running.id))
        await host.close()
        assert (await waiting).state == "cancelled"
    again = Ledger(path)
    found = again.find(running.id)
    again.close()
    assert found is not None
    assert "because its host was closed" in found.error["detail"]  # type: ignore[index]


async def test_closing_while_a_property_blocks_tells_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_room, "STOP_WITHIN", 0.05)
    async with hosting(one(BLOCKED)) as (host, driver):
        await driver.gate.wait_until_reached()
        reading = asyncio.ensure_future(host.read("x"))
        beginning = asyncio.ensure_future(host.invoke("act", {}))
        await asyncio.sleep(0)
        await host.close()
        for asked in (reading, beginning):
            with pytest.raises(UnreachableError):
                await asked


async def test_a_host_that_was_never_opened_can_be_closed() -> None:
    ledger = Ledger()
    await Host(Driver, describe(Driver, name="it"), ledger).close()
    assert ledger.closed


async def test_closing_while_the_end_cannot_be_written_does_not_hang_and_the_next_host_finds_it_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_room, "STOP_WITHIN", 0.05)
    monkeypatch.setattr(execution, "RETRY_WRITING_AFTER", 30)
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    async with hosting(one("def act(self): return 'x' * 50_000"), ledger=ledger) as (host, _):
        problem = asyncio.Event()
        host.listen(lambda topic, body: problem.set() if topic == "problem" else None)
        fill(ledger)
        running = await host.invoke("act", {})
        await problem.wait()
    again = Ledger(path)
    found = again.find(running.id)
    again.close()
    assert found is not None
    assert found.state == "interrupted"


# A driver that does not come back


class Deaf(Driver):
    """Its serial line has no time-out."""

    deaf = False

    @property
    def voltage(self) -> float:
        if self.deaf:
            self.gate()
        return 1.5

    @voltage.setter
    def voltage(self, value: float) -> None:
        self.gate()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_room, "SILENT_AFTER", 0.1)


@pytest.mark.usefixtures("impatient")
async def test_what_waits_for_a_driver_that_does_not_come_back_is_refused_and_never_begins() -> None:
    """Nothing moves an hour later, when a cable is put back and everybody who asked has gone."""
    async with hosting(Deaf) as (host, driver):
        await host.read("voltage")
        driver.deaf = True
        looking = asyncio.create_task(host.read("voltage"))
        await driver.gate.wait_until_reached()

        identity = new_id()
        with pytest.raises(
            BusyError, match=r"it does not answer: reading voltage keeps the driver busy since 20.*move"
        ):
            await host.invoke("move", {"to": 5}, identity=identity)
        assert host.running() == []
        with pytest.raises(BusyError, match="setting x was refused"):
            await host.write("x", 3)
        stale = await host.read("x")
        assert (stale.value, stale.status) == (1.0, "stale")
        assert "reading voltage keeps the driver busy" in str(stale.detail)
        assert "reading voltage" in str(host.silent)

        driver.gate.opened.set()
        assert (await looking).value == 1.5
        assert host.find(identity).state == "not arrived"
        assert host.silent is None
        assert (await ended(host, "move", {"to": 6}, identity=identity)).state == "succeeded"
        assert driver.log == [("move", 6.0, True)]


@pytest.mark.usefixtures("impatient")
async def test_a_look_at_all_attributes_ends_although_one_look_does_not() -> None:
    async with hosting(Deaf) as (host, driver):
        await host.read("x")
        driver.deaf = True

        readings = await host.read_all()

        assert {name: each.status for name, each in readings.items()}["voltage"] == "stale"
        assert "reading voltage keeps the driver busy" in str(readings["voltage"].detail)
        assert readings["x"].value == 1.0


@pytest.mark.usefixtures("impatient")
async def test_a_setting_that_does_not_come_back_is_told_by_its_name() -> None:
    async with hosting(Deaf) as (host, driver):
        setting = asyncio.create_task(host.write("voltage", 2.0))
        await driver.gate.wait_until_reached()

        with pytest.raises(BusyError, match="setting voltage keeps the driver busy"):
            await host.invoke("move", {"to": 5})

        driver.gate.opened.set()
        assert (await setting).value == 1.5


async def test_an_action_that_takes_long_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hosting() as (host, driver):
        blocking = await host.invoke("block", {"tag": "a"})
        await driver.gate.wait_until_reached()
        monkeypatch.setattr(host_room, "SILENT_AFTER", 0.0)

        assert host.silent is None
        with pytest.raises(BusyError, match="block"):
            await host.invoke("move", {"to": 5})

        driver.gate.opened.set()
        assert (await host.wait(blocking.id)).state == "succeeded"
