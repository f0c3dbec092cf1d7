"""What stands against branches, loops, conditions, questions and calls, told before anything moves."""

import pytest

from labretto.experiment.check import check
from labretto.experiment.load import load


def said(text, lab, **parameters):
    return [str(fault) for fault in check(load(text), parameters, lab)]


GOOD = """\
parameters:
  rates: [0.1, 0.5]
  limit: {default: 3, unit: mm}
experiments:
  measure:
    parameters:
      rate: {type: number, unit: V/s}
    steps:
    - {do: potentiostat.cyclic_voltammetry, name: cv, with: {scan_rate: "${rate}"}}
    finally: [{set: potentiostat.cell, to: false}]
    result: {current: "${cv.current}", rate: "${rate}"}
steps:
- parallel:
    stage: [{do: stage.move, name: at, with: {x: 5}}]
    cell: [{set: potentiostat.cell, to: true}]
- sweep: {rate: "${rates}"}
  steps:
  - {experiment: measure, name: m, with: {rate: "${rate}"}}
  - {save: {current: "${m.current}", rate: "${m.rate}", at: "${at}"}}
- {read: stage.x, name: x, when: {value: "${at}", below: "${limit}"}}
- {save: {x: "${x}"}}
- {do: stage.move, with: {x: "${x}"}, when: {value: "${x}", is not: null}}
- repeat: 5
  until: {value: "${now}", at least: 3}
  steps: [{read: stage.x, name: now}, {wait: 1 s}]
- {ask: Which?, name: which, choices: [A1, A2]}
- {do: stage.move_to, with: {sample: "${which}"}, when: {value: "${which}", equals: A1}}
- {ask: How far?, name: far, fields: {x: {type: number, unit: mm}}}
- {do: stage.move, with: {x: "${far.x}"}}
finally: [{do: stage.home}]
"""


def test_a_rich_experiment_has_no_fault(lab):
    assert said(GOOD, lab) == []


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        # branches
        ("{parallel: {a: [{do: stage.move, with: {x: 150}}]}}", "x=150 mm is above 100 mm"),
        ("{parallel: {a: [{read: stage.x, name: v}], b: [{save: {v: '${v}'}}]}}", "v of line 2 is not known here"),
        # names
        (
            "{when: {value: 1, equals: 1}, steps: [{read: stage.x, name: v}]}\n- {save: {v: '${v}'}}",
            "is not known here",
        ),
        ("{steps: [{read: stage.x, name: v}], finally: [{save: {v: '${v}'}}]}", "is not known here"),
        ("{steps: [{read: stage.x, name: v}], on failure: go on}\n- {save: {v: '${v}'}}", "is not known here"),
        ("{repeat: 2, steps: [{read: stage.x, name: v}]}\n- {save: {v: '${v}'}}", "v of line 2 is not known here"),
        ("{wait: 1 s, name: w}\n- {save: {w: '${w}'}}", "w of line 2 has no result"),
        # what may be missing
        (
            "{read: stage.x, name: v, when: {value: 1, equals: 1}}\n- {do: stage.move, with: {x: '${v}'}}",
            "${v} may be missing: line 2 is passed over if its `when` does not hold. Use it under `when: "
            '{value: "${v}", is not: null}`',
        ),
        (
            "{do: stage.move_to, name: v, on failure: go on, with: {sample: A1}}\n- {save: {x: '${v.x}'}}",
            "${v.x} may be missing: line 2 may fail",
        ),
        (
            "{read: stage.x, name: v, on failure: go on}\n- {read: stage.x, when: {value: '${v}', above: 1}}",
            "${v} may be missing",
        ),
        # conditions
        ("{read: stage.x, when: {value: '${nothing}', above: 1}}", "nothing is named nothing"),
        ("{read: stage.x, name: v}\n- {read: stage.x, when: {value: '${v}', above: high}}", 'here is "high"'),
        ("{read: potentiostat.cell, name: v}\n- {read: stage.x, when: {value: '${v}', above: 1}}", "is true or false"),
        (
            "{read: stage.x, name: v}\n- {read: stage.velocity, name: w}\n"
            "- {read: stage.x, when: {value: '${v}', above: '${w}'}}",
            "${v} is in mm, ${w} in mm/s",
        ),
        (
            "{ask: Which?, name: v, choices: [yes, no]}\n- {read: stage.x, when: {value: '${v}', equals: Yes}}",
            '${v} is never "Yes", only one of yes, no. Did you mean yes?',
        ),
        ("{repeat: 3, until: {value: '${v}', above: 1}, steps: [{wait: 1 s}]}", "nothing is named v"),
        # loops
        ("{read: stage.x, name: v}\n- {for each: {x: '${v}'}, steps: [{wait: 1}]}", "wants a list; ${v} is a number"),
        ("{for each: {x: [1, 150]}, steps: [{do: stage.move, with: {x: '${x}'}}]}", "x=150 mm is above 100 mm"),
        ("{repeat: '${p}', steps: [{wait: 1}]}", "repeat=2.5 is not a whole number"),
        ("{wait: '${q}'}", "wait=-1 s is below 0 s"),
        # people
        ("{ask: Which?, release: [stag]}", "there is no instrument 'stag'. Did you mean stage?"),
        ("{ask: How far?, fields: {x: {type: number, minimum: 0, default: -1}}}", "x.default=-1 is below 0"),
        ("{ask: How far?, fields: {x: {type: number, minimum: no}}}", "the field x: its schema cannot be used"),
        ("{ask: x, choices: [a], deadline: 1 h, late: default, default: b}", 'default="b" is none of a'),
        ("{ask: x, name: v, fields: {x: number}}\n- {save: {y: '${v.y}'}}", "v has no y"),
        ("{ask: x, name: v, fields: {x: text}}\n- {do: stage.move, with: {x: '${v.x}'}}", "is not a number but a text"),
        # calls
        ("{experiment: go}", "go: x (mm) is missing. Add `with: {x: ...}`"),
        ("{experiment: go, with: {x: 5, y: 1}}", "go has no parameter 'y'"),
        ("{experiment: go, with: {x: 60}}", "go: x=60 mm is above 50 mm"),
        ("{experiment: go, name: g, with: {x: 5}}\n- {save: {z: '${g.z}'}}", "g has no z"),
        ("{sweep: {v: [1, 70]}, steps: [{experiment: go, with: {x: '${v}'}}]}", "x=70 mm is above 50 mm (value 2"),
        ("{experiment: free, with: {x: 200}}", "stage.move: x=200 mm is above 100 mm"),
        ("{experiment: free, name: f, with: {x: 2}}\n- {save: {z: '${f.z}'}}", "f is null and has no part z"),
    ],
)
def test_a_fault_is_told_with_the_way_out(steps, message, lab):
    lines = [
        "experiments: {go: {parameters: {x: {type: number, unit: mm, maximum: 50}}, steps: "
        "[{do: stage.move, name: at, with: {x: '${x}'}}], result: {at: '${at}'}}, "
        "free: {parameters: {x: }, steps: [{do: stage.move, with: {x: '${x}'}}]}}",
    ]
    text = f"steps:\n- {steps}\nparameters: {{p: 2.5, q: -1}}\n" + "\n".join(lines)

    (found,) = said(text, lab)

    assert message in found


def test_faults_inside_an_experiment_that_nobody_calls_are_told_too(lab):
    text = "experiments: {a: {steps: [{do: stage.mov}, {do: stage.move, with: {x: 500}}]}}\nsteps: [{read: stage.x}]"

    assert len(said(text, lab)) == 2


def test_a_list_for_an_inner_sweep_may_come_from_outside(lab):
    text = """\
parameters: {xs: [1, 2]}
experiments:
  scan:
    parameters: {at: [0]}
    steps: [{sweep: {x: "${at}"}, steps: [{do: stage.move, with: {x: "${x}"}}]}]
steps:
- {experiment: scan, with: {at: "${xs}"}}
- {sweep: {rows: [[1], [2, 300]]}, steps: [{experiment: scan, with: {at: "${rows}"}}]}
"""
    (found,) = said(text, lab)

    assert "x=300 mm is above 100 mm" in found


def test_experiments_that_call_experiments_that_call_are_looked_at_once(lab):
    """Thirty experiments, each calling the next one twice, stand for a thousand million steps."""
    calls = [f"  e{n}: {{steps: [{{experiment: e{n + 1}}}, {{experiment: e{n + 1}}}]}}" for n in range(30)]
    text = "\n".join(["experiments:", *calls, "  e30: {steps: [{read: stage.x}]}", "steps: [{experiment: e0}]"])

    assert said(text, lab) == []
