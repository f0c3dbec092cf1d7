"""What people are told of where nobody looks at the page: which event is a notice, and in which words. Pure.

How a notice reaches them stands in `notifying`; who wants to hear of what, in lab.toml's `[notify]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labretto.catalog.live import Change
from labretto.instrument.reading import spoken
from labretto.lab import Occasion
from labretto.network.status import HUB_STOPPED
from labretto.orchestrator.journal import Event

_DOWN = frozenset({"crash loop", "stopped", "unreachable"})
_REMEMBERED = 10_000
_PASSING = frozenset({"starting", "restarting"})
"""What comes before an instrument is up or down; nobody is called for that."""


@dataclass(frozen=True)
class Notice:
    """One thing that somebody should know."""

    occasions: tuple[Occasion, ...]
    """Told to who wants to hear of one of them; the first is what it is called."""
    title: str
    text: str
    at: str
    """ISO 8601, UTC."""
    run: str | None = None
    instrument: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, without what is None."""
        words = {"occasion": self.occasions[0], "title": self.title, "text": self.text, "at": self.at}
        return words | {name: value for name in ("run", "instrument") if (value := getattr(self, name))}


def of_event(event: Event, name: str) -> Notice | None:
    """What an event of the journal means to people; `name` is the run's."""
    if event.kind == "waiting":
        question = event.body.get("question") or {}
        text = str(question.get("text") or event.body.get("reason") or "It asks something.")
        return Notice(("run waits",), f"{name} waits for a person", text, event.at, event.run)
    if event.kind != "finished":
        return None
    state = str(event.body["state"])
    error = event.body.get("error") or {}
    text = " ".join(str(part) for part in (error.get("detail"), error.get("way_out")) if part) or f"It {state}."
    occasions: tuple[Occasion, ...] = ("run failed", "run ended") if state == "failed" else ("run ended",)
    word = "was aborted" if state == "aborted" else state
    return Notice(occasions, f"{name} {word}", text, event.at, event.run)


class Known:
    """What was told of instruments and alarms, so that it is not told again as long as it stays so."""

    def __init__(self) -> None:
        self._down: set[str] = set()
        self._raised: dict[str, str] = {}
        """Alarm → when it was raised."""

    def of_change(self, change: Change) -> list[Notice]:
        """What a change means to people."""
        if change.topic == "instrument":
            return _some(self._of_instrument(change.body))
        if change.topic == "alarms":  # with those that were raised while no hub was there
            return [notice for alarm in change.body["alarms"] for notice in _some(self._of_alarm(alarm))]
        return [_of_reminder(change.body)] if change.topic == "reminder" else []

    def _of_instrument(self, status: Mapping[str, Any]) -> Notice | None:
        name, state, reason = str(status["name"]), status["state"], str(status.get("reason") or "")
        at = str(status.get("since") or "")
        if state in _PASSING or (state == "stopped" and reason == HUB_STOPPED):
            return None
        if state in _DOWN and name not in self._down:
            self._down.add(name)
            return Notice(("instrument down",), f"{name} is {state}", reason or "It says nothing.", at, None, name)
        if state not in _DOWN and name in self._down:
            self._down.discard(name)
            return Notice(("instrument up",), f"{name} answers again", "It is ready.", at, None, name)
        return None

    def _of_alarm(self, alarm: Mapping[str, Any]) -> Notice | None:
        """Of one that is raised; that it is over, or that somebody has seen it, is on the page."""
        if not alarm.get("active") or alarm.get("acknowledged") or not self._is_new(alarm):
            return None
        instrument, value = str(alarm["instrument"]), alarm["reading"]
        where = f"{instrument}.{alarm['attribute']}"
        read = " ".join(str(value[key]) for key in ("value", "unit") if value.get(key) is not None)
        text = f"{where} is {alarm['condition']}: {read}."
        return Notice(("alarm",), f"{alarm['severity']}: {where}", text, str(alarm["raised"]), None, instrument)

    def _is_new(self, alarm: Mapping[str, Any]) -> bool:
        """It is told again when it was over and is raised anew."""
        identity, raised = str(alarm["id"]), str(alarm["raised"])
        known, self._raised[identity] = self._raised.get(identity), raised
        if len(self._raised) > _REMEMBERED:
            del self._raised[next(iter(self._raised))]
        return known != raised


def _some(notice: Notice | None) -> list[Notice]:
    return [notice] if notice else []


def _spoken(due: str) -> str:
    """A time on the hub's clock; a date is one already."""
    return spoken(due) if "T" in due else due


def _of_reminder(task: Mapping[str, Any]) -> Notice:
    title = str(task.get("title") or "a task")
    said = str(task.get("description") or "")  # of a short question it is the title over again
    due = f"It is due {_spoken(str(task['due_date']))}." if task.get("due_date") else ""
    text = " ".join(part for part in (said if said != title else "", due) if part) or "It is still open."
    run = str(task["run"]) if task.get("run") else None
    return Notice(("reminder",), f"Still to be done: {title}", text, str(task.get("at") or ""), run)
