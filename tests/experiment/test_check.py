"""What stands against an experiment, told before anything moves."""

import pytest
from hypothesis import given, strategies as st

from labretto.experiment.check import check, columns
from labretto.experiment.load import load, load_object


def said(text, lab, **parameters):
    """The faults as their sentences."""
    return [str(fault) for fault in check(load(text), parameters, lab)]


def steps(*lines):
    return "\n".join(["steps:", *(f"  {line}" for line in lines)])


def test_the_main_job_has_no_fault(scan, lab):
    assert said(scan, lab) == []


def test_what_is_missing_in_a_step_is_told_before_what_is_wrong_below_it(lab):
    text = steps("- do: stage.move", "  with: {speed: fast}")

    assert [fault.line for fault in check(load(text), {}, lab)] == [2, 3]


def test_all_faults_come_at_once_in_file_order(lab):
    text = steps(
        "- do: stag.move",
        "- do: stage.mvoe",
        "- do: stage.move",
        "  with: {z: 1}",
        "- do: stage.move",
        "  with: {x: 150}",
        "- set: stage.x",
        "  to: 5",
        "- read: stage.temperature",
        "- save: {x: '${nothing}'}",
    )
    assert said(text, lab) == [
        "line 2, column 5: there is no instrument 'stag'. Did you mean stage?",
        "line 3, column 5: stage has no action 'mvoe'. Did you mean move?",
        "line 4, column 5: stage.move: x (mm) is missing. Add x to `with`.",
        "line 5, column 12: stage.move has no parameter 'z'. Known here: x, speed.",
        "line 7, column 12: stage.move: x=150 mm is above 100 mm.",
        "line 8, column 5: stage.x can be read but not set. Can be set: velocity.",
        "line 10, column 5: stage has no attribute 'temperature'. Known here: x, velocity.",
        "line 11, column 15: ${nothing}: nothing is named nothing. No name is known here.",
    ]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{do: stage.move, with: {x: five}}", 'stage.move: x="five" is not a number in mm'),
        ("{do: stage.move, with: {x: -1}}", "x=-1 mm is below 0 mm"),
        ("{do: stage.move, with: {x: true}}", "x=true is not a number in mm"),
        ("{do: stage.move_to, with: {sample: A11}}", 'sample="A11" is none of A1, A2, A3; did you mean A1?'),
        ("{do: motor.move, with: {loc: [1, 2, 300]}}", "loc[2]=300 mm is above 100 mm"),
        ("{do: motor.move, with: {loc: [1, 2]}}", "loc=[1, 2] has 2 values, fewer than 3"),
        ("{set: stage.velocity, to: 0}", "stage.velocity=0 mm/s is not above 0 mm/s"),
        ("{do: stage.x}", "It is an attribute: use `read` or `set`"),
        ("{read: stage.move}", "It is an action: use `do`"),
        ("{do: stage.home, with: {x: 1}}", "It takes no parameters"),
    ],
)
def test_a_value_is_told_with_what_is_wanted_and_the_unit(step, message, lab):
    (found,) = said(f"steps: [{step}]", lab)

    assert message in found


def test_every_value_of_a_sweep_is_checked_where_it_is_used(lab):
    text = steps("- sweep: {x: [0, 50, 150, -3]}", "  steps:", "  - do: stage.move", "    with: {x: '${x}'}")

    assert said(text, lab) == [
        "line 5, column 14: stage.move: x=150 mm is above 100 mm (value 3 of the sweep over x).",
        "line 5, column 14: stage.move: x=-3 mm is below 0 mm (value 4 of the sweep over x).",
    ]


def test_many_wrong_values_of_one_sweep_are_counted_not_listed(lab):
    text = steps(f"- sweep: {{x: {list(range(101, 201))}}}", "  steps:", "  - {do: stage.move, with: {x: '${x}'}}")

    found = said(text, lab)

    assert len(found) == 6
    assert "95 more values" in found[-1]


def test_a_reference_inside_a_list_is_put_in_and_an_unknown_one_left_open(lab):
    text = steps(
        "- {do: stage.move, with: {x: 1}, name: moved}",
        "- sweep: {x: [1, 200]}",
        "  steps:",
        "  - {do: motor.move, with: {loc: ['${x}', '${moved}', 5]}}",
    )
    (found,) = said(text, lab)

    assert "loc[0]=200 mm is above 100 mm (value 2 of the sweep over x)" in found


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("cv.potental", "cv has no potental. Did you mean potential?"),
        ("cv.potential.first", "cv.potential is a list and has no first"),
        ("at.x", "at is a number and has no part x"),
        ("moved.z", "moved has no z"),
        ("held.potential", "held has no potential"),
        ("later", "later comes later, in line 9"),
        ("inner", "inner of line 7 is not known here"),
        ("v", "v of line 6 is not known here"),
        ("loop", "loop of line 6 has no result"),
        ("cvv", "Did you mean cv?"),
        ("rates.5", "rates is a list of 2 and has no position 5"),
    ],
)
def test_a_reference_that_can_lead_nowhere_is_told(reference, message, lab):
    text = steps(
        "- {do: potentiostat.cyclic_voltammetry, with: {scan_rate: 1}, name: cv}",
        "- {read: stage.x, name: at}",
        "- {do: stage.move_to, with: {sample: A1}, name: moved}",
        "- {do: potentiostat.hold, with: {potential: 0}, name: held}",
        "- {name: loop, sweep: {v: [1]}, steps: [",
        "     {read: stage.x, name: inner}]}",
        f"- save: {{value: '${{{reference}}}'}}",
        "- {read: stage.x, name: later}",
    )
    (found,) = said(text + "\nparameters: {rates: [1, 2]}", lab)

    assert message in found


@pytest.mark.parametrize("reference", ["cv.potential", "cv.potential.-1", "at", "moved.x", "held.current.0", "rates.1"])
def test_a_reference_that_can_lead_somewhere_is_not_at_fault(reference, lab):
    text = steps(
        "- {do: potentiostat.cyclic_voltammetry, with: {scan_rate: 1}, name: cv}",
        "- {read: stage.x, name: at}",
        "- {do: stage.move_to, with: {sample: A1}, name: moved}",
        "- {do: potentiostat.hold, with: {potential: 0}, name: held}",
        f"- save: {{value: '${{{reference}}}'}}",
    )
    assert said(text + "\nparameters: {rates: [1, 2]}", lab) == []


def test_a_result_of_the_wrong_kind_is_told(lab):
    text = steps(
        "- {do: potentiostat.cyclic_voltammetry, with: {scan_rate: 1}, name: cv}",
        "- {do: stage.move, with: {x: '${cv.potential}'}}",
    )
    assert "stage.move: x=${cv.potential} is not a number but a list" in said(text, lab)[0]


PARAMETERS = "parameters: {rate: {default: 0.1, unit: V/s, maximum: 1}, x: {type: number, unit: mm}}\n"
USES = "steps: [{do: stage.move, with: {x: '${x}'}}, {do: potentiostat.hold, with: {potential: '${rate}'}}]"


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ({"x": 5}, []),
        ({}, ["parameter x (mm) is missing"]),
        ({"x": 5, "rate": 2}, ["parameter rate=2 V/s is above 1 V/s"]),
        ({"x": 5, "rats": 2}, ["there is no parameter 'rats'. Did you mean rate?"]),
        ({"x": "far", "y": 1}, ["there is no parameter 'y'", 'parameter x="far" is not a number in mm']),
        ({"x": 500}, ["stage.move: x=500 mm is above 100 mm"]),
    ],
)
def test_the_submitters_parameters_are_checked_like_the_file(given, messages, lab):
    found = said(PARAMETERS + USES, lab, **given)

    assert len(found) == len(messages)
    assert all(message in sentence for message, sentence in zip(messages, found, strict=True))


def test_a_default_that_does_not_fit_is_told(lab):
    assert (
        "parameter p=5 is above 1"
        in said("parameters: {p: {default: 5, maximum: 1}}\nsteps: [{read: stage.x}]", lab)[0]
    )


def test_a_parameter_whose_schema_is_none_is_told(lab):
    text = "parameters: {p: {default: 5, minimum: low}}\nsteps: [{read: stage.x}]"

    assert "its schema cannot be used: minimum: 'low' is not of type 'number'" in said(text, lab)[0]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ("sweep: {x: '${rate}'}", "${rate}, is 0.1, not a list"),
        ("sweep: {x: '${none}'}", "${none}, is empty"),
        ("sweep: {x: '${at}'}", "is not a parameter"),
        ("sweep: {x: ['${rate}']}", "contains a reference"),
        ("sweep: {x: '${xs2}'}", "Did you mean xs?"),
        ("zip: {x: [1, 2], y: '${xs}'}", "differ in length: x has 2, y has 3"),
    ],
)
def test_the_lists_of_a_sweep_must_be_known_and_fit(variables, message, lab):
    text = (
        f"steps:\n- {{read: stage.x, name: at}}\n- {variables}\n  steps: [{{do: stage.move, with: {{x: '${{x}}'}}}}]\n"
    )

    (found,) = said(text + "parameters: {rate: 0.1, none: [], xs: [1, 2, 3]}", lab)

    assert message in found


def test_a_list_from_a_parameter_is_checked_value_by_value(lab):
    text = "parameters: {xs: [1, 2]}\nsteps: [{sweep: {x: '${xs}'}, steps: [{do: stage.move, with: {x: '${x}'}}]}]"

    assert said(text, lab) == []
    assert "x=500 mm is above" in said(text, lab, xs=[1, 500])[0]


def test_a_fault_names_its_place_by_its_words(lab):
    (fault,) = check(load("steps: [{sweep: {x: [1]}, steps: [{do: stage.move, with: {x: 101}}]}]"), {}, lab)

    assert (fault.path, fault.line, fault.column) == ("steps[0].steps[0].with.x", 1, 59)


def test_a_description_that_is_at_fault_is_told_not_raised():
    lab = {"stage": {"actions": {"move": {"parameters": {"x": {"schema": {"$ref": "https://example.org/x"}}}}}}}

    assert "schema cannot be used" in said("steps: [{do: stage.move, with: {x: 1}}]", lab)[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1e3, 1e3) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["x", "speed", "loc"]), JSON), st.dictionaries(st.sampled_from(["p", "q"]), JSON)
)
def test_no_value_makes_the_check_itself_fail(values, parameters):
    body = {
        "parameters": {"p": None, "l": [1]},
        "steps": [{"do": "stage.move", "with": values}, {"sweep": {"v": "${p}"}, "steps": [{"do": "motor.move"}]}],
    }
    experiment = load_object({**body, "steps": [{"set": "stage.velocity", "to": "${p.0}"}, *body["steps"]]})
    stage = {"x": {"schema": {"type": "number"}}, "speed": {"schema": {"enum": [1, "a"]}}}
    lab = {"stage": {"actions": {"move": {"parameters": stage}}, "attributes": {"velocity": {"writable": True}}}}

    assert check(experiment, parameters, lab)


def test_a_hopeless_experiment_ends_after_two_hundred_faults(lab):
    lines = [f"- {{do: stage.home, name: n{i}}}\n- {{save: {{x: '${{m{i}}}'}}}}" for i in range(1000)]

    assert len(said("steps:\n" + "\n".join(lines), lab)) == 200


def test_a_saved_column_has_the_unit_of_what_it_came_from_or_was_given_to(lab):
    text = """\
parameters: {rate: {default: 1, unit: V/s}, xs: {default: [1], unit: mm}}
steps:
- sweep: {x: [1, 2], y: "${xs}", z: [1]}
  steps:
  - {do: stage.move, with: {x: "${x}"}, name: moved}
  - {do: potentiostat.cyclic_voltammetry, with: {scan_rate: "${rate}"}, name: cv}
  - save: {x: "${x}", y: "${y}", z: "${z}", rate: "${rate}", at: "${moved}", i: "${cv.current}", i0: "${cv.current.0}"}
"""
    units = {name: schema.get("unit") for name, schema in columns(load(text), lab).items()}

    assert units == {"x": "mm", "y": "mm", "rate": "V/s", "at": "mm", "i": "A", "i0": "A"}
