"""Walking an experiment: the order, the paths, the values that arrive."""

import itertools
from typing import Any

import pytest
from hypothesis import given, strategies as st

from labretto.errors import InvalidError
from labretto.experiment.count import count_steps
from labretto.experiment.follow import follow
from labretto.experiment.load import load, load_object


class Notebook:
    """A walk that writes down what it is asked to do and answers from a table."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.answers = answers or {}

    async def call(self, path, instrument, action, parameters, *, policy):
        return self._note(path, f"{instrument}.{action}", dict(parameters))

    async def read(self, path, instrument, attribute, *, policy):
        return self._note(path, f"{instrument}.{attribute}")

    async def write(self, path, instrument, attribute, value, *, policy):
        return self._note(path, f"{instrument}.{attribute}", value)

    async def save(self, path, row):
        self._note(path, "save", dict(row))

    def _note(self, path, what, *values):
        self.done.append((path, what, *values))
        return self.answers.get(what)

    @property
    def paths(self):
        return [path for path, *_ in self.done]


async def walked(text: str, answers: dict[str, Any] | None = None, **parameters: Any) -> Notebook:
    notebook = Notebook(answers)
    await follow(load(text), parameters, notebook)
    return notebook


async def test_the_main_job_is_walked_sample_by_sample(scan):
    curve = {"potential": [0.1, 0.2]}

    notebook = await walked(scan, {"potentiostat.cyclic_voltammetry": curve, "stage.x": 7.5}, scan_rate=0.5)

    assert notebook.paths[:5] == [
        *("sweep[0]/stage.move_to", "sweep[0]/cv", "sweep[0]/x", "sweep[0]/save"),
        "sweep[1]/stage.move_to",
    ]
    assert notebook.done[0] == ("sweep[0]/stage.move_to", "stage.move_to", {"sample": "A1"})
    assert notebook.done[1][2] == {"scan_rate": 0.5}
    assert notebook.done[11][2] == {"sample": "A3", "potential": [0.1, 0.2], "x": 7.5}


async def test_the_last_variable_of_a_grid_runs_fastest_and_a_zip_inside_it():
    text = """\
steps:
- sweep: {a: [1, 2]}
  zip: {b: [3, 4], c: [x, y]}
  steps: [{do: i.f, with: {a: "${a}", b: "${b}", c: "${c}"}}]
"""
    notebook = await walked(text)

    assert [tuple(values.values()) for _, _, values in notebook.done] == [
        *((1, 3, "x"), (1, 4, "y")),
        *((2, 3, "x"), (2, 4, "y")),
    ]


async def test_steps_of_one_kind_in_one_list_get_different_paths():
    inner = "{sweep: {v: [1]}, steps: [{read: i.a}]}"

    notebook = await walked(f"steps: [{{read: i.a}}, {{read: i.a}}, {{do: i.a, name: n}}, {inner}, {inner}]")

    assert notebook.paths == ["i.a", "i.a~2", "n", "sweep[0]/i.a", "sweep~2[0]/i.a"]


async def test_a_reference_keeps_its_type_and_looks_into_what_it_finds():
    text = """\
steps:
- {do: i.f, name: f}
- {set: i.a, to: ["${f}", "${f.list.-1.key}", "${f.flag}"]}
"""
    answer = {"list": [0, {"key": 5}], "flag": True}

    notebook = await walked(text, {"i.f": answer})

    assert notebook.done[1][2] == [answer, 5, True]


async def test_the_innermost_name_counts_and_is_forgotten_after_its_sweep():
    text = """\
parameters: {v: outside}
steps:
- sweep: {v: [inside]}
  steps: [{set: i.a, to: "${v}"}]
- {set: i.a, to: "${v}"}
"""
    notebook = await walked(text)

    assert [value for _, _, value in notebook.done] == ["inside", "outside"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("f.lsit", "Did you mean list?"),
        ("f.list.7", "is a list of 1 and has no position 7"),
        ("f.list.x", "has no position x"),
        ("f.text.0", "is a single value"),
        ("f.list.__len__", "has no position __len__"),
        ("f.object.secret", "is a single value"),
    ],
)
async def test_a_reference_that_leads_nowhere_is_refused_before_its_step(reference, message):
    class Foreign:
        secret = "never read"

    notebook = Notebook({"i.f": {"list": [1], "text": "abc", "object": Foreign()}})
    text = f"steps: [{{do: i.f, name: f}}, {{set: i.a, to: '${{{reference}}}'}}]"

    with pytest.raises(InvalidError, match="line 1") as refused:
        await follow(load(text), {}, notebook)

    assert message in str(refused.value)
    assert notebook.paths == ["f"]


async def test_an_error_of_a_step_ends_the_walk():
    class Breaking(Notebook):
        async def read(self, path, instrument, attribute, *, policy):
            raise RuntimeError("the cable is loose")

    with pytest.raises(RuntimeError, match="cable"):
        await follow(load("steps: [{read: i.a}]"), {}, Breaking())


def test_steps_are_counted_without_walking():
    sweep = {"sweep": {name: list(range(1000)) for name in "abcdef"}, "steps": [{"read": "i.a"}, {"save": {"a": 1}}]}

    assert count_steps(load_object({"steps": [sweep, {"read": "i.a"}]}), {}) == 2 * 1000**6 + 1


def test_the_count_follows_the_parameters():
    experiment = load("parameters: {xs: [1]}\nsteps: [{sweep: {x: '${xs}'}, steps: [{read: i.a}]}]")

    assert (count_steps(experiment, {}), count_steps(experiment, {"xs": [1, 2, 3]})) == (1, 3)


LEAF = st.sampled_from(
    [{"read": "i.a"}, {"do": "i.f"}, {"do": "i.g", "name": "n"}, {"save": {"x": 1}}, {"set": "i.a", "to": 1}]
)


def _sweeps(inner):
    names = itertools.cycle("abc")
    lists = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=3), max_size=2)
    steps = st.lists(inner, min_size=1, max_size=4)

    def sweep(grid, length, steps):
        grid = {f"{next(names)}{number}": values for number, values in enumerate(grid)}
        return {"sweep": grid, "zip": {"y": list(range(length)), "z": list(range(length))}, "steps": steps}

    return st.builds(sweep, lists, st.integers(1, 3), steps)


STEPS = st.lists(st.recursive(LEAF, _sweeps, max_leaves=6), min_size=1, max_size=5)


def _named_once(steps):
    seen = False
    for step in steps:
        if "name" in step and seen:
            step = {key: value for key, value in step.items() if key != "name"}
        seen = seen or "name" in step
        yield {**step, "steps": list(_named_once(step["steps"]))} if "steps" in step else step


@given(STEPS)
async def test_paths_are_unique_and_the_same_on_every_walk(steps):
    """A step's identity must find the same step again after a crash, and never another one."""
    experiment = load_object({"steps": list(_named_once(steps))})
    first, second = Notebook(), Notebook()

    await follow(experiment, {}, first)
    await follow(experiment, {}, second)

    assert first.done == second.done
    assert len(set(first.paths)) == len(first.paths) == count_steps(experiment, {})
