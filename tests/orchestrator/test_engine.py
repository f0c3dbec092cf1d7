"""The engine decides: pure, so every decision and every journal can be tried."""

from typing import Any, get_args

import pytest
from hypothesis import given, strategies as st

from labretto.errors import DriverError, ExperimentChangedError
from labretto.experiment.policy import Policy, Retry
from labretto.instrument.checks import Checked
from labretto.instrument.invocation import Invocation
from labretto.orchestrator import engine
from labretto.orchestrator.engine import CHOICES, Ask, RunState, RunWord, next_step, settle

MOVE = Ask("move", "stage", "move", {"x": 1.0}, "absolute")


def journal(*entries: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    first = ("submitted", {"name": "n", "who": "ada", "experiment": {}, "parameters": {}, "versions": {}})
    return [
        {"run": "r", "number": number, "kind": kind, "at": f"2026-11-21T08:00:{number % 60:02d}Z", **body}
        for number, (kind, body) in enumerate([first, *entries], 1)
    ]


def intended(ask: Ask = MOVE, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    names = ("path", "instrument", "action", "parameters", "effect")
    return "intended", {name: getattr(ask, name) for name in names} | {
        "invocation": f"{ask.path}{attempt}",
        "attempt": attempt,
    }


def ended(path: str = "move", state: str = "succeeded", result: Any = 1.0) -> tuple[str, dict[str, Any]]:
    return "ended", {"path": path, "state": state, "result": result, "error": None}


def asked(path: str) -> tuple[str, dict[str, Any]]:
    question = {"path": path, "kind": "ask", "text": f"{path}?", "choices": ["yes", "abort"]}
    return "waiting", {"reason": f"{path}?", "question": question}


def answered(path: str, choice: str = "yes") -> tuple[str, dict[str, Any]]:
    return "settled", {"path": path, "choice": choice, "value": None}


@st.composite
def journals(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A run as the worker may write it: steps with crashes, questions, pauses between their events; maybe an end."""
    entries: list[tuple[str, dict[str, Any]]] = [("started", {"lease": 1})]
    for number in range(draw(st.integers(0, 5))):
        entries += draw(
            st.sampled_from([[], [("pausing", {}), ("paused", {"reason": "p"}), ("resuming", {}), ("resumed", {})]])
        )
        entries += draw(st.sampled_from([[], [("leased", {"instruments": ["rig", "oven"]})]]))
        entries += draw(_step(f"step{number}"))
        entries += draw(_sleep(f"sleep{number}"))
        entries += draw(_questions(f"parallel{number}"))
        entries += draw(st.sampled_from([[], [("saved", {"path": f"save{number}", "row": {"x": 1}})]]))
    if draw(st.booleans()):
        entries += [("aborting", {"who": None}), ("aborting", {"who": None, "at_once": True})][
            : draw(st.integers(0, 2))
        ]
        entries += [("finished", {"state": draw(st.sampled_from(sorted(engine.OVER))), "error": None})]
    return journal(*entries)


@st.composite
def _step(draw: st.DrawFn, path: str) -> list[tuple[str, dict[str, Any]]]:
    ask = Ask(path, "rig", "act", {"x": draw(st.floats())}, draw(st.sampled_from(["read", "absolute", "once"])))
    entries = [intended(ask)]
    for attempt in range(2, 2 + draw(st.integers(0, 2))):
        choice = draw(st.sampled_from(["repeat", "undone"]))
        question = {"path": path, "kind": "interrupted", "choices": list(CHOICES)}
        entries += [("resumed", {}), ("interrupted", {"path": path, "reason": "i"})]
        entries += [("waiting", {"reason": "w", "question": question})]
        entries += [("settled", {"path": path, "choice": choice, "value": None}), intended(ask, attempt)]
    for attempt in range(4, 4 + draw(st.integers(0, 2))):  # what its policy tries again
        entries += [ended(path, "failed"), intended(ask, attempt)]
    entries += draw(st.sampled_from([[], [("cancelling", {"path": path, "invocation": "i", "who": "ada"})]]))
    return [*entries, ended(path, draw(st.sampled_from(["succeeded", "failed", "cancelled", "skipped"])))]


@st.composite
def _sleep(draw: st.DrawFn, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Not at all, cut off by a crash, or to its end."""
    entries = [
        ("sleeping", {"path": path, "until": "2026-11-22T02:00:00Z"}),
        ("resumed", {"lease": 2}),
        ("slept", {"path": path}),
    ]
    return entries[: draw(st.sampled_from([0, 1, 3]))]


@st.composite
def _questions(draw: st.DrawFn, path: str) -> list[tuple[str, dict[str, Any]]]:
    """What branches ask, answered in any order; between two answers the hub may die, or a person end the run."""
    paths = [f"{path}/{branch}" for branch in draw(st.sampled_from(["", "a", "ab"]))]
    entries = [asked(each) for each in paths]
    for each in draw(st.permutations(paths)):
        entries += draw(st.sampled_from([[], [("resumed", {"lease": 2})], [("aborting", {"who": "ada"})]]))
        if ("aborting", {"who": "ada"}) in entries:
            break
        entries += [answered(each, draw(st.sampled_from(["yes", engine.LATE])))]
    return entries


@given(journals())
def test_every_prefix_of_a_journal_is_a_valid_state_and_replay_is_deterministic(events: list[dict[str, Any]]):
    growing = RunState("r")
    for number, event in enumerate(events, 1):
        growing.apply(event)
        replayed = RunState.replay("r", events[:number])

        assert replayed == growing
        assert replayed.number == number
        assert replayed.word in get_args(RunWord)
        assert (replayed.question is None) or replayed.word == "waiting"
        assert (replayed.word != "waiting") or replayed.reason == (replayed.question or {})["reason"]
        durable = (replayed.steps, replayed.saved, replayed.answers, replayed.slept)
        assert 0 <= replayed.done <= sum(map(len, durable))
        assert replayed.aborting or not replayed.at_once


@given(journals())
def test_a_state_always_knows_what_to_do_about_each_step_it_holds(events: list[dict[str, Any]]):
    for number in range(1, len(events) + 1):
        state = RunState.replay("r", events[:number])
        for step in state.steps.values():
            from labretto.instrument import codec

            ask = Ask(step.path, step.instrument, step.action, codec.decode(step.parameters), step.effect)
            command = next_step(state, ask)
            assert isinstance(command, engine.Answer) == (step.state in ("succeeded", "failed", "skipped"))


def test_what_was_edited_before_it_began_is_what_is_done():
    state = RunState.replay("r", journal(("edited", {"changed": {"parameters": {"x": 2}, "name": "m"}, "who": "bob"})))

    assert (state.name, state.parameters, state.experiment, state.word) == ("m", {"x": 2}, {}, "queued")


def test_a_step_that_the_journal_does_not_know_is_sent():
    assert next_step(RunState.replay("r", journal()), MOVE) == engine.Send(1)


def test_a_step_that_ended_is_answered_from_memory():
    command = next_step(RunState.replay("r", journal(intended(), ended())), MOVE)

    assert isinstance(command, engine.Answer)
    assert command.step.result == 1.0


def test_a_step_in_flight_is_inquired_about():
    assert isinstance(next_step(RunState.replay("r", journal(intended())), MOVE), engine.Inquire)


@pytest.mark.parametrize(
    "changed",
    [
        Ask("move", "stage", "move", {"x": 2.0}, "absolute"),
        Ask("move", "stage", "home", {"x": 1.0}, "absolute"),
        Ask("move", "oven", "move", {"x": 1.0}, "absolute"),
        Ask("move", "stage", "move", {}, "absolute"),
    ],
)
def test_an_experiment_that_changed_is_named_with_both_steps(changed: Ask):
    with pytest.raises(ExperimentChangedError) as error:
        next_step(RunState.replay("r", journal(intended(), ended())), changed)

    assert "stage.move(x=1.0)" in error.value.detail
    assert changed.spelled in error.value.detail


@pytest.mark.parametrize(
    ("choice", "command"),
    [
        ("repeat", engine.Send(2)),
        ("undone", engine.Send(2)),
        ("happened", "succeeded"),
        ("skip", "skipped"),
    ],
)
def test_a_persons_choice_is_what_is_done(choice: str, command: Any):
    question = {"path": "move", "kind": "interrupted", "choices": list(CHOICES)}
    state = RunState.replay(
        "r",
        journal(
            intended(),
            ("interrupted", {"path": "move", "reason": "i"}),
            ("waiting", {"reason": "w", "question": question}),
            ("settled", {"path": "move", "choice": choice, "value": 7}),
        ),
    )
    decided = next_step(state, MOVE)

    assert getattr(decided, "state", decided) == command
    assert state.steps["move"].entered == 7


def found(state: Any) -> Invocation:
    return Invocation("i", "stage", "move", {}, "once", state)


@pytest.mark.parametrize("effect", ["read", "absolute", "checkable", "once"])
@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ("not arrived", engine.Resend),
        ("running", engine.Resend),
        ("succeeded", engine.Adopt),
        ("failed", engine.Adopt),
        ("cancelled", engine.Adopt),
        ("interrupted", None),
        ("cannot tell", None),
    ],
)
def test_each_answer_of_the_host_leads_to_the_decision_that_the_effect_allows(effect: str, answer: str, decision: Any):
    ask = Ask("move", "stage", "move", {}, effect)
    step = RunState.replay("r", journal(intended(ask))).steps["move"]

    decided = settle(step, found(answer))

    after = {"read": engine.Repeat, "absolute": engine.Repeat, "checkable": engine.LookWhether}
    unless = (
        engine.AskPerson if answer == "cannot tell" and effect == "checkable" else after.get(effect, engine.AskPerson)
    )
    assert isinstance(decided, decision or unless)
    if isinstance(decided, engine.Resend):
        assert decided.origin == ("adopted" if answer == "running" else "answered")


@pytest.mark.parametrize(
    ("sent_to", "found_in", "arrives_again"),
    [("a", "a", True), ("a", "b", False), (None, "b", True), ("a", None, True)],
)
def test_what_another_ledger_does_not_know_may_have_happened_all_the_same(
    sent_to: str | None, found_in: str | None, arrives_again: bool
):
    step = RunState.replay("r", journal(intended(Ask("move", "stage", "move", {}, "once")))).steps["move"]
    step.ledger = sent_to

    decided = settle(step, found("not arrived"), found_in)

    assert isinstance(decided, engine.Resend) == arrives_again
    assert isinstance(decided, engine.AskPerson) != arrives_again


@pytest.mark.parametrize(
    ("seen", "decision"),
    [
        (Checked("i", "move", "done", 4.0), engine.Adopt),
        (Checked("i", "move", "not done"), engine.Repeat),
        (Checked("i", "move", "partly"), engine.AskPerson),
        (DriverError("the sensor is off"), engine.AskPerson),
    ],
)
def test_what_a_check_says_is_what_is_done(seen: Any, decision: Any):
    step = RunState.replay("r", journal(intended(Ask("move", "stage", "move", {}, "checkable")))).steps["move"]
    look = settle(step, found("interrupted"))
    assert isinstance(look, engine.LookWhether)

    decided = engine.after_look(step, look, seen)

    assert isinstance(decided, decision)
    if isinstance(decided, engine.Adopt):
        assert (decided.invocation.state, decided.invocation.result) == ("succeeded", 4.0)
    else:
        assert decided.reason.startswith("stage.move() began and its end was not seen")


def test_the_reason_for_asking_names_the_action_and_its_effect():
    step = RunState.replay("r", journal(intended(Ask("d", "pump", "dose", {}, "once")))).steps["d"]
    decided = settle(step, found("cannot tell"))

    assert isinstance(decided, engine.AskPerson)
    assert "pump cannot tell whether pump.dose() happened" in decided.reason
    assert "(once)" in decided.reason


def test_an_answer_to_an_ask_step_is_kept_for_the_replay():
    ask = {"path": "ask", "kind": "ask", "choices": ["yes", "abort"]}
    events = journal(
        ("waiting", {"reason": "?", "question": ask}), ("settled", {"path": "ask", "choice": "yes", "value": None})
    )

    assert RunState.replay("r", events).answers == {"ask": "yes"}


@given(st.lists(st.sampled_from(["a/ask", "b/ask", "c/ask"]), unique=True, min_size=1), st.data())
def test_each_branch_may_ask_and_the_run_waits_as_long_as_one_of_them_does(paths: list[str], data: st.DataObject):
    """Asked and answered in any order, with a crash at any moment, each answer reaches the branch that asked."""
    open_: list[str] = []
    done: list[str] = []
    entries: list[tuple[str, dict[str, Any]]] = [("started", {"lease": 1})]
    while len(done) < len(paths):
        left = [path for path in paths if path not in open_ and path not in done]
        path = data.draw(st.sampled_from([*left, *open_]))
        if path in left:
            entries.append(asked(path))
            open_.append(path)
        else:
            entries.append(answered(path))
            open_.remove(path)
            done.append(path)
        if data.draw(st.booleans()):
            entries.append(("resumed", {"lease": 2}))
        state = RunState.replay("r", journal(*entries))

        assert list(state.questions) == open_
        assert state.word == ("waiting" if open_ else "running")
        assert state.reason == (f"{open_[0]}?" if open_ else None)
        assert state.answers == dict.fromkeys(done, "yes")


@pytest.mark.parametrize("ending", [("aborting", {"who": "ada"}), answered("b", "abort")])
def test_a_run_that_is_to_end_asks_nothing_any_more(ending: tuple[str, dict[str, Any]]):
    state = RunState.replay("r", journal(asked("a"), asked("b"), ending))

    assert (state.questions, state.word, state.aborting) == ({}, "running", True)


def test_a_question_that_nobody_answered_in_time_is_known_to_have_ended_so():
    state = RunState.replay("r", journal(asked("a"), answered("a", engine.LATE)))

    assert (state.questions, state.answers) == ({}, {})
    assert state.late["a"]["text"] == "a?"


FAILS = Ask("move", "stage", "move", {"x": 1.0}, "once", policy=Policy(Retry(2, first=5.0), on_failure="ask"))


def test_a_step_that_failed_is_tried_again_then_asked_about_and_at_last_let_fail():
    """The same journal means the same, however often it is read: each decision follows from it and the policy alone."""
    first = journal(intended(FAILS), ended(state="failed"))
    assert next_step(RunState.replay("r", first), FAILS) == engine.Again(RunState.replay("r", first).steps["move"], 5.0)

    second = journal(intended(FAILS), ended(state="failed"), intended(FAILS, 2), ended(state="failed"))
    command = next_step(RunState.replay("r", second), FAILS)
    assert isinstance(command, engine.Wait)
    assert list(command.choices) == ["repeat", "skip", "happened", "fail", "abort"]

    question = {"path": "move", "kind": "failed", "choices": list(command.choices)}
    words = [(event["kind"], event) for event in second[1:]]
    told = [*words, ("waiting", {"reason": "w", "question": question}), answered("move", "fail")]
    assert isinstance(next_step(RunState.replay("r", journal(*told)), FAILS), engine.Answer)


def test_instruments_that_a_run_named_or_acted_on_are_known_and_those_it_only_read_are_not():
    reads = Ask("x", "camera", f"{engine.READ}temperature", {}, "read")
    state = RunState.replay("r", journal(("leased", {"instruments": ["oven"]}), intended(MOVE), intended(reads)))

    assert state.needs == {"oven", "stage"}
