"""What the lab says about a driver that its class cannot say: the side table of an instrument in `lab.toml`.

It is for classes that one may not edit, and for what no class knows: which value is the measurement, what a safe state
is, what is too slow to be looked at every second. A name that the driver does not have is refused: a limit, a safe
state or an effect that is misspelled would otherwise be missing in silence.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args

from pydantic import TypeAdapter

from labretto.errors import ConflictError, InvalidError
from labretto.instrument.foresight import as_said
from labretto.instrument.invocation import Effect
from labretto.lab import AlarmLimit, did_you_mean

if TYPE_CHECKING:
    from labretto.instrument.describe import Action, Attribute

_EFFECTS = get_args(Effect)

ALARM_POLL = 1.0
"""Seconds between two looks at an attribute with alarms, where nothing else is said."""


@dataclass(frozen=True)
class Overlay:
    """Says about a driver what its class does not."""

    hidden: frozenset[str] = frozenset()
    """Names that are not offered."""
    effects: Mapping[str, Effect] = field(default_factory=dict)
    """Action → effect."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Attribute, or "action.parameter" → unit."""
    concurrent: frozenset[str] = frozenset()
    """Actions that may run while another runs."""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """Attribute or action → what it is."""
    measurement: str | None = None
    """The attribute for which people come: it stands before the others."""
    slow: frozenset[str] = frozenset()
    """Attributes that are read only when somebody asks for them by name."""
    poll: Mapping[str, float] = field(default_factory=dict)
    """Attribute → seconds between two looks at it."""
    dead_band: Mapping[str, float] = field(default_factory=dict)
    """Attribute → how far it has to move, in its unit, before that is told."""
    alarms: Mapping[str, Sequence[AlarmLimit]] = field(default_factory=dict)
    """Attribute → the limits at which all are told."""
    safe: Mapping[str, Any] = field(default_factory=dict)
    """Attribute → value that `stop()` sets, in this order, for a driver without a `stop` of its own."""
    expected: Mapping[str, float] = field(default_factory=dict)
    """Action → seconds that it takes."""
    consumes: Mapping[str, Mapping[str, str | float]] = field(default_factory=dict)
    """Action → attribute that tells what is left → what one call takes of it: a number or a parameter's name."""
    refills: Mapping[str, Mapping[str, str | float]] = field(default_factory=dict)
    """Action → attribute that tells what is left → what is there afterwards: a number or an attribute's name."""


def check_overlay(
    driver: type, overlay: Overlay, attributes: Mapping[str, Attribute], actions: Mapping[str, Action]
) -> None:
    """Refuse what does not fit the driver.

    Raises:
        InvalidError: lists every name that the driver does not have.
    """
    parameters = {f"{action.name}.{name}" for action in actions.values() for name in action.parameters}
    known: dict[str, Iterable[str]] = {
        "effects": actions,
        "expected": actions,
        "consumes": actions,
        "refills": actions,
        "concurrent": actions,
        "units": {*attributes, *parameters},
        "descriptions": {*attributes, *actions},
        "slow": attributes,
        "poll": attributes,
        "dead_band": attributes,
        "alarms": attributes,
        "safe": [name for name, attribute in attributes.items() if attribute.writable],
        "measurement": attributes,
        "hidden": {name for cls in driver.__mro__ for name in (*vars(cls), *vars(cls).get("__annotations__", ()))},
    }
    faults = [
        {"detail": f"{driver.__name__} has no {named!r}, which `{word}` names.", "way_out": _such_as(named, names)}
        for word, names in known.items()
        for named in sorted(set(_named(overlay, word)) - set(names))
    ]
    faults += [
        {"detail": f"The effect {kind!r} of {action} is not known.", "way_out": _such_as(kind, _EFFECTS)}
        for action, kind in overlay.effects.items()
        if kind not in _EFFECTS
    ]
    if faults:
        raise InvalidError(f"What is said about {driver.__name__} does not fit it.", faults=faults)


def _named(overlay: Overlay, word: str) -> Iterable[str]:
    said = getattr(overlay, word)
    return ([said] if said else []) if word == "measurement" else said


def _such_as(named: str, names: Iterable[str]) -> str:
    public = sorted(name for name in names if not name.startswith("_"))
    return did_you_mean(named, public) or "It has none."


def attributes_as_said(overlay: Overlay, attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """The attributes with what is said about each, the measurement first."""
    first = [overlay.measurement] if overlay.measurement else []
    return {name: _attribute(overlay, attributes[name]) for name in dict.fromkeys([*first, *attributes])}


def _attribute(overlay: Overlay, attribute: Attribute) -> Attribute:
    name = attribute.name
    alarms = tuple(limit.model_dump(exclude_none=True) for limit in overlay.alarms.get(name, ()))
    period = overlay.poll.get(name, attribute.poll) or (ALARM_POLL if alarms else None)
    return replace(
        attribute,
        description=overlay.descriptions.get(name, attribute.description),
        measurement=name == overlay.measurement,
        slow=name in overlay.slow or (attribute.slow and period is None),
        poll=period,
        dead_band=overlay.dead_band.get(name, attribute.dead_band),
        alarms=alarms,
    )


def actions_as_said(overlay: Overlay, actions: Mapping[str, Action]) -> dict[str, Action]:
    """The actions with what is said about each."""
    return {
        name: as_said(overlay, replace(action, description=overlay.descriptions.get(name, action.description)))
        for name, action in actions.items()
    }


def safe_state(
    overlay: Overlay, values: Mapping[str, TypeAdapter[typing.Any]], driver: type, *, has_stop: bool
) -> dict[str, Any]:
    """What `stop()` sets, as the driver gets it.

    Raises:
        InvalidError: a value does not fit its attribute.
        ConflictError: the driver has a `stop()` of its own, so two would say what is safe.
    """
    from labretto.instrument.arguments import check_value

    if overlay.safe and has_stop:
        raise ConflictError(
            f"{driver.__name__} has a `stop` of its own, which says what is safe; `safe` cannot say it too.",
            way_out='Drop `safe`, or hide the other with hidden = ["stop"].',
        )
    place = f"{driver.__name__}: safe"
    return {name: check_value(values[name], value, f"{place}.{name}", None) for name, value in overlay.safe.items()}
