"""Checks: a method `check_x` that looks at the world and says whether the action `x` happened.

It takes the parameters of `x` and answers "done", "not done" or "partly" (or True, or False), and, where it can say it,
the result as well: `("done", 4.2)`. It is no action itself. When it is asked for is decided by the orchestrator, after
an interruption and only then.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from labretto.errors import DriverError
from labretto.instrument import codec

Outcome = Literal["done", "not done", "partly"]

_PREFIX = "check_"


@dataclass(frozen=True)
class Checked:
    """What a check said of one invocation."""

    invocation: str
    action: str
    outcome: Outcome
    result: Any = None
    """What the action would have answered, if the check can say it."""

    def as_dict(self) -> dict[str, Any]:
        """The form that every wire carries."""
        names = ("invocation", "action", "outcome", "result")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Checked:
        """What `as_dict` wrote."""
        return cls(body["invocation"], body["action"], body["outcome"], body.get("result"))


def checks_among(members: Mapping[str, Any], effects: Mapping[str, str]) -> dict[str, str]:
    """Action → its check, among the public members of a driver's class.

    One that is declared "checkable" has it by name. For one of which nothing is declared the check must also take the
    same parameters and not say that it answers something else: a stranger's class may have other things by that name.
    """
    functions = {name: value for name, value in members.items() if inspect.isfunction(value)}
    pairs = {name: _PREFIX + name for name in functions if _PREFIX + name in functions}
    return {
        name: check for name, check in pairs.items() if _is_check(functions[name], functions[check], effects.get(name))
    }


def _is_check(action: Any, check: Any, said: str | None) -> bool:
    effect = said or getattr(action, "__labretto_effect__", None)
    if effect is not None:
        return effect == "checkable"
    same = list(inspect.signature(action).parameters) == list(inspect.signature(check).parameters)
    returned = check.__annotations__.get("return", inspect.Signature.empty)
    return same and (returned in (inspect.Signature.empty, str, "str", Any, "Any") or "Literal" in str(returned))


def outcome_of(place: str, answer: Any) -> tuple[Outcome, Any]:
    """What a check's answer means, and the result that it says.

    Raises:
        DriverError: it is none of the three words; or the result cannot be sent.
    """
    said, result = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    word = _outcome(said)
    if word is None:
        raise DriverError(f"{place} answered {said!r:.80}, not 'done', 'not done' or 'partly'.")
    try:
        return word, codec.settled(result)
    except codec.CannotEncodeError as error:
        raise DriverError(f"{place}: its result cannot be sent: {error.detail}", way_out=error.way_out) from error


def _outcome(said: Any) -> Outcome | None:
    if isinstance(said, bool):
        return "done" if said else "not done"
    return next((word for word in get_args(Outcome) if isinstance(said, str) and said == word), None)
