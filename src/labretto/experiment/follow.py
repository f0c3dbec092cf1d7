"""An experiment walked as a function would: step after step, references looked up, loops unrolled while they run.

It decides which step comes next and with which values; what a step does is the `Walk`'s matter. The order within a list
and all paths depend on the experiment, its parameters and what its steps answer alone, so a second walk repeats the
first. Branches of a `parallel` are tasks; whichever is faster, their paths are the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import ChainMap
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from labretto.errors import ExperimentChangedError, FailedError, LabError
from labretto.experiment.condition import CannotCompareError, Condition, comparisons, holds
from labretto.experiment.model import (
    Ask,
    Block,
    Call,
    Experiment,
    ForEach,
    Leaf,
    Parallel,
    Read,
    Repeat,
    Save,
    Step,
    SubExperiment,
    Sweep,
    Wait,
    Within,
    Write,
)
from labretto.experiment.paths import CLEAN_UP, OTHERWISE, branch, iteration, paths
from labretto.experiment.resolve import refused, resolved, resolved_all
from labretto.experiment.scope import has_result, open_lists
from labretto.experiment.turns import turns
from labretto.experiment.unknown import stand_in
from labretto.experiment.walk import AbortedError, Walk

logger = logging.getLogger(__name__)

Names = ChainMap[str, Any]
"""What each name stands for now, innermost list first."""
Given = dict[str, Any]
"""The names that a step leaves behind for the steps after it."""


async def follow(experiment: Experiment, parameters: Mapping[str, Any], walk: Walk) -> None:
    """Walk an experiment to its end, or to the first failure of a step, which is let through after the clean-up.

    Args:
        experiment: checked, and settled (`soe.settle`) if it came as `soe`.
        parameters: what was given; defaults are filled in here.
        walk: does the steps.

    Raises:
        InvalidError: if a reference leads nowhere in the values that the steps answered.
    """
    follower = _Follower(walk, experiment.experiments)
    names: Names = ChainMap(experiment.values(parameters))
    await follower.cleaned(experiment.clean_up, "", names, follower.steps(experiment.steps, "", names))


class _Follower:
    """One walk: who does the steps, and which experiments are called by name."""

    def __init__(self, walk: Walk, experiments: Mapping[str, SubExperiment]) -> None:
        self.walk = walk
        self.experiments = experiments

    async def steps(self, steps: Sequence[Step], within: str, names: Names) -> Given:
        """One list of steps; answers the names given in it."""
        names = names.new_child({})
        for path, step in zip(paths(steps, within), steps, strict=True):
            names.update(await self._step(step, path, names))
        return dict(names.maps[0])

    async def _step(self, step: Step, path: str, names: Names) -> Given:
        if not isinstance(step, Block) and step.when is not None and not _holds(step.when, names):
            return _given(step, None)
        match step:
            case Call() | Read() | Write() | Save() | Ask() | Wait():
                return _given(step, await self._leaf(step, path, names))
            case Within():
                return _given(step, await self._forgiving(step, self._within(step, path, names)))
        work = self.cleaned(step.clean_up, path, names, self._block(step, path, names))
        given = await self._forgiving(step, work)
        return given if given and open_lists(step) else {}

    async def _leaf(self, step: Leaf, path: str, names: Names) -> Any:
        match step:
            case Call(instrument, action, parameters, policy=policy):
                return await self.walk.call(path, instrument, action, resolved_all(parameters, names), policy=policy)
            case Read(instrument, attribute, policy=policy):
                return await self.walk.read(path, instrument, attribute, policy=policy)
            case Write(instrument, attribute, value, policy=policy):
                return await self.walk.write(path, instrument, attribute, resolved(value, names), policy=policy)
            case Save(row):
                return await self.walk.save(path, resolved_all(row, names))
            case Ask(question, show=show):
                return await self.walk.ask(path, replace(question, show=resolved_all(show, names)))
            case Wait():
                return await self.walk.sleep(path, _seconds(step, names))

    # Blocks -------------------------------------------------------------------------------------------------------

    async def _block(self, step: Block | Parallel | Sweep | ForEach | Repeat, path: str, names: Names) -> Given:
        """The steps of a block without its clean-up; answers the names given in it."""
        match step:
            case Block(when=None):
                return await self.steps(step.steps, f"{path}/", names)
            case Block(when=when):
                chosen = when is not None and _holds(when, names)
                within = f"{path}/" if chosen else branch(path, OTHERWISE)
                await self.steps(step.steps if chosen else step.otherwise, within, names)
            case Parallel():
                return await self._branches(step, path, names)
            case Sweep() | ForEach() | Repeat():
                await self._loop(step, path, names)
        return {}

    async def _loop(self, loop: Sweep | ForEach | Repeat, path: str, names: Names) -> None:
        until = loop.until if isinstance(loop, Repeat) else None
        number = -1
        for number, variables in enumerate(turns(loop, names)):
            given = await self.steps(loop.steps, iteration(path, number), names.new_child(variables))
            if until is not None and _holds(until, names.new_child(given)):
                return
        if until is not None:
            raise FailedError(
                f"{path}: after {number + 1} turns `until` does not hold yet.",
                way_out="Let it repeat more often, or write `on failure: go on`.",
            )

    async def _branches(self, step: Parallel, path: str, names: Names) -> Given:
        """All branches to their end, also when one fails: what the others do is nobody's fault."""
        walks = (self.steps(steps, branch(path, name), names) for name, steps in step.branches.items())
        ends = await asyncio.gather(*walks, return_exceptions=True)
        errors = [end for end in ends if isinstance(end, BaseException)]
        if errors:
            raise next((error for error in errors if _ends_the_run(error)), errors[0])
        return {name: value for end in ends if isinstance(end, dict) for name, value in end.items()}

    async def _within(self, step: Within, path: str, names: Names) -> Any:
        called = self.experiments[step.experiment]
        inner: Names = ChainMap(called.values(resolved_all(step.parameters, names)))
        given = await self.cleaned(called.clean_up, path, inner, self.steps(called.steps, f"{path}/", inner))
        return resolved_all(called.result, inner.new_child(given)) if called.result else None

    # Ends ---------------------------------------------------------------------------------------------------------

    async def _forgiving(self, step: Block | Parallel | Sweep | ForEach | Repeat | Within, work: Awaitable[Any]) -> Any:
        """A block whose failure may be passed over; then it answers None."""
        try:
            return await work
        except LabError as error:
            if step.on_failure == "fail" or _ends_the_run(error):
                raise
            logger.warning("a failure was passed over", extra={"line": step.where.line, "why": str(error)})
            return None

    async def cleaned(self, clean_up: Sequence[Step], path: str, names: Names, work: Awaitable[Given]) -> Given:
        """Do the work, then the clean-up, however the work ended.

        Not where the experiment is another than its journal's: whoever looks decides what is right then.
        """
        try:
            given = await work
        except Exception as error:
            if clean_up and not isinstance(error, ExperimentChangedError):
                await self._clean(clean_up, path, names, error)
            raise
        if clean_up:
            await self._clean(clean_up, path, names, None)
        return given

    async def _clean(self, clean_up: Sequence[Step], path: str, names: Names, before: Exception | None) -> None:
        """Every clean-up step, also after one that failed; a failure counts where there was none before."""
        names, failures = names.new_child({}), []
        async with self.walk.cleaning():
            for each, step in zip(paths(clean_up, branch(path, CLEAN_UP)), clean_up, strict=True):
                try:
                    names.update(await self._step(step, each, names))
                except LabError as error:
                    if _ends_the_run(error):
                        raise
                    failures.append(error)
        if failures and before is None:
            raise failures[0]
        for failure in failures:
            logger.warning("a clean-up step failed", extra={"block": path, "why": str(failure)})


def _given(step: Step, answer: Any) -> Given:
    return {step.name: answer} if step.name is not None and has_result(step) else {}


def _ends_the_run(error: BaseException) -> bool:
    """It is no failure of a step: nothing may pass it over."""
    return not isinstance(error, LabError) or isinstance(error, AbortedError | ExperimentChangedError)


def _holds(condition: Condition, names: Names) -> bool:
    try:
        return holds(condition, lambda value: resolved(value, names))
    except CannotCompareError as error:
        where = next(comparisons(condition)).where
        raise refused(str(error), where, "compare numbers, or use `equals`") from error


def _seconds(step: Wait, names: Names) -> float:
    seconds = stand_in(resolved(step.seconds, names), 0.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise refused(f"{seconds!r:.60} is not a number of seconds", step.place or step.where, "give a number")
    return float(seconds)
