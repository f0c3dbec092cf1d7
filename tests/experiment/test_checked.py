"""What the check lets through can be walked: no reference leads nowhere, whatever fails or is passed over."""

import contextlib
import itertools
import json
import re
from typing import Any

from hypothesis import HealthCheck, event, given, settings, strategies as st

from labretto.errors import FailedError, InvalidError
from labretto.experiment.check import check
from labretto.experiment.count import step_bounds
from labretto.experiment.follow import follow
from labretto.experiment.load import load_object
from labretto.experiment.model import Experiment

from .conftest import MOTOR, POTENTIOSTAT, STAGE

LAB = {"stage": STAGE, "potentiostat": POTENTIOSTAT, "motor": MOTOR}
ANSWERS: dict[str, Any] = {
    "stage.move": 5.0,
    "stage.x": 7.0,
    "potentiostat.cell": True,
    "stage.move_to": {"x": 1.0, "y": 2.0},
    "potentiostat.cyclic_voltammetry": {"potential": [0.1, 0.2], "current": [1e-6, 2e-6]},
}


class Lab:
    """Answers as the descriptions say; every n-th step fails."""

    def __init__(self, every: int) -> None:
        self.count = itertools.count(1)
        self.every = every
        self.done = 0

    async def call(self, path, instrument, action, parameters, *, policy):
        assert not any(value is None for value in parameters.values())
        return self._outcome(f"{instrument}.{action}", policy)

    async def read(self, path, instrument, attribute, *, policy):
        return self._outcome(f"{instrument}.{attribute}", policy)

    async def write(self, path, instrument, attribute, value, *, policy):
        assert value is not None
        return self._outcome(f"{instrument}.{attribute}", policy)

    async def save(self, path, row):
        self.done += 1

    async def ask(self, path, question):
        self.done += 1
        return question.choices[0] if question.choices else {"x": 1.0}

    async def sleep(self, path, seconds):
        self.done += 1

    @contextlib.asynccontextmanager
    async def cleaning(self):
        yield

    def _outcome(self, what, policy):
        self.done += 1
        if next(self.count) % self.every == 0:
            if policy.on_failure == "go on":
                return None
            raise FailedError(what)
        return ANSWERS.get(what)


NAMES = st.sampled_from("efgh")
REFERENCE = st.sampled_from(
    [
        "${a}",
        "${b}",
        "${c}",
        "${d}",
        "${a.x}",
        "${b.potential}",
        "${b.potential.0}",
        "${c.y}",
        "${p}",
        "${v}",
        "${d.x}",
        "${e}",
        "${f}",
        "${e.x}",
    ]
)
NUMBER = st.one_of(st.integers(0, 90), REFERENCE)
COMPARISON = st.one_of(
    st.fixed_dictionaries({"value": REFERENCE, "above": NUMBER}),
    st.fixed_dictionaries({"value": REFERENCE, "is not": st.none()}),
    st.fixed_dictionaries({"value": REFERENCE, "equals": st.sampled_from([1, True, "go", None])}),
)
CONDITION = st.one_of(COMPARISON, st.lists(COMPARISON, min_size=1, max_size=2))
MORE: dict[str, Any] = {"name": NAMES, "when": CONDITION}
POLICY = {**MORE, "on failure": st.sampled_from(["go on", "fail"])}


def _step(words, optional):
    return st.fixed_dictionaries(words, optional=optional)


LEAF = st.one_of(
    _step({"do": st.just("stage.move"), "with": st.fixed_dictionaries({"x": NUMBER})}, POLICY),
    _step({"do": st.just("stage.move_to"), "with": st.just({"sample": "A1"})}, POLICY),
    _step({"do": st.just("potentiostat.cyclic_voltammetry"), "with": st.just({"scan_rate": 1})}, POLICY),
    _step({"read": st.just("stage.x")}, POLICY),
    _step({"set": st.just("potentiostat.cell"), "to": st.sampled_from([True, "${d}", "${a}"])}, POLICY),
    _step({"save": st.dictionaries(st.just("s"), REFERENCE, min_size=1)}, {"when": CONDITION}),
    _step({"ask": st.just("Go?"), "choices": st.just(["go", "stay"])}, MORE),
    _step({"ask": st.just("Where?"), "fields": st.just({"x": {"type": "number", "unit": "mm"}})}, MORE),
    _step({"experiment": st.just("part")}, {**POLICY, "with": st.fixed_dictionaries({"to": NUMBER})}),
)


USE = st.sampled_from(["${a}", "${c.x}", "${d.x}", "${b.potential.0}"]).flatmap(
    lambda reference: st.one_of(
        st.just({"do": "stage.move", "with": {"x": reference}}),
        st.just(
            {"do": "stage.move", "with": {"x": reference}, "when": {"value": f"${{{reference[2]}}}", "is not": None}}
        ),
        st.just({"read": "stage.x", "when": {"value": reference, "above": 1}}),
    )
)
"""Something that needs what it refers to."""


def _blocks(inner):
    steps = st.lists(inner, min_size=1, max_size=4)
    ends = {"finally": steps, "when": CONDITION, "on failure": st.sampled_from(["go on", "fail"])}
    return st.one_of(
        _step({"repeat": st.integers(1, 2), "steps": steps}, {**ends, "until": CONDITION}),
        _step(
            {"for each": st.fixed_dictionaries({"v": st.sampled_from([[1, 2], "${b.potential}"])}), "steps": steps},
            ends,
        ),
        _step({"sweep": st.just({"v": [1, 2]}), "steps": steps}, ends),
        _step({"steps": steps}, ends),
        _step({"parallel": st.lists(steps, min_size=1, max_size=3)}, ends),
        _step({"when": CONDITION, "steps": steps, "else": steps}, {}),
    )


MAYBE = {"when": st.just({"value": "${p}", "above": 1}), "on failure": st.just("go on")}
GIVEN = st.tuples(
    _step({"do": st.just("stage.move"), "with": st.just({"x": 1}), "name": st.just("a")}, MAYBE),
    _step(
        {"do": st.just("potentiostat.cyclic_voltammetry"), "with": st.just({"scan_rate": 1}), "name": st.just("b")},
        MAYBE,
    ),
    _step({"do": st.just("stage.move_to"), "with": st.just({"sample": "A1"}), "name": st.just("c")}, MAYBE),
    _step({"experiment": st.just("part"), "name": st.just("d")}, MAYBE),
).map(list)
"""Something to refer to."""
STEPS = st.lists(st.recursive(USE | LEAF, _blocks, max_leaves=6), min_size=1, max_size=6)
PART = st.fixed_dictionaries(
    {
        "parameters": st.just({"to": 3}),
        "steps": st.lists(LEAF.filter(lambda each: "experiment" not in each), min_size=1),
    },
    optional={"result": st.fixed_dictionaries({"x": st.sampled_from(["${to}", "${e}", "${f.x}"])})},
)


def _faultless(text: dict[str, Any]) -> Experiment | None:
    """The experiment without the steps at which there is a fault; None if nothing is left."""
    for _ in range(100):
        try:
            experiment = load_object(text)
        except InvalidError as error:
            paths = [fault["path"] for fault in error.faults]
        else:
            paths = [fault.path for fault in check(experiment, {}, LAB)]
            if not paths:
                return experiment
        if not text["steps"] or not _without(text, paths[0]):
            return None
    return None


def _without(text: Any, path: str) -> bool:
    """Take the innermost step on a path out of its list; else the result of the experiment within."""
    innermost, node = None, text
    for number, word in re.findall(r"\[(\d+)\]|([^.\[\]]+)", path):
        if number:
            innermost = (node, int(number)) if node and isinstance(node[0], dict) else innermost
            node = node[int(number)]
        else:
            node = (node[int(word)] if isinstance(node, list) else node.get(word)) if node else None
        if not isinstance(node, list | dict):
            break
    if innermost is None:
        return (
            path.startswith("experiments.part.result") and text["experiments"]["part"].pop("result", None) is not None
        )
    del innermost[0][innermost[1]]
    return True


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(GIVEN, STEPS, PART, st.integers(2, 30), st.sampled_from([0, 2]))
async def test_what_the_check_lets_through_never_meets_a_reference_that_leads_nowhere(before, steps, part, every, p):
    text = {"parameters": {"p": p}, "experiments": {"part": part}, "steps": before + steps}
    experiment = _faultless(json.loads(json.dumps(text)))
    if experiment is None:
        return
    lab = Lab(every)

    with contextlib.suppress(FailedError):
        await follow(experiment, {}, lab)

    event(f"about {lab.done // 5 * 5} steps")
    most = step_bounds(experiment, {}).most
    assert most is None or lab.done <= most
