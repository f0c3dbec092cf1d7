"""What is known of an action before it is done: how long it takes, what it uses up, what it fills.

A class says it with `foresee`, a lab of a class that it may not edit with `expected`, `consumes` and `refills` in
lab.toml; what the lab says comes first. Nothing here acts or forbids: forecasts read it, and so do overruns. An amount
is a number, or the name of where it stands: of a parameter for what is used up, of an attribute for what is filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from labretto.errors import InvalidError
from labretto.lab import did_you_mean

if TYPE_CHECKING:
    from labretto.instrument.describe import Action, Attribute
    from labretto.instrument.overlay import Overlay

Function = TypeVar("Function", bound=Callable[..., Any])
Amount = str | float
"""A number, or the name of a parameter or attribute that says it."""

_MARK = "__labretto_foresight__"


def foresee(
    *,
    seconds: float | None = None,
    consumes: Mapping[str, Amount] | None = None,
    refills: Mapping[str, Amount] | None = None,
) -> Callable[[Function], Function]:
    """Declare what is known of an action before it is done.

    Args:
        seconds: how long it takes, whatever its parameters are; undeclared, it is learned.
        consumes: attribute that tells what is left → what one call takes of it: a number, or a parameter's name.
        refills: attribute that tells what is left → what is there afterwards: a number, or an attribute's name.
    """
    said = {"expected_seconds": seconds, "consumes": dict(consumes or {}), "refills": dict(refills or {})}

    def mark(function: Function) -> Function:
        setattr(function, _MARK, said)
        return function

    return mark


def foreseen(action: Action, function: Callable[..., Any]) -> Action:
    """The action with what its class says."""
    said: Mapping[str, Any] = getattr(function, _MARK, {})
    return replace(action, **said) if said else action


def as_said(overlay: Overlay, action: Action) -> Action:
    """The action with what its lab says."""
    return replace(
        action,
        expected_seconds=overlay.expected.get(action.name, action.expected_seconds),
        consumes=overlay.consumes.get(action.name, action.consumes),
        refills=overlay.refills.get(action.name, action.refills),
    )


def check_foresight(driver: type, attributes: Mapping[str, Attribute], actions: Mapping[str, Action]) -> None:
    """Refuse what does not fit the driver: a tank that is misspelled would never run out.

    Raises:
        InvalidError: lists everything that does not fit.
    """
    faults = [fault for action in actions.values() for fault in _faults(driver.__name__, action, attributes)]
    if faults:
        raise InvalidError(f"What is foreseen of {driver.__name__} does not fit it.", faults=faults)


def _faults(driver: str, action: Action, attributes: Mapping[str, Attribute]) -> Iterator[dict[str, str]]:
    place = f"{driver}.{action.name}"
    if action.expected_seconds is not None and not _is_amount(action.expected_seconds):
        yield {
            "detail": f"{place}: {action.expected_seconds!r} is no number of seconds.",
            "way_out": "Write 0 or more.",
        }
    for word, said, known in (
        ("consumes", action.consumes, list(action.parameters)),
        ("refills", action.refills, list(attributes)),
    ):
        kind = "parameter" if word == "consumes" else "attribute"
        for attribute, amount in said.items():
            if attribute not in attributes:
                way_out = did_you_mean(attribute, attributes) or "It has none."
                yield {"detail": f"{place} {word} {attribute!r}, which is no attribute.", "way_out": way_out}
            if not _is_amount(amount) and amount not in known:
                way_out = did_you_mean(str(amount), known) or f"Write a number; it has no {kind}s."
                yield {"detail": f"{place} {word} {amount!r} of {attribute}, which is no {kind}.", "way_out": way_out}


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
