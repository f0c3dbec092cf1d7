"""A loop that waits on a lock is a loop as any other to those who use it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from labretto.instrument.quiet_loop import QuietLoop


@pytest.fixture
def loop() -> Iterator[QuietLoop]:
    loop = QuietLoop()
    yield loop
    loop.close()


def test_it_runs_what_another_thread_asks_of_it(loop: QuietLoop) -> None:
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    seen = [asyncio.run_coroutine_threadsafe(_answer(number), loop).result(2.0) for number in range(1_000)]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()

    assert seen == [*range(1_000)]


def test_what_is_asked_from_many_threads_at_once_is_not_lost(loop: QuietLoop) -> None:
    thread, seen = threading.Thread(target=loop.run_forever), []
    thread.start()
    others = [threading.Thread(target=_ask_often, args=(loop, seen)) for _ in range(8)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()

    assert len(seen) == 8 * 500


def test_timers_come_in_order(loop: QuietLoop) -> None:
    async def later() -> list[int]:
        seen: list[int] = []
        for number, seconds in ((2, 0.02), (1, 0.01), (0, 0.0)):
            asyncio.get_running_loop().call_later(seconds, seen.append, number)
        await asyncio.sleep(0.03)
        return seen

    assert loop.run_until_complete(later()) == [0, 1, 2]


def test_a_socket_may_be_opened_in_it_and_others_are_still_heard(loop: QuietLoop) -> None:
    async def talk() -> bytes:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"ping")
        answer = await reader.readexactly(4)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        other = threading.Thread(target=loop.call_soon_threadsafe, args=(heard.set_result, answer))
        other.start()
        try:
            return await heard
        finally:
            other.join()

    assert loop.run_until_complete(talk()) == b"ping"


async def _answer(number: int) -> int:
    return number


def _ask_often(loop: QuietLoop, seen: list[int]) -> None:
    for number in range(500):
        loop.call_soon_threadsafe(seen.append, number)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(4))
    await writer.drain()
    writer.close()
