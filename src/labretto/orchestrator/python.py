"""Experiments in Python: an async function walked by the same durable steps as a file.

The function runs in a thread and a loop of its own, so that user code which blocks or computes never holds up the hub.
Only calls through `run` and leased instruments are durable steps; anything else runs again when a run is resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import linecache
import sys
import threading
import types
import typing
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import pydantic

from labretto.errors import FailedError, InvalidError
from labretto.experiment.question import Question
from labretto.experiment.walk import AbortedError
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
        self._steps: set[asyncio.Task[Any]] = set()
        """In the hub's loop, not over yet."""
        self._left: AbortedError | None = None
        """Why no further step is done."""
        self._main: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self._walker.state.id

    async def lease(self, *names: str) -> Any:
        """The instruments of these names: one for one name, a tuple for several; nobody else may act on them now.

        Raises:
            NotFoundError: the lab has none of that name; says which it has.
        """
        leased = [LeasedInstrument(self, name, await self._described(name)) for name in names]
        await self._in_hub(lambda: self._walker.hold_all(*names))
        return leased[0] if len(leased) == 1 else tuple(leased)

    async def _described(self, name: str) -> Description:
        return await self._in_hub(lambda: self._walker.description(name))

    async def step(self, instrument: str, action: str, /, **parameters: Any) -> Any:
        """Do an action as a durable step and answer its result; a resumed run answers from its journal.

        Raises:
            FailedError: it failed. Caught, the experiment goes on; uncaught, the run fails.
        """
        path = self._path(f"{instrument}.{action}")
        return await self._in_hub(lambda: self._walker.call(path, instrument, action, parameters))

    async def ask(self, text: str, choices: Sequence[str] = ()) -> Any:
        """Ask a person, and wait for the answer: one of `choices`, or any value if none are named."""
        path = self._path("ask")
        return await self._in_hub(lambda: self._walker.ask(path, Question(text, choices=tuple(choices))))

    def save(self, **row: Any) -> None:
        """Put one row into the record: numbers, text, arrays; units come along from the results they are taken from."""
        path = self._path("save")
        with self._not_to_be_caught():
            self._submit(lambda: self._walker.save(path, row)).result()

    async def _read(self, instrument: str, attribute: str) -> Any:
        path = self._path(f"{instrument}.{attribute}")
        return await self._in_hub(lambda: self._walker.read(path, instrument, attribute))

    async def _write(self, instrument: str, attribute: str, value: Any) -> Any:
        path = self._path(f"{instrument}.{attribute}")
        return await self._in_hub(lambda: self._walker.write(path, instrument, attribute, value))

    async def _in_hub(self, step: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with self._not_to_be_caught():
            return await asyncio.wrap_future(self._submit(step))

    def _submit(self, step: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        future: Future[T] = Future()
        self._hub.call_soon_threadsafe(self._begin, step, future)
        return future

    def _begin(self, step: Callable[[], Coroutine[Any, Any, T]], future: Future[T]) -> None:
        """In the hub's loop: do a step. If the experiment gives up waiting for it, it goes on to its end."""
        if self._left is not None:
            _tell(future, None, self._left)
            return
        task = asyncio.ensure_future(step())
        self._steps.add(task)
        task.add_done_callback(lambda _: self._over(task, future))

    def _over(self, task: asyncio.Task[T], future: Future[T]) -> None:
        self._steps.discard(task)
        error = self._left if task.cancelled() else task.exception()
        _tell(future, None if error else task.result(), error)

    @contextlib.contextmanager
    def _not_to_be_caught(self) -> Iterator[None]:
        """The end of a run reaches the experiment as a cancellation: `except Exception` must not hold it up."""
        try:
            yield
        except AbortedError as error:
            self._left = error
            raise asyncio.CancelledError(error.detail) from error

    async def do(self, function: Function, parameters: Mapping[str, Any]) -> None:
        """In the experiment's loop: call the function."""
        self._main = asyncio.current_task()
        if self._left is None:
            await function(self, **parameters)

    async def rest(self) -> None:
        """In the hub's loop, when the function has ended: follow what it began and did not wait for to its end."""
        self._left = AbortedError(f"The experiment of run {self.id} is over.")
        self._walker.leave()
        while self._steps:
            await asyncio.wait(self._steps)

    async def abandon(self) -> None:
        """In the hub's loop, when the hub closes: let go of everything; the journal says where to go on."""
        self._left = AbortedError(f"The hub closes; run {self.id} goes on when it is started again.")
        for step in self._steps:
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)
        if self._main is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed already
                self._main.get_loop().call_soon_threadsafe(self._main.cancel)

    def ended_by(self, error: BaseException) -> Exception:
        """What an error that ended the function means."""
        if isinstance(error, asyncio.CancelledError) and self._left is not None:
            return self._left
        if isinstance(error, Exception):
            return error
        return FailedError(f"The experiment raised {type(error).__name__}: {error}.")

    def _path(self, component: str) -> str:
        self._seen[component] += 1
        return component if self._seen[component] == 1 else f"{component}~{self._seen[component]}"


def _tell(future: Future[Any], result: Any, error: BaseException | None) -> None:
    if not future.set_running_or_notify_cancel():
        return  # nobody waits any more
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


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


async def walk_function(function: Function, parameters: Mapping[str, Any], walker: Walker) -> None:
    """Run `function(run, **parameters)` in a thread of its own, to its end; what it raises is raised here.

    Raises:
        AbortedError: a person ended the run.
        FailedError: it raised what is no `Exception` (SystemExit), which ends the run and not the hub.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[Exception | None] = loop.create_future()
    run = Run(walker, loop)

    def work() -> None:
        error: Exception | None = None
        try:
            asyncio.run(run.do(function, parameters))
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it ends the run and not the hub
            error = run.ended_by(raised)
        with contextlib.suppress(RuntimeError):  # the hub's loop is closed already
            loop.call_soon_threadsafe(_settle, over, error)

    threading.Thread(target=work, name=f"experiment {walker.state.id}", daemon=True).start()
    try:
        error = await over
        await run.rest()
    except asyncio.CancelledError:
        await run.abandon()
        raise
    if error is not None:
        raise error


def _settle(over: asyncio.Future[Exception | None], error: Exception | None) -> None:
    if not over.done():
        over.set_result(error)
