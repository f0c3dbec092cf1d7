"""What every board needs, made one module for the flash: `microfastapi/__init__` of a built library is the whole core.

The sources stay in modules that can be read one by one. A board pays for each module and for a name in each of them, so
`python -m microfastapi library` joins the core and leaves out the PC's halves (`if not MICROPYTHON`). CPython only.
"""

import ast
from pathlib import Path

CORE = ("port", "answer", "parameters", "request", "server", "app")
"""In the order in which they need each other."""


def bundled(home: Path, names: "list[str]") -> "dict[str, str]":
    """The modules of a board's library as source text; those of the core are in `__init__`."""
    trees = {name: _for_board(name, home) for name in [*names, "__init__"]}
    front = ast.Module([part for name in [*CORE, "__init__"] for part in trees.pop(name).body], [])
    return {name: ast.unparse(tree) for name, tree in {**trees, "__init__": front}.items()}


def _for_board(name: str, home: Path) -> ast.Module:
    tree = ast.parse((home / f"{name}.py").read_text())
    return _ForBoard(in_core=name in CORE).visit(tree)


class _ForBoard(ast.NodeTransformer):
    """Leaves out what a board never runs, and takes from the package what stands in its core."""

    def __init__(self, *, in_core: bool) -> None:
        self.in_core = in_core

    def visit_ImportFrom(self, node: ast.ImportFrom) -> "ast.ImportFrom | None":
        if node.level and node.module in CORE:
            node.module = None
            node.names = [one for one in node.names if one.name != "coroutine"]
            return None if self.in_core else node
        return node

    def visit_If(self, node: ast.If) -> "ast.AST | list[ast.stmt]":
        self.generic_visit(node)
        match ast.unparse(node.test):
            case "MICROPYTHON":
                return node.body
            case "not MICROPYTHON":
                return node.orelse
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> "ast.AST | None":
        """`coroutine` does nothing on a board."""
        node.decorator_list = [one for one in node.decorator_list if ast.unparse(one) != "coroutine"]
        return None if node.name == "coroutine" else self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """The table of names to be loaded later does not name the core."""
        if ast.unparse(node.targets[0]) == "_HOMES":
            later = {name: home for name, home in ast.literal_eval(node.value).items() if home not in CORE}
            node.value = ast.parse(repr(later), mode="eval").body
        return node
