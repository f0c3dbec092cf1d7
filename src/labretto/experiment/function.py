"""An experiment in Python: an `async def` whose first parameter is the run. It is done by `orchestrator.python`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from labretto.errors import InvalidError

Function = TypeVar("Function", bound=Callable[..., Any])


def experiment(function: Function) -> Function:
    """Mark an `async def` whose first parameter is the run as an experiment.

    Raises:
        InvalidError: it is not `async def`, or takes no parameter for the run.
    """
    if not inspect.iscoroutinefunction(function) or not inspect.signature(function).parameters:
        raise InvalidError(
            f"{getattr(function, '__qualname__', function)!s} is not an experiment.",
            way_out="Write `async def name(run: labretto.Run, ...) -> None`.",
        )
    return function
