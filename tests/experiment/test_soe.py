"""The HELAO tutorial's experiments, read into the same model."""

import json

import pytest

from labretto.errors import InvalidError
from labretto.experiment.check import check
from labretto.experiment.load import load, load_object
from labretto.experiment.model import Call, Read
from labretto.experiment.paths import paths
from labretto.experiment.soe import settle

TUTORIAL = {
    "soe": ["motor/move_1", "motor/move_2", "motor/getPos"],
    "params": {"move_1": {"loc": "[5, 5, 5]"}, "move_2": {"loc": [1, 2, 3], "label": "[1]"}, "getPos": {}},
}


def said(body, lab):
    experiment = load_object(body)
    return [str(fault) for fault in check(experiment, {}, lab)]


def test_the_tutorials_experiment_has_its_entries_as_paths(lab):
    experiment = load_object(TUTORIAL)

    assert experiment.format == "soe"
    assert paths(experiment.steps) == ("move_1", "move_2", "getPos")
    assert [step.action for step in experiment.steps] == ["move", "move", "getPos"]
    assert check(experiment, {}, lab) == []


def test_json_text_is_decoded_where_no_text_is_wanted(lab):
    first, second, _ = settle(load_object(TUTORIAL), lab).steps

    assert first.parameters == {"loc": [5, 5, 5]}
    assert second.parameters == {"loc": [1, 2, 3], "label": "[1]"}


def test_a_number_becomes_text_where_only_text_is_wanted(lab):
    (step,) = settle(
        load_object({"soe": ["motor/move_1"], "params": {"move_1": {"label": 5, "loc": "[1e999]"}}}), lab
    ).steps

    assert step.parameters == {"label": "5", "loc": "[1e999]"}


def test_settling_twice_is_settling_once(lab):
    once = settle(load_object(TUTORIAL), lab)

    assert settle(once, lab) == once


@pytest.mark.parametrize(
    ("entry", "action"),
    [("read_back_1", "read_back"), ("read_back", "read_back"), ("getPos_12", "getPos"), ("move_fast", "move")],
)
def test_an_action_is_found_under_the_names_the_original_accepts(entry, action, lab):
    experiment = settle(load_object({"soe": [f"motor/{entry}"], "params": {}}), lab)

    assert experiment.steps[0].action == action


@pytest.mark.parametrize(
    ("entry", "kind", "meant"), [("motor/whereIs_1", Read, "position"), ("motor/fahre_1", Call, "move")]
)
def test_an_old_name_means_an_attribute_or_an_action(entry, kind, meant):
    described = {
        "attributes": {"position": {"schema": {}, "writable": False}},
        "actions": {"move": {"parameters": {}, "result": {}}},
        "compat": {"whereIs": "position", "fahre": "move"},
    }
    (step,) = settle(load_object({"soe": [entry], "params": {}}), {"motor": described}).steps

    assert isinstance(step, kind)
    assert (step.attribute if isinstance(step, Read) else step.action) == meant
    assert step.name == entry.partition("/")[2]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"soe": ["pump/move_1"], "params": {"move_1": {}}}, "there is no instrument 'pump'"),
        ({"soe": ["motor/mvoe_1"], "params": {"mvoe_1": {}}}, "Did you mean move?"),
        ({"soe": ["motor/move_1"], "params": {}}, 'Add it to params: {"move_1": {"loc": ...}}'),
        ({"soe": ["motor/move_1"], "params": {"move_1": {"loc": "[5, 5, 500]"}}}, "loc[2]=500 mm is above 100 mm"),
        ({"soe": ["motor/move_1"], "params": {"move_1": {"loc": "[5, 5"}}}, 'loc="[5, 5" is not a list'),
        ({"soe": ["motor/move_1"], "params": {"move_1": {"loc": "[5, 5]"}}}, "has 2 values, fewer than 3"),
    ],
)
def test_what_can_never_run_is_told_before_it_starts(body, message, lab):
    (found,) = said(body, lab)

    assert message in found


@pytest.mark.parametrize(
    "body",
    [{"soe": []}, {"soe": "motor/move_1"}, {"soe": [5]}, {"soe": ["motor"]}, {"soe": ["motor/move_1"], "params": 5}],
)
def test_what_is_no_list_of_entries_is_refused(body):
    with pytest.raises(InvalidError) as refused:
        load(json.dumps(body))

    assert refused.value.faults[0]["line"] == 1


def test_a_dollar_sign_means_nothing_here():
    experiment = load_object({"soe": ["motor/move_1"], "params": {"move_1": {"label": "${x}"}}})

    assert experiment.steps[0].parameters == {"label": "${x}"}
