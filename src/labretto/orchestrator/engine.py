"""The engine decides; it does nothing. From the events of a run: what was done, and what to do about the next step.

Pure: no clock, no socket, no disk. `RunState.apply` folds one event into the state, `next_step` says what a step that
the experiment asks for means now (answer it from memory, send it, ask the host about it), `settle` says what the host's
answer means. The worker does what they say and appends what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from labretto.errors import ExperimentChangedError, LabError
from labretto.experiment.policy import PLAIN, Policy
from labretto.instrument import codec
from labretto.instrument.checks import Checked
from labretto.instrument.invocation import HARMLESS, Invocation
from labretto.orchestrator.retry import next_attempt

RunWord = Literal["queued", "running", "waiting", "paused", "succeeded", "failed", "aborted"]
"""queued: not begun. waiting: for a person, says why. The last three are ends."""

OVER = frozenset({"succeeded", "failed", "aborted"})
_THROUGH = frozenset({"succeeded", "failed", "skipped"})
"""Words of a step that the experiment goes on from."""

CHOICES: Mapping[str, str] = {
    "happened": "It happened: go on with the value given.",
    "repeat": "It did not happen: do it again.",
    "undone": "It was undone by hand: do it again.",
    "skip": "Go on without it; its result is empty.",
    "abort": "End the run here.",
}
"""What a person may answer about a step whose outcome no machine knows."""

FAILED_CHOICES: Mapping[str, str] = {
    "repeat": "Do it again.",
    "skip": "Go on without it; its result is empty.",
    "happened": "It is done all the same: go on with the value given.",
    "fail": "Let the run fail.",
    "abort": "End the run here.",
}
"""What a person may answer about a step that failed, where its policy is to ask."""

READ = "attribute:get "
WRITE = "attribute:set "
"""What the action of a step begins with that reads or sets an attribute."""

LATE = "late"
"""The choice that stands in the journal where nobody answered in time and the question says that this is a failure."""


def state_after(kind: str, body: Mapping[str, Any], *, asks: str | None = None) -> str | None:
    """The run's word after an event; None if the event does not change it.

    Args:
        kind, body: of the event.
        asks: what the run still asks after it; it waits as long as anything is open.
    """
    if kind == "finished":
        return str(body["state"])
    if kind in ("started", "resumed", "settled"):
        return "running" if asks is None else "waiting"
    return {"submitted": "queued", "waiting": "waiting", "paused": "paused", "aborting": "running"}.get(kind)


@dataclass(slots=True)
class Step:
    """What is known of one step of a run."""

    path: str
    instrument: str
    action: str
    parameters: bytes
    """As asked for, in sorted msgpack, to compare with."""
    effect: str
    invocation: str
    attempt: int = 1
    state: str = "intended"
    """intended, succeeded, failed, cancelled, interrupted, skipped."""
    result: Any = None
    """Stored form: arrays are references into the record."""
    error: Mapping[str, Any] | None = None
    settled: str | None = None
    """A person's choice about an interruption, until it is acted on."""
    entered: Any = None
    """The value that came with the choice."""
    at: str = ""
    """When the intent of this attempt was written."""
    ended: str = ""
    """When its end was written."""
    told: tuple[str | None, str | None, str | None] = (None, None, None)
    """Where its outcome came from, and when it was done by the clock of its host: origin, started, ended."""
    failures: int = 0
    """How many attempts failed."""
    reason: str | None = None
    """Why a person is asked what became of it, in sentences."""
    ledger: str | None = None
    """Birth id of the ledger that its host had before it was sent; None if that was not known."""


@dataclass
class RunState:
    """A run as its events tell it. Fold them in with `apply`, in order."""

    id: str
    name: str = ""
    word: str = "queued"
    reason: str | None = None
    number: int = 0
    """Number of the last event."""
    experiment: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    who: str | None = None
    submitted: str | None = None
    started: str | None = None
    ended: str | None = None
    steps: dict[str, Step] = field(default_factory=dict)
    done: int = 0
    """Steps and saves that are over, for a progress bar."""
    saved: set[str] = field(default_factory=set)
    questions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What people are asked now, by path, the oldest first: each branch of a run may ask."""
    answers: dict[str, Any] = field(default_factory=dict)
    """What people answered to `ask` steps, by path."""
    late: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Questions that nobody answered in time and that end with that, by path: what is told of it."""
    branched: bool = False
    """Something was done while something was asked: branches of it go on when it is taken up again."""
    pausing: bool = False
    """A person asked it to stand still before its next step."""
    aborting: bool = False
    """A person asked for its end; clean-up steps are still done."""
    aborted: str | None = None
    """When that was."""
    at_once: bool = False
    """A person asked for its end a second time, while it cleaned up: no further step is done."""
    needs: set[str] = field(default_factory=set)
    """Instruments that it named, or acted on."""
    acted: bool = False
    """Something was done in the lab, by it or by a person whom it asked."""
    wakes: dict[str, str] = field(default_factory=dict)
    """When each `sleep` is over, by path."""
    slept: set[str] = field(default_factory=set)
    """Those that are over."""
    error: Mapping[str, Any] | None = None

    @classmethod
    def replay(cls, identity: str, events: Iterable[Mapping[str, Any]]) -> RunState:
        """The state after all of `events` (flat form)."""
        state = cls(identity)
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Mapping[str, Any]) -> None:
        """Fold one event (flat form) into the state."""
        kind = event["kind"]
        self.number = event["number"]
        self.branched = self.branched or (kind in _DOING and self.question is not None)
        if fold := _FOLDS.get(kind):
            fold(self, event)
        asks = self.question["reason"] if self.question else None
        if word := state_after(kind, event, asks=asks):
            self.word, self.reason = word, asks if word == "waiting" else event.get("reason")

    @property
    def question(self) -> Mapping[str, Any] | None:
        """The oldest question that is open."""
        return next(iter(self.questions.values()), None)


def _submitted(state: RunState, event: Mapping[str, Any]) -> None:
    state.name = event["name"]
    state.experiment = event["experiment"]
    state.parameters = event["parameters"]
    state.who, state.submitted = event.get("who"), event["at"]
    state.needs |= set(event.get("instruments") or ())


def _edited(state: RunState, event: Mapping[str, Any]) -> None:
    changed = event["changed"]
    state.name = changed.get("name", state.name)
    state.parameters = changed.get("parameters", state.parameters)
    state.experiment = changed.get("experiment", state.experiment)


def _started(state: RunState, event: Mapping[str, Any]) -> None:
    state.started = event["at"]


def _intended(state: RunState, event: Mapping[str, Any]) -> None:
    words = {name: event[name] for name in ("path", "instrument", "action", "effect", "invocation", "attempt", "at")}
    words["ledger"] = event.get("ledger")
    before = state.steps.get(event["path"])
    if before is not None:
        words["failures"] = before.failures
        state.done -= before.state in _THROUGH  # it is done again
    state.steps[event["path"]] = Step(parameters=codec.encode_sorted(event["parameters"]), **words)
    if not event["action"].startswith(READ):
        state.needs.add(event["instrument"])
        state.acted = True


def _ended(state: RunState, event: Mapping[str, Any]) -> None:
    step = state.steps[event["path"]]
    state.done += (event["state"] in _THROUGH) - (step.state in _THROUGH)
    step.state, step.result, step.error, step.settled = event["state"], event["result"], event["error"], None
    step.ended = event["at"]
    step.told = (event.get("origin"), event.get("started"), event.get("ended"))
    step.failures += step.state == "failed"


def _interrupted(state: RunState, event: Mapping[str, Any]) -> None:
    step = state.steps[event["path"]]
    step.state, step.reason = "interrupted", event.get("reason")


def _waiting(state: RunState, event: Mapping[str, Any]) -> None:
    question = event["question"]
    state.branched = state.branched or any(step.state == "intended" for step in state.steps.values())
    state.questions[question["path"]] = {**question, "reason": event["reason"], "number": event["number"]}


def _settled(state: RunState, event: Mapping[str, Any]) -> None:
    asked = state.questions.pop(event["path"], {})
    choice = event["choice"]
    if choice == "abort":
        _aborting(state, event)
    elif choice == LATE:
        state.late[event["path"]] = {"text": asked.get("text", ""), "at": event["at"]}
    elif asked.get("kind") == "ask":
        state.answers[event["path"]] = event["value"] if choice == "answer" else choice
        state.done += 1
        state.acted = True
    else:
        step = state.steps[event["path"]]
        step.settled, step.entered = choice, event["value"]


def _pausing(state: RunState, event: Mapping[str, Any]) -> None:
    state.pausing = True


def _resuming(state: RunState, event: Mapping[str, Any]) -> None:
    state.pausing = False


def _aborting(state: RunState, event: Mapping[str, Any]) -> None:
    state.aborted = state.aborted or event["at"]
    state.aborting, state.at_once = True, state.at_once or bool(event.get("at_once"))
    state.questions.clear()  # what is still open is of no use any more; clean-up steps may ask anew


def _leased(state: RunState, event: Mapping[str, Any]) -> None:
    state.needs |= set(event["instruments"])


def _sleeping(state: RunState, event: Mapping[str, Any]) -> None:
    state.wakes[event["path"]] = event["until"]


def _slept(state: RunState, event: Mapping[str, Any]) -> None:
    state.slept.add(event["path"])
    state.done += 1


def _saved(state: RunState, event: Mapping[str, Any]) -> None:
    state.saved.add(event["path"])
    state.done += 1


def _finished(state: RunState, event: Mapping[str, Any]) -> None:
    state.error, state.ended = event["error"], event["at"]
    state.questions.clear()


_DOING = frozenset({"intended", "ended", "saved", "sleeping", "slept", "waiting"})
"""Kinds of events that a branch writes."""

_FOLDS = {
    "submitted": _submitted,
    "edited": _edited,
    "started": _started,
    "intended": _intended,
    "ended": _ended,
    "interrupted": _interrupted,
    "waiting": _waiting,
    "settled": _settled,
    "pausing": _pausing,
    "resuming": _resuming,
    "aborting": _aborting,
    "leased": _leased,
    "sleeping": _sleeping,
    "slept": _slept,
    "saved": _saved,
    "finished": _finished,
}


@dataclass(frozen=True)
class Ask:
    """What the experiment asks for next."""

    path: str
    instrument: str
    action: str
    parameters: Mapping[str, Any]
    effect: str
    schema: Mapping[str, Any] | None = None
    """JSON schema of what it answers, with units."""
    stream: Mapping[str, Any] | None = None
    """Columns of the rows that it yields while it runs; None if it yields none."""
    policy: Policy = PLAIN
    """What is done where doing it once is not enough."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The instruments that it acts on; to read needs none."""
        return () if self.action.startswith(READ) else (self.instrument,)

    @property
    def spelled(self) -> str:
        """For people: `stage.move(x=1)`."""
        return _spelled(self.instrument, self.action, self.parameters)


def _spelled(instrument: str, action: str, parameters: Mapping[str, Any]) -> str:
    inner = ", ".join(f"{name}={value!r}"[:60] for name, value in parameters.items())
    return f"{instrument}.{action}({inner})"


@dataclass(frozen=True)
class Answer:
    """The step ended before: hand its outcome to the experiment."""

    step: Step


@dataclass(frozen=True)
class Send:
    """Write the intent, then send it with a new invocation id."""

    attempt: int


@dataclass(frozen=True)
class Inquire:
    """The intent is written, the end is not: ask the host what became of it."""

    step: Step


@dataclass(frozen=True)
class Wait:
    """Nobody but a person can say what happened, or what is to be done; `reason` is one sentence."""

    step: Step
    reason: str
    choices: Mapping[str, str] = field(default_factory=lambda: CHOICES)


@dataclass(frozen=True)
class Again:
    """It failed, and its policy says to try again so many seconds after its end."""

    step: Step
    seconds: float


@dataclass(frozen=True)
class Enter:
    """A person said that it happened (or is to be skipped): the end is written with their value."""

    step: Step
    state: Literal["succeeded", "skipped"]


Command = Answer | Send | Again | Inquire | Wait | Enter


def next_step(state: RunState, ask: Ask) -> Command:
    """What to do about a step that the experiment asks for.

    Raises:
        ExperimentChangedError: the journal has another step at this path; names both.
    """
    step = state.steps.get(ask.path)
    if step is None:
        return Send(attempt=1)
    _same(state, step, ask)
    if step.settled is not None:
        return _after_choice(step)
    if step.state == "intended":
        return Inquire(step)
    if step.state == "interrupted":
        return Wait(step, step.reason or f"{ask.spelled} was interrupted: it began, its end was not seen.")
    if step.state == "cancelled":
        return Wait(step, f"{ask.spelled} was stopped before its end.")
    return _after_failure(step, ask) if step.state == "failed" else Answer(step)


def _after_failure(step: Step, ask: Ask) -> Command:
    error = step.error or {}
    pause = next_attempt(error, step.effect, step.failures, ask.policy.retry)
    if pause is not None:
        return Again(step, pause)
    if ask.policy.on_failure == "ask":
        return Wait(step, f"{ask.spelled} failed: {error.get('detail') or 'no reason was told.'}", FAILED_CHOICES)
    return Answer(step)


def _after_choice(step: Step) -> Command:
    if step.settled in ("repeat", "undone"):
        return Send(step.attempt + 1)
    if step.settled == "fail":
        return Answer(step)
    return Enter(step, "skipped" if step.settled == "skip" else "succeeded")


def _same(state: RunState, step: Step, ask: Ask) -> None:
    asked = codec.encode_sorted(dict(ask.parameters))
    if (step.instrument, step.action, step.parameters) != (ask.instrument, ask.action, asked):
        before = Ask(step.path, step.instrument, step.action, codec.decode(step.parameters), step.effect)
        raise ExperimentChangedError(
            f"Run {state.id}, step {ask.path}: the journal has {before.spelled}, the experiment asks {ask.spelled}.",
            way_out="Submit the changed experiment as a new run; this one can only go on as it was written.",
        )


@dataclass(frozen=True)
class Adopt:
    """It ended while nobody listened: take its outcome over."""

    invocation: Invocation


@dataclass(frozen=True)
class Resend:
    """It never arrived, or it runs: send the same id again, and wait for the end."""

    origin: Literal["answered", "adopted"]


@dataclass(frozen=True)
class Repeat:
    """It was interrupted, and to do it again is harmless: write a new attempt."""

    reason: str


@dataclass(frozen=True)
class LookWhether:
    """It was interrupted, and its driver can look whether it happened."""

    invocation: Invocation
    reason: str


@dataclass(frozen=True)
class AskPerson:
    """It was interrupted, or nobody knows: only a person may decide."""

    reason: str


def settle(
    step: Step, found: Invocation, ledger: str | None = None
) -> Adopt | Resend | Repeat | LookWhether | AskPerson:
    """What the host's answer about a step in flight means; never repeats what may have happened.

    Args:
        found: what the host that stands there now knows of it.
        ledger: birth id of the ledger from which it knows that; None if that is not known.
    """
    another = ledger is not None and step.ledger is not None and ledger != step.ledger
    if found.state == "not arrived" and not another:
        return Resend("answered")
    if found.state == "running":
        return Resend("adopted")
    if found.state not in ("interrupted", "cannot tell", "not arrived"):
        return Adopt(found)
    asked = _spelled(step.instrument, step.action, codec.decode(step.parameters))
    if found.state == "interrupted":
        why = f"{asked} began and its end was not seen"
    else:
        cause = "another than the one it had when this was sent" if another else "younger than the request"
        why = f"{step.instrument} cannot tell whether {asked} happened: its ledger is {cause}"
    if step.effect in HARMLESS:
        return Repeat(f"{why}; repeating it is harmless ({step.effect}).")
    if step.effect == "checkable" and found.state == "interrupted":
        return LookWhether(found, why)
    return AskPerson(f"{why}. It must not be repeated by a machine ({step.effect}).")


def after_look(step: Step, look: LookWhether, seen: Checked | LabError) -> Adopt | Repeat | AskPerson:
    """What is done about a step of which the driver has looked whether it happened, or could not."""
    if isinstance(seen, LabError):
        return AskPerson(f"{look.reason}. Whether it happened could not be checked: {seen.detail}")
    if seen.outcome == "done":
        return Adopt(replace(look.invocation, state="succeeded", result=seen.result, error=None))
    if seen.outcome == "not done":
        return Repeat(f"{look.reason}; its check says that it did not happen.")
    return AskPerson(f"{look.reason}. Its check says that it happened in part.")
