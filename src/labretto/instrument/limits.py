"""Limits and interlocks of one instrument in one laboratory, decided at its host whoever asks.

They come from the lab's file (`labretto.instrument.limits_file`) and only narrow what the driver's annotations allow. A
`Rule` is about an attribute, an action or "action.parameter". What cannot be understood blocks every act: a limit that
is misspelled must not be missing in silence. Nothing here reads an instrument; the host brings the readings.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from labretto.errors import ConflictError, LimitError
from labretto.instrument.describe import Action, Attribute, Description, Parameter
from labretto.instrument.reading import Reading
from labretto.instrument.schema import Schema

WHOLE = 1.0
"""Seconds whose worth of change may be made at once, however long ago the last change was."""

SLACK = 1.0
"""Seconds by which a reading may be younger than now: so much a clock is corrected without being set."""


@dataclass(frozen=True)
class Range:
    """Which values are allowed."""

    minimum: float | None = None
    maximum: float | None = None
    allowed: Sequence[Any] | None = None

    def against(self, value: Any) -> str | None:
        """What stands against `value`, as in "is above 800"; None if nothing does."""
        if self.allowed is not None and value not in self.allowed:
            words = ", ".join(map(repr, self.allowed))
            return f"is none of {words}" if len(self.allowed) > 1 else f"is not {words}"
        if self.minimum is None and self.maximum is None:
            return None
        return next((fault for number in _numbers(value) if (fault := self._number(number))), None)

    def _number(self, number: float) -> str | None:
        if self.minimum is not None and not number >= self.minimum:  # so that what is no number is outside
            return f"is below {self.minimum:.12g}"
        if self.maximum is not None and not number <= self.maximum:
            return f"is above {self.maximum:.12g}"
        return None

    def narrow(self, schema: Schema) -> Schema:
        """The schema of a value, with this range as well."""
        if schema.get("type") == "array" and self.allowed is None:
            return schema | {"items": self.narrow(schema.get("items", {}))}
        bounds: Schema = {}
        if self.minimum is not None:
            bounds["minimum"] = max(self.minimum, schema.get("minimum", self.minimum))
        if self.maximum is not None:
            bounds["maximum"] = min(self.maximum, schema.get("maximum", self.maximum))
        if self.allowed is not None:
            bounds["enum"] = [value for value in self.allowed if value in schema.get("enum", self.allowed)]
        return schema | bounds


@dataclass(frozen=True)
class Need:
    """The state in which another attribute has to be."""

    state: Range
    age: float
    """Seconds that the reading which shows it may be old."""

    def against(self, reading: Reading, now: datetime) -> str | None:
        """Why `reading` does not show that state, as in "is 'open'"; None if it does."""
        old = (now - reading.time).total_seconds()
        if reading.status == "error":
            return f"cannot be read ({reading.detail})"
        if old > self.age:
            return f"was seen {old:.3g} s ago, and may be no older than {self.age:g} s"
        if old < -SLACK:
            return f"was seen before the clock was set back, by {-old:.3g} s or more, and its age is not known"
        if reading.value is None:
            return "is not known"
        fault = self.state.against(reading.value)
        return f"is {reprlib.repr(reading.value)}, which {fault}" if fault else None


@dataclass(frozen=True)
class Rule:
    """What is said about one attribute, action or parameter."""

    range: Range = Range()
    rate: float | None = None
    """Greatest change per second of an attribute that is set."""
    needs: Mapping[str, Need] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """All rules of one instrument."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    blocked: str | None = None
    """Why nothing may act: what the lab says cannot be read or understood."""

    def fitted(self, description: Description) -> Limits:
        """These limits; blocked if they name what the instrument does not have."""
        faults = list(_misfits(self.rules, description))
        if self.blocked or not faults:
            return self
        return Limits(blocked=f"the limits of {description.name} do not fit it: {'; '.join(faults)}")

    def narrowed(self, description: Description) -> Description:
        """The description as it is within these limits, for forms and for the check before a run."""
        attributes = {name: self._attribute(each) for name, each in description.attributes.items()}
        actions = {name: self._action(each) for name, each in description.actions.items()}
        return replace(description, attributes=attributes, actions=actions)

    def _attribute(self, attribute: Attribute) -> Attribute:
        rule = self.rules.get(attribute.name)
        return replace(attribute, schema=rule.range.narrow(attribute.schema)) if rule else attribute

    def _action(self, action: Action) -> Action:
        parameters = {name: self._parameter(f"{action.name}.{name}", each) for name, each in action.parameters.items()}
        return replace(action, parameters=parameters)

    def _parameter(self, name: str, parameter: Parameter) -> Parameter:
        rule = self.rules.get(name)
        return replace(parameter, schema=rule.range.narrow(parameter.schema)) if rule else parameter

    def refuse_if_blocked(self, asked: str) -> None:
        """Refuse every act where the limits are not known.

        Raises:
            ConflictError: says what is wrong with them.
        """
        if self.blocked:
            way_out = "Correct them and start the instrument again; reading and stopping are possible as they are."
            raise ConflictError(f"{asked} was refused: {self.blocked}.", way_out=way_out, blocked=self.blocked)

    def check_set(self, instrument: str, attribute: Attribute, value: Any) -> None:
        """Raises `LimitError` if `value` may not be set here."""
        if rule := self.rules.get(attribute.name):
            _refuse(f"{instrument}.{attribute.name}", value, rule.range, attribute.unit)

    def check_call(self, instrument: str, action: Action, arguments: Mapping[str, Any]) -> None:
        """Raises `LimitError` if a parameter, given or left to its default, may not have its value here."""
        for name, parameter in action.parameters.items():
            rule = self.rules.get(f"{action.name}.{name}")
            place = f"{instrument}.{action.name}: {name}"
            if rule is None:
                continue
            if name not in arguments and "default" not in parameter.schema:
                raise LimitError(f"{place} has a limit here, and its default is not known.", way_out="Give it a value.")
            _refuse(
                place, arguments.get(name, parameter.schema.get("default")), rule.range, parameter.schema.get("unit")
            )

    def rate(self, attribute: str) -> float | None:
        """Greatest change per second; None: any."""
        return self.rules[attribute].rate if attribute in self.rules else None

    def needs(self, name: str) -> Mapping[str, Need]:
        """Attribute → the state in which it has to be before `name` is set or done."""
        return self.rules[name].needs if name in self.rules else {}


def check_rate(place: str, rate: float, before: Any, after: Any, seconds: float) -> None:
    """Refuse a change that is too fast: at most `rate` for each second since the last one, one second's worth at once.

    Raises:
        LimitError: says how much may be changed now.
    """
    most = rate * min(seconds, WHOLE)
    changes = [abs(new - old) for old, new in zip(_numbers(before), _numbers(after), strict=False)]
    if not all(change <= most * (1 + 1e-9) for change in changes or [math.nan]):
        raise LimitError(
            f"{place}: from {before!r} to {after!r} is too fast: {rate:g} per second is the limit, and now it may be "
            f"changed by {most:.6g}.",
            way_out="Go there in steps.",
        )


def unmet(place: str, attribute: str, fault: str) -> ConflictError:
    """What an act is told whose interlock does not hold."""
    return ConflictError(
        f"{place} was refused: {attribute} {fault}.", way_out=f"See to {attribute} first.", needs=attribute
    )


def _refuse(place: str, value: Any, allowed: Range, unit: str | None) -> None:
    fault = None if value is None else allowed.against(value)
    if fault:
        with_unit = f" {unit}" if unit else ""
        raise LimitError(
            f"{place}={reprlib.repr(value)[:120]}{with_unit} {fault}{with_unit}, a limit of this lab.",
            way_out="Give another value, or have the limits of the instrument changed.",
        )


def _numbers(value: Any) -> Iterator[float]:
    """Each number in `value`; NaN for what is none."""
    if hasattr(value, "dtype") and getattr(value, "shape", ()) != ():
        yield from (float(each) for each in value.reshape(-1).tolist())
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, Mapping):
        yield from _numbers(list(value.values()))
    else:
        yield _number(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not (isinstance(value, int | float) or hasattr(value, "dtype")):
        return math.nan
    return float(value)


def _misfits(rules: Mapping[str, Rule], description: Description) -> Iterator[str]:
    for name, rule in rules.items():
        action, _, parameter = name.partition(".")
        if parameter:
            known = action in description.actions and parameter in description.actions[action].parameters
        else:
            known = name in description.actions or name in description.attributes
        if not known:
            yield f"there is no {name!r}"
            continue
        attribute = description.attributes.get(name)
        if rule.rate is not None and (attribute is None or not attribute.writable):
            yield f"{name} cannot be set, so it has no rate"
        if parameter and rule.needs:
            yield f"a state is needed by actions and attributes, not by the parameter {name}"
        if name in description.actions and rule.range != Range():
            yield f"{name} is an action; its parameters have ranges"
        if attribute is not None and not attribute.writable:
            yield f"{name} cannot be set, so nothing limits it"
        yield from (
            f"{name} needs {need!r}, which is no attribute" for need in rule.needs if need not in description.attributes
        )
