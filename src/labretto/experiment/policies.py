"""`retry`, `timeout` and `on failure` of a step, read into `policy`."""

from __future__ import annotations

from typing import Literal, cast

from labretto.experiment.document import Node
from labretto.experiment.faults import Faults
from labretto.experiment.policy import PLAIN, OnFailure, Policy, Retry
from labretto.experiment.words import duration_of, kind, mapping_of, number, one_of, refuse_unknown, whole_number

WORDS = ("retry", "timeout", "on failure")
MOST_ATTEMPTS = 1000
_RETRY_WORDS = ("attempts", "first", "factor", "longest")
_WAY_OUT = "write for instance `retry: 3` or `retry: {attempts: 3, first: 1 s, factor: 2, longest: 1 min}`"


def policy_of(node: Node, path: str, faults: Faults) -> Policy:
    """How the step at a node is done."""
    words = mapping_of(node)
    if not any(word in words for word in WORDS):
        return PLAIN
    failure = one_of(node, "on failure", ("fail", "ask", "go on"), path, faults)
    timeout = duration_of(node, "timeout", path, faults)
    retry = _retry(words["retry"], f"{path}.retry", faults) if "retry" in words else None
    return Policy(retry, timeout, cast("OnFailure", failure or "fail"))


def failure_of(node: Node, path: str, faults: Faults) -> Literal["fail", "go on"]:
    """What the failure of a block means."""
    return cast("Literal['fail', 'go on']", one_of(node, "on failure", ("fail", "go on"), path, faults) or "fail")


def _retry(node: Node, path: str, faults: Faults) -> Retry:
    attempts = node if not isinstance(node.value, dict) else node.value.get("attempts")
    refuse_unknown(node, _RETRY_WORDS, "`retry`", path, faults)
    wanted = whole_number(attempts, 1, MOST_ATTEMPTS) if attempts is not None else Retry.attempts
    if wanted is None:
        here = kind(attempts) if attempts is not None else "nothing"
        said = f"`retry` wants a whole number of attempts from 1 to {MOST_ATTEMPTS}; here is {here}"
        faults.add(said, attempts.where if attempts is not None else node.where, path, _WAY_OUT)
    first, longest = (duration_of(node, word, path, faults) for word in ("first", "longest"))
    return Retry(
        wanted or Retry.attempts,
        Retry.first if first is None else first,
        _factor(node, path, faults),
        max(Retry.longest, first or 0.0) if longest is None else longest,
    )


def _factor(node: Node, path: str, faults: Faults) -> float:
    given = mapping_of(node).get("factor")
    if given is None:
        return Retry.factor
    found = number(given, 1, 100)
    if found is None:
        faults.add(f"`factor` is a number from 1 to 100; here is {kind(given)}", given.where, f"{path}.factor")
    return Retry.factor if found is None else found
