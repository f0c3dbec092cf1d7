"""A ZMQ socket whose messages go to a callback."""

import asyncio

import pytest
import zmq

from labretto.network.pump import Pump, new_socket


async def test_a_message_that_cannot_be_taken_does_not_keep_the_next_from_coming(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken: asyncio.Queue[bytes] = asyncio.Queue()

    def take(frames: list[bytes]) -> None:
        if frames == [b"poison"]:
            raise ValueError("poison")
        taken.put_nowait(frames[0])

    receiver = new_socket(zmq.PULL, {})
    port = receiver.bind_to_random_port("tcp://127.0.0.1")
    sender = new_socket(zmq.PUSH, {})
    sender.connect(f"tcp://127.0.0.1:{port}")
    pump = Pump(receiver, take)
    for message in (b"first", b"poison", *[b"many"] * 200, b"last"):
        sender.send(message)

    received = [await asyncio.wait_for(taken.get(), 5) for _ in range(202)]

    assert (received[0], received[-1]) == (b"first", b"last")
    assert "a message could not be taken" in caplog.text
    pump.close()
    pump.close()
    sender.close(linger=0)
