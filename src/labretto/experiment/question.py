"""What a person is asked: a text, the form of the answer, and until when by whom. As data; who asks is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

FIELD_TYPES: Mapping[str, Mapping[str, Any]] = {
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "text": {"type": "string"},
    "boolean": {"type": "boolean"},
    "confirmation": {"type": "boolean", "const": True},
    "file": {"type": "string", "format": "file"},
}
"""The words of a form for the type of a field, as JSON Schema. A choice is a field with `enum`."""


Priority: TypeAlias = Literal["low", "medium", "high", "urgent"]
Late: TypeAlias = Literal["mark", "fail", "default"]
"""What it means that nobody answered by the deadline: it is shown; the step fails; the default is the answer."""


@dataclass(frozen=True)
class Question:
    """One question to a person."""

    text: str
    description: str = ""
    """More than one line, for who wants to know."""
    choices: tuple[str, ...] = ()
    """The answer is one of these; none: see `fields`."""
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The answer is a mapping of these names: each JSON Schema with `unit`, `title`, `default`; in order of asking.

    Neither choices nor fields: any value, or none, is an answer.
    """
    form: Mapping[str, Any] | None = None
    """JSON Schema of the answer as a whole, where annotations made it; then neither choices nor fields are needed."""
    show: Mapping[str, Any] = field(default_factory=dict)
    """Values that are shown with the question, for instance which sample it is about."""
    deadline: float | None = None
    """Seconds after the asking."""
    late: Late = "mark"
    default: Any = None
    """The answer of `late: default`."""
    remind: float | None = None
    """Seconds between reminders."""
    assignee: str | None = None
    """Who should answer; anyone may."""
    priority: Priority = "medium"
    release: bool | tuple[str, ...] = False
    """Instruments that others may use meanwhile (True: all); the run takes them again after the answer."""

    @property
    def schema(self) -> dict[str, Any] | None:
        """JSON Schema of the answer; None where any value is one. A field without default must be given."""
        if self.form is not None:
            return dict(self.form)
        if self.choices:
            return {"enum": list(self.choices)}
        if not self.fields:
            return None
        return {
            "type": "object",
            "properties": {name: dict(each) for name, each in self.fields.items()},
            "required": [name for name, each in self.fields.items() if "default" not in each],
            "additionalProperties": False,
        }
