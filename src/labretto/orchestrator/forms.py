"""The form of an answer, from a Python annotation, and the answer as that annotation says it.

`Annotated[float, Unit("mg"), Interval(gt=0)]`, `Literal[...]`, `bool`, `str`, `labretto.File`, or a dataclass or
TypedDict whose fields are such.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pydantic

from labretto.errors import InvalidError
from labretto.experiment.question import Late, Priority, Question
from labretto.experiment.values import differences
from labretto.instrument import codec
from labretto.instrument.reading import with_units
from labretto.instrument.schema import adapter_of, field_hints, has_fields, schema_of


def form_of(annotation: Any) -> dict[str, Any]:
    """JSON Schema of the answer, with units; of something with fields an object, each field with its default.

    Raises:
        InvalidError: the annotation has no form.
    """
    place = "ask: answer"
    adapter_of(annotation, place)
    if not has_fields(annotation):
        return schema_of(annotation, place)
    defaults = dict(_defaults(annotation))
    fields = {
        name: schema_of(hint, f"{place}.{name}") | ({"default": defaults[name]} if name in defaults else {})
        for name, hint in field_hints(annotation).items()
    }
    required = getattr(annotation, "__required_keys__", fields.keys() - defaults.keys())
    words = {"type": "object", "title": annotation.__name__, "properties": fields}
    return words | {"required": [name for name in fields if name in required], "additionalProperties": False}


def _defaults(annotation: Any) -> Iterator[tuple[str, Any]]:
    if not dataclasses.is_dataclass(annotation):
        yield from getattr(annotation, "_field_defaults", {}).items()
        return
    for field in dataclasses.fields(annotation):
        if field.default is not dataclasses.MISSING:
            yield field.name, codec.settled(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            yield field.name, codec.settled(field.default_factory())


def check_question(question: Question) -> None:
    """See that it can be asked.

    Raises:
        InvalidError: the default is no answer, or a word is not known.
    """
    if question.late not in get_args(Late) or question.priority not in get_args(Priority):
        raise InvalidError(
            f"ask: late={question.late!r}, priority={question.priority!r} are not known.",
            way_out=f"late is one of {', '.join(get_args(Late))}, priority of {', '.join(get_args(Priority))}.",
        )
    if question.choices and question.form is not None:
        raise InvalidError("ask: it is asked for choices and for an answer.", way_out="Give one of the two.")
    if question.late == "default" and question.schema is not None:
        faults = differences(question.default, question.schema, "default")
        if faults:
            raise InvalidError(f"ask: {'; '.join(faults)}.", way_out="Give a default that would be an answer.")


def value_of(annotation: Any, answer: Any, folder: Path) -> Any:
    """An answer that fits the form, as what the annotation says; numbers with their units.

    Args:
        folder: of the run's record, where files lie.

    Raises:
        InvalidError: the annotation does not take it, for instance by a check of its own.
    """
    if hasattr(annotation, "_fields") and isinstance(answer, Mapping):
        answer = [answer.get(name) for name in annotation._fields]
    try:
        value = adapter_of(annotation, "ask: answer").validate_python(answer, context={"folder": folder})
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidError(f"The answer {answer!r:.100} does not fit: {first['msg']}.") from error
    return _with_units(value, annotation)


def _with_units(value: Any, annotation: Any) -> Any:
    """Numbers of a form know their unit on their way into the record, also inside a dataclass."""
    if not has_fields(annotation):
        return with_units(value, schema_of(annotation, "ask: answer"))
    schemas = {name: schema_of(hint, name) for name, hint in field_hints(annotation).items()}
    if isinstance(value, dict):
        return {name: with_units(each, schemas.get(name)) for name, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = {name: with_units(getattr(value, name), schema) for name, schema in schemas.items()}
        return dataclasses.replace(value, **told)
    return value
