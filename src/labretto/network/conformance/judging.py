"""What a check is and what it finds: a sentence of the contract, and whether it holds here.

A check is a coroutine function that returns if its sentence holds, raises `Failed` if it does not, and
`NotApplicable` where it has nothing to say. Nothing is asked here.
"""

from __future__ import annotations

import reprlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from labretto.network.conformance.candidate import Candidate

Verdict = Literal["passed", "failed", "not applicable"]


class Failed(Exception):  # noqa: N818 - a finding about somebody else's host, no error of this program
    """The sentence does not hold.

    Args:
        asked: what was sent, as a person would say it.
        expected: what the contract promises.
        came: what was answered instead.
    """

    def __init__(self, asked: str, expected: str, came: Any) -> None:
        super().__init__(asked, expected, came)
        self.asked = asked
        self.expected = expected
        self.came = came if isinstance(came, str) else _SHORT.repr(came)


class NotApplicable(Exception):  # noqa: N818 - see Failed
    """The sentence says nothing about this host; the text says why."""


@dataclass(frozen=True)
class Check:
    """One sentence of the contract."""

    sentence: str
    body: Callable[[Candidate], Awaitable[None]]
    needs: tuple[str, ...] = ()
    """Roles (`labretto.network.conformance.candidate.ROLES`) that an action has to play."""
    wire: str = ""
    """Scheme of the address that it is about; "": every wire."""


class Checks:
    """The checks of one module, in the order in which they are written."""

    def __init__(self) -> None:
        self._all: list[Check] = []

    def __iter__(self) -> Iterator[Check]:
        return iter(self._all)

    def add(
        self, sentence: str, *needs: str, wire: str = ""
    ) -> Callable[[Callable[[Candidate], Awaitable[None]]], Callable[[Candidate], Awaitable[None]]]:
        """Decorator: the function checks `sentence`, with actions in the roles that it `needs`."""

        def note(body: Callable[[Candidate], Awaitable[None]]) -> Callable[[Candidate], Awaitable[None]]:
            self._all.append(Check(sentence, body, needs, wire))
            return body

        return note


@dataclass(frozen=True)
class Finding:
    """What became of one check."""

    sentence: str
    verdict: Verdict
    why: str = ""
    """Why it is not applicable."""
    asked: str = ""
    expected: str = ""
    came: str = ""

    def as_dict(self) -> dict[str, str]:
        """The JSON form; empty fields are left out."""
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class Report:
    """What was found about one host."""

    address: str
    instrument: str
    driver: str
    findings: tuple[Finding, ...]

    def count(self, verdict: Verdict) -> int:
        """How many checks ended so."""
        return sum(finding.verdict == verdict for finding in self.findings)

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return self.count("failed") == 0

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        counts = {verdict: self.count(verdict) for verdict in ("passed", "failed", "not applicable")}
        told = {name: getattr(self, name) for name in ("address", "instrument", "driver")}
        return told | counts | {"findings": [finding.as_dict() for finding in self.findings]}


def expect(holds: bool, asked: str, expected: str, came: Any) -> None:
    """Raises `Failed` unless `holds`."""
    if not holds:
        raise Failed(asked, expected, came)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 400
_SHORT.maxdict = _SHORT.maxlist = 20
_SHORT.maxlevel = 4
