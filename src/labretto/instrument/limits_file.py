"""Limits as a laboratory writes them: a table in lab.toml, or a TOML or YAML file of its own, made into `Limits`.

    [setpoint]                          # an attribute
    maximum = 800
    rate = 10                           # per second
    needs.door = { equals = "closed", age = 2 }

    [ramp.to]                           # a parameter of an action
    maximum = 800

Reading never raises: whatever is wrong becomes the reason for which the host lets nothing act.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from labretto.instrument.limits import Limits, Need, Range, Rule

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

AGE = 1.0
"""Seconds that a reading may be old which shows a needed state, where nothing else is said."""

_NOTHING = object()


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    minimum: Number | None = None
    maximum: Number | None = None
    allowed: Annotated[list[Any], Field(min_length=1)] | None = None

    def as_range(self) -> Range:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return Range(self.minimum, self.maximum, self.allowed)


class _NeedWords(_Words):
    equals: Any = _NOTHING
    age: Positive = AGE

    def as_need(self) -> Need:
        state = self.as_range()
        if self.equals is not _NOTHING:
            state = Range(state.minimum, state.maximum, [self.equals])
        if state == Range():
            raise ValueError("a needed state says one of equals, allowed, minimum, maximum")
        return Need(state, self.age)


class _RuleWords(_Words):
    rate: Positive | None = None
    needs: dict[str, _NeedWords] = {}

    def as_rule(self) -> Rule:
        return Rule(self.as_range(), self.rate, {name: need.as_need() for name, need in self.needs.items()})


def read_limits(source: Mapping[str, Any] | Path | None) -> Limits:
    """The limits in `source`: a table, or a file that holds one; None: no limits."""
    if source is None:
        return Limits()
    place = str(source) if isinstance(source, Path) else "the table `limits` of lab.toml"
    try:
        table = _loaded(source) if isinstance(source, Path) else source
        return Limits({name: _rule(name, words) for name, words in _flat(table).items()})
    except (OSError, ValueError, TypeError, RecursionError) as error:
        return Limits(blocked=f"{place} cannot be used: {_said(error)}")


def _loaded(path: Path) -> Any:
    text = path.read_text("utf-8")
    if path.suffix == ".toml":
        return tomllib.loads(text)
    import yaml  # here, because every host reads this module and few read YAML

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _flat(table: Any) -> dict[str, Any]:
    """Name → its words; a table within the table of an action is about a parameter: `[ramp.to]` is "ramp.to"."""
    if not isinstance(table, Mapping):
        raise TypeError("it is no table of names")
    flat: dict[str, Any] = {}
    for name, words in table.items():
        if not isinstance(name, str) or not isinstance(words, Mapping):
            raise TypeError(f"what it says of {name!r} is no table")
        inner = {key: value for key, value in words.items() if isinstance(value, Mapping) and key != "needs"}
        own = {key: value for key, value in words.items() if key not in inner}
        flat |= {name: own} if own or not inner else {}
        flat |= {f"{name}.{parameter}": value for parameter, value in inner.items()}
    return flat


def _rule(name: str, words: Any) -> Rule:
    try:
        return _RuleWords.model_validate(words).as_rule()
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, (name, *first["loc"])))
        message = "is not known" if first["type"] == "extra_forbidden" else first["msg"]
        raise ValueError(f"{place}: {message}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or "it cannot be read").lower()
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
