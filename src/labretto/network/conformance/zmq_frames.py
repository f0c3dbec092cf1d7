"""Checks of the frames of ZMQ: [correlation, request] in, [correlation, answer] out, whatever the bytes are."""

from __future__ import annotations

from typing import Any

import zmq
import zmq.asyncio

from labretto.errors import LabError
from labretto.instrument import codec
from labretto.instrument.invocation import new_id
from labretto.network.conformance.candidate import Candidate, counted_up
from labretto.network.conformance.judging import Checks, Failed, expect
from labretto.network.credentials import split_key
from labretto.network.curve import client_options
from labretto.network.messages import Health

checks = Checks()

NO_REQUESTS = [
    b"",
    b"\x00",
    b"\xc1",
    b"{}",
    b"\x80",
    b"\x81\xa3ask\xa4nope",
    b"\x81\xa3ask\xc0",
    b"\x81\xa3ask\xa4read",
    b"\x91" * 10_000,
    b"\xdf\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xff" * 100_000,
]
"""Empty, cut off, of an unknown kind, nested too deeply, promising four billion items."""


async def _asked(host: Candidate, *frames: bytes) -> list[bytes]:
    with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        where, key = split_key(host.connection.address)
        for option, value in (client_options(key) if key else {}).items():
            socket.setsockopt(option, value)
        socket.connect(where)
        shown = [host.token.encode()] if host.token and len(frames) == 2 else []
        await socket.send_multipart([*frames, *shown])
        return list(await socket.recv_multipart())


async def _refused(host: Candidate, request: bytes) -> dict[str, Any]:
    asked = f"The bytes {request[:20]!r}"
    frames = await _asked(host, b"17", request)
    expect(len(frames) == 2 and frames[0] == b"17", asked, "[correlation, answer]", frames)
    try:
        value, problem = codec.decode(frames[1])
    except (LabError, TypeError, ValueError) as error:
        raise Failed(asked, "an answer [value, problem]", str(error)) from error
    expect(value is None and isinstance(problem, dict), asked, "a problem", (value, problem))
    expect({"type", "title", "status", "detail"} <= set(problem), asked, "problem details", problem)
    return dict(problem)


@checks.add("Bytes that are no request are answered with a problem under their correlation", wire="tcp")
async def _(host: Candidate) -> None:
    for request in NO_REQUESTS:
        problem = await _refused(host, request)
        expect(400 <= problem["status"] < 500, f"The bytes {request[:20]!r}", "a status from 400 to 499", problem)
    await host.answered(Health())


@checks.add("A request with a word that is not known, or of another kind, is refused; nothing is done", wire="tcp")
async def _(host: Candidate) -> None:
    action = host.repeatable()[0]
    before = await host.counted(action)
    fitting: dict[str, Any] = {
        "ask": "invoke",
        "action": action.name,
        "parameters": host.parameters(action),
        "identity": new_id(),
    }
    misfits: list[dict[str, Any]] = [{"parameters": []}, {"identity": 17}, {"lease": "seven"}, {"no_such_word": 1}]
    for wrong in misfits:
        await _refused(host, codec.encode(fitting | {"identity": new_id()} | wrong))
    after = await host.counted(action)
    expect(counted_up(before, after, 0), "Requests that are none", "nothing is done", f"{after} times")


@checks.add("A message with a missing frame harms nobody", wire="tcp")
async def _(host: Candidate) -> None:
    await _asked(host, b"alone")
    await host.answered(Health())
