"""What requests to the queue may say of a run: on what terms it waits. Checked in `terms`, not here.

So all faults are told at once, those of the experiment's parameters among them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from labretto.orchestrator.terms import LONGEST_LABEL, LONGEST_NAME, MOST_LABELS, MOST_PRIORITY, MOST_TURNS, TERMS

Priority = Annotated[
    Any, WithJsonSchema({"type": "integer", "minimum": -MOST_PRIORITY, "maximum": MOST_PRIORITY, "default": 0})
]
Moment = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]})]
Labels = Annotated[
    Any,
    WithJsonSchema({"type": "array", "maxItems": MOST_LABELS, "items": {"type": "string", "maxLength": LONGEST_LABEL}}),
]
Again = Annotated[
    Any,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": MOST_TURNS}, {"type": "null"}]}),
]
Name = Annotated[Any, WithJsonSchema({"type": "string", "maxLength": LONGEST_NAME})]


class Terms(BaseModel):
    """On what terms a run waits."""

    model_config = ConfigDict(extra="forbid")
    priority: Priority = Field(None, description="Higher goes first; 0 is usual.")
    not_before: Moment = Field(None, description="It does not begin earlier. With its zone.")
    finish_by: Moment = Field(None, description="Its deadline: people are told when it will not be met.")
    labels: Labels = Field(None, description="To find its record by.")
    again: Again = Field(None, description="Turns after this one, each a run of its own; null: until told.")

    def said(self, *names: str) -> dict[str, Any]:
        """What was said of these, without names: of the terms; and no defaults."""
        names = names or TERMS
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


class FirstTerms(Terms):
    """The same of a run that is submitted."""

    held: bool = Field(False, description="It does not begin before it is released.")


class EditBody(Terms):
    """What is to be changed of a run; what is not named stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"priority": 5, "parameters": {"exposure": 0.2}}]})
    name: Name = None
    parameters: dict[str, Any] | None = Field(None, description="Those that change; the others stay.")
    expected: int | None = Field(None, description="`last` of the run as it was seen; another one: 409.")
