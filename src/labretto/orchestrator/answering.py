"""What a run asks and what a person may answer, as data: the question in the journal, and the answer checked. Pure.

A question offers choices; the choice `answer` (of an `ask` step) and `happened` (of a step whose end nobody saw) come
with a value, which must be what the question's schema says. A file is answered by its place in the run's record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from labretto.errors import InvalidError, LateError
from labretto.experiment.question import Question
from labretto.experiment.values import differences
from labretto.instrument import codec
from labretto.instrument.reading import isoformat
from labretto.orchestrator.engine import CHOICES, LATE, Step

WITH_VALUE = ("answer", "happened")
"""Choices that a value comes with."""

FILES = "files"
"""Where in a run's record the files stand that people have brought."""


def asked(path: str, question: Question, at: datetime) -> dict[str, Any]:
    """The question of an `ask` step as it is journalled and shown.

    Args:
        at: when it is asked; a deadline counts from then.
    """
    words: dict[str, Any] = {"path": path, "text": question.text, "kind": "ask"}
    words["choices"] = [*(question.choices or ["answer"]), "abort"]
    if question.schema is not None and not question.choices:
        words["schema"] = question.schema
    if question.deadline is not None:
        words |= {"due": isoformat(at + timedelta(seconds=question.deadline)), "late": question.late}
        words |= {"default": question.default} if question.late == "default" else {}
    names = ("description", "show", "remind", "assignee", "priority", "release")
    told = {name: getattr(question, name) for name in names if getattr(question, name)}
    return {**words, **codec.settled(told)}


def about(step: Step, reason: str, choices: Mapping[str, str], result: Mapping[str, Any] | None) -> dict[str, Any]:
    """The question about a step whose outcome no machine knows, or that failed where its policy is to ask.

    Args:
        choices: those offered, each with its meaning.
        result: JSON schema of what the action answers.
    """
    words: dict[str, Any] = {name: getattr(step, name) for name in ("path", "instrument", "action")}
    words["kind"] = "interrupted" if choices is CHOICES else "failed"
    asked = "What happened?" if choices is CHOICES else "What is to be done?"
    words |= {"text": f"{reason} {asked}", "choices": list(choices), "meanings": dict(choices)}
    return words | {"schema": dict(result or {}), "priority": "high"}


def late_answer(question: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The choice and the value that stand for an answer that did not come in time; None: it is still waited for."""
    if question.get("late") == "fail":
        return LATE, None
    if question.get("late") != "default":
        return None
    default = question.get("default")
    return (str(default), None) if default in question["choices"] else ("answer", default)


def too_late(told: Mapping[str, Any]) -> LateError:
    """Why a step that asked has failed; `told` is `RunState.late` of it."""
    return LateError(f"Nobody answered in time: {told['text']}", way_out="Give the question a later deadline.")


def checked(
    question: Mapping[str, Any], choice: str | None, value: Any, has_file: Callable[[str], bool]
) -> tuple[str, Any]:
    """The choice and the value of an answer, as the journal takes them.

    Args:
        choice: one of those offered; None: what the value says.
        has_file: whether a file stands at a place of the run's record.

    Raises:
        InvalidError: the choice is not offered, or the value does not fit; `faults` names every field.
    """
    choices = list(question["choices"])
    if choice is None:
        choice, value = _meant(choices, value)
    if choice not in choices:
        raise InvalidError(f"{str(choice)[:80]!r} is not offered.", way_out=f"Choose one of {', '.join(choices)}.")
    if choice not in WITH_VALUE:
        return choice, value
    schema = question.get("schema")
    if schema is not None:
        value = _with_defaults(value, schema)
        if faults := [*_faults(value, schema), *_file_faults(value, schema, has_file)]:
            raise InvalidError("The answer does not fit; nothing was written.", faults=faults)
    return choice, value


def _meant(choices: list[str], value: Any) -> tuple[str, Any]:
    """Of the plain tasks of `/tasks`: what is answered there is the value, or one of the choices."""
    if isinstance(value, str) and value in choices and value not in WITH_VALUE:
        return value, None
    if "answer" in choices:
        return "answer", value
    raise InvalidError(
        "It is not said which of the choices it is."
        if value is None
        else f"{str(value)[:80]!r} is none of the choices.",
        faults=[{"field": "choice", "detail": f"choice: one of {', '.join(choices)} is needed."}],
    )


def _with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    if not isinstance(value, Mapping):
        return value
    fields = schema.get("properties", {})
    return {name: each["default"] for name, each in fields.items() if "default" in each} | dict(value)


def _faults(value: Any, schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What stands against a value, each with the field in which it stands; `answer` where there are no fields."""
    fields = schema.get("properties")
    if not fields or not isinstance(value, Mapping):
        if value is None and schema:
            sentences = ["answer: a value is needed"] if differences(None, schema, "answer") else []
        else:
            sentences = differences(value, schema, "answer")
        yield from ({"field": "answer", "detail": f"{sentence}."} for sentence in sentences)
        return
    for name in schema.get("required", ()):
        if name not in value:
            yield {"field": name, "detail": f"{name}: it is needed."}
    for name, given in value.items():
        if name in fields:
            yield from ({"field": name, "detail": f"{each}."} for each in differences(given, fields[name], name))
        elif schema.get("additionalProperties") is False:
            yield {"field": name, "detail": f"{name}: there is no such field; there are {', '.join(fields)}."}


def _file_faults(
    value: Any, schema: Mapping[str, Any], has_file: Callable[[str], bool], name: str = "answer"
) -> Iterator[dict[str, Any]]:
    if schema.get("format") == "file" and isinstance(value, str) and not has_file(value):
        detail = f"{name}={value[:80]!r}: no file of this name has been sent."
        yield {"field": name, "detail": detail, "way_out": "Send it first: POST /tasks/{task_id}/files?name=..."}
    elif isinstance(value, Mapping):
        for field, inner in schema.get("properties", {}).items():
            yield from _file_faults(value.get(field), inner, has_file, field)
