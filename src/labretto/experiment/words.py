"""The smaller parts of an experiment file: names, values with references, targets, durations, choices among words.

Every function notes what is wrong and answers something that can be gone on with, so that all faults are found at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from labretto.experiment.document import Node
from labretto.experiment.faults import Faults, did_you_mean, listed, quoted
from labretto.experiment.reference import Reference, Value, Where

NAME = re.compile(r"[^\W\d][\w-]{0,99}")
"""No dot, slash, bracket or tilde: they have a meaning in references, in paths and in the record's columns."""
_TARGET = re.compile(r"[^\s./~\[\]{}$]+(?:\.[^\s./~\[\]{}$]+)+")
_PART = re.compile(r"[^\s.{}$]+")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|min|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 366 * 86400.0
"""Seconds; a duration above a year is a slip of the finger."""


def mapping_of(node: Node) -> dict[str, Node]:
    """The words below a node; none if it is no mapping."""
    return node.value if isinstance(node.value, dict) else {}


def kind(node: Node) -> str:
    """What a value is, in words."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    return "nothing" if node.value is None else f"{quoted(str(node.value))}"


def is_name(text: str, of: str, where: Where, path: str, faults: Faults) -> bool:
    """Whether a text can be a name; if it cannot, that is noted."""
    good = NAME.fullmatch(text) is not None
    if not good:
        faults.add(
            f"{quoted(text)} cannot name {of}", where, path, "a letter, then letters, digits, - and _; at most 100"
        )
    return good


def refuse_unknown(node: Node, known: Iterable[str], of: str, path: str, faults: Faults) -> None:
    """Note each key that is not among the known words."""
    words = tuple(dict.fromkeys(known))
    for word, where in node.keys.items():
        if word not in words and word != "<<":
            way_out = did_you_mean(word, words) or f"known here: {listed(words)}"
            faults.add(f"{quoted(word)} is not a word of {of}", where, path, way_out)


def text_of(node: Node, word: str, path: str, faults: Faults) -> str:
    """The text below a word; empty if there is none."""
    below = mapping_of(node).get(word)
    if below is None or below.value is None:
        return ""
    if not isinstance(below.value, str):
        faults.add(f"`{word}` is a text; here is {kind(below)}", below.where, path, "put it in quotes")
        return ""
    return below.value.strip()


def one_of(node: Node, word: str, choices: Iterable[str], path: str, faults: Faults) -> str | None:
    """One of a few words; None if it is not given, or none of them, which is noted."""
    below = mapping_of(node).get(word)
    if below is None:
        return None
    known = tuple(choices)
    if isinstance(below.value, str) and below.value in known:
        return below.value
    near = did_you_mean(below.value, known) if isinstance(below.value, str) else f"known here: {listed(known)}"
    faults.add(f"`{word}` is one of {listed(known)}; here is {kind(below)}", below.where, f"{path}.{word}", near)
    return None


def duration_of(node: Node, word: str, path: str, faults: Faults) -> float | None:
    """Seconds, from `30 s`, `5 min`, `2 h` or a plain number; None if there is none."""
    below = mapping_of(node).get(word)
    return None if below is None else duration(below, f"{path}.{word}", faults)


def duration(node: Node, path: str, faults: Faults) -> float | None:
    """Seconds above 0; None if it is something else, which is noted."""
    value, seconds = node.value, None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds is None:
        faults.add(f"{kind(node)} is not a duration", node.where, path, "write for instance 30 s, 5 min, 2 h or 1 d")
    elif not 0 < seconds <= LONGEST:
        faults.add(f"{kind(node)} is not a duration between 0 and a year", node.where, path, "write for instance 30 s")
        return None
    return seconds


def values_of(node: Node, word: str, path: str, faults: Faults) -> tuple[dict[str, Value], dict[str, Where]]:
    """The values below a word, and where their names stand."""
    below = mapping_of(node).get(word)
    if below is None or below.value is None:
        return {}, {}
    if not isinstance(below.value, dict):
        faults.add(f"`{word}` is a mapping of names to values; here is {kind(below)}", below.where, f"{path}.{word}")
        return {}, {}
    values = {name: value_of(each, f"{path}.{word}.{name}", faults) for name, each in below.value.items()}
    return values, dict(below.keys)


def value_of(node: Node, path: str, faults: Faults) -> Value:
    """A JSON value with its references read."""
    if isinstance(node.value, list):
        return [value_of(each, f"{path}[{number}]", faults) for number, each in enumerate(node.value)]
    if isinstance(node.value, dict):
        return {key: value_of(each, f"{path}.{key}", faults) for key, each in node.value.items()}
    return _reference(node.value, node.where, path, faults) if isinstance(node.value, str) else node.value


def _reference(text: str, where: Where, path: str, faults: Faults) -> str | Reference:
    """`${name.key.0}` as a reference, `$${...}` as that text with one dollar sign, other text as itself."""
    if text.startswith("$${"):
        return text[1:]
    if "${" not in text:
        return text
    inner = text[2:-1]
    if not (text.startswith("${") and text.endswith("}") and "${" not in inner):
        way_out = "let the reference be the whole value, or write $${ for a plain text"
        faults.add(f"{quoted(text)} mixes text and a reference", where, path, way_out)
        return text
    parts = tuple(inner.strip().split("."))
    if not (NAME.fullmatch(parts[0]) and all(_PART.fullmatch(part) for part in parts)):
        way_out = "a reference looks values up, as in ${cv.current.0}; it does not calculate"
        faults.add(f"{quoted(text)} is not a reference", where, path, way_out)
        return text
    return Reference(parts, where)


def target_of(node: Node, word: str, form: str, path: str, faults: Faults) -> tuple[str, str]:
    """`instrument.action` in its two parts."""
    target = mapping_of(node)[word]
    if not isinstance(target.value, str) or not _TARGET.fullmatch(target.value):
        found = quoted(target.value) if isinstance(target.value, str) else kind(target)
        faults.add(f"`{word}` wants {form}; here is {found}", target.where, f"{path}.{word}", "for instance stage.move")
        return "", ""
    instrument, _, what = target.value.rpartition(".")
    return instrument, what


def whole_number(node: Node, low: int, high: int) -> int | None:
    """A whole number between two limits, else None."""
    value: Any = node.value
    good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return value if good else None


def number(node: Node, low: float, high: float) -> float | None:
    """A number between two limits, else None."""
    value: Any = node.value
    good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    return float(value) if good else None


def words_below(node: Node, word: str, what: str, path: str, faults: Faults) -> Mapping[str, Node]:
    """The mapping below a word, whose own path this is, as nodes."""
    below = mapping_of(node).get(word)
    if below is None or below.value is None:
        return {}
    if not isinstance(below.value, dict):
        faults.add(f"`{word}` is {what}; here is {kind(below)}", below.where, path)
    return mapping_of(below)
