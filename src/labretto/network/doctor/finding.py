"""What was looked at, how it is, and the way out; all that a check answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from labretto.errors import InvalidError, LabError

State = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """What was looked at, such as "furnace.driver"."""
    state: State
    """fault: it will not work, or data may be lost; note: it works, and somebody should know this."""
    detail: str
    """One sentence, with the value that stands out."""
    way_out: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def ok(subject: str, detail: str) -> Finding:
    """Nothing is wrong with it."""
    return Finding(subject, "ok", detail)


def note(subject: str, detail: str, way_out: str = "") -> Finding:
    """It works, and somebody should know this."""
    return Finding(subject, "note", detail, way_out)


def fault(subject: str, detail: str, way_out: str = "") -> Finding:
    """It will not work, or data may be lost."""
    return Finding(subject, "fault", detail, way_out)


def faults_of(subject: str, error: LabError) -> Iterator[Finding]:
    """What an error says; one finding for each fault that it lists."""
    listed = error.faults if isinstance(error, InvalidError) else []
    for each in listed:
        place = f"line {each['line']}: " if each.get("line") else ""
        yield fault(subject, f"{place}{each.get('detail', '')}", str(each.get("way_out") or error.way_out))
    if not listed:
        yield fault(subject, error.detail, error.way_out)


def problem_faults(subject: str, problem: Mapping[str, Any]) -> Iterator[Finding]:
    """The same for an error that came as a problem from another process."""
    listed = [each for each in problem.get("faults") or () if isinstance(each, Mapping)]
    for each in listed or [problem]:
        yield fault(subject, str(each.get("detail", "")), str(each.get("way_out") or problem.get("way_out") or ""))
