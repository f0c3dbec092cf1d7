"""A dry run: the steps of an experiment done in thought, each as long as it is expected to take.

`DryWalk` is what `follow` walks with. It notes when each step would begin and end, what it would take out of which
tank and when people would be asked; what the notes mean is said in `forecast`. Steps that a run has done already are
answered with what they answered, at no cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from labretto.errors import FailedError
from labretto.experiment.estimate import UNKNOWN, Estimate, Known, declared, spelled
from labretto.experiment.follow import follow
from labretto.experiment.model import Experiment, Parallel, every_step
from labretto.experiment.policy import PLAIN, Policy
from labretto.experiment.question import Question
from labretto.experiment.skipping import Loop, run_at_once
from labretto.experiment.unknown import Scenario, Unknown, is_known, place
from labretto.instrument import codec

Descriptions = Mapping[str, Mapping[str, Any]]

READ, WRITE = "attribute:get ", "attribute:set "
"""What the journal calls looking and setting."""


MOST_ATTEMPTS = 8
"""Conditions at the ends of loops that may turn out, one after another, to be those that have to hold."""


class EnoughError(Exception):
    """So many steps were walked as there is time for."""


@dataclass(frozen=True, slots=True)
class DryStep:
    """One step as it would be."""

    path: str
    instrument: str
    """Empty for a pause or a question."""
    action: str
    begin: float
    end: float
    """Seconds after the beginning of the dry run."""
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Draw:
    """Something taken out of a tank, or put into it."""

    step: DryStep
    attribute: str
    amount: Any
    """None: nobody knows yet."""
    fills: bool = False
    """The tank holds `amount` afterwards, whatever was in it."""


@dataclass
class Notes:
    """What a dry run found."""

    steps: list[DryStep] = field(default_factory=list)
    draws: list[Draw] = field(default_factory=list)
    questions: list[tuple[DryStep, Question]] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    """Sentences, each once."""
    undecided: tuple[str, ...] = ()
    """Paths of the steps on whose results it depends what is done."""
    seconds: float = 0.0
    """When the last step would end."""
    count: int = 0
    """Steps and saves walked."""
    whole: bool = True
    """It was walked to its end."""


@dataclass(frozen=True)
class Setting:
    """What a dry run is held in."""

    descriptions: Descriptions
    known: Known
    most_steps: int
    """After so many it is stopped."""
    done: Mapping[str, Any] = field(default_factory=dict)
    """Path → what the step answered, of a run that goes on; `Ellipsis` where that is not at hand."""
    elapsed: Mapping[str, float] = field(default_factory=dict)
    """Path → seconds for which a step that has begun is under way."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """Path → attempts of a step of which the last one has failed."""
    left: Mapping[str, float] = field(default_factory=dict)
    """Path → seconds until a pause that has begun is over."""


def dry_run(experiment: Experiment, parameters: Mapping[str, Any], setting: Setting, *, holds: bool) -> Notes:
    """Walk an experiment in thought; not to be called in a thread that runs an event loop.

    Args:
        experiment: checked and settled.
        parameters: what was given.
        setting: where.
        holds: whether conditions hold of which nobody knows.

    Raises:
        InvalidError: a reference leads nowhere; or the list of a loop is a result.
    """

    scenario = Scenario(holds)
    for _ in range(MOST_ATTEMPTS):
        notes, failure = _attempt(experiment, parameters, setting, scenario)
        if failure is None or scenario.latest is None or (turn := place(scenario.latest)) in scenario.granted:
            break
        # an `until` that never held: at its last turn it does
        scenario = Scenario(holds, granted=scenario.granted | {turn})
    if failure is not None:
        notes.warnings[f"In thought it fails: {failure.detail}"] = None
    return notes


def _attempt(
    experiment: Experiment, parameters: Mapping[str, Any], setting: Setting, scenario: Scenario
) -> tuple[Notes, FailedError | None]:
    alone = not _has_branches(experiment)
    return run_at_once(lambda loop: _walked(experiment, parameters, DryWalk(setting, scenario, loop, alone=alone)))


async def _walked(
    experiment: Experiment, parameters: Mapping[str, Any], walk: DryWalk
) -> tuple[Notes, FailedError | None]:
    try:
        await follow(experiment, parameters, walk)
    except EnoughError:
        return walk.finished(whole=False), None
    except FailedError as error:
        return walk.finished(), error
    return walk.finished(), None


def _has_branches(experiment: Experiment) -> bool:
    lists = [experiment.steps, experiment.clean_up]
    lists += [steps for each in experiment.experiments.values() for steps in (each.steps, each.clean_up)]
    return any(isinstance(step, Parallel) for steps in lists for step in every_step(steps))


class DryWalk:
    """Does steps in thought. See `follow.Walk`.

    Args:
        setting: what is known.
        scenario: how conditions go.
        loop: whose time is the time of the dry run.
        alone: nothing goes on beside it, so that time may be skipped and need not be waited for.
    """

    def __init__(self, setting: Setting, scenario: Scenario, loop: Loop, *, alone: bool) -> None:
        self.notes = Notes()
        self._setting = setting
        self._scenario = scenario
        self._loop = loop
        self._alone = alone
        self._busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._estimates: dict[tuple[str, str, bytes | None], Estimate] = {}

    async def call(
        self, path: str, instrument: str, action: str, parameters: Mapping[str, Any], *, policy: Policy = PLAIN
    ) -> Any:
        """An action: as long as it is expected to take."""
        if path in self._setting.done or self._given_up(path, policy):
            return self._answered(path, policy)
        offered = self._offered(instrument, "actions", action)
        estimate = self._estimate(instrument, action, dict(parameters), offered)
        step = await self._do(path, instrument, action, estimate, together=offered.get("exclusive") is False)
        self._late(step, policy)
        self._draw(step, offered, parameters)
        return Unknown(path, self._scenario)

    async def read(self, path: str, instrument: str, attribute: str, *, policy: Policy = PLAIN) -> Any:
        """A look at an attribute."""
        return await self._attribute(path, instrument, READ + attribute, Unknown(path, self._scenario), policy)

    async def write(self, path: str, instrument: str, attribute: str, value: Any, *, policy: Policy = PLAIN) -> Any:
        """Setting an attribute: it will be what it was set to."""
        return await self._attribute(path, instrument, WRITE + attribute, value, policy)

    async def _attribute(self, path: str, instrument: str, action: str, value: Any, policy: Policy) -> Any:
        if path in self._setting.done or self._given_up(path, policy):
            return self._answered(path, policy)
        await self._do(path, instrument, action, self._estimate(instrument, action, {}, {}))
        return value

    async def save(self, path: str, row: Mapping[str, Any]) -> None:
        """A row: no time at all."""
        if path not in self._setting.done:
            self._count()

    async def ask(self, path: str, question: Question) -> Any:
        """A question: as long as people take to answer."""
        if path in self._setting.done:
            return self._answered(path, PLAIN)
        estimate = self._setting.known.of_answer(question.text) or UNKNOWN
        self.notes.questions.append((await self._do(path, "", "ask", estimate), question))
        return Unknown(path, self._scenario)

    async def sleep(self, path: str, seconds: float) -> None:
        """A pause."""
        if path not in self._setting.done:
            await self._do(path, "", "sleep", declared(seconds if isinstance(seconds, int | float) else 0.0))

    @contextlib.asynccontextmanager
    async def cleaning(self) -> AsyncIterator[None]:
        """Clean-up steps are steps."""
        yield

    def finished(self, *, whole: bool = True) -> Notes:
        """The notes, at its end."""
        self.notes.whole = whole
        self.notes.undecided = tuple(self._scenario.undecided)
        self.notes.seconds = max((step.end for step in self.notes.steps), default=0.0)
        return self.notes

    # One step

    def _given_up(self, path: str, policy: Policy) -> bool:
        """It has failed for the last time. Where a person is asked it is taken to be done again."""
        attempts = policy.retry.attempts if policy.retry else 1
        return policy.on_failure != "ask" and self._setting.failed.get(path, 0) >= attempts

    def _answered(self, path: str, policy: Policy) -> Any:
        if path in self._setting.failed:
            if policy.on_failure == "go on":
                return None
            raise FailedError(f"{path} has failed.")
        answer = self._setting.done[path]
        return Unknown(path, self._scenario) if answer is ... else answer

    def _offered(self, instrument: str, kind: str, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = (self._setting.descriptions.get(instrument, {}).get(kind) or {}).get(name) or {}
        return found

    def _estimate(
        self, instrument: str, action: str, parameters: dict[str, Any], offered: Mapping[str, Any]
    ) -> Estimate:
        if (said := offered.get("expected_seconds")) is not None:
            return declared(said)
        known = parameters if is_known(parameters) else None
        key = (instrument, action, None if known is None else _key(known))
        if key not in self._estimates:
            self._estimates[key] = self._setting.known.of_action(instrument, action, known) or UNKNOWN
        return self._estimates[key]

    async def _do(
        self, path: str, instrument: str, action: str, estimate: Estimate, *, together: bool = False
    ) -> DryStep:
        self._count()
        left = max(0.0, estimate.mean - self._setting.elapsed.get(path, 0.0))
        left = self._setting.left.get(path, left)
        if self._alone:
            begin = self._loop.time()
            self._loop.skip(left)
        else:
            async with contextlib.nullcontext() if together or not instrument else self._busy[instrument]:
                begin = self._loop.time()
                await asyncio.sleep(left)
        step = DryStep(path, instrument, action, begin, self._loop.time(), estimate)
        self.notes.steps.append(step)
        return step

    def _count(self) -> None:
        if self.notes.count >= self._setting.most_steps:
            raise EnoughError
        self.notes.count += 1

    def _late(self, step: DryStep, policy: Policy) -> None:
        if policy.timeout is not None and step.estimate.mean > policy.timeout:
            usual, most = spelled(step.estimate.mean), spelled(policy.timeout)
            self.notes.warnings[f"{generic(step.path)} usually takes {usual}, longer than its timeout of {most}."] = (
                None
            )

    def _draw(self, step: DryStep, offered: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        for attribute, said in (offered.get("consumes") or {}).items():
            self.notes.draws.append(Draw(step, attribute, _amount(said, parameters, offered)))
        for attribute, said in (offered.get("refills") or {}).items():
            self.notes.draws.append(Draw(step, attribute, said, fills=True))


def _amount(said: Any, parameters: Mapping[str, Any], offered: Mapping[str, Any]) -> float | None:
    """What one call takes: the number, the parameter's value, or its default."""
    if isinstance(said, str):
        default = ((offered.get("parameters") or {}).get(said) or {}).get("schema", {}).get("default")
        said = parameters.get(said, default)
    return float(said) if isinstance(said, int | float) and not isinstance(said, bool) else None


def _key(parameters: Mapping[str, Any]) -> bytes | None:
    try:
        return codec.encode_sorted(dict(parameters))
    except codec.CannotEncodeError:
        return None


def generic(path: str) -> str:
    """The path of a step without the turns of its loops: `sweep[3]/rig.move` becomes `sweep[]/rig.move`."""
    return re.sub(r"\[\d+\]", "[]", path)
