"""What was foreseen of a run, and what happened, side by side when it is over. Pure, from the events of its record.

Times count from the event *started*, as those of a forecast do. What a run took while people were asked is shown by
itself, since that is what a forecast knows least about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from labretto.experiment.estimate import Spread, spelled

Event = Mapping[str, Any]
Verdict = Literal["as foreseen", "shorter", "longer", "ended before its end", "not over", "nothing was foreseen"]


@dataclass
class Happened:
    """What a run did, in seconds after it started."""

    state: str = ""
    seconds: float | None = None
    """From *started* to *finished*; None: it never started, or is not over."""
    asked: float = 0.0
    """While at least one question was open."""
    instruments: dict[str, list[float]] = field(default_factory=dict)
    """Name → what each of its steps took."""
    people: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Path of a question → when it was asked, and how long the answer took."""


def happened(events: Iterable[Event]) -> Happened:
    """What the events of a run tell (flat form, in order)."""
    folded = _Fold()
    for event in events:
        folded.take(event)
    return folded.found


class _Fold:
    def __init__(self) -> None:
        self.found = Happened()
        self._started: datetime | None = None
        self._begun: dict[str, tuple[str, datetime]] = {}
        self._open: dict[str, datetime] = {}

    def take(self, event: Event) -> None:
        at, path = datetime.fromisoformat(event["at"]), str(event.get("path", ""))
        match event["kind"]:
            case "started":
                self._started = self._started or at
            case "intended":
                self._begun[path] = (str(event["instrument"]), at)
            case "ended" if path in self._begun:
                instrument, begun = self._begun.pop(path)
                self.found.instruments.setdefault(instrument, []).append((at - begun).total_seconds())
            case "waiting":
                self._ask(str(event["question"]["path"]), at)
            case "settled":
                self._settle(path, at)
            case "finished":
                self._finish(str(event["state"]), at)

    def _ask(self, path: str, at: datetime) -> None:
        self._open[path] = at
        self.found.people[path] = {"at": self._since_start(at), "answer": None}

    def _settle(self, path: str, at: datetime) -> None:
        asked = self._open.pop(path, None)
        if asked is not None:
            seconds = (at - asked).total_seconds()
            self.found.people[path]["answer"] = seconds
            # of questions that are open together the time counts once
            first = min(self._open.values(), default=at)
            self.found.asked += max(0.0, (min(first, at) - asked).total_seconds())

    def _finish(self, state: str, at: datetime) -> None:
        self.found.state, self.found.seconds = state, self._since_start(at)

    def _since_start(self, at: datetime) -> float | None:
        return None if self._started is None else (at - self._started).total_seconds()


def compare(forecast: Mapping[str, Any], events: Iterable[Event]) -> dict[str, Any]:
    """The forecast of a run (`Forecast.as_dict`) beside what happened."""
    found = happened(events)
    foreseen = Spread.from_dict(forecast["seconds"]) if forecast.get("seconds") else None
    verdict = _verdict(foreseen, found)
    used = forecast.get("instruments") or {}
    names = dict.fromkeys([*used, *found.instruments])
    return {
        "verdict": verdict,
        "sentence": _sentence(verdict, foreseen, found),
        "seconds": {"foreseen": forecast.get("seconds"), "happened": _rounded(found.seconds)},
        "waited_for_people": _rounded(found.asked),
        "instruments": {name: _instrument(used.get(name), found.instruments.get(name, ())) for name in names},
        "people": list(_people(forecast.get("people") or (), found)),
    }


def _verdict(foreseen: Spread | None, found: Happened) -> Verdict:
    if foreseen is None:
        return "nothing was foreseen"
    if not found.state:
        return "not over"
    if found.state != "succeeded" or found.seconds is None:
        return "ended before its end"
    if found.seconds < foreseen.p10:
        return "shorter"
    return "longer" if found.seconds > foreseen.p90 else "as foreseen"


def _sentence(verdict: Verdict, foreseen: Spread | None, found: Happened) -> str:
    took = "It never began" if found.seconds is None else f"It took {spelled(found.seconds)}"
    if not found.state:
        took = "It is not over"
    elif found.asked >= 1:
        took += f", {spelled(found.asked)} of it while people were asked"
    if foreseen is None:
        return f"{took}; nothing was foreseen."
    told = f"{spelled(foreseen.p10)} to {spelled(foreseen.p90)} were foreseen"
    return f"{took}; {told}, and it is {found.state}." if verdict == "ended before its end" else f"{took}; {told}."


def _instrument(foreseen: Mapping[str, Any] | None, took: Iterable[float]) -> dict[str, Any]:
    steps = list(took)
    happened = {"seconds": _rounded(sum(steps)), "steps": len(steps)}
    known = {word: foreseen[word] for word in ("seconds", "steps")} if foreseen else None
    return {"foreseen": known, "happened": happened}


def _people(foreseen: Iterable[Mapping[str, Any]], found: Happened) -> Iterable[dict[str, Any]]:
    told = {each["path"]: each for each in foreseen}
    for path in dict.fromkeys([*told, *found.people]):
        at = told[path]["at"] if path in told else None
        asked = found.people.get(path)
        told_text = {"text": told[path]["text"]} if path in told else {}
        happened = {word: _rounded(value) for word, value in asked.items()} if asked else None
        yield {"path": path, **told_text, "foreseen_at": at, "happened": happened}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
