"""Experiments in Python: an async function walked by the same durable steps as a file.

The function runs in a thread and a loop of its own, so that user code which blocks or computes never holds up the hub.
Only calls through `run` and leased instruments are durable steps; anything else runs again when a run is resumed.
"""

from __future__ import annotations

import asyncio
import inspect
import linecache
import sys
import threading
import types
import typing
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from labretto.errors import InvalidError
from labretto.instrument.describe import Description
from labretto.orchestrator.worker import Walker

T = TypeVar("T")
Function = Callable[..., Awaitable[None]]


class Run:
    """What a Python experiment acts through: its instruments, its record, its people."""

    def __init__(self, walker: Walker, loop: asyncio.AbstractEventLoop) -> None:
        self._walker = walker
        self._hub = loop
        self._seen: Counter[str] = Counter()

    @property
    def id(self) -> str:
        """The run's id."""
        return self._walker.state.id

    async def lease(self, *names: str) -> Any:
        """The instruments of these names: one for one name, a tuple for several.

        Raises:
            NotFoundError: the lab has none of that name; says which it has.
        """
        leased = [LeasedInstrument(self, name, await self._in_hub(self._walker.description(name))) for name in names]
        return leased[0] if len(leased) == 1 else tuple(leased)

    async def step(self, instrument: str, action: str, /, **parameters: Any) -> Any:
        """Do an action as a durable step and answer its result; a resumed run answers from its journal.

        Raises:
            FailedError: it failed. Caught, the experiment goes on; uncaught, the run fails.
        """
        path = self._path(f"{instrument}.{action}")
        return await self._in_hub(self._walker.call(path, instrument, action, parameters))

    async def ask(self, text: str, choices: Sequence[str] = ()) -> Any:
        """Ask a person, and wait for the answer: one of `choices`, or any value if none are named."""
        return await self._in_hub(self._walker.ask(self._path("ask"), text, choices))

    def save(self, **row: Any) -> None:
        """Put one row into the record: numbers, text, arrays; units come along from the results they are taken from."""
        path = self._path("save")
        asyncio.run_coroutine_threadsafe(self._walker.save(path, row), self._hub).result()

    async def _read(self, instrument: str, attribute: str) -> Any:
        return await self._in_hub(self._walker.read(self._path(f"{instrument}.{attribute}"), instrument, attribute))

    async def _write(self, instrument: str, attribute: str, value: Any) -> Any:
        path = self._path(f"{instrument}.{attribute}")
        return await self._in_hub(self._walker.write(path, instrument, attribute, value))

    async def _in_hub(self, step: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(step, self._hub))

    def _path(self, component: str) -> str:
        self._seen[component] += 1
        return component if self._seen[component] == 1 else f"{component}~{self._seen[component]}"


class LeasedInstrument:
    """An instrument inside an experiment: `await stage.move(x=1)`, `await stage.x.get()`, `await oven.to.set(5)`."""

    def __init__(self, run: Run, name: str, description: Description) -> None:
        self._run = run
        self._name = name
        self._description = description

    def __getattr__(self, name: str) -> Any:
        if name in self._description.actions:
            return self._action(name)
        if name in self._description.attributes:
            return LeasedAttribute(self._run, self._name, name)
        known = ", ".join([*self._description.actions, *self._description.attributes])
        raise AttributeError(f"{self._name} has no {name!r}; it has {known}.")

    def _action(self, action: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        names = list(self._description.actions[action].parameters)

        async def call(*positional: Any, **named: Any) -> Any:
            if len(positional) > len(names):
                raise TypeError(f"{self._name}.{action} takes {len(names)} parameters: {', '.join(names)}.")
            return await self._run.step(self._name, action, **dict(zip(names, positional, strict=False)), **named)

        return call


class LeasedAttribute:
    """An attribute inside an experiment; getting and setting are durable steps."""

    def __init__(self, run: Run, instrument: str, name: str) -> None:
        self._run, self._instrument, self._name = run, instrument, name

    async def get(self) -> Any:
        """Its value, with its unit."""
        return await self._run._read(self._instrument, self._name)  # noqa: SLF001 - Run and its instruments are one thing

    async def set(self, value: Any) -> Any:
        """Set it; answers the value read back."""
        return await self._run._write(self._instrument, self._name, value)  # noqa: SLF001 - Run and its instruments are one thing


def load_function(source: str, name: str, source_hash: str) -> Function:
    """The async function `name` out of a Python source text.

    Raises:
        InvalidError: the text does not compile, raises when executed, or has no such async function.
    """
    module_name = f"labretto_experiment_{source_hash[:16]}"
    file = f"<experiment {source_hash[:16]}>"
    module = types.ModuleType(module_name)
    # Tracebacks show the lines, and annotations can be resolved, only if these two know the text.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    sys.modules[module_name] = module
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except Exception as error:
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
    hints = typing.get_type_hints(function, include_extras=True)
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
                faults.append(f"{name}={given[name]!r} does not fit: {first['msg']}.")
        elif parameter.default is parameter.empty:
            faults.append(f"The parameter {name!r} is missing.")
    if faults:
        raise InvalidError("The experiment cannot run.", faults=[{"detail": fault} for fault in faults])
    return values


async def walk_function(function: Function, parameters: Mapping[str, Any], walker: Walker) -> None:
    """Run `function(run, **parameters)` in a thread of its own, to its end; what it raises is raised here."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    run = Run(walker, loop)

    def work() -> None:
        error: BaseException | None = None
        try:
            asyncio.run(_main(function, run, parameters))
        except BaseException as raised:  # noqa: BLE001 - SystemExit in an experiment ends the run, not the hub
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, over, error)

    threading.Thread(target=work, name=f"experiment {walker.state.id}", daemon=True).start()
    await over


async def _main(function: Function, run: Run, parameters: Mapping[str, Any]) -> None:
    await function(run, **parameters)


def _settle(over: asyncio.Future[None], error: BaseException | None) -> None:
    if over.done():
        return
    if error is None:
        over.set_result(None)
    elif isinstance(error, Exception):
        over.set_exception(error)
    else:
        over.set_exception(InvalidError(f"The experiment raised {type(error).__name__}: {error}."))
