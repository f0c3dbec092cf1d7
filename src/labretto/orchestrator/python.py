"""Experiments in Python: an async function walked by the same durable steps as a file.

The function runs in a thread and a loop of its own, so that user code which blocks or computes never holds up the hub.
Only calls through `run` and leased instruments are durable steps; anything else runs again when a run is resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from labretto.experiment.policy import PLAIN, OnFailure, Policy, Retry
from labretto.experiment.question import Late, Priority, Question
from labretto.instrument.describe import Description
from labretto.orchestrator.crossing import Crossing
from labretto.orchestrator.forms import check_question, form_of, value_of
from labretto.orchestrator.loading import Function
from labretto.orchestrator.worker import Walker

T = TypeVar("T")


_policy: ContextVar[Policy] = ContextVar("policy", default=PLAIN)
"""How steps are done in this branch of an experiment."""


class Run:
    """What a Python experiment acts through: its instruments, its record, its people."""

    def __init__(self, walker: Walker, crossing: Crossing) -> None:
        self._walker = walker
        self._crossing = crossing

    @property
    def id(self) -> str:
        """The run's id."""
        return self._walker.state.id

    async def lease(self, *names: str) -> Any:
        """The instruments of these names: one for one name, a tuple for several; nobody else may act on them now.

        All of them or none: the run waits until it can have all. If it has others already, it gives those back first,
        when none of its steps is in flight, and waits for everything together; meanwhile another run may have them.
        So who waits has nothing that another waits for, and no two runs can wait for each other. Acting on an
        instrument that was not leased leases it at that moment, by the same rule.

        Raises:
            NotFoundError: the lab has none of that name; says which it has.
        """
        leased = [LeasedInstrument(self, name, await self._described(name)) for name in names]
        await self._do(lambda: self._walker.hold_all(*names))
        return leased[0] if len(leased) == 1 else tuple(leased)

    async def _described(self, name: str) -> Description:
        return await self._do(lambda: self._walker.description(name))

    async def step(self, instrument: str, action: str, /, **parameters: Any) -> Any:
        """Do an action as a durable step and answer its result; a resumed run answers from its journal.

        Raises:
            FailedError: it failed. Caught, the experiment goes on; uncaught, the run fails.
        """
        path, policy = self._path(f"{instrument}.{action}"), _policy.get()
        return await self._do(lambda: self._walker.call(path, instrument, action, parameters, policy=policy))

    async def ask(
        self,
        text: str,
        choices: Sequence[str] = (),
        *,
        answer: Any = None,
        description: str = "",
        show: Mapping[str, Any] | None = None,
        assignee: str | None = None,
        priority: Priority = "medium",
        deadline: float | None = None,
        late: Late = "mark",
        default: Any = None,
        remind: float | None = None,
        release: bool | Sequence[str] = False,
    ) -> Any:
        """Ask a person, and wait for the answer; the question is a task in `/tasks` and on the page.

        Args:
            choices: the answer is one of these.
            answer: or it is what this annotation says: a number with unit and limits, `Literal`, `bool`, `str`,
                `labretto.File`, or a dataclass or TypedDict of these. Neither: any value, or none, is an answer.
            description, show: more about it; values that are shown with it.
            assignee, priority: who should answer, and how urgent it is (low, medium, high, urgent).
            deadline: seconds after which an answer is late.
            late: then it is shown as overdue ("mark"), or the step fails ("fail"), or `default` is the answer
                ("default").
            remind: seconds between reminders.
            release: instruments that others may use meanwhile; True: all.

        Raises:
            InvalidError: the annotation has no form, or the default does not fit it.
            LateError: nobody answered in time, and `late` is "fail".
        """
        released = release if isinstance(release, bool) else tuple(release)
        form = None if answer is None else form_of(answer)
        question = Question(
            text, description, tuple(choices), form=form, show=dict(show or {}), deadline=deadline, late=late,
            default=default, remind=remind, assignee=assignee, priority=priority, release=released,
        )  # fmt: skip
        check_question(question)
        path = self._path("ask")
        given = await self._do(lambda: self._walker.ask(path, question))
        return given if answer is None else value_of(answer, given, self._walker.record_folder)

    def save(self, **row: Any) -> None:
        """Put one row into the record: numbers, text, arrays; units come along from the results they are taken from."""
        path = self._path("save")
        self._crossing.do_now(lambda: self._walker.save(path, row))

    async def gather(self, *branches: Coroutine[Any, Any, Any]) -> list[Any]:
        """Do several things at the same time, each to its end; their results in the order in which they are given.

        If some fail, the first of these errors is raised when all are over. `asyncio.gather`, `TaskGroup` and
        `create_task` may be used as well: each task is a branch, and finds its own results after a crash.
        """
        path = self._path("gather")
        begun = [self._crossing.branches.begin(work, f"{path}[{number}]") for number, work in enumerate(branches)]
        ends = await asyncio.gather(*begun, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return ends

    async def sleep(self, seconds: float) -> None:
        """Wait so long. After a crash only the rest of it: when it ends stands in the journal."""
        path = self._path("sleep")
        await self._do(lambda: self._walker.sleep(path, seconds))

    @contextlib.contextmanager
    def policy(
        self,
        *,
        attempts: int = 1,
        first: float = 1.0,
        factor: float = 2.0,
        longest: float = 60.0,
        timeout: float | None = None,
        on_failure: OnFailure = "fail",
    ) -> Iterator[None]:
        """How the steps in this block are done, also those of branches begun in it.

        Args:
            attempts: in all, where a failure is reported; also of an action that must happen once, since you say so.
                What was interrupted is never repeated by this.
            first, factor, longest: seconds before the second attempt, and how they grow.
            timeout: seconds after which what runs is cancelled, and has failed.
            on_failure: after the last attempt: "fail"; "ask" a person; "go on" with None for an answer.
        """
        retry = Retry(attempts, first, factor, longest) if attempts > 1 else None
        token = _policy.set(Policy(retry, timeout, on_failure))
        try:
            yield
        finally:
            _policy.reset(token)

    async def _read(self, instrument: str, attribute: str) -> Any:
        path, policy = self._path(f"{instrument}.{attribute}"), _policy.get()
        return await self._do(lambda: self._walker.read(path, instrument, attribute, policy=policy))

    async def _write(self, instrument: str, attribute: str, value: Any) -> Any:
        path, policy = self._path(f"{instrument}.{attribute}"), _policy.get()
        return await self._do(lambda: self._walker.write(path, instrument, attribute, value, policy=policy))

    async def _do(self, step: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._crossing.do(step)

    def _path(self, name: str) -> str:
        return self._crossing.branches.current.path(name)


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


async def walk_function(function: Function, parameters: Mapping[str, Any], walker: Walker) -> None:
    """Run `function(run, **parameters)` in a thread of its own, to its end; what it raises is raised here.

    Raises:
        AbortedError: a person ended the run.
        FailedError: it raised what is no `Exception` (SystemExit), which ends the run and not the hub.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[Exception | None] = loop.create_future()
    crossing = Crossing(walker, loop)
    run = Run(walker, crossing)

    def work() -> None:
        raised: BaseException | None = None
        try:
            asyncio.run(crossing.run(lambda: function(run, **parameters)))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it ends the run and not the hub
            raised = error
        with contextlib.suppress(RuntimeError):  # the hub's loop is closed already
            loop.call_soon_threadsafe(_settle, over, crossing.ended_by(raised))

    threading.Thread(target=work, name=f"experiment {walker.state.id}", daemon=True).start()
    try:
        error = await crossing.end(over)
        await crossing.rest()
    except asyncio.CancelledError:
        await crossing.abandon()
        raise
    if error is not None:
        raise error


def _settle(over: asyncio.Future[Exception | None], error: Exception | None) -> None:
    if not over.done():
        over.set_result(error)
