"""How a step is done where doing it once may not be enough: again after a failure, until when, and what then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

OnFailure: TypeAlias = Literal["fail", "ask", "go on"]
"""What the failure of a step means: the end of the run, a question to a person, or nothing."""


@dataclass(frozen=True)
class Retry:
    """Again after a failure, with longer and longer pauses."""

    attempts: int = 3
    """In all, the first one included."""
    first: float = 1.0
    """Seconds before the second attempt."""
    factor: float = 2.0
    """Each further pause is so many times the one before."""
    longest: float = 60.0
    """Seconds; no pause is longer."""


@dataclass(frozen=True)
class Policy:
    """How one step is done."""

    retry: Retry | None = None
    timeout: float | None = None
    """Seconds after which what runs is asked to end and the step has failed; for each attempt."""
    on_failure: OnFailure = "fail"
    """After the last attempt. A step whose failure is passed over (`go on`) answers None."""


PLAIN = Policy()
"""Once, however long it takes; a failure ends the run."""
