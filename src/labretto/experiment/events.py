"""YAML and JSON as one stream of events, each with its place; scalars by the YAML 1.2 core schema.

The tree is built from them in `document`. PyYAML resolves scalars by YAML 1.1, where `on` is true and `1:30` is
ninety: its events are used, its resolvers are not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from labretto.experiment.faults import quoted
from labretto.experiment.reference import Where

Scalar: TypeAlias = bool | int | float | str | None


class UnreadableError(Exception):
    """The text cannot be read beyond this place."""

    def __init__(self, detail: str, where: Where, way_out: str = "") -> None:
        super().__init__(detail)
        self.detail, self.where, self.way_out = detail, where, way_out


@dataclass(frozen=True, slots=True)
class Start:
    """A list or a mapping begins."""

    mapping: bool
    where: Where
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The innermost list or mapping ends."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar. `text` is how it was written, which is what counts where it is a key."""

    value: Scalar
    text: str
    where: Where
    anchor: str | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Alias:
    """The value of an anchor, again."""

    anchor: str
    where: Where


Event: TypeAlias = Start | End | Leaf | Alias


def yaml_events(text: str) -> Iterator[Event]:
    """The one document of a YAML text."""
    documents = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        where = place(event.start_mark)
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise UnreadableError("a second document begins here", where, "one experiment in one text")
            case yaml.CollectionStartEvent():
                mapping = isinstance(event, yaml.MappingStartEvent)
                _refuse_tag(event.tag, where, "map" if mapping else "seq")
                yield Start(mapping, where, event.anchor)
            case yaml.CollectionEndEvent():
                yield End()
            case yaml.AliasEvent():
                yield Alias(event.anchor or "", where)
            case yaml.ScalarEvent():
                yield _leaf(event, where)


def _refuse_tag(tag: str | None, where: Where, *known: str) -> None:
    if tag not in (None, "!", *(f"tag:yaml.org,2002:{word}" for word in known)):
        raise UnreadableError(f"the tag {quoted(str(tag))} is not read", where, "leave the tag away")


def _leaf(event: yaml.ScalarEvent, where: Where) -> Leaf:
    _refuse_tag(event.tag, where, "str", "int", "float", "bool", "null")
    tagged = event.tag not in (None, "!", "tag:yaml.org,2002:str")
    if not (tagged or (event.tag is None and event.implicit[0])):
        return Leaf(event.value, event.value, where, event.anchor)
    value, fault = _resolve(event.value)
    return Leaf(value, event.value, where, event.anchor, fault)


_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {**dict.fromkeys(("true", "True", "TRUE"), True), **dict.fromkeys(("false", "False", "FALSE"), False)}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_BASES = {"0o": 8, "0x": 16}


def _resolve(text: str) -> tuple[Scalar, str]:
    """What a plain scalar means in the core schema, and what is wrong with it.

    Source: YAML 1.2.2, section 10.3.2.
    """
    if text in _NULL:
        return None, ""
    if text in _BOOLEAN:
        return _BOOLEAN[text], ""
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text, ""


def _integer(text: str) -> tuple[Scalar, str]:
    base = _BASES.get(text[:2], 10)
    number = int(text[2:] if base != 10 else text, base) if len(text) <= 80 else 2**64
    return (number, "") if -(2**63) <= number < 2**63 else (0, f"{quoted(text)} does not fit into 64 bits")


def _float(text: str) -> tuple[Scalar, str]:
    number = float(text)
    return (number, "") if math.isfinite(number) else (0.0, f"{quoted(text)} is not a finite number")


_WORD = re.compile(r'[ \t\r\n]*+(?:([{}\[\],:])|("(?:[^"\\]|\\.)*+")|([^\s{}\[\],:"]++))', re.DOTALL)


def is_json(text: str) -> bool:
    """Whether to read it as JSON.

    A faulty JSON text is read as YAML, of which it is a part, and which names the place of the fault.
    """
    if not text.lstrip(" \t\r\n").startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def json_events(text: str) -> Iterator[Event]:
    """The events of a text that is known to be JSON."""
    line, begin = 1, 0
    for found in _WORD.finditer(text):
        blank_end = found.start(found.lastindex or 0)
        breaks = text.count("\n", found.start(), blank_end)
        if breaks:
            line, begin = line + breaks, text.rfind("\n", found.start(), blank_end) + 1
        where = Where(line, blank_end - begin + 1)
        mark, string, other = found.groups()
        if string is not None:
            yield _json_string(string, where)
        elif other is not None:
            value, fault = _resolve(other) if other not in ("NaN", "Infinity", "-Infinity") else _float(other)
            yield Leaf(value, other, where, fault=fault)
        elif mark in "{[":
            yield Start(mark == "{", where)
        elif mark in "}]":
            yield End()


def _json_string(string: str, where: Where) -> Leaf:
    value = json.loads(string)
    broken = any("\ud800" <= character <= "\udfff" for character in value)
    return (
        Leaf("", "", where, fault="half a surrogate pair is not a character") if broken else Leaf(value, value, where)
    )


def place(mark: Any) -> Where:
    return Where(mark.line + 1, mark.column + 1) if mark else Where(1, 1)
