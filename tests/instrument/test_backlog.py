"""Rows do not pile up between a driver that is quicker than its listeners and the front."""

import asyncio

from labretto.instrument.backlog import Backlog


async def test_who_makes_rows_waits_until_half_of_them_are_told() -> None:
    backlog = Backlog(lambda: True, most=4)
    await backlog.room()
    for _ in range(4):
        backlog.put()
    waiting = asyncio.create_task(backlog.room())
    await asyncio.sleep(0)

    backlog.took()
    await asyncio.sleep(0)
    assert not waiting.done()
    backlog.took()

    await asyncio.wait_for(waiting, 5)
    assert backlog.unread == 2


async def test_nobody_waits_for_a_front_that_has_gone() -> None:
    backlog = Backlog(lambda: False, most=1)
    backlog.put()

    await asyncio.wait_for(backlog.room(), 5)
