"""Where in a Python experiment a step stands: its path through branches and names, whichever branch is faster.

Every task of the experiment is a branch: its steps are named within it, and it is named after the branch that began it
and how many that one had begun before (`task~2/stage.move`). So a step is found again after a crash by what the program
says, not by when it happened to arrive; an engine that counts arrivals mixes up the results of parallel branches.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary


@dataclass
class Branch:
    """One branch of an experiment."""

    prefix: str = ""
    """What the paths of its steps begin with."""
    told: bool = False
    """It knows that a person ended the run; what it still does is clean-up."""
    spared: bool = False
    """A cancellation that comes now tells it only what it knows already."""
    _seen: Counter[str] = field(default_factory=Counter)

    def path(self, name: str) -> str:
        """The path of its next step of this name: the second gets `~2`."""
        self._seen[name] += 1
        return f"{self.prefix}{name}" if self._seen[name] == 1 else f"{self.prefix}{name}~{self._seen[name]}"


class Branches:
    """The branches of one experiment; `make_task` is its loop's task factory."""

    def __init__(self) -> None:
        self._root = Branch()
        self._of: WeakKeyDictionary[asyncio.Task[Any], Branch] = WeakKeyDictionary()

    @property
    def current(self) -> Branch:
        """The branch of whoever calls; outside every task, as in a thread of the experiment's own, the first one."""
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop runs here
            task = None
        return self._root if task is None else self._of.get(task, self._root)

    def make_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **more: Any
    ) -> asyncio.Task[Any]:
        """A task as a branch of the one that makes it, be it by `gather`, `TaskGroup` or `create_task`."""
        task = asyncio.Task(work, loop=loop, **more)
        self._of[task] = self._begun("task")
        return task

    def begin(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task that is the branch `name` of the present one."""
        loop = asyncio.get_running_loop()
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop)
        parent = self.current
        self._of[task] = Branch(f"{name}/", parent.told)
        return task

    def root(self, task: asyncio.Task[Any]) -> None:
        """Let a task be the first branch, whose steps have no prefix."""
        self._of[task] = self._root

    def _begun(self, name: str) -> Branch:
        parent = self.current
        return Branch(f"{parent.path(name)}/", parent.told)
