"""asyncio in seven stops, each a function that runs by itself. `python tour.py` walks through all of them.

    python tour.py                          # against a stand-in that it starts itself
    python tour.py http://127.0.0.1:8001/page/1 http://127.0.0.1:8001/page/2

One idea: a coroutine gives way at every `await`, and only there. So waiting for many things costs no more than waiting
for the slowest of them, and what computes without an `await` holds up everything else.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiofiles
import aiohttp
from upstream import Upstream, running

T = TypeVar("T")
PAGES = 20
TIMEOUT = aiohttp.ClientTimeout(total=10)


# 1 A first coroutine --------------------------------------------------------------------------------------------------


async def greet(name: str, after: float = 0.0) -> str:
    """Calling it does nothing yet: it makes a coroutine, and `await` (or `asyncio.run`) runs it."""
    await asyncio.sleep(after)
    return f"Hello, {name}!"


# 2 Two at once --------------------------------------------------------------------------------------------------------


async def one_after_another(seconds: float) -> list[str]:
    """The second begins when the first has ended: twice the time."""
    return [await greet("stage", seconds), await greet("furnace", seconds)]


async def two_at_once(seconds: float) -> list[str]:
    """Both wait in the same time. A TaskGroup leaves nothing behind: when its block ends, all its tasks have ended."""
    async with asyncio.TaskGroup() as group:
        stage = group.create_task(greet("stage", seconds))
        furnace = group.create_task(greet("furnace", seconds))
    return [stage.result(), furnace.result()]


# 3 Files --------------------------------------------------------------------------------------------------------------


async def lines_of(path: Path) -> list[str]:
    """A disk makes one wait, too. aiofiles does the reading in a thread, and others go on meanwhile."""
    async with aiofiles.open(path, encoding="utf-8") as file:
        return [line.rstrip() async for line in file]


async def lines_of_all(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Several files at once: name → lines."""
    found = await asyncio.gather(*(lines_of(path) for path in paths))
    return {path.name: lines for path, lines in zip(paths, found, strict=True)}


# 4 Errors -------------------------------------------------------------------------------------------------------------


async def stuck() -> str:
    """Fails."""
    await asyncio.sleep(0)
    raise OSError("the shutter is stuck")


async def outcomes(*work: Awaitable[str]) -> list[str | BaseException]:
    """Each result or error in its place; the failure of one does not end the others."""
    return list(await asyncio.gather(*work, return_exceptions=True))


async def all_or_nothing(*work: Awaitable[str]) -> list[str]:
    """The failure of one ends the others, and reaches the caller as an ExceptionGroup: catch it with `except*`."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_as_coroutine(each)) for each in work]
    return [task.result() for task in tasks]


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


# 5 Timeouts -----------------------------------------------------------------------------------------------------------


async def within(seconds: float, work: Awaitable[T]) -> T | None:
    """Its result, or None if it takes longer; then it has been cancelled, and TimeoutError is raised."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        return None


# 6 Cancellation -------------------------------------------------------------------------------------------------------


@dataclass
class Heater:
    """Something that must not stay on."""

    on: bool = False

    async def hold(self) -> None:
        """Heat until cancelled. `finally` runs on cancellation too; swallow CancelledError and nobody can end it."""
        self.on = True
        try:
            await asyncio.Event().wait()
        finally:
            self.on = False


async def cancelled(heater: Heater) -> bool:
    """Begin to heat, think better of it, and wait until it is really off."""
    task = asyncio.create_task(heater.hold())
    await asyncio.sleep(0)  # it begins only when this gives way
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


# 7 Many URLs ----------------------------------------------------------------------------------------------------------


async def fetch(session: aiohttp.ClientSession, url: str) -> str:
    """One page. The session is shared: it keeps connections open."""
    async with session.get(url) as answer:
        answer.raise_for_status()
        return await answer.text()


async def fetch_one_after_another(urls: Sequence[str]) -> list[str]:
    """The time of all of them, added up."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        return [await fetch(session, url) for url in urls]


async def fetch_at_once(urls: Sequence[str]) -> list[str]:
    """The time of the slowest, in the order of `urls`."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        return list(await asyncio.gather(*(fetch(session, url) for url in urls)))


async def timed(fetching: Callable[[Sequence[str]], Awaitable[list[str]]], urls: Sequence[str]) -> tuple[float, int]:
    """Seconds that it took, and how many pages came."""
    began = time.perf_counter()
    pages = await fetching(urls)
    return time.perf_counter() - began, len(pages)


# The walk -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _some_urls(given: Sequence[str]) -> AsyncIterator[list[str]]:
    if given:
        yield list(given)
        return
    async with running(Upstream()) as upstream:
        yield [f"{upstream}/page/{number}" for number in range(PAGES)]


async def walk(urls: Sequence[str]) -> None:
    """All stops, one after another."""
    print("1 ", await greet("world"))
    for wait in (one_after_another, two_at_once):
        began = time.perf_counter()
        await wait(0.2)
        print(f"2  {wait.__name__}: {time.perf_counter() - began:.2f} s")
    for name, lines in (await lines_of_all([Path(__file__).with_name("notes.txt")])).items():
        print(f"3  {name} has {len(lines)} lines")
    print("4 ", await outcomes(greet("stage"), stuck()))
    try:
        await all_or_nothing(greet("stage", 10), stuck())
    except* OSError as errors:
        print("4  all or nothing:", *errors.exceptions)
    print("5  within 50 ms:", await within(0.05, greet("tortoise", 10)))
    heater = Heater()
    print(f"6  cancelled: {await cancelled(heater)}, the heater is {'on' if heater.on else 'off'}")
    async with _some_urls(urls) as found:
        for fetching in (fetch_one_after_another, fetch_at_once):
            seconds, count = await timed(fetching, found)
            print(f"7  {fetching.__name__}: {count} pages in {seconds:.2f} s")


if __name__ == "__main__":
    asyncio.run(walk(sys.argv[1:]))
