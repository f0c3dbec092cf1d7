"""Branches, loops, conditions, clean-up and experiments within, walked."""

import asyncio
import contextlib
import itertools
import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from labretto.errors import ExperimentChangedError, FailedError, InvalidError
from labretto.experiment.count import Bounds, step_bounds
from labretto.experiment.follow import follow
from labretto.experiment.load import load, load_object
from labretto.experiment.walk import AbortedError


class Notebook:
    """A walk that notes what it is asked for, answers from a table, and can be told what fails."""

    def __init__(self, answers: dict[str, Any] | None = None, failing: dict[str, Exception] | None = None) -> None:
        self.done: list[tuple[str, Any]] = []
        self.answers = answers or {}
        self.failing = failing or {}
        self.cleans = 0

    async def call(self, path, instrument, action, parameters, *, policy):
        return await self._note(path, f"{instrument}.{action}", dict(parameters))

    async def read(self, path, instrument, attribute, *, policy):
        return await self._note(path, f"{instrument}.{attribute}")

    async def write(self, path, instrument, attribute, value, *, policy):
        return await self._note(path, f"{instrument}.{attribute}", value)

    async def save(self, path, row):
        await self._note(path, "save", dict(row))

    async def ask(self, path, question):
        return await self._note(path, "ask", question)

    async def sleep(self, path, seconds):
        await self._note(path, "wait", seconds)

    @contextlib.asynccontextmanager
    async def cleaning(self):
        self.cleans += 1
        yield

    async def _note(self, path, what, value=None):
        await self.wait_for_turn(path)
        self.done.append((path, value))
        if path in self.failing:
            raise self.failing[path]
        answer = self.answers.get(path, self.answers.get(what))
        return next(answer) if isinstance(answer, itertools.cycle) else answer

    async def wait_for_turn(self, path):
        """Overridden where the order of arrival matters."""

    @property
    def paths(self):
        return [path for path, _ in self.done]


async def walked(text: str, answers: dict[str, Any] | None = None, **parameters: Any) -> Notebook:
    notebook = Notebook(answers)
    await follow(load(text), parameters, notebook)
    return notebook


async def failed(text: str, **failing: Exception) -> tuple[Notebook, BaseException]:
    notebook = Notebook(failing={path.replace("__", "/"): error for path, error in failing.items()})
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one it is, is the question
        await follow(load(text), {}, notebook)
    return notebook, raised.value


# Branches


PARALLEL = """\
steps:
- parallel:
    left: [{read: a.x, name: l}, {read: a.y}]
    right: [{read: b.x, name: r}]
- {save: {l: "${l}", r: "${r}"}}
"""


async def test_branches_are_told_by_their_names_and_what_they_give_is_known_afterwards():
    notebook = await walked(PARALLEL, {"a.x": 1, "b.x": 2})

    assert set(notebook.paths[:3]) == {"parallel/left/l", "parallel/left/a.y", "parallel/right/r"}
    assert notebook.done[3] == ("save", {"l": 1, "r": 2})


async def test_branches_run_at_the_same_time():
    class Meeting(Notebook):
        both = asyncio.Barrier(2)

        async def wait_for_turn(self, path):
            if path in ("parallel/0/a.x", "parallel/1/b.x"):
                await self.both.wait()

    notebook = Meeting()
    await follow(load("steps: [{parallel: [[{read: a.x}], [{read: b.x}]]}]"), {}, notebook)

    assert set(notebook.paths) == {"parallel/0/a.x", "parallel/1/b.x"}


async def test_a_branch_goes_on_to_its_end_when_another_fails():
    text = "steps: [{parallel: {a: [{read: i.a}], b: [{read: i.b}, {read: i.c}]}}, {read: i.d}]"

    notebook, error = await failed(text, **{"parallel/a/i.a": FailedError("broken")})

    assert str(error) == "broken"
    assert notebook.paths[-1] == "parallel/b/i.c"


async def test_of_several_failures_the_first_in_the_file_is_told_and_an_abort_before_all():
    text = "steps: [{parallel: {a: [{read: i.a}], b: [{read: i.b}], c: [{read: i.c}]}}]"
    failing = {"parallel/a/i.a": FailedError("first"), "parallel/b/i.b": FailedError("second")}

    _, first = await failed(text, **failing)
    _, before_all = await failed(text, **failing, **{"parallel/c/i.c": AbortedError("a person")})

    assert str(first) == "first"
    assert str(before_all) == "a person"


# Conditions


@pytest.mark.parametrize(
    ("condition", "value", "decided"),
    [
        ("{value: '${v}', above: 5}", 6, True),
        ("{value: '${v}', above: 5}", 5, False),
        ("{value: '${v}', at least: 5}", 5, True),
        ("{value: '${v}', at most: 5, above: 1}", 1, False),
        ("{value: '${v}', below: '${limit}'}", 9, True),
        ("{value: '${v}', equals: 1}", 1.0, True),
        ("{value: '${v}', equals: 1}", True, False),
        ("{value: '${v}', equals: null}", None, True),
        ("{value: '${v}', equals: [1, {a: 2}]}", [1, {"a": 2}], True),
        ("{value: '${v}', is not: done}", "done", False),
        ("{value: '${v}', one of: [a, b]}", "b", True),
        ("{value: '${v}', one of: [a, b]}", "c", False),
        ("{all: [{value: '${v}', above: 1}, {value: '${v}', below: 3}]}", 2, True),
        ("[{value: '${v}', above: 1}, {value: '${v}', below: 3}]", 3, False),
        ("{any: [{value: '${v}', below: 1}, {value: '${v}', above: 3}]}", 4, True),
    ],
)
async def test_a_condition_decides_by_comparing(condition, value, decided):
    text = f"""\
parameters: {{limit: 10}}
steps:
- {{read: i.v, name: v}}
- {{read: i.a, when: {condition}}}
- when: {condition}
  steps: [{{read: i.b}}]
  else: [{{read: i.c}}]
"""
    notebook = await walked(text, {"i.v": value})

    assert notebook.paths[1:] == (["i.a", "when/i.b"] if decided else ["when/else/i.c"])


async def test_what_is_no_number_cannot_be_above_one():
    text = "steps: [{read: i.v, name: v}, {read: i.a, when: {value: '${v}', above: 1}}]"

    with pytest.raises(InvalidError, match=r"line 1.*'high' is not a number"):
        await walked(text, {"i.v": "high"})


async def test_the_result_of_a_step_that_was_passed_over_is_null():
    text = """\
steps:
- {read: i.v, name: v}
- {read: i.a, name: a, when: {value: "${v}", above: 1}}
- {save: {a: "${a}"}}
- {read: i.b, when: [{value: "${a}", is not: null}, {value: "${a.x}", above: 0}]}
"""
    notebook = await walked(text, {"i.v": 0})

    assert notebook.done[1:] == [("save", {"a": None})]


async def test_what_is_passed_over_changes_no_other_path():
    text = "parameters: {p: 1}\nsteps: [{read: i.a, when: {value: '${p}', above: 5}}, {read: i.a}, {read: i.a}]"

    assert (await walked(text)).paths == ["i.a~2", "i.a~3"]
    assert (await walked(text, p=6)).paths == ["i.a", "i.a~2", "i.a~3"]


# Loops


async def test_a_loop_ends_after_the_turn_that_brings_what_it_waits_for():
    text = "steps: [{repeat: 5, until: {value: '${v}', at least: 3}, steps: [{wait: 1 s}, {read: i.v, name: v}]}]"

    notebook = await walked(text, {"i.v": itertools.cycle([1, 2, 3, 4])})

    assert notebook.paths[-2:] == ["repeat[2]/wait", "repeat[2]/v"]


async def test_a_loop_that_waits_in_vain_fails_unless_that_is_passed_over():
    text = "steps: [{repeat: 2, until: {value: '${v}', above: 9}, steps: [{read: i.v, name: v}]FAIL}, {read: i.b}]"

    with pytest.raises(FailedError, match="repeat: after 2 turns"):
        await walked(text.replace("FAIL", ""), {"i.v": 1})
    notebook = await walked(text.replace("FAIL", ", on failure: go on"), {"i.v": 1})

    assert notebook.paths == ["repeat[0]/v", "repeat[1]/v", "i.b"]


async def test_for_each_goes_through_a_result():
    text = """\
steps:
- {do: camera.find, name: found}
- for each: {sample: "${found.samples}"}
  steps: [{do: stage.move, with: {x: "${sample.x}"}}]
"""
    notebook = await walked(text, {"camera.find": {"samples": [{"x": 1}, {"x": 5}]}})

    assert notebook.done[1:] == [("each[0]/stage.move", {"x": 1}), ("each[1]/stage.move", {"x": 5})]


async def test_a_repeat_by_a_parameter_needs_a_whole_number():
    text = "parameters: {n: 2}\nsteps: [{repeat: '${n}', steps: [{read: i.a}]}]"

    assert (await walked(text, n=3.0)).paths[-1] == "repeat[2]/i.a"
    with pytest.raises(InvalidError, match=r"2.5 is not a number of turns"):
        await walked(text, n=2.5)


# Clean-up


CLEAN_UP = """\
steps:
- steps: [{read: i.a}, {read: i.b}]
  finally: [{read: i.c}, {read: i.d}]
- {read: i.e}
finally: [{read: i.f}]
"""


async def test_clean_up_follows_success():
    notebook = await walked(CLEAN_UP)

    assert notebook.paths == [
        *("steps/i.a", "steps/i.b", "steps/finally/i.c", "steps/finally/i.d"),
        *("i.e", "finally/i.f"),
    ]
    assert notebook.cleans == 2


@pytest.mark.parametrize("error", [FailedError("broken"), AbortedError("a person"), ValueError("our own fault")])
async def test_clean_up_follows_whatever_ended_the_block(error):
    notebook, raised = await failed(CLEAN_UP, **{"steps/i.a": error})

    assert raised is error
    assert notebook.paths == ["steps/i.a", "steps/finally/i.c", "steps/finally/i.d", "finally/i.f"]


async def test_nothing_is_cleaned_up_where_the_journal_tells_of_another_experiment():
    notebook, _ = await failed(CLEAN_UP, **{"steps/i.a": ExperimentChangedError("another")})

    assert notebook.paths == ["steps/i.a"]


async def test_a_clean_up_step_that_fails_keeps_no_other_from_being_done():
    notebook, error = await failed(CLEAN_UP, **{"steps/finally/i.c": FailedError("the valve sticks")})

    assert str(error) == "the valve sticks"
    assert notebook.paths == ["steps/i.a", "steps/i.b", "steps/finally/i.c", "steps/finally/i.d", "finally/i.f"]


async def test_the_first_failure_is_told_not_that_of_the_clean_up():
    failing = {"steps/i.a": FailedError("first"), "steps/finally/i.c": FailedError("then")}

    _, error = await failed(CLEAN_UP, **failing)

    assert str(error) == "first"


async def test_a_second_abort_ends_the_clean_up():
    failing = {"steps/i.a": FailedError("first"), "steps/finally/i.c": AbortedError("enough")}

    notebook, error = await failed(CLEAN_UP, **failing)

    assert str(error) == "enough"
    assert "steps/finally/i.d" not in notebook.paths


async def test_clean_up_is_done_in_a_branch_whose_sibling_failed():
    text = "steps: [{parallel: {a: [{read: i.a}], b: [{steps: [{read: i.b}], finally: [{read: i.c}]}]}}]"

    notebook, _ = await failed(text, **{"parallel/a/i.a": FailedError("broken")})

    assert "parallel/b/steps/finally/i.c" in notebook.paths


# Failures that are passed over


async def test_a_block_whose_failure_is_passed_over_is_left_and_the_next_turn_goes_on():
    text = """\
steps:
- sweep: {v: [1, 2]}
  steps:
  - on failure: go on
    steps: [{read: i.a}, {read: i.b}]
    finally: [{read: i.c}]
"""
    notebook = Notebook(failing={"sweep[0]/steps/i.a": FailedError("broken")})
    await follow(load(text), {}, notebook)

    assert notebook.paths == [
        *("sweep[0]/steps/i.a", "sweep[0]/steps/finally/i.c"),
        *("sweep[1]/steps/i.a", "sweep[1]/steps/i.b", "sweep[1]/steps/finally/i.c"),
    ]


@pytest.mark.parametrize("error", [AbortedError("a person"), ExperimentChangedError("another")])
async def test_the_end_of_a_run_is_never_passed_over(error):
    text = "steps: [{on failure: go on, steps: [{read: i.a}]}, {read: i.b}]"

    notebook, raised = await failed(text, **{"steps/i.a": error})

    assert raised is error
    assert notebook.paths == ["steps/i.a"]


# Experiments within


WITHIN = """\
parameters: {volume: 3}
experiments:
  wash:
    parameters: {volume: 5, speed: 1}
    steps:
    - {do: pump.dispense, with: {v: "${volume}", s: "${speed}"}}
    - {read: sensor.c, name: c}
    finally: [{do: pump.drain}]
    result: {left: "${c}", volume: "${volume}"}
steps:
- {experiment: wash, name: first, with: {speed: "${volume}"}}
- {experiment: wash, with: {volume: "${first.left}"}}
- {experiment: wash}
- {save: {v: "${first.volume}"}}
"""


async def test_an_experiment_within_knows_its_own_parameters_and_answers_its_result():
    notebook = await walked(WITHIN, {"sensor.c": 7})

    assert notebook.done == [
        ("first/pump.dispense", {"v": 5, "s": 3}),
        ("first/c", None),
        ("first/finally/pump.drain", {}),
        ("wash/pump.dispense", {"v": 7, "s": 1}),
        ("wash/c", None),
        ("wash/finally/pump.drain", {}),
        ("wash~2/pump.dispense", {"v": 5, "s": 1}),
        ("wash~2/c", None),
        ("wash~2/finally/pump.drain", {}),
        ("save", {"v": 5}),
    ]


# People and time


async def test_a_question_is_asked_with_its_values_and_its_answer_is_a_result():
    text = """\
parameters: {sample: A1}
steps:
- {ask: Which film?, name: film, show: {sample: "${sample}"}, fields: {mass: number}, release: [camera]}
- {save: {mass: "${film.mass}"}}
- {wait: 5 min}
"""
    notebook = await walked(text, {"ask": {"mass": 2}})

    question = notebook.done[0][1]
    assert (question.text, question.show, question.release) == ("Which film?", {"sample": "A1"}, ("camera",))
    assert notebook.done[1:] == [("save", {"mass": 2}), ("wait", 300.0)]


# How many


@pytest.mark.parametrize(
    ("steps", "least", "most"),
    [
        ("[{read: i.a}, {ask: really}, {wait: 1 s}]", 3, 3),
        ("[{read: i.a, when: {value: '${p}', above: 1}}]", 0, 1),
        ("[{when: {value: '${p}', above: 1}, steps: [{read: i.a}], else: [{read: i.b}, {read: i.c}]}]", 1, 2),
        ("[{parallel: {a: [{read: i.a}], b: [{read: i.b}]}, finally: [{read: i.c}]}]", 3, 3),
        ("[{repeat: '${p}', steps: [{read: i.a}]}]", 3, 3),
        ("[{repeat: 5, until: {value: '${v}', above: 1}, steps: [{read: i.a, name: v}]}]", 1, 5),
        ("[{do: i.f, name: f}, {for each: {x: '${f}'}, steps: [{read: i.a}]}]", 1, None),
        ("[{for each: {x: [1, 2, '${p}']}, steps: [{read: i.a}]}]", 3, 3),
        ("[{experiment: part, with: {n: '${p}'}}, {experiment: part}]", 5, 5),
        ("[{sweep: {m: [1, 4]}, steps: [{experiment: part, with: {n: '${m}'}}]}]", 2, 8),
    ],
)
def test_the_steps_of_what_is_open_are_counted_between_two_bounds(steps, least, most):
    part = "experiments: {part: {parameters: {n: 2}, steps: [{repeat: '${n}', steps: [{read: i.a}]}]}}"

    assert step_bounds(load(f"parameters: {{p: 3}}\n{part}\nsteps: {steps}"), {}) == Bounds(least, most)


# Any experiment


CONDITION = st.sampled_from(
    [{"value": "${p}", "above": 1}, {"value": "${p}", "below": 1}, {"any": [{"value": "${p}", "equals": 2}]}]
)
LEAF = st.sampled_from([{"read": "i.a"}, {"do": "i.f"}, {"save": {"x": 1}}, {"wait": 1}, {"ask": "Really?"}])


def _blocks(inner):
    steps = st.lists(inner, min_size=1, max_size=3)
    ends = st.fixed_dictionaries({}, optional={"finally": steps, "when": CONDITION})
    return st.one_of(
        _with(ends, {"repeat": st.integers(1, 3), "steps": steps}),
        _with(ends, {"for each": st.just({"e": [1, "${p}"]}), "steps": steps}),
        _with(ends, {"sweep": st.just({"s": [1, 2]}), "steps": steps}),
        _with(ends, {"steps": steps}),
        _with(ends, {"parallel": st.lists(steps, min_size=1, max_size=3)}),
        _with(ends, {"parallel": st.dictionaries(st.sampled_from("uvw"), steps, min_size=1)}),
        st.fixed_dictionaries({"when": CONDITION, "steps": steps, "else": steps}),
        st.just({"experiment": "part"}),
    )


def _with(ends, words):
    return st.builds(lambda one, other: {**one, **other}, st.fixed_dictionaries(words), ends)


STEPS = st.lists(st.recursive(LEAF, _blocks, max_leaves=8), min_size=1, max_size=3)


def _experiment(steps, clean_up, part):
    return load_object(
        {"parameters": {"p": 2}, "experiments": {"part": {"steps": part}}, "steps": steps, "finally": clean_up}
    )


class Shuffled(Notebook):
    """Answers branches in an order that a random source chooses."""

    def __init__(self, choose) -> None:
        super().__init__()
        self.choose = choose

    async def wait_for_turn(self, path):
        for _ in range(self.choose.randint(0, 4)):
            await asyncio.sleep(0)


PART = st.lists(LEAF, min_size=1, max_size=2)


@given(STEPS, st.lists(LEAF, min_size=1, max_size=2), PART, st.integers())
async def test_whatever_order_branches_are_answered_in_the_paths_are_unique_and_the_same(steps, clean_up, part, seed):
    """A step's identity must find the same step again after a crash, and never another one."""
    experiment = _experiment(steps, clean_up, part)
    first, second = Notebook(), Shuffled(random.Random(seed))

    await follow(experiment, {}, first)
    await follow(experiment, {}, second)

    assert len(set(first.paths)) == len(first.paths)
    assert sorted(first.done, key=repr) == sorted(second.done, key=repr)


@given(STEPS, st.lists(LEAF, min_size=1, max_size=2), PART, st.integers(-1, 3))
async def test_the_count_bounds_what_is_done(steps, clean_up, part, p):
    experiment, notebook = _experiment(steps, clean_up, part), Notebook()

    await follow(experiment, {"p": p}, notebook)

    bounds = step_bounds(experiment, {"p": p})
    assert bounds.most is not None
    assert bounds.least <= len(notebook.done) <= bounds.most


class Failing(Notebook):
    """The n-th step that is asked for fails, unless it cleans up."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    async def _note(self, path, what, value=None):
        await super()._note(path, what, value)
        if len(self.done) == self.number and "finally/" not in path:
            raise FailedError(path)


@given(STEPS, st.lists(LEAF, min_size=1, max_size=2), PART, st.integers(1, 12))
async def test_the_experiments_clean_up_is_done_whichever_step_fails(steps, clean_up, part, number):
    experiment, notebook = _experiment(steps, clean_up, part), Failing(number)

    with contextlib.suppress(FailedError):
        await follow(experiment, {}, notebook)

    cleaned = [path for path in notebook.paths if path.startswith("finally/")]
    assert cleaned == notebook.paths[-len(clean_up) :]
    assert len(cleaned) == len(clean_up)
