"""The night run of `examples/night_run`: it stands up to its lab's descriptions, and it is done to its end."""

import importlib
from pathlib import Path

import pytest

from labretto.experiment.check import check, columns
from labretto.experiment.count import Bounds, step_bounds
from labretto.experiment.inline import inline
from labretto.experiment.load import load
from labretto.experiment.model import Experiment
from labretto.instrument.describe import describe
from labretto.lab import load_lab

FOLDER = Path(__file__).parents[2] / "examples/night_run"


@pytest.fixture(scope="module")
def descriptions():
    found = {}
    for name, each in load_lab(FOLDER / "lab.toml").instruments.items():
        module, _, driver = str(each.driver).partition(":")
        found[name] = describe(getattr(importlib.import_module(module), driver), name=name).description.as_dict()
    return found


@pytest.fixture(scope="module")
def night() -> Experiment:
    return load(inline((FOLDER / "night.yaml").read_text(), FOLDER))


def test_nothing_stands_against_it(night, descriptions):
    assert check(night, {}, descriptions) == []


def test_a_temperature_that_the_furnace_cannot_reach_is_told_before_anything_moves(night, descriptions):
    (fault,) = check(night, {"temperatures": [300, 1300]}, descriptions)

    assert "1300 degC is above 1200 degC" in str(fault)


def test_its_columns_have_units(night, descriptions):
    units = {name: schema.get("unit") for name, schema in columns(night, descriptions).items()}

    assert units == {"temperature": "degC", "rest": "V", "potential": "V", "current": "A", "photo": "count"}


def test_its_steps_are_counted_with_and_without_what_depends_on_results(night):
    assert step_bounds(night, {}) == Bounds(29, 37)
