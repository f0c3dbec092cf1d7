"""A driver's class from its text `module:Class`, and its constructor's arguments, checked before anything is made.

What goes wrong here is the user's to mend, so every error names the file, the class or the argument and keeps the
driver's own words.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pydantic

from labretto.errors import InvalidError, NotFoundError
from labretto.instrument.arguments import check_value
from labretto.lab import did_you_mean


def load_driver(text: str, search_path: Iterable[Path] = ()) -> type:
    """The class that `text` ("module:Class") names; `search_path` goes before where Python looks anyway.

    Raises:
        InvalidError: the text is not of that form, the module raises while it is imported, or the name is no class.
        NotFoundError: there is no such module or class.
    """
    module_name, colon, class_name = text.partition(":")
    if not (module_name and colon and class_name):
        raise InvalidError(
            f"{text!r} does not name a driver.", way_out='Write "module:Class", such as furnace:Furnace.'
        )
    for folder in reversed([str(folder) for folder in search_path]):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    found: Any = _module(module_name, search_path)
    for part in class_name.split("."):
        found = _member(found, part, text)
    if not isinstance(found, type):
        raise InvalidError(f"{text} is a {type(found).__name__}, not a class.", way_out="Name the driver's class.")
    return found


def maker(driver: Callable[..., object], settings: Mapping[str, Any], name: str) -> Callable[[], object]:
    """What makes the driver with `settings` as its constructor's arguments.

    Raises:
        InvalidError: an argument is missing, unknown or of a wrong type; `LimitError` if only outside its limits.
    """
    place = f"{name}: {driver.__name__}"
    try:
        inspect.signature(driver).bind(**settings)
    except TypeError as error:
        raise InvalidError(
            f"{place}({', '.join(settings)}) cannot be made: {error}.", way_out=_signature(driver)
        ) from None
    except ValueError:  # a class written in C need not tell its signature
        return lambda: driver(**settings)
    hints = _hints(driver)
    checked = {key: _checked(hints.get(key), value, f"{place}: {key}") for key, value in settings.items()}
    return lambda: driver(**checked)


def source_of(driver: str) -> tuple[str, int]:
    """The file in which the module of a loaded driver ("module:Class") stands, and when that was written (ns)."""
    file = getattr(sys.modules.get(driver.partition(":")[0]), "__file__", None) or ""
    return file, written_at(file)


def written_at(file: str) -> int:
    """When a file was written (ns); 0 where there is none."""
    try:
        return Path(file).stat().st_mtime_ns if file else 0
    except OSError:
        return 0


def _module(name: str, search_path: Iterable[Path]) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            places = ", ".join(map(str, search_path)) or "Python's own search path"
            way_out = "Correct the name, set `path` to the folder of the driver, or install its package."
            if name.endswith(".py"):
                way_out = f"Write {name.removesuffix('.py')!r}: it is the module that is named, not its file."
            raise NotFoundError(
                f"There is no module {error.name!r}; looked in {places} and among the installed packages.",
                way_out=way_out,
            ) from None
        raise InvalidError(
            f"The driver's module {name!r} needs {error.name!r}, which is not installed.",
            way_out=f"Install it where Labretto runs ({sys.executable}).",
            traceback=traceback.format_exc(),
        ) from error
    except (Exception, SystemExit) as error:
        raise InvalidError(
            f"The driver's module {name!r} cannot be imported: {type(error).__name__}: {error}{_where(error)}.",
            way_out="Correct the driver, then start it again.",
            traceback=traceback.format_exc(),
        ) from error


def _where(error: BaseException) -> str:
    """The innermost place, which is nearly always the line to look at."""
    if isinstance(error, SyntaxError):
        return ""  # its text says it already
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _member(owner: Any, name: str, text: str) -> Any:
    try:
        return inspect.getattr_static(owner, name)
    except AttributeError:
        classes = [n for n, value in vars(owner).items() if isinstance(value, type) and not n.startswith("_")]
        where = getattr(owner, "__file__", None) or getattr(owner, "__name__", "it")
        raise NotFoundError(f"{text}: {where} has no class {name!r}.", way_out=did_you_mean(name, classes)) from None


def _signature(driver: Callable[..., object]) -> str:
    of = inspect.signature(driver).parameters.values()
    parameters = [str(each.replace(annotation=each.empty)) for each in of]  # annotations hide the names
    return f"It takes {', '.join(parameters)}." if parameters else "It takes no arguments."


def _hints(driver: Callable[..., object]) -> dict[str, Any]:
    called = inspect.getattr_static(driver, "__init__") if isinstance(driver, type) else driver
    try:
        return typing.get_type_hints(called, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}  # what cannot be resolved is the constructor's own business


def _checked(hint: Any, value: Any, place: str) -> Any:
    try:
        validator = pydantic.TypeAdapter(Any if hint is None else hint)
    except pydantic.PydanticUserError:
        return value
    return check_value(validator, value, place, None)
