"""The host that is checked: which of its actions play which role, and how it is asked.

What comes back is compared with what is promised here (`answered`, `refused`), so that the checks themselves are short.
Everything goes through `labretto.network.connection`, as every client's requests do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from labretto.errors import InvalidError, LabError, UnreachableError
from labretto.instrument.describe import Action, Attribute, Description
from labretto.instrument.invocation import Effect, new_id
from labretto.network.client import parsed
from labretto.network.conformance.judging import Failed, NotApplicable, expect
from labretto.network.connection import Connection, back_off
from labretto.network.messages import (
    Cancel,
    Describe,
    Find,
    Health,
    Invoke,
    Read,
    Request,
    Stop,
)
from labretto.network.openapi import example

ROLES: Mapping[str, tuple[str, Effect | None]] = {
    "look": ("look", "read"),
    "place": ("place", "absolute"),
    "dose": ("dose", "once"),
    "fail": ("fail", None),
    "hold": ("hold", None),
    "linger": ("linger", None),
    "measure": ("measure", None),
    "locked": ("locked", None),
}
"""Role → the action of `Subject` that plays it, and the effect by which another action may; None: only by name.

look reads · place sets a value · dose must not happen twice · fail raises · hold runs until stopped · linger runs until
cancelled · measure yields rows · locked is refused by an interlock now.
"""

END_WITHIN = 5.0
"""Seconds in which what a check began has to end."""

OVER = ("succeeded", "failed", "cancelled", "interrupted")


@dataclass(frozen=True)
class Permission:
    """What may be asked of a host that is no `Subject`."""

    effects: frozenset[Effect] = frozenset({"read", "absolute"})
    """Effects that an action may have."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Role → action that shall play it."""
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Action → parameters to call it with; others get an example that fits their limits."""


def permission(allow: Iterable[str], roles: Mapping[str, Any], parameters: Mapping[str, Any]) -> Permission:
    """What the words of a command line permit: effects, role → action, "action.name" → value.

    Raises:
        InvalidError: an effect or a role that there is none of, or a parameter without its action.
    """
    effects = {"read", "absolute", *allow}
    _refuse_unknown("effect", effects, get_args(Effect))
    _refuse_unknown("role", roles, ROLES)
    given: dict[str, dict[str, Any]] = {}
    for place, value in parameters.items():
        action, dot, name = place.partition(".")
        if not dot:
            raise InvalidError(f"{place!r} is not ACTION.NAME.", way_out="Write for instance move.to=1.5.")
        given.setdefault(action, {})[name] = value
    return Permission(frozenset(effects), {role: str(action) for role, action in roles.items()}, given)  # type: ignore[arg-type]


def _refuse_unknown(kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    known = tuple(known)
    for name in given:
        if name not in known:
            raise InvalidError(f"There is no {kind} {name!r}.", way_out=f"There are {', '.join(known)}.")


class Candidate:
    """One host under examination."""

    def __init__(
        self, connection: Connection, body: Mapping[str, Any], permission: Permission, token: str | None = None
    ) -> None:
        self.connection = connection
        self.token = token
        """What it asks for."""
        self.body = body
        self.description = parsed(connection.address, Description.from_dict, body)
        self._permission = permission
        self._roles = {role: action for role in ROLES if (action := self._cast(role)) is not None}

    @classmethod
    async def found(cls, connection: Connection, permission: Permission, token: str | None = None) -> Candidate:
        """The host at the end of `connection`."""
        body = await connection.ask(Describe())
        if not isinstance(body, dict):
            raise Failed("What do you offer?", "a description", body)
        return cls(connection, body, permission, token)

    # Which action -------------------------------------------------------------------------------------------------

    @property
    def is_subject(self) -> bool:
        """It serves the instrument that is meant for this, so nothing is at risk."""
        return self.description.title == "Subject" and "dose" in self.description.actions

    def _cast(self, role: str) -> Action | None:
        actions = self.description.actions
        name, effect = ROLES[role]
        if chosen := self._permission.roles.get(role):
            return actions.get(chosen)
        if self.is_subject:
            return actions.get(name)
        fits = (a for a in actions.values() if effect and a.effect == effect and a.stream is None)
        if role == "measure":
            fits = (action for action in actions.values() if action.stream is not None)
        return next((action for action in fits if self._allows(action)), None)

    def _allows(self, action: Action) -> bool:
        return action.effect in self._permission.effects

    def plays(self, role: str) -> bool:
        """There is an action for this role."""
        return role in self._roles

    def action(self, role: str) -> Action:
        """The action that plays `role`."""
        if role not in self._roles:
            raise NotApplicable(f"no action plays {role!r}")
        return self._roles[role]

    def repeatable(self) -> list[Action]:
        """One action of each effect that may be asked for, the most delicate first."""
        found = [self._roles[role] for role in ("dose", "place", "look") if role in self._roles]
        if not found:
            raise NotApplicable("no action has the effect read or absolute; `--allow once` asks for others")
        return found

    def count(self, action: Action) -> str | None:
        """The attribute that counts how often `action` began; None where nothing does."""
        counter = {"dose": "doses", "place": "placings", "fail": "failures"}.get(action.name, "")
        return counter if self.is_subject and counter in self.description.attributes else None

    def attribute(self, *, writable: bool) -> Attribute:
        """An attribute of this kind, one with limits first."""
        found = [one for one in self.description.attributes.values() if one.writable == writable]
        if not found:
            raise NotApplicable(f"no attribute {'can be set' if writable else 'is read-only'}")
        return next((one for one in found if outside(one.schema) is not None), found[0])

    # With what ----------------------------------------------------------------------------------------------------

    def parameters(self, action: Action) -> dict[str, Any]:
        """What to call `action` with."""
        examples = {name: example(p.schema) for name, p in action.parameters.items() if p.required}
        return examples | dict(self._permission.parameters.get(action.name, {}))

    def others(self, action: Action) -> dict[str, Any]:
        """Parameters that differ from `parameters(action)` and fit as well."""
        given = self.parameters(action)
        for name, parameter in action.parameters.items():
            for other in _alternatives(parameter.schema):
                if other != given.get(name, parameter.schema.get("default")):
                    return given | {name: other}
        raise NotApplicable(f"{action.name} can be asked for in one way only")

    # Asking -------------------------------------------------------------------------------------------------------

    async def ask(self, request: Request) -> Any:
        """The answer; who is not answered asks again, as the contract allows for ever."""
        for pause in back_off():
            try:
                return await self.connection.ask(request)
            except UnreachableError:
                await asyncio.sleep(pause)
        raise AssertionError

    async def answered(self, request: Request) -> Any:
        """The answer; a refusal is a failure of the check."""
        try:
            return await self.ask(request)
        except LabError as error:
            raise Failed(said(request), "an answer", spelled(error)) from error

    async def refused(self, request: Request, *kinds: type[LabError]) -> LabError:
        """The refusal, which has to be of one of these kinds."""
        wanted = " or ".join(f"{kind.__name__} ({kind.status})" for kind in kinds)
        try:
            answer = await self.ask(request)
        except LabError as error:
            if not isinstance(error, kinds):
                raise Failed(said(request), wanted, spelled(error)) from error
            expect(bool(error.detail), said(request), f"{wanted} that says why", spelled(error))
            return error
        raise Failed(said(request), wanted, answer)

    async def invoke(self, action: Action, identity: str | None = None, **words: Any) -> dict[str, Any]:
        """An invocation, asked for and answered."""
        request = Invoke(action.name, words.pop("parameters", self.parameters(action)), identity or new_id(), **words)
        return await self.invocation(request)

    async def invocation(self, request: Request) -> dict[str, Any]:
        """An answer that has to be an invocation."""
        answer = await self.answered(request)
        missing = _MEMBERS - set(answer) if isinstance(answer, dict) else _MEMBERS
        expect(not missing, said(request), f"an invocation (without {', '.join(sorted(missing))} it is none)", answer)
        return dict(answer)

    async def found_again(self, identity: str, action: Action) -> dict[str, Any]:
        """What is known of an invocation."""
        return await self.invocation(Find(identity, action.name))

    async def value(self, attribute: str) -> Any:
        """One look at an attribute."""
        reading = await self.answered(Read(attribute))
        expect(isinstance(reading, dict) and "value" in reading, f"Read {attribute}", "a reading", reading)
        return reading["value"]

    async def counted(self, action: Action) -> int | None:
        """How often `action` has begun, where that can be known."""
        counter = self.count(action)
        return int(await self.value(counter)) if counter else None

    @contextlib.asynccontextmanager
    async def running(self, role: str) -> AsyncIterator[dict[str, Any]]:
        """While the block runs the action that plays `role` does; it is ended afterwards, whatever happened."""
        action = self.action(role)
        identity = new_id()
        request = Invoke(action.name, self.parameters(action), identity, wait=False)
        try:
            begun = await self.invocation(request)
            expect(begun["state"] == "running", f"{said(request)}, without waiting", 'state "running"', begun)
            yield begun
        finally:
            await self._end(Invoke(action.name, request.parameters, identity))

    async def _end(self, request: Invoke) -> None:
        """See to it that an invocation is over."""
        over = asyncio.ensure_future(self.ask(request))
        with contextlib.suppress(LabError, TimeoutError):
            async with asyncio.timeout(END_WITHIN):
                while not over.done():
                    with contextlib.suppress(LabError):
                        await self.ask(Cancel(request.identity or "", request.action))
                    if self.description.stop:
                        await self.ask(Stop())
                    # A driver that was stopped before it began to wait has to be stopped again.
                    await asyncio.wait([over], timeout=0.5)
        over.cancel()
        await asyncio.wait([over])

    async def highest_lease(self) -> int:
        """The highest lease number that the host says it has seen; 0 where it does not say."""
        ledger = (await self.answered(Health())).get("ledger") or {}
        return int(ledger.get("lease") or 0)


def outside(schema: Mapping[str, Any]) -> float | None:
    """A number that `schema` does not allow; None if it allows all."""
    if "enum" in schema or schema.get("type") not in ("number", "integer"):
        return None
    if (high := schema.get("maximum", schema.get("exclusiveMaximum"))) is not None:
        return high + 1  # type: ignore[no-any-return]
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    return low - 1 if low is not None else None


def _alternatives(schema: Mapping[str, Any]) -> list[Any]:
    if schema.get("enum"):
        return list(schema["enum"])
    match schema.get("type"):
        case "number" | "integer":
            usual = example(schema)
            bounds = [schema[word] for word in ("minimum", "maximum") if word in schema]
            return [*bounds, usual] if bounds or outside(schema) is not None else [usual, usual + 1]
        case "boolean":
            return [False, True]
        case "string":
            return ["another", "text"] if "pattern" not in schema and "format" not in schema else []
    return []


def said(request: Request) -> str:
    """A request in one line: `invoke(action="dose", ...)`."""
    words = {name: getattr(request, name) for name in request.__struct_fields__}
    told = ", ".join(f"{name}={value!r}" for name, value in words.items() if value is not None)
    return f"{type(request).__name__.lower()}({told})"[:400]


def spelled(error: LabError) -> str:
    """An error in one line, with its kind."""
    return f"{type(error).__name__}: {error.detail}"[:400]


def counted_up(before: int | None, after: int | None, by: int) -> bool:
    """As far as it can be known, something happened `by` times more."""
    return before is None or after is None or after == before + by


_MEMBERS = frozenset({"id", "action", "parameters", "state", "effect", "started", "ended", "result", "error"})
