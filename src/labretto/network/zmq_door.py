"""The gate of `labretto.access` before every request that comes over ZMQ.

A request carries its token as a third frame, inside the encrypted channel (`labretto.network.curve`); so nothing has to
be remembered of a connection, and a token that is revoked is refused with the next request. What is not known to be
harmless counts as an act.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from labretto.access.gate import Gate
from labretto.access.rule import Actor, Verb
from labretto.errors import LabError
from labretto.instrument import codec
from labretto.instrument.host import Host
from labretto.network import messages

_READING = (messages.Describe, messages.Health, messages.ReadAll, messages.Read, messages.Find, messages.Alarms)
_STOPPING = (messages.Stop, messages.Cancel)
_WHERE = "zmq"


def verb_of(request: messages.Request) -> Verb:
    """What a request does."""
    if isinstance(request, _READING):
        return "read"
    return "stop" if isinstance(request, _STOPPING) else "act"


@dataclass(frozen=True)
class Shown:
    """What a request shows of who sent it."""

    token: bytes
    peer: str = ""
    """The address from which it came."""

    @property
    def where(self) -> str:
        """For the trail."""
        return self.peer or _WHERE


def who(gate: Gate, token: bytes, where: str = _WHERE) -> Actor:
    """Who shows a token. Raises as `Gate.who`."""
    return gate.who(token[:300].decode("utf-8", "replace") or None, where)


async def answer(
    gate: Gate, host: Host, data: bytes, links: messages.Links, shown: Shown, *, framed: bool = False
) -> list[codec.Buffer]:
    """As `messages.answer`, for those who may; the others are told why not. `framed` as `messages.answer_framed`."""
    actor: Actor | None = None
    verb: Verb = "act"
    about: dict[str, Any] = {"where": shown.where}
    what = "a request"
    try:
        actor = who(gate, shown.token, shown.where)
        request = messages.decode_request(data)
        verb, what = verb_of(request), _words(request)
        gate.check(actor, verb)
    except LabError as error:
        gate.note_refusal(actor, verb, what, error, **about)
        return [messages.refused(error)]
    if verb == "read":
        return await _answer(host, request, links, framed=framed)
    if isinstance(request, messages.Invoke):
        about["on_behalf_of"] = request.actor or ""
        request = msgspec.structs.replace(request, actor=_named(actor, request.actor))
    if isinstance(request, messages.Acknowledge):
        about["on_behalf_of"] = request.by
        request = msgspec.structs.replace(request, by=_named(actor, request.by))
    outcome: object = "no answer"
    try:
        value = await messages.handle(host, request, links)
        outcome = value.get("state", 200) if isinstance(value, dict) else 200
        return messages.frames_of(host, request, value) if framed else [messages.encode_value(messages.Answer(value))]
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the one who asked is told
        problem = messages.problem_of(error)
        outcome = problem["status"]
        return [codec.encode(messages.Answer(problem=problem))]
    finally:
        gate.note(actor, verb, what, outcome, parameters=_parameters(request), **about)


async def _answer(host: Host, request: messages.Request, links: messages.Links, *, framed: bool) -> list[codec.Buffer]:
    if framed:
        return await messages.answer_framed(host, request, links)
    try:
        return [messages.encode_value(messages.Answer(await messages.handle(host, request, links)))]
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the one who asked is told
        return [messages.refused(error)]


def _named(actor: Actor, claimed: str | None) -> str:
    """The name that was shown, beside the one that was claimed."""
    return actor.name if claimed in (None, "", actor.name) else f"{claimed} ({actor.name})"


def _words(request: messages.Request) -> str:
    """Such as "invoke move" or "write x"."""
    kind = type(request).__name__.lower()
    return f"{kind} {getattr(request, 'action', None) or getattr(request, 'attribute', None) or ''}".strip()


def _parameters(request: messages.Request) -> Any:
    plain: dict[str, Any] = msgspec.structs.asdict(request)
    told = {name: value for name, value in plain.items() if name not in ("action", "attribute", "actor", "by", "wait")}
    return {name: value for name, value in told.items() if value is not None} or None
