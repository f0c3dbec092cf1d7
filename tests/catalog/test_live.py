import asyncio

import numpy as np
import pytest

from labretto.catalog.live import Batch, Changes


def topics(batch: Batch) -> list[str]:
    return [change.topic for change in batch.changes]


async def next_of(subscription) -> Batch:
    async with asyncio.timeout(5):
        return await anext(subscription)


async def test_what_is_published_wakes_everyone_who_waits() -> None:
    changes = Changes()
    waiting = [asyncio.create_task(next_of(changes.subscribe())) for _ in range(3)]
    await asyncio.sleep(0)

    sequence = changes.publish("run", {"state": "running"})

    for batch in await asyncio.gather(*waiting):
        assert (batch.sequence, topics(batch), batch.missed) == (sequence, ["run"], False)


async def test_a_subscriber_goes_on_after_the_last_it_saw() -> None:
    changes = Changes()
    seen = [changes.publish(name, {}) for name in "abc"]

    batch = await next_of(changes.subscribe(after=seen[0]))

    assert topics(batch) == ["b", "c"]
    assert changes.batch(batch.sequence) is None


async def test_nothing_is_between_two_batches() -> None:
    changes = Changes()
    subscription = changes.subscribe()
    told: list[str] = []
    for i in range(50):
        changes.publish(str(i), {})
        if i % 8 == 0:
            told += topics(await next_of(subscription))
    told += topics(await next_of(subscription))

    assert told == [str(i) for i in range(50)]


async def test_a_slow_subscriber_loses_the_oldest_and_is_told() -> None:
    changes = Changes(keep=10)
    slow = changes.subscribe()
    for i in range(25):
        changes.publish(str(i), {})

    batch = await next_of(slow)

    assert batch.missed
    assert topics(batch) == [str(i) for i in range(15, 25)]
    changes.publish("next", {})
    assert not (await next_of(slow)).missed


async def test_a_flood_of_points_pushes_no_change_out() -> None:
    changes = Changes(keep=10, keep_points=100)
    slow = changes.subscribe()
    changes.publish("run", {})
    for i in range(200):
        changes.publish_curve("cv", {"x": [i]}, start=i)

    batch = await next_of(slow)

    assert topics(batch) == ["run"]
    assert (batch.missed, batch.missed_curves) == (False, True)


async def test_a_number_from_before_a_restart_is_answered_with_missed() -> None:
    before = Changes()
    last = before.publish("a", {})
    after = Changes()

    assert after.sequence > last - 1
    assert (await next_of(after.subscribe(after=last - 1))).missed
    assert (await next_of(after.subscribe(after=after.sequence + 10**12))).missed


async def test_points_that_join_are_one_piece() -> None:
    changes = Changes()
    slow = changes.subscribe()
    changes.publish_curve("cv", {"x": 0, "y": np.float64(1.5)}, start=0)
    changes.publish_curve("other", {"x": [9]}, start=0)
    changes.publish_curve("cv", {"x": np.array([1, 2]), "y": (2.5, 3.5)}, start=1)

    curves = (await next_of(slow)).curves

    assert [(curve.key, curve.start, curve.length) for curve in curves] == [("cv", 0, 3), ("other", 0, 1)]
    assert {name: list(column) for name, column in curves[0].columns.items()} == {"x": [0, 1, 2], "y": [1.5, 2.5, 3.5]}
    assert np.frombuffer(curves[0].columns["x"].tobytes()).tolist() == [0, 1, 2]


async def test_a_curve_that_begins_anew_is_a_piece_of_its_own() -> None:
    changes = Changes()
    slow = changes.subscribe()
    changes.publish_curve("cv", {"x": [0, 1]}, start=0)
    changes.publish_curve("cv", {"x": [0]}, start=0)

    assert [curve.length for curve in (await next_of(slow)).curves] == [2, 1]


@pytest.mark.parametrize("column", ["text", ["a", "b"], None, np.array(["a"])])
async def test_columns_that_are_no_numbers_are_left_out_of_a_curve(column: object) -> None:
    changes = Changes()
    slow = changes.subscribe()
    changes.publish_curve("cv", {"x": [1], "label": column})

    assert list((await next_of(slow)).curves[0].columns) == ["x"]


async def test_closing_ends_every_subscription_after_what_is_left() -> None:
    changes = Changes()
    subscription, waiting = changes.subscribe(), changes.subscribe()
    ended = asyncio.create_task(collect(waiting))
    await asyncio.sleep(0)
    changes.publish("last", {})
    changes.close()

    assert [topics(batch) async for batch in subscription] == [["last"]]
    assert await ended == ["last"]


async def test_a_subscriber_that_is_cancelled_leaves_nothing_behind() -> None:
    changes = Changes()
    waiting = asyncio.create_task(collect(changes.subscribe()))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    changes.publish("a", {})


async def collect(subscription) -> list[str]:
    return [topic async for batch in subscription for topic in topics(batch)]
