"""Reading blocks, conditions, policies, questions and experiments within; and what each fault of them says."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from labretto.errors import InvalidError
from labretto.experiment.condition import Comparison, Every, Some
from labretto.experiment.load import load
from labretto.experiment.model import Ask, Block, Call, ForEach, Parallel, Read, Repeat, Wait, Within
from labretto.experiment.policy import PLAIN, Policy, Retry
from labretto.experiment.question import Question
from labretto.experiment.reference import Reference, Where


def fault(text: str) -> dict[str, Any]:
    with pytest.raises(InvalidError) as refused:
        load(text)
    found = refused.value.faults
    assert len(found) == 1, found
    return found[0]


def one_step(text: str) -> Any:
    return load(f"steps:\n  - {text}\n").steps[0]


def test_branches_have_names_or_numbers():
    named = one_step("parallel: {left: [{read: i.a}], right: [{read: i.b}]}")
    numbered = one_step("parallel: [[{read: i.a}], [{read: i.b}]]")

    assert isinstance(named, Parallel)
    assert list(named.branches) == ["left", "right"]
    assert list(numbered.branches) == ["0", "1"]


def test_a_repeat_has_a_number_and_may_have_an_end():
    step = one_step("{repeat: '${n}', until: {value: '${v}', above: 1}, steps: [{read: i.a, name: v}]}")

    assert isinstance(step, Repeat)
    assert (step.times, step.until) == (Reference(("n",)), Comparison(Reference(("v",)), "above", 1))


def test_for_each_has_one_variable():
    step = one_step("{for each: {x: [1, '${y}']}, steps: [{read: i.a}]}")

    assert isinstance(step, ForEach)
    assert (step.variable, step.values) == ("x", [1, Reference(("y",))])


def test_a_condition_stands_at_a_step_or_before_a_block():
    guarded = one_step("{read: i.a, when: {value: '${v}', one of: [a, b]}}")
    block = one_step("{when: {any: [{value: 1, equals: 1}]}, steps: [{read: i.a}], else: [{read: i.b}]}")

    assert isinstance(guarded, Read)
    assert guarded.when == Comparison(Reference(("v",)), "one of", ["a", "b"])
    assert isinstance(block, Block)
    assert isinstance(block.when, Some)
    assert len(block.otherwise) == 1


def test_several_comparisons_of_one_value_must_all_hold():
    step = one_step("{read: i.a, when: {value: '${v}', above: 1, at most: 2}}")

    assert step.when == Every((Comparison(Reference(("v",)), "above", 1), Comparison(Reference(("v",)), "at most", 2)))


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        ("", PLAIN),
        (", retry: 3", Policy(Retry(3))),
        (", retry: {attempts: 5, first: 500 ms, factor: 3, longest: 2 min}", Policy(Retry(5, 0.5, 3.0, 120.0))),
        (", retry: {first: 2 min}", Policy(Retry(3, 120.0, 2.0, 120.0))),
        (", timeout: 1.5 h", Policy(timeout=5400.0)),
        (", on failure: ask", Policy(on_failure="ask")),
        (", on failure: go on, timeout: 30", Policy(timeout=30.0, on_failure="go on")),
    ],
)
def test_how_a_step_is_done(words, policy):
    step = one_step(f"{{do: i.a{words}}}")

    assert isinstance(step, Call)
    assert step.policy == policy


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250 ms", 0.25), ("30 s", 30), ("5 min", 300), ("2h", 7200), ("1.5 d", 129600), ("12", 12), ("0.5", 0.5)],
)
def test_a_duration_has_a_unit_or_means_seconds(text, seconds):
    step = one_step(f"wait: {text}")

    assert isinstance(step, Wait)
    assert step.seconds == seconds


def test_a_question_has_a_typed_form():
    step = one_step("""\
ask: Which film is it?
    name: film
    description: It is on the label.
    show: {sample: "${sample}"}
    deadline: 2 h
    late: default
    default: {mass: 1, batch: north, photo: none, closed: true}
    remind: 30 min
    assignee: anna
    priority: urgent
    release: [camera]
    fields:
      mass: {type: number, unit: mg, minimum: 0}
      batch: [north, south]
      photo: file
      closed: confirmation
      note: {type: text, default: ""}
""")
    assert isinstance(step, Ask)
    assert step.show == {"sample": Reference(("sample",))}
    assert step.question == Question(
        "Which film is it?",
        "It is on the label.",
        fields={
            "mass": {"type": "number", "unit": "mg", "minimum": 0},
            "batch": {"enum": ["north", "south"]},
            "photo": {"type": "string", "format": "file"},
            "closed": {"type": "boolean", "const": True},
            "note": {"type": "string", "default": ""},
        },
        deadline=7200,
        late="default",
        default={"mass": 1, "batch": "north", "photo": "none", "closed": True},
        remind=1800,
        assignee="anna",
        priority="urgent",
        release=("camera",),
    )
    assert step.question.schema is not None
    assert step.question.schema["required"] == ["mass", "batch", "photo", "closed"]


def test_choices_are_texts_and_so_is_the_answer():
    step = one_step("{ask: Go on?, choices: [yes, no], release: true}")

    assert (step.question.schema, step.question.release) == ({"enum": ["yes", "no"]}, True)


def test_an_experiment_within_has_its_own_parameters_and_a_result():
    experiment = load("""\
experiments:
  wash:
    description: rinse
    parameters: {volume: {default: 5, unit: mL}}
    steps: [{do: pump.dispense, name: d}]
    finally: [{do: pump.drain}]
    result: {left: "${d.left}"}
steps:
- {experiment: wash, name: first, with: {volume: 3}}
finally: [{do: valve.close}]
""")
    wash, (step,) = experiment.experiments["wash"], experiment.steps

    assert isinstance(step, Within)
    assert (step.experiment, step.parameters, step.places["volume"]) == ("wash", {"volume": 3}, Where(9, 42))
    assert wash.parameters["volume"].schema["unit"] == "mL"
    assert wash.result == {"left": Reference(("d", "left"))}
    assert experiment.instruments == ("valve", "pump")


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("steps:\n- parallel: []", 2, 13, "`parallel` has no branch"),
        ("steps:\n- parallel: 5", 2, 13, "`parallel` wants branches"),
        ("steps:\n- parallel: {a b: [{read: i.a}]}", 2, 14, "cannot name a branch"),
        ("steps:\n- parallel: {else: [{read: i.a}]}", 2, 14, "`else` cannot name a branch"),
        ("steps:\n- parallel: {a: {read: i.a}}", 2, 17, "the branch a is a list of steps"),
        (
            "steps:\n- parallel: {a: [{read: i.a, name: x}], b: [{read: i.b, name: x}]}",
            2,
            45,
            "given already in line 2",
        ),
        ("steps:\n- {read: i.a, name: x}\n- steps: [{read: i.b, name: x}]", 3, 11, "given already in line 2"),
        ("steps:\n- repeat: 0\n  steps: [{read: i.a}]", 2, 11, "`repeat` wants a number of turns"),
        ("steps:\n- repeat: many\n  steps: [{read: i.a}]", 2, 11, "here is 'many'"),
        ("steps:\n- repeat: 3", 2, 3, "`repeat` needs `steps`"),
        ("steps:\n- for each: {x: [1], y: [2]}\n  steps: [{read: i.a}]", 2, 3, "`for each` has one variable"),
        ("steps:\n- for each: {x: 5}\n  steps: [{read: i.a}]", 2, 14, "needs a list"),
        ("steps:\n- {read: i.a, until: 5}", 2, 15, "'until' is not a word of a `read` step"),
        ("steps:\n- when: {value: 1, equals: 1}", 2, 3, "needs `steps`"),
        ("steps:\n- steps: [{read: i.a}]\n  else: [{read: i.b}]", 3, 3, "`else` needs `when`"),
        ("steps:\n- {read: i.a, when: yes}", 2, 21, "a condition compares a `value`"),
        ("steps:\n- {read: i.a, when: {value: 1}}", 2, 21, "compares with nothing"),
        ("steps:\n- {read: i.a, when: {value: 1, abov: 1, above: 2}}", 2, 32, "Did you mean above"),
        ("steps:\n- {read: i.a, when: {value: 1, one of: 5}}", 2, 40, "`one of` wants a list"),
        ("steps:\n- {read: i.a, when: {all: []}}", 2, 27, "a list of conditions"),
        ("steps:\n- {read: i.a, when: {value: '${x} > 1', equals: 1}}", 2, 29, "mixes text and a reference"),
        ("steps:\n- {do: i.a, retry: 0}", 2, 20, "whole number of attempts from 1"),
        ("steps:\n- {do: i.a, retry: {atempts: 2}}", 2, 21, "Did you mean attempts"),
        ("steps:\n- {do: i.a, retry: {factor: 0.5}}", 2, 29, "`factor` is a number from 1"),
        ("steps:\n- {do: i.a, timeout: soon}", 2, 22, "'soon' is not a duration. Write for instance 30 s"),
        ("steps:\n- {do: i.a, timeout: 0}", 2, 22, "between 0 and a year"),
        ("steps:\n- {do: i.a, timeout: 20000 d}", 2, 22, "between 0 and a year"),
        ("steps:\n- {do: i.a, on failure: goon}", 2, 25, "Did you mean go on"),
        ("steps:\n- {steps: [{read: i.a}], on failure: ask}", 2, 38, "`on failure` is one of fail, go on"),
        ("steps:\n- {save: {x: 1}, retry: 2}", 2, 18, "'retry' is not a word of a `save` step"),
        ("steps:\n- {do: i.a, finally: [{read: i.b}]}", 2, 13, "'finally' is not a word of a `do` step"),
        ("steps:\n- wait: a while", 2, 9, "not a duration"),
        ("steps:\n- wait:", 2, 8, "nothing is not a duration"),
        ("steps:\n- ask:", 2, 7, "needs the text of the question"),
        ("steps:\n- ask: x\n  choices: [abort]", 3, 13, "has a meaning already"),
        ("steps:\n- ask: x\n  choices: [1]", 3, 13, "a choice is a text"),
        ("steps:\n- ask: x\n  choices: []", 3, 12, "is a list of texts"),
        ("steps:\n- ask: x\n  choices: [a]\n  fields: {b: text}", 4, 3, "`choices` or `fields`"),
        ("steps:\n- ask: x\n  fields: {b: numbr}", 3, 15, "Did you mean number"),
        ("steps:\n- ask: x\n  fields: {b: {type: number, units: mm}}", 3, 30, "Did you mean unit"),
        ("steps:\n- ask: x\n  fields: {b: 5}", 3, 15, "the field b needs a type"),
        ("steps:\n- ask: x\n  late: fail", 3, 3, "`late` needs a `deadline`"),
        ("steps:\n- ask: x\n  deadline: 1 h\n  late: default", 4, 3, "belong together"),
        ("steps:\n- ask: x\n  priority: hihg", 3, 13, "Did you mean high"),
        ("steps:\n- ask: x\n  release: camera", 3, 12, "true or a list of instruments"),
        ("steps:\n- {steps: [{read: i.a}], name: finally}", 2, 32, "`finally` cannot name a block"),
        ("steps:\n- experiment: wash", 2, 3, "there is no experiment 'wash' here"),
        ("experiments: {wash: wash.yaml}\nsteps: [{experiment: wash}]", 1, 21, "is not part of this text"),
        ("experiments: {a: {}}\nsteps: [{read: i.a}]", 1, 18, "the experiment a has no `steps`"),
        ("experiments: {a: 5}\nsteps: [{read: i.a}]", 1, 18, "an experiment is a mapping"),
        ("experiments: {else: {steps: [{read: i.a}]}}\nsteps: [{read: i.a}]", 1, 15, "`else` cannot name"),
        ("experiments: {a: {steps: [{experiment: a}]}}\nsteps: [{read: i.a}]", 1, 18, "calls itself"),
        ("experiments: {a: {steps: [{experiment: b}]}}\nsteps: [{read: i.a}]", 1, 27, "there is no experiment 'b'"),
        ("experiments: {a: {steps: [{read: i.a}], when: 5}}\nsteps: [{read: i.a}]", 1, 41, "'when' is not a word"),
        ("steps: [{read: i.a}]\nfinally: 5", 2, 10, "`finally` is a list of steps"),
    ],
)
def test_a_fault_says_what_and_where(text, line, column, said):
    found = fault(text)

    assert (found["line"], found["column"]) == (line, column), found
    assert said in f"{found['detail']} {found['way_out']}"


def test_a_circle_of_experiments_is_told_of_each_in_it():
    text = "experiments:\n  a: {steps: [{experiment: b}]}\n  b: {steps: [{experiment: a}]}\nsteps: [{read: i.a}]"

    with pytest.raises(InvalidError) as refused:
        load(text)

    assert [each["line"] for each in refused.value.faults] == [2, 3]


@pytest.mark.parametrize("length", [1000, 59, 58])
def test_experiments_that_call_each_other_in_a_long_row_are_refused(length):
    rows = [f"  e{n}: {{steps: [{{experiment: e{n + 1}}}]}}" for n in reversed(range(length))]
    text = "\n".join(["experiments:", *rows, f"  e{length}: {{steps: [{{read: i.a}}]}}", "steps: [{experiment: e0}]"])

    if length < 59:
        assert len(load(text).experiments) == length + 1
    else:
        assert "more than 60 blocks stand in each other here" in fault(text)["detail"]


WORDS = st.sampled_from(
    [
        *("do", "read", "set", "to", "with", "save", "sweep", "zip", "steps", "when", "else", "finally", "parallel"),
        *("for each", "repeat", "until", "experiment", "experiments", "files", "ask", "choices", "fields", "wait"),
        *("retry", "timeout", "on failure", "name", "parameters", "value", "above", "all", "any", "one of", "result"),
        *("deadline", "late", "default", "release", "priority", "show", "type", "minimum"),
    ]
)
SCALAR = st.sampled_from([1, 0, -1, 2.5, True, None, "a", "i.a", "${a}", "${a.b}", "30 s", "go on", "number", ""])
ANYTHING = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(WORDS, ANYTHING, max_size=4), max_size=4), st.dictionaries(WORDS, ANYTHING, max_size=3))
def test_whatever_stands_in_a_file_is_read_or_refused_with_places(steps, more):
    """No word in any place is a surprise."""
    faults: list[dict[str, Any]] | None = None
    try:
        load(json.dumps({**more, "steps": steps}))
    except InvalidError as error:
        faults = error.faults

    assert faults is None or (faults and all(each["line"] and each["column"] for each in faults))
