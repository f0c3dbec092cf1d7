"""The source of an experiment function: the function and what it needs of its module, and nothing else.

What a script does beside defining the experiment (submitting it, plotting) must not run again in the hub. So only the
statements are taken that define names which the function uses, and the names which those use, and so on.
"""

from __future__ import annotations

import ast
import inspect
import re
import symtable
import sys
from collections.abc import Callable, Iterable, Iterator
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
    lines = text.split("\n")  # as ast counts them; splitlines() also cuts at a form feed
    statements = ast.parse(text).body
    binding = _bindings(statements)
    if name not in binding:
        raise InvalidError(f"{name!r} is not defined at the top of its module.", way_out="Move it there.")
    wanted = {statement for statement in statements if _is_for_all(statement)}
    missing = [name]
    while missing:
        fresh = [statement for statement in binding.get(missing.pop(), ()) if statement not in wanted]
        wanted.update(fresh)
        missing += [used for statement in fresh for used in _used(_text(lines, statement), statement)]
    return "\n\n".join(_text(lines, statement) for statement in statements if statement in wanted) + "\n"


def _bindings(statements: Iterable[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """Name → the statements that make it what it is in the end."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in statements:
        for name in _bound(statement):
            # Two imports of parts of one package add up; a second definition replaces the first.
            replaces = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            found[name] = [statement] if replaces else [*found.get(name, ()), statement]
    return found


def _is_for_all(statement: ast.stmt) -> bool:
    """It changes what all others mean: imports from the future, and of everything."""
    if not isinstance(statement, ast.ImportFrom):
        return False
    return statement.module == "__future__" or any(alias.name == "*" for alias in statement.names)


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
    if not isinstance(cells, list):
        return None
    plain = ["\n".join(line for line in cell.split("\n") if not line.startswith(("%", "!"))) for cell in cells]
    return [text for cell, text in zip(cells, plain, strict=True) if _parses(text) and not cell.startswith("%%")]


def _parses(cell: str) -> bool:
    try:
        ast.parse(cell)
    except SyntaxError:
        return False
    return True


def _bound(statement: ast.AST) -> Iterable[str]:
    """The names that a statement of a module defines, also inside `try` and `if`."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Name):
        return [statement.id] if isinstance(statement.ctx, ast.Store) else []
    return [name for child in ast.iter_child_nodes(statement) for name in _bound(child)]


def _used(text: str, statement: ast.stmt) -> list[str]:
    """The names that a statement takes from its module: not its own variables, whatever these are called."""
    return [*_globals(symtable.symtable(text, "experiment", "exec")), *_in_quotes(statement)]


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    of_module = table.get_type() == "module"
    yield from (s.get_name() for s in table.get_symbols() if s.is_referenced() and (of_module or s.is_global()))
    for child in table.get_children():
        yield from _globals(child)


def _in_quotes(statement: ast.stmt) -> Iterator[str]:
    """Names in annotations that are written as text."""
    for node in ast.walk(statement):
        annotation = getattr(node, "annotation", None)
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            yield from re.findall(r"[^\W\d]\w*", annotation.value)


def _text(lines: list[str], statement: ast.stmt) -> str:
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    return "\n".join(lines[first - 1 : statement.end_lineno])
