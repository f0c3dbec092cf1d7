"""What a run's events say, folded into one value: state, steps, saved rows. Pure; no file is read or written.

Every view of a record (the page of a run, the data frame, the manifest, the search index) is folded from the same
events, so after a crash nothing has to be repaired but the events. Values stay in stored form (see `codec`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Event = Mapping[str, Any]

ENDED = frozenset({"succeeded", "failed", "aborted"})
"""States after which nothing follows."""


@dataclass(frozen=True, slots=True)
class Step:
    """One durable unit of a run, as far as it came."""

    path: str
    instrument: str = ""
    action: str = ""
    parameters: Any = None
    invocation: str | None = None
    effect: str | None = None
    attempt: int = 1
    state: str = "running"
    """running, succeeded, failed, cancelled, interrupted"""
    result: Any = None
    """In stored form: arrays are references."""
    error: Any = None
    origin: str | None = None
    """answered (by the host), adopted (from its ledger after a crash) or entered (by a person)"""
    started: str | None = None
    ended: str | None = None
    settled: Mapping[str, Any] | None = None
    """A person's decision about it: choice, who, value, why."""


@dataclass(slots=True)
class History:
    """A run so far. Filled by `fold`; not changed afterwards."""

    run: str = ""
    name: str = ""
    state: str = "queued"
    who: str = ""
    submitted: str | None = None
    started: str | None = None
    ended: str | None = None
    error: Any = None
    questions: dict[str, Any] = field(default_factory=dict)
    """What a waiting run asks, by the path of the step, the oldest first: each of its branches may ask."""
    experiment: Mapping[str, Any] = field(default_factory=dict)
    parameters: Any = field(default_factory=dict)
    versions: Any = field(default_factory=dict)
    labels: Any = field(default_factory=list)
    edits: list[Mapping[str, Any]] = field(default_factory=list)
    """What people changed after the submission: who, when, what."""
    instruments: Mapping[str, Any] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """By the path of the step that saved it: a save that was repeated after a crash counts once."""
    last_number: int = 0

    @property
    def question(self) -> Any:
        """The oldest thing that it asks, else None."""
        return next(iter(self.questions.values()), None)

    def manifest(self) -> dict[str, Any]:
        """What run.json says of the run; the files' hashes are added at its end."""
        names = ("name", "state", "who", "submitted", "started", "ended", "error", "parameters", "versions")
        experiment = {key: value for key, value in self.experiment.items() if key != "source"}
        counts = {"events": self.last_number, "steps": len(self.steps), "rows": len(self.rows)}
        said = {"id": self.run} | {name: getattr(self, name) for name in (*names, "labels", "edits")}
        return said | {"experiment": experiment, "instruments": self.instruments, "counts": counts}


def fold(events: Iterable[Event]) -> History:
    """The state that `events` lead to; an event whose number was seen already is passed over."""
    history = History()
    for event in events:
        number = event.get("number")
        if not isinstance(number, int) or number <= history.last_number:
            continue
        history.last_number = number
        history.run = history.run or str(event.get("run", ""))
        if apply := _APPLY.get(str(event.get("kind"))):
            apply(history, event)
    return history


def _submitted(history: History, event: Event) -> None:
    history.name, history.who = str(event.get("name") or ""), str(event.get("who") or "")
    history.submitted = event.get("at")
    history.experiment, history.parameters = event.get("experiment") or {}, event.get("parameters") or {}
    history.versions = event.get("versions") or {}
    history.labels = event.get("labels") or []


def _edited(history: History, event: Event) -> None:
    said = event.get("changed")
    changed = said if isinstance(said, Mapping) else {}
    for name in ("name", "parameters", "experiment", "labels"):
        setattr(history, name, changed.get(name, getattr(history, name)))
    told = {name: value for name, value in changed.items() if name not in ("experiment", "instruments", "forecast")}
    history.edits.append({"at": event.get("at"), "who": event.get("who"), "changed": told})


def _started(history: History, event: Event) -> None:
    history.state, history.started = "running", history.started or event.get("at")
    history.instruments = event.get("instruments") or history.instruments


def _resumed(history: History, _: Event) -> None:
    history.state = "waiting" if history.questions else "running"


def _intended(history: History, event: Event) -> None:
    path = str(event.get("path"))
    history.steps[path] = Step(
        path,
        instrument=str(event.get("instrument") or ""),
        action=str(event.get("action") or ""),
        parameters=event.get("parameters"),
        invocation=event.get("invocation"),
        effect=event.get("effect"),
        attempt=event.get("attempt") or 1,
        started=event.get("at"),
    )
    if history.state == "waiting" and set(history.questions) <= {path, ""}:
        history.questions.clear()  # as journals of the first version say that a question is over
        _resumed(history, event)


def _ended(history: History, event: Event) -> None:
    step = history.steps.get(str(event.get("path"))) or Step(str(event.get("path")))
    ended = {key: event.get(key) for key in ("state", "result", "error", "origin")}
    times = {"started": event.get("started") or step.started, "ended": event.get("ended") or event.get("at")}
    history.steps[step.path] = _with(step, **ended, **times)


def _interrupted(history: History, event: Event) -> None:
    step = history.steps.get(str(event.get("path"))) or Step(str(event.get("path")))
    history.steps[step.path] = _with(step, state="interrupted", error=event.get("reason"), ended=event.get("at"))


def _waiting(history: History, event: Event) -> None:
    asked = event.get("question") or event.get("reason")
    history.state = "waiting"
    if asked is not None:
        history.questions[str(asked.get("path", "")) if isinstance(asked, Mapping) else ""] = asked


def _settled(history: History, event: Event) -> None:
    if history.questions.pop(str(event.get("path")), None) is None:
        history.questions.pop("", None)
    if event.get("choice") == "abort":
        history.questions.clear()
    _resumed(history, event)
    if step := history.steps.get(str(event.get("path"))):
        choice = {key: event.get(key) for key in ("choice", "who", "value", "why", "at")}
        history.steps[step.path] = _with(step, settled=choice)


def _saved(history: History, event: Event) -> None:
    history.rows[str(event.get("path") or event["number"])] = event.get("row") or {}


def _aborting(history: History, event: Event) -> None:
    history.questions.clear()
    _resumed(history, event)


def _paused(history: History, _: Event) -> None:
    history.state = "paused"


def _finished(history: History, event: Event) -> None:
    history.state, history.error, history.ended = str(event.get("state")), event.get("error"), event.get("at")
    history.questions.clear()


def _with(step: Step, **changes: Any) -> Step:
    # dataclasses.replace costs 5 µs a call, and a record of 100,000 events makes 100,000 of them
    kept = {name: getattr(step, name) for name in Step.__slots__}
    return Step(**(kept | changes))


_APPLY: dict[str, Callable[[History, Event], None]] = {
    "submitted": _submitted,
    "edited": _edited,
    "started": _started,
    "resumed": _resumed,
    "intended": _intended,
    "ended": _ended,
    "interrupted": _interrupted,
    "waiting": _waiting,
    "settled": _settled,
    "saved": _saved,
    "paused": _paused,
    "aborting": _aborting,
    "finished": _finished,
}
