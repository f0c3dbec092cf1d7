"""An experiment's Python source: loaded as a module of its own, its function found, its parameters checked.

Who submits code may run code: nothing here keeps it from anything, except from ending the hub.
"""

from __future__ import annotations

import inspect
import linecache
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pydantic

from labretto.errors import InvalidError

Function = Callable[..., Awaitable[None]]

EXPERIMENT = "<experiment "
"""With this begins the name that tracebacks give to the text of an experiment."""


def load_function(source: str, name: str, source_hash: str) -> Function:
    """The async function `name` out of a Python source text.

    Raises:
        InvalidError: the text does not compile, raises when executed, or has no such async function.
    """
    module_name = f"labretto_experiment_{source_hash[:16]}"
    file = f"{EXPERIMENT}{source_hash[:16]}>"
    module = types.ModuleType(module_name)
    # Tracebacks show the lines, and annotations can be resolved, only if these two know the text.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    sys.modules[module_name] = module
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except BaseException as error:  # also SystemExit: it ends the experiment, not the hub
        line = getattr(error, "lineno", None)
        place = f"line {line}: " if line else ""
        raise InvalidError(
            f"The experiment's source cannot be loaded: {place}{type(error).__name__}: {error}.",
            way_out="What it imports must be installed where the hub runs.",
        ) from error
    function = getattr(module, name, None)
    function = getattr(function, "__wrapped__", function)
    if not inspect.iscoroutinefunction(function):
        raise InvalidError(
            f"The source has no async function {name!r}.", way_out="Write `async def` and `@labretto.experiment`."
        )
    return typing.cast("Function", function)


def check_parameters(function: Function, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the function is called with, beside `run`.

    Raises:
        InvalidError: lists every parameter that is missing, unknown or wrong.
    """
    hints = _hints(function)
    wanted = dict(list(inspect.signature(function).parameters.items())[1:])
    known = ", ".join(wanted) or "none"
    faults = [f"There is no parameter {name!r}; there are {known}." for name in given if name not in wanted]
    values: dict[str, Any] = {}
    for name, parameter in wanted.items():
        if name in given:
            try:
                values[name] = pydantic.TypeAdapter(hints.get(name, Any)).validate_python(given[name])
            except pydantic.ValidationError as error:
                first = error.errors(include_url=False)[0]
                faults.append(f"{name}={given[name]!r:.100} does not fit: {first['msg']}.")
            except Exception as error:  # noqa: BLE001 - pydantic has a dozen kinds for annotations that it does not know
                faults.append(f"{name}: its annotation cannot be used ({type(error).__name__}: {error}).")
        elif parameter.default is parameter.empty:
            faults.append(f"The parameter {name!r} is missing.")
    if faults:
        raise InvalidError("The experiment cannot run.", faults=[{"detail": fault} for fault in faults])
    return values


def _hints(function: Function) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise InvalidError(
            f"The annotations of {function.__name__} cannot be read: {type(error).__name__}: {error}.",
            way_out="Import what they name at the top of the module.",
        ) from error
