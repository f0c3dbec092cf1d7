"""What is asked of a host and what it answers, as data; no sockets here.

Every transport turns what arrives into a `Request`, gives it to `handle` (or bytes to `answer`) and sends back what
comes out. So an instrument behaves the same whichever wire it is reached by. On a wire that carries bytes a request is
one msgpack map whose key "ask" names its kind, an answer is one msgpack array `[value, problem]`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from labretto.errors import DriverError, InvalidError, LabError, NotFoundError, from_problem
from labretto.instrument import codec
from labretto.instrument.describe import Description
from labretto.instrument.host import Host
from labretto.instrument.invocation import Invocation
from labretto.instrument.leases import lease_as_dict
from labretto.instrument.reading import Reading, isoformat, now, with_dims

logger = logging.getLogger(__name__)

REQUEST_LIMIT = 8 * 1024 * 1024
"""Bytes that a request may have; an answer may be larger, since a host trusts its own driver."""

_LONGEST = 86_400.0
"""Seconds that somebody may wait for a cancelled action."""

Encoded = TypeVar("Encoded")

Links = Mapping[str, str]
"""Where a host can be reached: "http", "zmq", "events" (its ZMQ publisher) → address."""


class Request(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="ask", tag=str.lower
):
    """Something asked of a host."""


class Describe(Request, frozen=True):
    """What do you offer?"""


class Health(Request, frozen=True):
    """How are you?"""


class ReadAll(Request, frozen=True):
    """Every attribute."""


class Read(Request, frozen=True):
    """One look at an attribute."""

    attribute: str
    fresh: bool = False
    """Ask the driver, even if the last reading of a polled attribute would do."""


class Write(Request, frozen=True):
    """Set an attribute and read it back."""

    attribute: str
    value: Any
    lease: int | None = None


class Invoke(Request, frozen=True):
    """Begin an action, or find the invocation that has this id already."""

    action: str
    parameters: dict[str, Any]
    identity: str | None = None
    lease: int | None = None
    actor: str | None = None
    wait: bool = True
    """Answer at its end; else as soon as it has begun."""


class Find(Request, frozen=True):
    """What became of an invocation?"""

    identity: str
    action: str | None = None


class Check(Request, frozen=True):
    """Look at the world: did this interrupted invocation happen?"""

    identity: str
    action: str | None = None


class Cancel(Request, frozen=True):
    """End a running action at its next opportunity."""

    identity: str
    action: str | None = None
    within: float | None = None
    """Answer at its end, or after so many seconds; else at once."""


class Stop(Request, frozen=True):
    """Make safe, at once."""


class Take(Request, frozen=True):
    """Let nobody but the holder act from now on."""

    holder: str
    number: int | None = None
    """Higher than all before; None: one more than the highest that the host has seen."""
    until: datetime | None = None
    over: bool = False
    """Take it from whoever has it."""


class GiveBack(Request, frozen=True):
    """Let everybody act again."""

    number: int


class Alarms(Request, frozen=True):
    """What is beyond its limits, or was and nobody has seen it?"""


class Acknowledge(Request, frozen=True):
    """Somebody has seen an alarm."""

    alarm: str
    by: str = ""
    note: str = ""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The value asked for, or the problem that stood against it."""

    value: Any = None
    problem: dict[str, Any] | None = None


_REQUEST = codec.decoder(
    Describe
    | Health
    | ReadAll
    | Read
    | Write
    | Invoke
    | Find
    | Check
    | Cancel
    | Stop
    | Take
    | GiveBack
    | Alarms
    | Acknowledge
)
_ANSWER = codec.decoder(Answer)
_PLAIN = (float, int, str)
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)


# The host's side ----------------------------------------------------------------------------------------------------


async def handle(host: Host, request: Request, links: Links | None = None) -> Any:
    """The value that answers `request`, made of what the codec can carry.

    Raises:
        LabError: as the methods of `Host` say.
    """
    match request:
        case Read():
            return (await host.read(request.attribute, fresh=request.fresh)).as_dict()
        case Invoke():
            return (await _invoke(host, request)).as_dict()
        case Write():
            return (await host.write(request.attribute, request.value, lease=request.lease)).as_dict()
        case Find():
            return _found(host, request).as_dict()
        case Describe():
            return host.description.as_dict() | {"links": dict(links or {})}
        case Health():
            return _health(host)
        case ReadAll():
            return {name: _sendable(reading).as_dict() for name, reading in (await host.read_all()).items()}
        case Cancel():
            _found(host, request)
            return (await _cancel(host, request)).as_dict()
        case Check():
            _found(host, request)
            return (await host.check(request.identity)).as_dict()
        case Stop():
            return await host.stop()
        case Take():
            taken = host.take(request.holder, request.number, until=_aware(request.until), over=request.over)
            return lease_as_dict(host.description.name, taken)
        case GiveBack():
            host.give_back(request.number)
            return lease_as_dict(host.description.name, host.lease)
        case Alarms():
            return [alarm.as_dict() for alarm in host.alarms()]
        case Acknowledge():
            return host.acknowledge(request.alarm, request.by, request.note).as_dict()
        case _:
            raise InvalidError(f"A request of the kind {type(request).__name__} is not known here.")


async def answer(host: Host, data: bytes, links: Links | None = None) -> bytes:
    """The same from bytes to bytes; never raises, a problem is an answer too."""
    try:
        return encode_value(Answer(await handle(host, decode_request(data), links)))
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the one who asked is told
        return refused(error)


async def answer_framed(host: Host, request: Request, links: Links | None = None) -> list[codec.Buffer]:
    """The same in frames, for a wire that carries several: large arrays follow the answer as they lie in memory."""
    try:
        return frames_of(host, request, await handle(host, request, links))
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the one who asked is told
        return [refused(error)]


def frames_of(host: Host, request: Request, value: Any) -> list[codec.Buffer]:
    """The answer `value` to `request` in frames; its arrays say their dims and unit.

    Raises:
        DriverError: as `encode_value`.
    """
    if type(request) is Read and isinstance(value["value"], _PLAIN):
        return [encode_value(Answer(value))]
    return encode_value(Answer(labelled(host.description, request, value)), codec.encode_framed)


def labelled(description: Description, request: Request, value: Any) -> Any:
    """The answer `value` to `request`, its arrays with the dims and the unit that they are described with."""
    if isinstance(request, Read | Write):
        return labelled_reading(description, request.attribute, value)
    if isinstance(request, ReadAll):
        return {name: labelled_reading(description, name, reading) for name, reading in value.items()}
    action = description.actions.get(value.get("action", "")) if isinstance(value, dict) else None
    if action is None or "result" not in value:
        return value
    return {**value, "result": with_dims(value["result"], action.result)}


def labelled_reading(description: Description, attribute: str, reading: dict[str, Any]) -> dict[str, Any]:
    """The same for one reading."""
    described = description.attributes.get(attribute)
    if described is None or isinstance(reading["value"], int | float | str | None):
        return reading
    return {**reading, "value": with_dims(reading["value"], described.schema)}


def refused(error: Exception) -> bytes:
    """The answer that says what stood against it."""
    return codec.encode(Answer(problem=problem_of(error)))


def encode_value(value: Any, encode: Callable[[Any], Encoded] = codec.encode) -> Encoded:  # type: ignore[assignment]
    """`value` as `encode` spells it.

    Raises:
        DriverError: the driver gave something that no wire can carry; names its type.
    """
    try:
        return encode(value)
    except codec.CannotEncodeError as error:
        raise DriverError(f"The driver's answer cannot be sent: {error.detail}", way_out=error.way_out) from error


def problem_of(error: Exception) -> dict[str, Any]:
    """What the one who asked is told of `error`: problem details; of a fault of ours nothing but that it is one."""
    if isinstance(error, LabError):
        return error.problem()
    logger.error("a request could not be answered", exc_info=error)
    return LabError("The host met a fault of its own.", way_out="Its log says more; please report it.").problem()


async def _invoke(host: Host, request: Invoke) -> Invocation:
    words: dict[str, Any] = {"identity": request.identity, "lease": request.lease, "actor": request.actor}
    begun = await host.invoke(request.action, request.parameters, **words)
    return await host.wait(begun.id) if request.wait else begun


async def _cancel(host: Host, request: Cancel) -> Invocation:
    if request.within is None:
        return host.cancel(request.identity)
    if not 0 <= request.within <= _LONGEST:
        raise InvalidError(f"within={request.within} is not between 0 and {_LONGEST:g} seconds.")
    return await host.cancel_and_wait(request.identity, request.within)


def _found(host: Host, request: Find | Check | Cancel) -> Invocation:
    found = host.find(request.identity)
    if request.action and found.action not in ("", request.action):
        raise NotFoundError(f"The invocation {found.id} is of {found.action}, not of {request.action}.")
    if request.action and not found.action and request.action not in host.description.actions:
        # "Not arrived, safe to send" would be wrong of what is not offered.
        raise NotFoundError(f"{host.description.name} has no action {request.action!r}.")
    return found


def _health(host: Host) -> dict[str, Any]:
    running = host.running()
    return {
        "status": "busy" if running or host.silent else "idle",
        "running": running[0].as_dict() if running else None,
        "lease": host.lease.as_dict() if host.lease else None,
        "blocked": host.blocked,
        "silent": host.silent,
        "alarms": sum(alarm.active or not alarm.acknowledged for alarm in host.alarms()),
        "ledger": {"birth": host.ledger_birth},
        "process": os.getpid(),
        "time": isoformat(now()),
    }


def _aware(until: datetime | None) -> datetime | None:
    if until is not None and until.tzinfo is None:
        raise InvalidError(f"{until.isoformat()} does not say in which time zone.", way_out="Write it with a Z.")
    return until


def _sendable(reading: Reading) -> Reading:
    """The reading, or one that says why it cannot be sent, so that one bad attribute does not hide the others."""
    if isinstance(reading.value, int | float | str | None):
        return reading
    try:
        codec.encode(reading.value)
    except codec.CannotEncodeError as error:
        return Reading(None, reading.unit, reading.time, "error", error.detail)
    return reading


# Bytes --------------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> bytes:
    """The request as bytes.

    Raises:
        InvalidError: it has a value that cannot be sent, or is too large; nothing was sent.
    """
    data = codec.encode(request)
    if len(data) > REQUEST_LIMIT:
        raise too_large(len(data))
    return data


def decode_request(data: bytes) -> Request:
    """The request that `encode_request` wrote.

    Raises:
        InvalidError: the bytes are no request; says what is wrong with them.
    """
    if len(data) > REQUEST_LIMIT:
        raise too_large(len(data))
    try:
        request: Request = _REQUEST.decode(data)
    except _UNREADABLE as error:
        raise InvalidError(f"The message is not a request: {_said(error)}.") from error
    return request


def decode_answer(data: Any, *apart: Any) -> Any:
    """The value in an answer, and in the frames that came with it.

    Raises:
        LabError: the problem in the answer, as the error it was.
        InvalidError: the bytes are no answer.
    """
    try:
        decoded: Answer = codec.decode_framed([data, *apart], Answer) if apart else _ANSWER.decode(data)
    except (InvalidError, *_UNREADABLE) as error:
        raise InvalidError(f"The answer cannot be read: {_said(error)}.") from error
    if decoded.problem is not None:
        raise from_problem(decoded.problem)
    return decoded.value


def too_large(size: int) -> InvalidError:
    """What a request of `size` bytes is told."""
    return InvalidError(
        f"The request has {size:,} bytes; a host takes {REQUEST_LIMIT:,} at most.",
        way_out="Send large data in pieces, or put it where the driver can read it.",
    )


def _said(error: Exception) -> str:
    return (str(error) or "it is nested too deeply").rstrip(".")
