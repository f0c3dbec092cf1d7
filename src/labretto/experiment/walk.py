"""What an experiment needs done: the protocol between the walk of a file and whoever does its steps.

`follow` decides which step comes next and with which values; a `Walk` does it: it may journal and send, answer from
what a journal remembers, or only estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from labretto.errors import LabError
from labretto.experiment.policy import PLAIN, Policy
from labretto.experiment.question import Question


class AbortedError(LabError):
    """A person ended the run."""


class Walk(Protocol):
    """Does the steps.

    Each gets its path, its identity across crashes; each answers the value that `${name}` stands for afterwards.
    Steps of parallel branches are asked for at the same time, each from a task of its own.
    """

    async def call(
        self, path: str, instrument: str, action: str, parameters: Mapping[str, Any], *, policy: Policy = PLAIN
    ) -> Any: ...

    async def read(self, path: str, instrument: str, attribute: str, *, policy: Policy = PLAIN) -> Any: ...

    async def write(self, path: str, instrument: str, attribute: str, value: Any, *, policy: Policy = PLAIN) -> Any: ...

    async def save(self, path: str, row: Mapping[str, Any]) -> None: ...

    async def ask(self, path: str, question: Question) -> Any:
        """The answer of a person, which fits the question's schema."""

    async def sleep(self, path: str, seconds: float) -> None:
        """Return so many seconds after it was first asked for, however often the run was cut off meanwhile."""

    def cleaning(self) -> AbstractAsyncContextManager[None]:
        """The block in which clean-up steps are done: an abort that was asked for before does not stop them."""
