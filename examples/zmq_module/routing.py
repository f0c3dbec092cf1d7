"""What the experiment is asked in JSON, and what it answers; no socket here.

    "module_a": "attributes"                      a look at a module, or a command without parameters
    "module_a": {"set": {"stroke": 3.0}}          set an attribute
    "module_a": {"call": {"start_cycle": {}}}     a command with its parameters
    "experiment": "status"                        of all modules;  {"call": {"restart": {"module": "module_a"}}}

The answer is `{"message": command, "value": ...}`, or `{"error": ..., "status": ...}` with the status that HTTP has for
it. Which commands a module has is in its description, found by looking at its driver; nothing is listed by hand.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from config import EXPERIMENT

from labretto.errors import InvalidError, LabError, NotFoundError, UnreachableError, from_problem
from labretto.instrument.codec import decode_json, encode_json
from labretto.instrument.invocation import Invocation
from labretto.network.client import Instrument
from labretto.network.messages import problem_of
from labretto.network.supervise import Supervisor

logger = logging.getLogger(__name__)

FIRST_START_WITHIN = 10.0
"""Seconds for which a request waits for a module's first start; for a start after a crash it does not."""

READY_WITHIN = 1.0
"""Seconds in which a module that is said to be ready has to be connected."""

EXAMPLE = 'Send {"module_a": "attributes"}, {"module_a": {"set": {...}}} or {"module_a": {"call": {...}}}.'


@dataclass(frozen=True)
class Asked:
    """One request."""

    module: str
    kind: Literal["look", "set", "call"]
    command: str
    given: Any = None
    """The value to set, or the parameters of a call."""


def parsed(body: bytes) -> Asked:
    """What `body` asks.

    Raises:
        InvalidError: it is not JSON, or asks nothing that could be understood.
    """
    match decode_json(body):
        case dict(request) if len(request) == 1:
            ((module, wanted),) = request.items()
        case _:
            raise InvalidError("A request is a JSON object with the name of one module.", way_out=EXAMPLE)
    match wanted:
        case str(command):
            return Asked(module, "look", command)
        case {"set": dict(one)} if len(wanted) == len(one) == 1:
            ((attribute, value),) = one.items()
            return Asked(module, "set", attribute, value)
        case {"call": dict(one)} if len(wanted) == len(one) == 1:
            ((action, parameters),) = one.items()
            return Asked(module, "call", action, parameters)
    raise InvalidError(f"What is asked of {module[:80]!r} cannot be understood.", way_out=EXAMPLE)


def told(error: Exception) -> dict[str, Any]:
    """The answer that says what went wrong."""
    problem = problem_of(error)
    way_out = {"way_out": problem["way_out"]} if problem.get("way_out") else {}
    return {"error": problem["detail"], "status": problem["status"], **way_out}


class Experiment:
    """Answers requests to the modules that `supervisor` keeps up."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._met: dict[str, str] = {}

    async def answer(self, body: bytes) -> bytes:
        """The answer to one request; never raises, an error is an answer too."""
        try:
            asked = parsed(body)
            return encode_json({"message": asked.command, "value": await self._value(asked)})
        except Exception as error:
            if not isinstance(error, LabError):
                logger.exception("a request was not answered")
            return encode_json(told(error))

    async def make_safe(self, within: float) -> None:
        """Stop every action that runs on a module of ours, and wait so many seconds for its end."""
        ours = [name for name, entry in self._supervisor.lab.instruments.items() if entry.driver]
        halting = [asyncio.ensure_future(self._halt(name)) for name in ours]
        if halting:
            await asyncio.wait(halting, timeout=within)
        for task in halting:
            task.cancel()
        await asyncio.gather(*halting, return_exceptions=True)

    async def _value(self, asked: Asked) -> Any:
        if asked.module == EXPERIMENT:
            return await self._of_the_experiment(asked)
        module = await self._module(asked.module)
        try:
            return await _answer_of(module, asked)
        except UnreachableError:
            raise UnreachableError(
                f"module {asked.module} went down before it answered.",
                way_out="Look what became of it when it is back, before you ask again.",
            ) from None

    async def _of_the_experiment(self, asked: Asked) -> Any:
        match asked.kind, asked.command, asked.given:
            case "look", "status", _:
                return {name: status.as_dict() for name, status in self._supervisor.status().items()}
            case "call", "restart", {"module": str(name)}:
                self._check_module(name)
                await self._supervisor.restart(name)
                return self._supervisor.status()[name].as_dict()
        raise NotFoundError(
            f"command {asked.command[:80]} of the {EXPERIMENT} not known",
            way_out='It has "status", and "restart" with the parameter "module".',
        )

    async def _module(self, name: str) -> Instrument:
        """A connected client of the module; does not wait for one that went down.

        Raises:
            NotFoundError: there is no such module.
            UnreachableError: it is down; says why, and since when.
        """
        self._check_module(name)
        if self._starts_first(name):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._supervisor.settled(), FIRST_START_WITHIN)
        status = self._supervisor.status()[name]
        if status.state != "ready":
            raise _down(name, f"{status.state}: {status.reason}" if status.reason else status.state)
        try:
            async with asyncio.timeout(READY_WITHIN):
                module = await self._supervisor.instrument(name)
                if self._met.get(name) != status.since:  # started again, perhaps with a changed driver
                    await module.describe()
                    self._met[name] = status.since
                return module
        except TimeoutError:
            raise _down(name, "being started again") from None

    def _starts_first(self, name: str) -> bool:
        status = self._supervisor.status()[name]
        return status.state == "starting" and not status.reason  # a start after a crash says what went before

    def _check_module(self, name: str) -> None:
        modules = self._supervisor.status()
        if name not in modules:
            raise NotFoundError(f"module {name[:80]} not known", way_out=f"There is {', '.join(modules)}.")

    async def _halt(self, name: str) -> None:
        module = await self._module(name)
        running = (await module.health())["running"]
        if running is None:
            return
        invocation = Invocation.from_dict(running)
        if module.description.stop:
            await module.stop()
        else:
            await module.cancel(invocation.id)
        await module.invoke(invocation.action, invocation.parameters, identity=invocation.id)  # the same: its end


async def _answer_of(module: Instrument, asked: Asked) -> Any:
    match asked.kind:
        case "set":
            _check(asked.command in module.description.attributes, asked, "attribute")
            return (await module.write(asked.command, asked.given)).value
        case "call":
            _check(asked.command in module.description.actions, asked, "action")
            return await _called(module, asked.command, asked.given)
    return await _looked(module, asked)


async def _looked(module: Instrument, asked: Asked) -> Any:
    """An attribute, or what an action without parameters answers, or one of the words that every module knows."""
    command, described = asked.command, module.description
    if command in described.attributes:
        return (await module.read(command)).value
    if command in described.actions:
        return await _called(module, command, {})
    _check(command in WORDS, asked, "command")
    return await WORDS[command](module)


async def _called(module: Instrument, action: str, parameters: Any) -> Any:
    """What `action` answers at its end; its error if it failed."""
    if not isinstance(parameters, dict):
        raise InvalidError(f"The parameters of {action} are not an object.", way_out=EXAMPLE)
    invocation = await module.invoke(action, parameters)
    if invocation.state == "succeeded":
        return invocation.result
    raise from_problem(invocation.error or {"detail": f"{action} is {invocation.state}."})


async def _attributes(module: Instrument) -> dict[str, Any]:
    return {name: reading.value for name, reading in (await module.read_all()).items()}


async def _parameters(module: Instrument) -> dict[str, Any]:
    writable = {name for name, attribute in module.description.attributes.items() if attribute.writable}
    return {name: value for name, value in (await _attributes(module)).items() if name in writable}


async def _description(module: Instrument) -> dict[str, Any]:
    return module.description.as_dict()


async def _stop(module: Instrument) -> dict[str, Any]:
    return await module.stop()


WORDS: dict[str, Callable[[Instrument], Awaitable[Any]]] = {
    "attributes": _attributes,
    "parameters": _parameters,
    "description": _description,
    "stop": _stop,
}
"""What every module answers, unless its driver uses the word for something of its own: all values, those that can be
set, what it offers with units and limits, and the driver's `stop()`."""


def _check(known: bool, asked: Asked, what: str) -> None:
    if not known:
        raise NotFoundError(
            f"{what} {asked.command[:80]} of {asked.module} not known",
            way_out='Ask for its "description"; that says what there is.',
        )


def _down(name: str, why: str) -> UnreachableError:
    stays = why.startswith(("stopped", "crash loop"))
    way_out = 'Mend it, then {"experiment": {"call": {"restart": {"module": "NAME"}}}}.' if stays else "Ask again soon."
    return UnreachableError(f"module {name} is {why.rstrip('.')}.", way_out=way_out.replace("NAME", name))
