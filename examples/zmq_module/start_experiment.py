#!/usr/bin/env python3
"""Run the experiment: its modules in processes of their own, and the socket that answers for them, until Ctrl-C.

`python start_experiment.py [config.yml]`. A module that crashes is started again, sooner or later (with back-off); the
socket answers meanwhile that it is down. What is asked and answered stands in `routing.py`.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import zmq
import zmq.asyncio
from config import Config, config_file, load_config
from routing import Experiment

from labretto.errors import ConflictError, LabError
from labretto.network.liveness import hold
from labretto.network.supervise import Supervisor

logger = logging.getLogger(__name__)

SAFE_WITHIN = 0.3
"""Seconds that a running action gets to end when it is stopped by Ctrl-C; its process follows within 1.5 s."""

SENT_WITHIN = 100
"""Milliseconds in which the last answers have to leave."""

LARGEST = 8 * 1024 * 1024
"""Bytes of a request; who sends more is cut off."""

AT_ONCE = 1_000
"""Requests that may wait for their answer at one time; the next ones wait in ZMQ."""

Answer = Callable[[bytes], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def answering(address: str, answer: Answer) -> AsyncIterator[None]:
    """Answer what is asked at `address`, each request in a task of its own: a slow one keeps nobody else waiting.

    Raises:
        ConflictError: the port is in use.
    """
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.ROUTER)  # REP would answer one after the other, and hang with a client that hangs
    try:
        socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 2_000)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            raise ConflictError(f"{address} cannot be served: {error}.", way_out="Choose another port.") from None
        async with asyncio.TaskGroup() as tasks:
            taking = tasks.create_task(take(socket, answer, tasks))
            yield
            taking.cancel()
    finally:
        context.destroy(linger=SENT_WITHIN)


async def take(socket: zmq.asyncio.Socket, answer: Answer, tasks: asyncio.TaskGroup) -> None:
    """Take requests for ever."""
    free = asyncio.Semaphore(AT_ONCE)

    async def respond(envelope: list[bytes], body: bytes) -> None:
        try:
            await socket.send_multipart([*envelope, await answer(body)])
        except zmq.ZMQError as error:
            logger.warning("an answer could not be sent: %s", error)
        finally:
            free.release()

    while True:
        await free.acquire()
        envelope, body = opened(await socket.recv_multipart())
        tasks.create_task(respond(envelope, body))


def opened(frames: list[bytes]) -> tuple[list[bytes], bytes]:
    """The way back and the request. A REQ socket puts an empty frame between them, others may leave it out."""
    end = frames.index(b"", 1, -1) + 1 if b"" in frames[1:-1] else max(1, len(frames) - 1)
    content = frames[end:]
    return frames[:end], content[0] if len(content) == 1 else b""


async def run(config: Config, file: Path) -> None:
    """The experiment from its start to SIGINT or SIGTERM."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    lab, address = config.lab(file), config.experiment_socket.address
    supervisor = Supervisor(lab)
    experiment = Experiment(supervisor)
    # The socket before the modules, so that no hardware is touched where the port is taken; after them at the end, so
    # that who still waits is told.
    with hold(lab.hub_lock):
        async with answering(address, experiment.answer), supervisor:
            await first(ended.wait(), supervisor.settled())
            if not ended.is_set():
                print(f"{config.name}: {address}  (modules: {', '.join(config.modules)}; Ctrl-C ends)", flush=True)
            await ended.wait()
            await experiment.make_safe(SAFE_WITHIN)


async def first(*calls: Awaitable[object]) -> None:
    """Return when one of them does."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def main(arguments: list[str]) -> int:
    """The exit status: 0 after Ctrl-C, 1 if it could not be run, with the reason on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    file = Path(arguments[0]).absolute() if arguments else config_file()
    status = 0
    try:
        asyncio.run(run(load_config(file), file))
    except* LabError as errors:  # a group, because a task group is open while the modules start
        print(*(f"start_experiment: {error}" for error in errors.exceptions), sep="\n", file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
