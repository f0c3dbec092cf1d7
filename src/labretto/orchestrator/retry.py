"""Whether a step that failed is tried again, and when. Pure: a function of its error, its effect and its policy.

Only failures that somebody reported are tried again: a driver's, or a host's that could not do it now. What was refused
because it was wrong will be wrong again. What may have happened in part is repeated by nobody but a person, whatever
the policy says; what an interruption means is decided in `engine.settle`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.errors import (
    CancelledError,
    FailedError,
    InterruptedActionError,
    InvalidError,
    LimitError,
    TimedOutError,
    from_problem,
)
from labretto.experiment.policy import Retry
from labretto.instrument.invocation import HARMLESS

_IN_PART = (TimedOutError, CancelledError, InterruptedActionError)
"""It began, and was cut off."""
_UNKNOWN = FailedError("").problem()["type"]
"""Nobody has reported what became of it: what answered was no instrument."""


def next_attempt(error: Mapping[str, Any], effect: str, failures: int, retry: Retry | None) -> float | None:
    """Seconds to wait after a failure before the next attempt; None to give up.

    Args:
        error: problem details of the last failure.
        effect: of the action.
        failures: how many attempts have failed.
        retry: the policy; None: once is all.
    """
    if retry is None or failures >= retry.attempts:
        return None
    found = from_problem(dict(error))
    if isinstance(found, InvalidError) and not isinstance(found, LimitError):
        return None
    if error.get("type") == _UNKNOWN and effect not in HARMLESS:
        return None
    if isinstance(found, _IN_PART) and (effect not in HARMLESS or not found.fields.get("over", True)):
        return None
    return min(retry.first * retry.factor ** (failures - 1), retry.longest)
