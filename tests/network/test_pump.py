"""A ZMQ socket whose messages go to a callback."""

import asyncio
import select
import threading
from contextlib import closing

import pytest
import zmq

from labretto.network.pump import Pump, Socket, ThreadedPump, new_socket


@pytest.mark.parametrize("kind", [Pump, ThreadedPump])
async def test_a_message_that_cannot_be_taken_does_not_keep_the_next_from_coming(
    kind: type[Pump], caplog: pytest.LogCaptureFixture
) -> None:
    taken: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def take(frames: list[bytes]) -> None:
        if frames == [b"poison"]:
            raise ValueError("poison")
        loop.call_soon_threadsafe(taken.put_nowait, frames[0])

    receiver = new_socket(zmq.PULL, {})
    port = receiver.bind_to_random_port("tcp://127.0.0.1")
    sender = new_socket(zmq.PUSH, {})
    sender.connect(f"tcp://127.0.0.1:{port}")
    pump = kind(receiver, take)
    for message in (b"first", b"poison", *[b"many"] * 200, b"last"):
        sender.send(message)

    received = [await asyncio.wait_for(taken.get(), 5) for _ in range(202)]

    assert (received[0], received[-1]) == (b"first", b"last")
    assert "a message could not be taken" in caplog.text
    pump.close()
    pump.close()
    sender.close(linger=0)


async def test_who_sends_loses_no_message_that_came_before() -> None:
    """ZMQ tells of a message once, and perhaps whoever sends at that moment instead of who waits for it."""
    router = new_socket(zmq.ROUTER, {})
    port = router.bind_to_random_port("tcp://127.0.0.1")
    taken: asyncio.Queue[list[bytes]] = asyncio.Queue()
    with closing(Pump(router, taken.put_nowait)) as pump, closing(new_socket(zmq.DEALER, {})) as dealer:
        dealer.connect(f"tcp://127.0.0.1:{port}")
        for number in range(20):
            dealer.send(b"%d" % number)
            assert select.select([router], [], [], 10)[0]  # it is there, and the loop has not had its turn since
            pump.send([b"nobody", b"dropped"])

            assert (await asyncio.wait_for(taken.get(), 10))[1] == b"%d" % number


async def test_a_thread_takes_what_comes_while_others_send() -> None:
    router = new_socket(zmq.ROUTER, {})
    port = router.bind_to_random_port("tcp://127.0.0.1")
    takers: set[str] = set()

    def take(frames: list[bytes]) -> None:
        takers.add(threading.current_thread().name)
        pump.send(frames)

    pump = ThreadedPump(router, take)
    ended = threading.Event()

    def tell() -> None:
        while not ended.is_set():
            pump.send([b"listener", b"unasked"])  # dropped where the listener does not keep up

    def ask() -> list[bytes]:
        with (
            closing(new_socket(zmq.DEALER, {zmq.RCVTIMEO: 30_000})) as asking,
            closing(new_socket(zmq.DEALER, {zmq.ROUTING_ID: b"listener"})) as listening,
        ):
            for each in (asking, listening):
                each.connect(f"tcp://127.0.0.1:{port}")
            return [_answer(asking, b"%d" % number) for number in range(2_000)]

    telling = threading.Thread(target=tell)
    telling.start()
    try:
        answers = await asyncio.to_thread(ask)
    finally:
        ended.set()
        telling.join()
        pump.close()

    assert answers == [b"%d" % number for number in range(2_000)]
    assert takers == {"zmq"}


def _answer(asking: Socket, question: bytes) -> bytes:
    asking.send(question)
    return asking.recv()


async def test_when_a_pump_is_closed_its_thread_has_ended_and_nothing_is_sent_any_more() -> None:
    receiver = new_socket(zmq.PULL, {})
    receiver.bind_to_random_port("tcp://127.0.0.1")
    before = threading.active_count()
    pump = ThreadedPump(receiver, lambda frames: None)
    meanwhile = threading.active_count()
    pump.close()

    assert (meanwhile, threading.active_count()) == (before + 1, before)
    with pytest.raises(zmq.ZMQError, match="socket"):
        pump.send([b"late"])
