"""A host that is killed, not closed: real processes, real sockets, SIGKILL."""

import asyncio
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from labretto.errors import UnreachableError
from labretto.instrument.invocation import new_id
from labretto.network.client import open_instrument

RIG = Path(__file__).parent / "rig.py"
ANYWHERE = ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0", "http://127.0.0.1:0"]


@asynccontextmanager
async def rig_process(addresses: list[str]) -> AsyncIterator[tuple[Process, list[str]]]:
    """A process that serves a rig, and its addresses: ZMQ, events, HTTP."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, RIG, *addresses, stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().split()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("wire", [0, 2], ids=["zmq", "http"])
async def test_when_a_host_is_killed_what_waits_fails_and_the_next_host_is_reached(wire: int) -> None:
    async with AsyncExitStack() as stack:
        process, addresses = await stack.enter_async_context(rig_process(ANYWHERE))
        instrument = await stack.enter_async_context(await open_instrument(addresses[wire]))
        begun = await instrument.invoke("hold", {}, wait=False)
        waiting = [
            asyncio.create_task(instrument.invoke("hold", {}, identity=begun.id)),
            asyncio.create_task(instrument.invoke("hold", {}, identity=begun.id)),
        ]
        await instrument.read_all()

        process.send_signal(signal.SIGKILL)

        for each in waiting:
            with pytest.raises(UnreachableError):
                await asyncio.wait_for(each, 5)
        await process.wait()
        with pytest.raises(UnreachableError):
            await instrument.find(new_id())

        back = asyncio.create_task(instrument.reachable())
        await stack.enter_async_context(rig_process(addresses))
        await asyncio.wait_for(back, 20)
        assert (await instrument.find(begun.id)).state == "cannot tell"
        assert (await instrument.invoke("move", {"to": 3.0})).result == 3.0
