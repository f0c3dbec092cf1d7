"""Text to values, each with its line and column: YAML 1.2 and JSON alike, bounded.

Knows nothing of experiments. PyYAML gives the events; the tree is built here without recursion, so that size, depth
and aliases have limits, keys are unique, and scalars follow the YAML 1.2 core schema (`on` and `no` are text, `1:30`
is text, `0o17` is octal).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from labretto.experiment.events import (
    Alias,
    End,
    Event,
    Leaf,
    Scalar,
    Start,
    UnreadableError,
    is_json,
    json_events,
    place,
    yaml_events,
)
from labretto.experiment.faults import Faults, quoted
from labretto.experiment.reference import Where

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_VALUES = 250_000
"""After aliases are written out: a few lines of them can stand for billions of values."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands."""

    value: Scalar | list[Node] | dict[str, Node]
    where: Where
    keys: dict[str, Where] = field(default_factory=dict)
    """Where each key of a mapping stands."""
    size: int = 1
    """Values in it, itself included, aliases written out."""
    height: int = 0
    """Levels below it."""

    @property
    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, list):
            return [node.plain for node in self.value]
        if isinstance(self.value, dict):
            return {key: node.plain for key, node in self.value.items()}
        return self.value


def read_text(text: str, faults: Faults) -> Node | None:
    """The root value, or None if the text cannot be read to its end; every fault is added to `faults`."""
    try:
        _check_size(text)
        events = json_events(text) if is_json(text) else yaml_events(text)
        return _Builder(faults).build(events)
    except UnreadableError as error:
        faults.add(error.detail, error.where, way_out=error.way_out)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        tab = "cannot start any token" in str(error.problem) and "\t" in text
        problem = "a tab; indent with blanks" if tab else error.problem or error.context
        faults.add(f"not readable as YAML or JSON: {problem}", place(mark))
    except yaml.reader.ReaderError as error:
        way_out = "save the text as UTF-8 without control characters"
        faults.add(
            "there is a character that no YAML may contain", _place_of_byte(text, error.position), way_out=way_out
        )
    return None


def _check_size(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise UnreadableError("half a surrogate pair is not a character", _place_of(text, error.start)) from error
    if size > MAX_BYTES:
        way_out = "keep tables of values out of the experiment, or split it"
        raise UnreadableError(f"the text has {size} bytes; at most {MAX_BYTES} are read", Where(1, 1), way_out)


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end is not read yet."""

    start: Start
    value: list[Node] | dict[str, Node]
    keys: dict[str, Where] = field(default_factory=dict)
    key: str | None = None
    size: int = 1
    height: int = 0


class _Builder:
    """Puts events together, counting as it goes."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.open: list[_Open] = []
        self.anchors: dict[str, Node | None] = {}
        self.values = 0
        self.root: Node | None = None

    def build(self, events: Iterator[Event]) -> Node | None:
        for event in events:
            match event:
                case Start():
                    self._begin(event)
                case End():
                    self._end()
                case Leaf():
                    self._scalar(event)
                case Alias():
                    self._again(event)
        return self.root or Node(None, Where(1, 1))

    def _begin(self, event: Start) -> None:
        self._bound(event.where, depth=1)
        if self._wants_key():
            raise UnreadableError("a key must be a text, not a list or a mapping", event.where)
        if event.anchor:
            self.anchors[event.anchor] = None
        self.open.append(_Open(event, {} if event.mapping else []))

    def _end(self) -> None:
        done = self.open.pop()
        node = Node(done.value, done.start.where, done.keys, done.size, done.height)
        self._remember(done.start.anchor, node)
        self._place(node)

    def _scalar(self, event: Leaf) -> None:
        if self._wants_key():
            self._key(event.text, event.where)
            return
        self._bound(event.where)
        if event.fault:
            self.faults.add(event.fault, event.where)
        node = Node(event.value, event.where)
        self._remember(event.anchor, node)
        self._place(node)

    def _again(self, event: Alias) -> None:
        node = self.anchors.get(event.anchor)
        if node is None:
            known = "stands inside itself" if event.anchor in self.anchors else "is not defined before"
            raise UnreadableError(f"the alias *{event.anchor[:60]} {known}", event.where)
        if self._wants_key():
            raise UnreadableError("a key must be a text, not an alias", event.where)
        self._bound(event.where, node.height, node.size)
        self._place(node)

    def _wants_key(self) -> bool:
        return bool(self.open) and self.open[-1].start.mapping and self.open[-1].key is None

    def _key(self, key: str, where: Where) -> None:
        """A key given twice keeps its first value under its own name; the second is read and dropped."""
        innermost = self.open[-1]
        first = innermost.keys.get(key)
        if first is not None:
            self.faults.add(
                f"{quoted(key)} is given twice; first in line {first.line}", where, way_out="keep one of them"
            )
        elif key == "<<":
            self.faults.add("merge keys (<<) are not part of YAML 1.2", where, way_out="write the words out")
        innermost.keys.setdefault(key, where)
        innermost.key = key

    def _place(self, node: Node) -> None:
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif parent.key is not None:
            parent.value.setdefault(parent.key, node)
            parent.key = None

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor:
            self.anchors[anchor] = node

    def _bound(self, where: Where, depth: int = 0, size: int = 1) -> None:
        self.values += size
        if self.values > MAX_VALUES:
            raise UnreadableError(f"more than {MAX_VALUES} values, aliases written out", where, "split the experiment")
        if len(self.open) + depth > MAX_DEPTH:
            raise UnreadableError(f"nested deeper than {MAX_DEPTH} levels", where, "lay it out flatter")


def _place_of(text: str, position: int) -> Where:
    before = text[:position]
    return Where(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)


def _place_of_byte(text: str, position: int) -> Where:
    return _place_of(text, len(text.encode()[:position].decode(errors="ignore")))
