"""What an experiment asks of whoever submits it: its parameters as JSON Schema, from which a form is made."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from labretto.errors import InvalidError, LabError
from labretto.instrument import codec
from labretto.instrument.schema import schema_of
from labretto.orchestrator.loading import Function, load_function
from labretto.orchestrator.submission import Submission, digest_of, loaded


def asked_for(submission: Submission) -> dict[str, Any]:
    """JSON Schema of the parameters, with units, limits and defaults; of what cannot be read: of nothing."""
    try:
        if submission.function is None:
            return loaded(submission).schema
        source = str(submission.experiment)
        return _of_function(load_function(source, submission.function, digest_of(source)))
    except LabError:
        return {"type": "object", "properties": {}}


def _of_function(function: Function) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - a name in an annotation that nobody knows raises what it likes; checked elsewhere
        hints = {}
    wanted = dict(list(inspect.signature(function).parameters.items())[1:])
    needed = [name for name, parameter in wanted.items() if parameter.default is parameter.empty]
    properties = {name: _of_parameter(hints.get(name), parameter.default) for name, parameter in wanted.items()}
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


def _of_parameter(annotation: Any, default: Any) -> dict[str, Any]:
    """Anything may be given where the annotation says nothing that a form can show."""
    try:
        schema = {} if annotation is None else dict(schema_of(annotation, "parameter"))
        return schema if default is inspect.Parameter.empty else schema | {"default": codec.settled(default)}
    except InvalidError:
        return {}
