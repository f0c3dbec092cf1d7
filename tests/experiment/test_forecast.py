"""What a run will be like, before it runs: from the file, the descriptions and what was learned; nothing is touched."""

from collections.abc import Mapping
from typing import Any

import pytest

from labretto.experiment.count import count_steps
from labretto.experiment.dry import Setting
from labretto.experiment.estimate import Estimate, learned
from labretto.experiment.forecast import Consumable, Forecast, Needed, forecast, of_earlier_runs, tanks
from labretto.experiment.load import load

SECONDS = {"stage.move": 2.0, "pump.dispense": 3.0, "furnace.ramp": 60.0, "camera.photograph": 1.0}

LAB: dict[str, Any] = {
    "stage": {"attributes": {"x": {}}, "actions": {"move": {}, "unheard": {}, "park": {"expected_seconds": 7}}},
    "camera": {"attributes": {}, "actions": {"photograph": {}}},
    "furnace": {"attributes": {"temperature": {}}, "actions": {"ramp": {}}},
    "pump": {
        "attributes": {"remaining": {"schema": {"type": "number", "unit": "mL"}}, "capacity": {}},
        "actions": {
            "dispense": {
                "consumes": {"remaining": "volume"},
                "parameters": {"volume": {"schema": {"type": "number", "default": 0.5}}},
            },
            "refill": {"refills": {"remaining": "capacity"}, "expected_seconds": 10},
        },
    },
}
LEVELS = {("pump", "remaining"): 10.0, ("pump", "capacity"): 50.0}


class Learned:
    """Five ends of each action, a tenth apart; the same for every parameter but one."""

    def of_action(self, instrument: str, action: str, parameters: Mapping[str, Any] | None) -> Estimate | None:
        name = f"{instrument}.{action}"
        mean = SECONDS.get(name)
        if parameters == {"x": 100}:
            return learned([20.0] * 9, "same parameters", f"{name} far")
        return learned([mean * 0.9, mean * 0.95, mean, mean * 1.05, mean * 1.1], "action", name) if mean else None

    def of_answer(self, text: str) -> Estimate | None:
        return learned([100.0, 120.0, 140.0], "action", "people") if "gloves" in text else None


def foresee(text: str, *, most: int = 1000, levels: Mapping[Any, float] = LEVELS, **words: Any) -> Forecast:
    experiment = load(f"name: x\n{text}")
    setting = Setting(LAB, Learned(), most, **words)
    return forecast(experiment, {}, setting, levels=levels, steps=count_steps(experiment, {}))


def steps(*each: str) -> str:
    return "steps:\n" + "\n".join(f"  - {one}" for one in each)


def test_steps_one_after_another_take_as_long_as_all_of_them():
    found = foresee(steps("{do: stage.move, with: {x: 1}}", "{do: pump.dispense, with: {volume: 1}}"))

    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(5, rel=0.01)
    assert found.seconds.p10 < found.seconds.p50 < found.seconds.p90
    assert (found.steps, found.notes) == (2, ())


def test_what_the_same_parameters_took_comes_before_what_the_action_took():
    found = foresee(steps("{do: stage.move, with: {x: 100}}"))

    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(20)
    assert [(each.what, each.source, each.n) for each in found.basis] == [("stage.move", "same parameters", 9)]


def test_what_was_declared_comes_first():
    assert foresee(steps("{do: stage.park}")).basis[0].source == "declared"


def test_what_nobody_knows_is_named_and_counts_as_no_time():
    found = foresee(steps("{do: stage.unheard}", "{read: stage.x}", "{do: stage.move, with: {x: 1}}"))

    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(2, rel=0.01)
    assert found.notes == (
        "Nobody knows yet how long these take, and they count as no time: stage.unheard, reading stage.x.",
    )


def test_where_nothing_at_all_is_known_no_time_is_told():
    found = foresee(steps("{do: stage.unheard}", "{do: stage.unheard}"))

    assert found.seconds is None
    assert found.steps == 2


PARALLEL = """
steps:
  - parallel:
      hot: [{do: furnace.ramp}]
      cold: [{do: stage.move, with: {x: 1}}, {do: camera.photograph}]
  - do: camera.photograph
"""


def test_branches_take_as_long_as_the_longest_of_them_which_is_the_critical_path():
    found = foresee(PARALLEL)

    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(61, rel=0.01)
    assert [part.path for part in found.critical] == ["parallel/hot/furnace.ramp", "camera.photograph"]


def test_each_instrument_says_when_it_is_needed_and_for_how_long():
    used = foresee(PARALLEL).instruments
    assert used is not None

    assert (used["stage"].first, used["stage"].last) == (0, pytest.approx(2))
    assert (used["camera"].seconds, used["camera"].steps) == (pytest.approx(2), 2)
    assert used["furnace"].last == pytest.approx(60)


def test_branches_that_need_one_instrument_wait_for_each_other():
    found = foresee("steps: [{parallel: {a: [{do: furnace.ramp}], b: [{do: furnace.ramp}]}}]")

    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(120, rel=0.01)


SWEEP = """
steps:
  - sweep: {volume: [4, 4, 4, 4]}
    steps:
      - {do: stage.move, with: {x: 1}}
      - {do: pump.dispense, with: {volume: "${volume}"}}
"""


def test_a_tank_that_will_run_out_is_named_with_the_step_and_the_time():
    (tank,) = foresee(SWEEP).consumables

    assert (tank.instrument, tank.attribute, tank.unit) == ("pump", "remaining", "mL")
    assert (tank.needed, tank.available) == (16, 10)
    assert tank.path == "sweep[2]/pump.dispense"
    assert tank.runs_out is not None
    assert tank.runs_out.p50 == pytest.approx(12, rel=0.01)


def test_a_tank_that_is_filled_in_time_does_not_run_out():
    filled = SWEEP.replace("steps:\n      -", "steps:\n      - {do: pump.refill}\n      -")

    (tank,) = foresee(filled).consumables

    assert tank.path is None


def test_how_much_is_in_a_tank_may_be_unknown():
    (tank,) = foresee(SWEEP, levels={}).consumables

    assert tank == Consumable("pump", "remaining", "mL", 16, None)


def test_a_default_is_drawn_too_and_an_amount_that_a_result_decides_is_counted_as_unknown():
    look = "{do: camera.photograph, name: seen}"
    (tank,) = foresee(
        steps("{do: pump.dispense}", look, '{do: pump.dispense, with: {volume: "${seen.v}"}}')
    ).consumables

    assert (tank.needed, tank.unknown) == (0.5, 1)


def test_people_are_told_the_hour_at_which_they_are_needed():
    found = foresee(steps("{do: furnace.ramp}", "{ask: Put on gloves}", "{do: furnace.ramp}"))

    (needed,) = found.people
    assert isinstance(needed, Needed)
    assert (needed.text, needed.certain) == ("Put on gloves", True)
    assert needed.at.p10 < needed.at.p50 < needed.at.p90
    assert needed.at.p50 == pytest.approx(60, rel=0.01)
    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(240, rel=0.02)


def test_a_wait_takes_as_long_as_it_says():
    found = foresee(steps("{wait: 90}"))

    assert found.seconds is not None
    assert found.seconds.as_dict() == {"p10": 90, "p50": 90, "p90": 90}


CONDITION = """
steps:
  - {do: camera.photograph, name: seen}
  - when: {value: "${seen.peak}", above: 1}
    steps: [{do: furnace.ramp}, {ask: Put on gloves}]
    else: [{do: stage.move, with: {x: 1}}]
"""


def test_where_a_result_decides_the_answer_is_a_range_that_says_why():
    found = foresee(CONDITION)

    assert found.seconds is not None
    assert found.seconds.p10 < 3.5
    assert found.seconds.p90 > 170
    assert found.notes[0].startswith("It depends on the results of seen what is done: 3 s to 3 min.")
    assert [(each.text, each.certain) for each in found.people] == [("Put on gloves", False)]


UNTIL = """
steps:
  - repeat: 10
    until: {value: "${seen.peak}", above: 1}
    steps: [{do: camera.photograph, name: seen}]
  - {do: furnace.ramp}
"""


def test_a_loop_that_a_result_ends_takes_between_its_first_and_its_last_turn():
    found = foresee(UNTIL)

    assert found.seconds is not None
    assert found.notes == ("It depends on the results of repeat[]/seen what is done: 61 s to 70 s.",)


def test_a_loop_inside_a_sweep_is_ended_in_each_turn():
    inner = (
        UNTIL.replace("steps:\n  -", "steps:\n  - sweep: {k: [1, 2, 3]}\n    steps:\n     -", 1)
        .replace("\n    until", "\n       until")
        .replace("\n    steps: [{do: camera", "\n       steps: [{do: camera")
    )

    assert foresee(inner).notes == ("It depends on the results of sweep[]/repeat[]/seen what is done: 63 s to 90 s.",)


EACH = """
steps:
  - {do: camera.photograph, name: seen}
  - for each: {spot: "${seen.spots}"}
    steps: [{do: stage.move, with: {x: "${spot}"}}]
"""


def test_a_loop_over_a_result_counts_as_one_turn_and_says_so():
    found = foresee(EACH)

    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(3, rel=0.01)
    assert found.notes[0].startswith("It depends on the results of seen what is done")


def test_a_long_sweep_is_looked_at_in_part_and_goes_on_in_the_same_way():
    sweep = SWEEP.replace("[4, 4, 4, 4]", str([0.1] * 1000))

    found = foresee(sweep, most=100)

    assert found.steps == 2000
    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(5000, rel=0.01)
    assert found.notes == ("The first 100 steps were looked at; the rest is taken to go on in the same way.",)
    (tank,) = found.consumables
    assert tank.needed == pytest.approx(100)
    assert tank.runs_out is not None
    assert tank.runs_out.p50 == pytest.approx(500, rel=0.02)


def test_of_a_run_that_goes_on_what_is_done_counts_no_more_and_its_results_decide():
    text = CONDITION.replace("{do: camera.photograph, name: seen}", "{do: camera.photograph, name: seen}")

    found = foresee(text, done={"seen": {"peak": 0.5}})

    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(2, rel=0.01)
    assert found.notes == ()


def test_a_step_that_failed_and_is_to_be_tried_again_has_no_result_yet():
    text = CONDITION.replace("name: seen}", "name: seen, retry: 3}")

    again = foresee(text, failed={"seen": 1})

    assert [each.what for each in again.basis if each.what == "camera.photograph"] == ["camera.photograph"]
    assert any("seen" in note for note in again.notes)


def test_a_step_that_failed_for_good_ends_what_it_ends_in_earnest():
    last = foresee(CONDITION.replace("name: seen}", "name: seen, retry: 3}"), failed={"seen": 3})
    passed_over = foresee(
        steps("{do: furnace.ramp, on failure: go on}", "{do: stage.move, with: {x: 1}}"), failed={"furnace.ramp": 1}
    )

    assert last.seconds is not None
    assert last.seconds.p50 == 0
    assert "In thought it fails: seen has failed." in last.notes
    assert [each.what for each in passed_over.basis] == ["stage.move"]


def test_of_a_step_under_way_only_the_rest_counts():
    found = foresee(steps("{do: furnace.ramp}"), elapsed={"furnace.ramp": 45.0})

    assert found.seconds is not None
    assert found.seconds.p50 == pytest.approx(15, rel=0.1)


def test_a_time_out_shorter_than_what_the_step_usually_takes_is_told():
    found = foresee(steps("{do: furnace.ramp, timeout: 30}"))

    assert found.notes == ("furnace.ramp usually takes 60 s, longer than its timeout of 30 s.",)


def test_the_tanks_to_be_asked_for_are_those_of_the_instruments_used():
    assert tanks(LAB, ["stage"]) == set()
    assert tanks(LAB, ["pump"]) == {("pump", "remaining"), ("pump", "capacity")}


def test_a_python_experiment_takes_as_long_as_its_earlier_runs_or_nobody_knows():
    nobody = of_earlier_runs(None)
    some = of_earlier_runs(learned([100.0, 110.0, 90.0], "earlier version", "r"))

    assert nobody.seconds is None
    assert "not known" in nobody.notes[0]
    assert some.seconds is not None
    assert some.seconds.p50 == pytest.approx(100, rel=0.01)
    assert "an earlier version of this function" in some.notes[0]


def test_a_forecast_is_json():
    body = foresee(CONDITION).as_dict()

    assert set(body["seconds"]) == {"p10", "p50", "p90"}
    assert body["people"][0]["at"]["p50"] > 0
