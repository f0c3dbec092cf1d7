"""The source of an experiment function: the function and what it needs of its module, and nothing else.

What a script does beside defining the experiment (submitting it, plotting) must not run again in the hub. So only the
statements are taken that define names which the function uses, and the names which those use, and so on.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any

from labretto.errors import InvalidError


def source_of(function: Callable[..., Any]) -> str:
    """A Python text that defines `function` when it is executed alone.

    Raises:
        InvalidError: its source cannot be found (a lambda, or typed into a plain interpreter), or it uses variables
            of an enclosing function.
    """
    function = inspect.unwrap(function)
    if "<locals>" in function.__qualname__ and function.__closure__:
        raise InvalidError(
            f"{function.__qualname__} uses variables of the function around it.",
            way_out="Define the experiment at the top of a module, and give it parameters.",
        )
    return needed(_module_text(function), function.__name__)


def needed(text: str, name: str) -> str:
    """The statements of the module `text` that defining `name` needs, in their order."""
    lines = text.splitlines()
    statements = ast.parse(text).body
    binding = {bound: statement for statement in statements for bound in _bound(statement)}
    if name not in binding:
        raise InvalidError(f"{name!r} is not defined at the top of its module.", way_out="Move it there.")
    wanted: set[ast.stmt] = set()
    missing = [name]
    while missing:
        statement = binding.get(missing.pop())
        if statement is not None and statement not in wanted:
            wanted.add(statement)
            missing += _used(statement)
    always = [s for s in statements if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
    return "\n\n".join(_text(lines, s) for s in statements if s in wanted or s in always) + "\n"


def _module_text(function: Callable[..., Any]) -> str:
    cells = _notebook_cells(function)
    if cells is not None:
        return "\n\n".join(cells)
    try:
        return inspect.getsource(sys.modules[function.__module__])
    except (OSError, TypeError, KeyError):
        raise InvalidError(
            f"The source of {function.__qualname__} cannot be found.",
            way_out="Write the experiment into a file (or a notebook), not into a plain interpreter.",
        ) from None


def _notebook_cells(function: Callable[..., Any]) -> list[str] | None:
    """What was executed so far in a notebook, without cells that are not plain Python; None outside notebooks."""
    cells = getattr(sys.modules.get(function.__module__), "In", None)
    return [cell for cell in cells if _parses(cell)] if isinstance(cells, list) else None


def _parses(cell: str) -> bool:
    try:
        ast.parse(cell)
    except SyntaxError:
        return False
    return True


def _bound(statement: ast.stmt) -> Iterable[str]:
    """The names that a statement of a module defines."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    return [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def _used(statement: ast.stmt) -> list[str]:
    return [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]


def _text(lines: list[str], statement: ast.stmt) -> str:
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    return "\n".join(lines[first - 1 : statement.end_lineno])
