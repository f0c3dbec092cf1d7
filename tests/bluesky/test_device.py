"""Our instruments in the real RunEngine, over a real wire."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine, protocols
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.utils import FailedStatus, RunEngineInterrupted
from event_model import DocumentNames, schema_validators

import labretto
from labretto.bluesky import Device, device
from labretto.errors import ConflictError, InvalidError, LeaseError, NotFoundError
from labretto.network.blocking import in_background

Documents = list[tuple[str, dict[str, Any]]]
OfKind = Callable[[str], list[dict[str, Any]]]


def test_count_reads_every_attribute_with_its_unit(bench: Device, run_engine: RunEngine, of_kind: OfKind) -> None:
    run_engine(bp.count([bench], num=3))

    keys = of_kind("descriptor")[0]["data_keys"]
    assert keys["bench-x"]["units"] == "mm"
    assert keys["bench-x"]["limits"]["control"] == {"low": 0, "high": 100}
    assert [event["data"]["bench-y"] for event in of_kind("event")] == [5.0, 5.0, 5.0]
    assert of_kind("stop")[0]["exit_status"] == "success"


def test_a_scan_moves_one_axis_and_takes_an_image_at_each_point(
    bench: Device, driver: Any, run_engine: RunEngine, of_kind: OfKind
) -> None:
    run_engine(bp.scan([bench.measure("look", exposure=2.0)], bench.axis("move", "x"), 0, 10, 3))

    events = of_kind("event")
    assert driver._log == ["move 0 5", "move 5 5", "move 10 5"]
    assert [event["data"]["bench-x"] for event in events] == [0, 5, 10]
    assert [event["data"]["bench-look"].tolist()[0][0] for event in events] == [0, 10, 20]
    key = of_kind("descriptor")[0]["data_keys"]["bench-look"]
    assert (key["dtype"], key["shape"], key["dims"], key["units"]) == ("array", [2, 3], ["y", "x"], "count")


def test_two_axes_of_one_action_keep_each_other_where_they_are(
    bench: Device, driver: Any, run_engine: RunEngine
) -> None:
    x, y = bench.axis("move", "x"), bench.axis("move", "y")

    run_engine(bp.grid_scan([bench.gain], y, 0, 1, 2, x, 0, 1, 2))

    assert (driver.x, driver.y) == (1, 1)
    assert {"move 0 0", "move 1 0", "move 0 1", "move 1 1"} <= set(driver._log)


def test_what_the_run_engine_emits_keeps_event_models_own_schemas(
    bench: Device, run_engine: RunEngine, documents: Documents
) -> None:
    run_engine(bp.scan([bench, bench.measure("look")], bench.axis("move", "x"), 0, 1, 2))

    for name, document in documents:
        schema_validators[DocumentNames[name]].validate(document)


def test_best_effort_callback_eats_a_scan(
    bench: Device, run_engine: RunEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = BestEffortCallback()
    callback.disable_plots()
    run_engine.subscribe(callback)

    run_engine(bp.scan([bench.gain], bench.axis("move", "x"), 0, 1, 2))

    assert "bench-gain" in capsys.readouterr().out


def test_a_device_satisfies_the_protocols_that_it_keeps_and_no_other(bench: Device) -> None:
    whole = {protocols.Readable, protocols.Configurable, protocols.Stageable, protocols.Stoppable, protocols.HasHints}
    moved = {protocols.Readable, protocols.Movable, protocols.Locatable, protocols.Stoppable, protocols.Checkable}

    assert all(isinstance(bench, each) for each in whole)
    assert all(isinstance(bench.axis("move", "x"), each) for each in moved)
    assert all(isinstance(bench.x, each) for each in (protocols.Readable, protocols.Subscribable))
    assert isinstance(bench.gain, protocols.Movable)
    assert isinstance(bench.look, protocols.Triggerable)
    assert isinstance(bench.fly("sweep"), protocols.Flyable | protocols.EventCollectable)
    assert isinstance(bench.x.parent, Device)
    assert not isinstance(bench.x, protocols.Movable)
    assert not isinstance(bench, protocols.Pausable | protocols.Movable)


def test_an_attribute_is_set_and_an_action_of_several_parameters_takes_a_mapping(
    bench: Device, driver: Any, run_engine: RunEngine
) -> None:
    run_engine(bps.mv(bench.gain, 4, bench.move, {"x": 1, "y": 2}, bench.turn_to, 90))

    assert (driver.gain, driver.x, driver.y) == (4, 1, 2)


def test_an_axis_without_an_attribute_says_where_it_was_told_to_go(
    bench: Device, run_engine: RunEngine, of_kind: OfKind
) -> None:
    run_engine(bp.scan([bench.gain], bench.turn_to, 10, 20, 2))

    assert [event["data"]["bench-turn_to-angle"] for event in of_kind("event")] == [10, 20]
    assert of_kind("descriptor")[0]["data_keys"]["bench-turn_to-angle"]["units"] == "deg"


def test_a_relative_scan_begins_where_the_axis_is_and_brings_it_back(
    bench: Device, driver: Any, run_engine: RunEngine
) -> None:
    x = bench.axis("move", "x")
    run_engine(bps.mv(x, 50))

    run_engine(bp.rel_scan([bench.gain], x, -1, 1, 2))

    assert driver._log == ["move 50 5", "move 49 5", "move 51 5", "move 50 5"]


def test_what_the_driver_raises_ends_the_plan(bench: Device, run_engine: RunEngine, of_kind: OfKind) -> None:
    with pytest.raises(FailedStatus) as raised:
        run_engine(bp.scan([bench.gain], bench.turn_to, 400, 500, 2))

    assert "the motor is stuck" in str(raised.value.__cause__)
    assert of_kind("stop")[0]["exit_status"] == "fail"


def test_beyond_a_limit_nothing_moves(bench: Device, driver: Any, run_engine: RunEngine) -> None:
    x = bench.axis("move", "x")

    with pytest.raises(FailedStatus):
        run_engine(bps.mv(x, 101))
    with pytest.raises(InvalidError, match="not between 0 and 100 mm"):
        x.check_value(101)

    assert driver._log == []


def test_while_a_plan_has_staged_it_nobody_else_acts(bench: Device, driver: Any, run_engine: RunEngine) -> None:
    refused: list[str] = []

    def act_as_somebody_else() -> Any:
        with labretto.connect(bench.instrument.address) as other:
            with pytest.raises(LeaseError) as error:
                other.move(x=9, y=9)
            refused.append(str(error.value))
        yield from bps.null()

    @bpp.stage_decorator([bench])
    def plan() -> Any:
        yield from bps.mv(bench.axis("move", "x"), 1)
        yield from act_as_somebody_else()

    run_engine(plan())

    assert "a Bluesky plan" in refused[0]
    with labretto.connect(bench.instrument.address) as other:
        other.move(x=9, y=9)
    assert driver.x == 9


def test_what_somebody_else_has_cannot_be_staged(bench: Device, run_engine: RunEngine) -> None:
    in_background(bench.instrument.take("Ada"))

    with pytest.raises(FailedStatus) as raised:
        run_engine(bp.count([bench], 1))

    assert "Ada has bench" in str(raised.value.__cause__)


def test_a_plan_that_is_aborted_stops_what_moves(bench: Device, driver: Any, run_engine: RunEngine) -> None:
    def plan() -> Any:
        yield from bps.abs_set(bench.creep, 7, group="g")
        yield from bps.null()
        driver._entered.wait(5)
        raise RuntimeError("the plan is wrong")

    with pytest.raises(RuntimeError, match="the plan is wrong"):
        run_engine(plan())

    assert driver._log == ["creep 7", "stop"]
    assert driver.x == 0


def test_stopped_as_planned_counts_as_done_and_idle_things_are_left_alone(bench: Device, driver: Any) -> None:
    bench.stop(success=True)
    moving = bench.creep.set(7)
    driver._entered.wait(5)

    bench.creep.stop(success=True)

    assert moving.exception(5) is None
    assert driver._log == ["creep 7", "stop"]


def test_what_must_not_be_repeated_is_not_rewound(bench: Device) -> None:
    assert bench.look.rewindable.get() is True
    assert bench.dispense.rewindable.get() is False


def test_an_action_that_must_not_be_repeated_is_no_axis(bench: Device) -> None:
    with pytest.raises(InvalidError, match="would do it twice"):
        bench.axis("dispense", "volume")


def test_the_fields_of_a_result_are_data_of_their_own(bench: Device, run_engine: RunEngine, of_kind: OfKind) -> None:
    run_engine(bp.count([bench.measure("dispense", volume=0.5)]))

    assert of_kind("event")[0]["data"] == {"bench-dispense-volume": 0.5, "bench-dispense-pressure": 2.0}


def test_rows_that_an_action_yields_are_events_of_a_stream(
    bench: Device, run_engine: RunEngine, documents: Documents, of_kind: OfKind
) -> None:
    run_engine(bp.fly([bench.fly("sweep", rows=4)]))

    descriptor = of_kind("descriptor")[0]
    pages = of_kind("event_page")
    assert descriptor["name"] == "bench-sweep"
    assert descriptor["data_keys"]["bench-sweep-current"]["units"] == "A"
    assert pages[0]["data"]["bench-sweep-current"] == pytest.approx([0, 1e-3, 2e-3, 3e-3])
    for name, document in documents:
        schema_validators[DocumentNames[name]].validate(document)


def test_an_action_that_answers_at_its_end_does_not_fly(bench: Device) -> None:
    with pytest.raises(InvalidError, match="yields no rows"):
        bench.fly("look")


def test_an_attribute_is_monitored_between_the_points(
    bench: Device, driver: Any, run_engine: RunEngine, of_kind: OfKind
) -> None:
    @bpp.run_decorator()
    def plan() -> Any:
        yield from bps.monitor(bench.gain, name="gain")
        yield from bps.mv(bench.gain, 8)
        yield from bps.sleep(0.2)
        yield from bps.unmonitor(bench.gain)

    run_engine(plan())

    assert of_kind("event")[-1]["data"] == {"bench-gain": 8}


def test_configuration_is_read_once_per_run(bench: Device, run_engine: RunEngine, of_kind: OfKind) -> None:
    with device(bench.instrument.address, read=["x"], configuration=["gain"], called="b") as chosen:
        run_engine(bp.count([chosen], 2))

    descriptor = of_kind("descriptor")[0]
    assert descriptor["configuration"]["b"]["data"] == {"b-gain": 1.0}
    assert set(descriptor["data_keys"]) == {"b-x"}


def test_what_is_not_there_is_said_with_what_is(bench: Device) -> None:
    with pytest.raises(NotFoundError, match="it has x, y"):
        device(bench.instrument.address, read=["z"])
    with pytest.raises(AttributeError, match="no attribute or action 'fly_away'; it has x, y"):
        _ = bench.fly_away
    with pytest.raises(InvalidError, match="no parameter 'z'; it has x, y"):
        bench.axis("move", "x", z=0)


def test_what_was_not_triggered_has_nothing_to_read(bench: Device) -> None:
    with pytest.raises(ConflictError, match="not triggered yet"):
        asyncio.run(bench.look.read())


def test_importing_it_needs_nothing_of_bluesky() -> None:
    program = "import sys, labretto.bluesky; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert {"bluesky", "event_model", "numpy"} & set(done.stdout.split()) == set()


def meanwhile(driver: Any, act: Callable[[], None]) -> threading.Thread:
    """Do something as soon as the driver has begun."""

    def wait_and_act() -> None:
        assert driver._entered.wait(10)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_a_plan_that_is_paused_in_mid_motion_stops_and_moves_there_when_it_is_resumed(
    bench: Device, driver: Any, run_engine: RunEngine, of_kind: OfKind
) -> None:
    pausing = meanwhile(driver, run_engine.request_pause)
    with pytest.raises(RunEngineInterrupted):
        run_engine(bp.scan([bench.gain], bench.creep, 7, 7, 1))
    pausing.join()
    assert driver._log == ["creep 7", "stop"]

    driver._entered.clear()
    driver._released.clear()
    moving = meanwhile(driver, driver._released.set)
    run_engine.resume()
    moving.join()

    assert driver._log == ["creep 7", "stop", "creep 7"]
    assert [event["data"]["bench-x"] for event in of_kind("event")] == [7]
    assert of_kind("stop")[0]["exit_status"] == "success"


def test_a_plan_that_is_paused_in_what_must_not_be_repeated_goes_on_behind_it(
    bench: Device, driver: Any, run_engine: RunEngine, of_kind: OfKind
) -> None:
    pausing = meanwhile(driver, run_engine.request_pause)
    with pytest.raises(RunEngineInterrupted):
        run_engine(bp.count([bench.expose]))
    pausing.join()
    driver._released.set()
    run_engine.resume()

    assert driver._log == ["expose"], "once"
    assert of_kind("event")[0]["data"] == {"bench-expose": 1}
    assert of_kind("stop")[0]["exit_status"] == "success"
