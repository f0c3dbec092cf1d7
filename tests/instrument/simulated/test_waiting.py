"""A wait ends with its time or with an interruption, whichever comes first."""

import asyncio
import threading

import pytest

from labretto.instrument.simulated.waiting import Wait


async def test_a_wait_of_no_time_is_over():
    wait = Wait()
    wait.begin()

    assert await wait.over(0)
    assert not wait.going_on


async def test_an_interruption_before_the_waiting_is_not_lost():
    """Stop may come between the beginning of a motion and the waiting for its end."""
    wait = Wait()
    wait.begin()
    threading.Thread(target=wait.interrupt).start()

    assert not await wait.over(3600)


async def test_an_interruption_without_a_wait_is_forgotten():
    wait = Wait()
    wait.interrupt()
    wait.begin()

    assert await wait.over(0)


async def test_a_cancelled_wait_is_not_going_on():
    wait = Wait()
    wait.begin()
    task = asyncio.create_task(wait.over(3600))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert not wait.going_on


async def test_waiting_without_a_beginning_is_a_mistake_of_the_driver():
    with pytest.raises(RuntimeError, match="begin"):
        await Wait().over(0)
