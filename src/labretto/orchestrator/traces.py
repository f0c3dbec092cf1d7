"""Runs as traces: from the events of the journal to spans. Pure; nothing of OpenTelemetry is needed here.

    run (its id is the trace's id)  →  queued, and a span for each attempt of a step

Ids are not drawn but follow: a run's id is 128 bits and is the trace's id, the last 64 bits of an invocation's id are
its span's. So whoever sees an invocation (a host, a driver's log) can name its span without being told, and a hub that
goes on with a run after a crash goes on with its trace.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labretto.orchestrator.engine import READ, WRITE
from labretto.orchestrator.journal import Event

_LAST_64 = 2**64 - 1
_TELLING = frozenset(
    {"waiting", "settled", "paused", "resumed", "pausing", "resuming", "aborting", "sleeping", "saved"}
)
"""What a run's span says happened in it."""


@dataclass(frozen=True)
class Span:
    """Something that took its time."""

    name: str
    trace: int
    span: int
    parent: int | None
    begin: datetime
    end: datetime
    attributes: Mapping[str, str | int | float]
    error: str | None = None
    """Why it failed."""
    told: tuple[tuple[str, datetime, Mapping[str, str]], ...] = ()
    """What happened meanwhile: name, time, attributes."""


def trace_of(run: str) -> int:
    """The id of a run's trace."""
    return _bits(run)


def span_of(identity: str) -> int:
    """The id of the span of a run or an invocation."""
    return (_bits(identity) & _LAST_64) or 1


def traceparent(run: str, invocation: str) -> str:
    """What stands in a W3C `traceparent` header of whatever an invocation causes."""
    return f"00-{trace_of(run):032x}-{span_of(invocation):016x}-01"


def _bits(identity: str) -> int:
    try:
        return uuid.UUID(identity).int
    except ValueError:  # of a journal that somebody else has written
        return uuid.uuid5(uuid.NAMESPACE_OID, identity).int


@dataclass
class _Open:
    """A run whose end has not been seen."""

    submitted: Event
    begun: dict[str, Event] = field(default_factory=dict)
    told: list[tuple[str, datetime, Mapping[str, str]]] = field(default_factory=list)


class Traces:
    """Folds events of all runs into spans, each told when it is over."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def knows(self, run: str) -> bool:
        """Whether the beginning of a run was seen."""
        return run in self._open

    def remember(self, events: Iterable[Event]) -> None:
        """Fold what is over already: of a run that began before this process."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> list[Span]:
        """The spans that end with this event."""
        if event.kind == "submitted":
            self._open[event.run] = _Open(event)
            return []
        if (run := self._open.get(event.run)) is None:
            return []
        if event.kind == "intended":
            run.begun[event.body["path"]] = event
        elif event.kind in ("ended", "interrupted"):
            return _step(event, run.begun.pop(event.body["path"], None))
        elif event.kind == "started":
            return [_queued(run.submitted, event)]
        elif event.kind == "finished":
            del self._open[event.run]
            return [_run(run, event)]
        elif event.kind in _TELLING:
            run.told.append((event.kind, _time(event.at), _words(event.body, ("reason", "path", "choice", "who"))))
        return []


def _queued(submitted: Event, started: Event) -> Span:
    span = (span_of(submitted.run) ^ _LAST_64) or 1  # another one of this trace
    return _span("queued", started, submitted.at, started.at, {}, span=span)


def _step(event: Event, begun: Event | None) -> list[Span]:
    if begun is None:  # a person said what came of it
        return []
    asked, ended = begun.body, event.body
    action = str(asked["action"])
    word = action.removeprefix(READ).removeprefix(WRITE)
    attributes = {"labretto.step": asked["path"], "labretto.instrument": asked["instrument"], "labretto.action": action}
    attributes |= {"labretto.effect": asked["effect"], "labretto.attempt": asked["attempt"]}
    outcome = "interrupted" if event.kind == "interrupted" else str(ended["state"])
    attributes |= {"labretto.outcome": outcome, "labretto.invocation": asked["invocation"]}
    attributes |= _words(ended, ("origin",), "labretto.")
    error = None if outcome in ("succeeded", "skipped") else _why(ended) or outcome
    end, identity = str(ended.get("ended") or event.at), str(asked["invocation"])
    name = f"{asked['instrument']}.{word}"
    return [_span(name, event, begun.at, end, attributes, span=span_of(identity), error=error)]


def _run(run: _Open, finished: Event) -> Span:
    said, experiment = run.submitted.body, run.submitted.body.get("experiment") or {}
    state = str(finished.body["state"])
    attributes: dict[str, str | int | float] = {"labretto.run": finished.run, "labretto.state": state}
    attributes |= _words(said, ("who", "name"), "labretto.") | _words(experiment, ("hash", "format"), "labretto.")
    error = None if state == "succeeded" else _why(finished.body) or state
    root = span_of(finished.run)
    span = _span(str(said["name"]), finished, run.submitted.at, finished.at, attributes, span=root, error=error)
    return Span(
        **{name: getattr(span, name) for name in Span.__dataclass_fields__} | {"parent": None, "told": tuple(run.told)}
    )


def _span(
    name: str, event: Event, begin: str, end: str, attributes: Mapping[str, Any], *, span: int, error: str | None = None
) -> Span:
    first, last = _time(begin), _time(end)
    trace, parent = trace_of(event.run), span_of(event.run)
    return Span(name, trace, span, parent, first, max(first, last), dict(attributes), error)


def _why(body: Mapping[str, Any]) -> str | None:
    error = body.get("error")
    return str(error["detail"]) if isinstance(error, Mapping) and error.get("detail") else body.get("reason")


def _words(body: Mapping[str, Any], names: Iterable[str], before: str = "") -> dict[str, str]:
    return {f"{before}{name}": str(body[name])[:1000] for name in names if body.get(name) is not None}


def _time(at: str) -> datetime:
    return datetime.fromisoformat(at)
