"""The driver's thread: what it is asked is answered, whatever is raised, until it ends; then that is said."""

import asyncio
import threading
from typing import Any

import pytest

from labretto.errors import DriverError, UnreachableError
from labretto.instrument import codec
from labretto.instrument.thread import DriverThread, driver_error, said, without_loop


class Driver:
    def __init__(self) -> None:
        self.thread = threading.current_thread()

    async def tasks(self) -> None: ...


def thread(make: Any = Driver, *, asynchronous: bool = False, at_end: Any = lambda: None) -> DriverThread:
    return DriverThread("it", make, asynchronous=asynchronous, at_end=at_end)


async def test_calls_run_in_the_one_thread_in_their_order() -> None:
    driver = thread()
    await driver.open()
    order: list[int] = []
    await asyncio.gather(*[driver.call("it", lambda n=n: order.append(n)) for n in range(100)])  # type: ignore[misc]
    inside = await driver.call("it", threading.current_thread)
    await driver.close(10)

    assert order == list(range(100))
    assert driver.driver.thread is inside  # type: ignore[attr-defined]
    assert not inside.is_alive()


async def test_whatever_a_call_raises_reaches_who_asked_and_the_thread_lives_on() -> None:
    driver = thread()
    await driver.open()
    for error in (ValueError("no"), SystemExit(3), KeyboardInterrupt(), StopIteration(), GeneratorExit()):

        def fail(error: BaseException = error) -> None:
            raise error

        with pytest.raises(DriverError, match=type(error).__name__):
            await driver.call("it.x", fail)
    assert await driver.call("it", lambda: 7) == 7
    await driver.close(10)


async def test_who_leaves_before_its_turn_sends_nothing_to_the_hardware() -> None:
    driver, gate, sent = thread(), threading.Event(), []
    await driver.open()
    first = asyncio.ensure_future(driver.call("it", lambda: gate.wait(30)))
    second = asyncio.ensure_future(driver.call("it", lambda: sent.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    gate.set()
    await first
    await driver.close(10)
    assert sent == []


async def test_a_thread_that_blocks_is_left_and_ends_by_itself_later() -> None:
    ended, gate = threading.Event(), threading.Event()
    driver = thread(at_end=ended.set)
    await driver.open()
    waiting = asyncio.ensure_future(driver.call("it", lambda: gate.wait(30)))
    await asyncio.sleep(0)
    await driver.close(0.01)
    with pytest.raises(UnreachableError, match="closed before it answered"):
        await waiting
    assert not ended.is_set()

    gate.set()
    assert await asyncio.to_thread(ended.wait, 30)


async def test_who_asks_a_thread_that_has_ended_is_told_so() -> None:
    driver = thread()
    told: list[Any] = []
    await driver.open()
    await driver.close(10)
    driver.post("it.x", lambda: 7, lambda value, error: told.append((value, type(error))))

    assert told == [(None, UnreachableError)]


async def test_what_the_driver_began_in_its_loop_is_ended_with_it() -> None:
    left: list[str] = []

    class Poller:
        def __init__(self) -> None:
            self.task = asyncio.get_running_loop().create_task(self.poll())

        async def poll(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                left.append("poller")

        async def close(self) -> None:
            left.append("close")

    driver = thread(Poller, asynchronous=True)
    await driver.open()
    await driver.call("it", lambda: None)
    await driver.close(10)
    assert left == ["poller", "close"]


async def test_only_a_driver_with_coroutines_sees_the_loop() -> None:
    for asynchronous in (True, False):
        driver = thread(asynchronous=asynchronous)
        await driver.open()
        seen = await driver.call("it", asyncio._get_running_loop)
        assert (seen is driver.loop) is asynchronous
        await driver.close(10)


async def test_without_loop_is_for_the_call_only() -> None:
    async def seven() -> int:
        return 7

    assert without_loop(lambda: asyncio.run(seven())) == 7
    assert asyncio.get_running_loop()


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [OddError(), ValueError("\udcff\udcfe junk"), ValueError(), KeyError("x")])
def test_what_was_raised_can_be_sent_over_every_wire(error: Exception) -> None:
    problem = driver_error("it.x", error).problem()

    assert type(error).__name__ in problem["detail"]
    codec.encode(problem)
    codec.encode_json(problem)


def test_an_error_is_told_in_its_own_words() -> None:
    assert said(ValueError("no answer")) == "ValueError: no answer"
    assert said(StopIteration()) == "StopIteration"
