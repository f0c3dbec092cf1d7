"""What an instrument does is the same on every wire: memory, HTTP, ZMQ."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labretto.errors import (
    BusyError,
    ConflictError,
    DriverError,
    InvalidError,
    LeaseError,
    LimitError,
    NoStopError,
    NotFoundError,
    UnreachableError,
)
from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.invocation import Invocation, new_id
from labretto.instrument.ledger import Ledger
from labretto.instrument.limits_file import read_limits
from labretto.instrument.reading import now
from labretto.network import client
from labretto.network.client import Instrument, open_instrument

Serve = Callable[..., AbstractAsyncContextManager[str]]


# Attributes -----------------------------------------------------------------------------------------------------------


async def test_the_description_is_that_of_the_host(instrument: Instrument, host: Host) -> None:
    assert instrument.description == host.description
    assert instrument.name == "rig"


async def test_a_reading_has_value_unit_time_and_status(instrument: Instrument) -> None:
    before = now()

    reading = await instrument.read("x")

    assert (reading.value, reading.unit, reading.status) == (1.5, "mm", "ok")
    assert before - timedelta(milliseconds=1) <= reading.time <= now()


async def test_an_array_is_read_exactly(instrument: Instrument) -> None:
    reading = await instrument.read("spectrum")

    np.testing.assert_array_equal(reading.value, np.array([[1.0, np.nan], [np.inf, -0.0]]))


async def test_what_is_set_is_read_back(instrument: Instrument) -> None:
    assert (await instrument.write("x", 42.0)).value == 42.0
    assert (await instrument.read("x")).value == 42.0


async def test_an_unknown_attribute_is_refused_with_what_there_is(instrument: Instrument) -> None:
    with pytest.raises(NotFoundError, match=r"no attribute 'y'.*Known here: x, firmware"):
        await instrument.read("y")


@pytest.mark.parametrize("name", ["", "a/b", "../x", "x?", "%2e", "naïve", "x" * 5_000])
async def test_an_odd_name_of_an_attribute_is_not_found_and_nothing_else(instrument: Instrument, name: str) -> None:
    with pytest.raises(NotFoundError):
        await instrument.read(name)


async def test_a_value_outside_its_limits_is_refused_naming_the_limit(instrument: Instrument, rig: Any) -> None:
    with pytest.raises(LimitError, match=r"rig\.x=100\.5 mm is above 100"):
        await instrument.write("x", 100.5)
    assert rig.x == 1.5


async def test_a_value_of_another_kind_is_refused(instrument: Instrument) -> None:
    with pytest.raises(InvalidError, match="does not fit"):
        await instrument.write("x", "far away")


async def test_what_is_read_only_cannot_be_set(instrument: Instrument) -> None:
    with pytest.raises(ConflictError, match="cannot be set"):
        await instrument.write("firmware", "3.0")


async def test_a_driver_that_raises_while_it_is_read_is_quoted(instrument: Instrument) -> None:
    with pytest.raises(DriverError, match="no answer on the bus"):
        await instrument.read("broken")


async def test_a_value_that_no_wire_can_carry_is_the_drivers_fault(instrument: Instrument) -> None:
    with pytest.raises(DriverError, match=r"builtins\.object cannot be sent"):
        await instrument.read("unsendable")


async def test_one_bad_attribute_does_not_hide_the_others(instrument: Instrument) -> None:
    readings = await instrument.read_all()

    assert readings["x"].value == 1.5
    assert {name for name, reading in readings.items() if reading.status == "error"} == {"broken", "unsendable"}


# Actions --------------------------------------------------------------------------------------------------------------


async def test_an_action_answers_at_its_end(instrument: Instrument, rig: Any) -> None:
    done = await instrument.invoke("move", {"to": 7.0}, actor="Zoë, lab 2")

    assert (done.state, done.result, done.actor, done.effect) == ("succeeded", 7.0, "Zoë, lab 2", "absolute")
    assert done.accepted <= done.started <= done.ended
    assert rig._moves == [7.0]


async def test_asked_not_to_wait_it_answers_when_the_action_has_begun(instrument: Instrument, rig: Any) -> None:
    begun = await instrument.invoke("hold", {}, wait=False)
    assert begun.state == "running"
    rig._released.set()

    done = await instrument.invoke("hold", {}, identity=begun.id)

    assert (done.id, done.state, done.result) == (begun.id, "succeeded", "released")


async def test_parameters_outside_their_limits_are_refused_before_anything_moves(
    instrument: Instrument, rig: Any
) -> None:
    with pytest.raises(LimitError, match=r"rig\.move: to=500.* mm is above 100"):
        await instrument.invoke("move", {"to": 500.0})
    assert rig._moves == []


async def test_all_faults_of_a_request_are_told_at_once(instrument: Instrument) -> None:
    with pytest.raises(InvalidError) as told:
        await instrument.invoke("move", {"too": 5.0, "speed": "fast"})

    assert len(told.value.faults) == 3


async def test_an_unknown_action_is_refused_with_what_there_is(instrument: Instrument) -> None:
    with pytest.raises(NotFoundError, match=r"no action 'fly'.*move"):
        await instrument.invoke("fly", {})


async def test_a_busy_instrument_says_what_runs_and_since_when(instrument: Instrument) -> None:
    begun = await instrument.invoke("hold", {}, wait=False)

    with pytest.raises(BusyError, match=r"hold\(\) runs since 20.*move was refused") as refused:
        await instrument.invoke("move", {"to": 1.0})

    assert refused.value.fields["running"] == begun.id
    with pytest.raises(BusyError):
        await instrument.write("x", 3.0)


async def test_attributes_are_read_while_an_action_blocks_the_driver(instrument: Instrument) -> None:
    await instrument.read("x")
    await instrument.invoke("hold", {}, wait=False)

    reading = await instrument.read("x")

    assert (reading.value, reading.status) == (1.5, "stale")


async def test_an_action_declared_to_may_run_beside_another(instrument: Instrument) -> None:
    await instrument.invoke("hold", {}, wait=False)

    assert (await instrument.invoke("look", {})).result == "seen"


async def test_health_says_what_runs(instrument: Instrument, host: Host) -> None:
    idle = await instrument.health()
    begun = await instrument.invoke("hold", {}, wait=False)
    busy = await instrument.health()

    assert (idle["status"], idle["running"], idle["ledger"]["birth"]) == ("idle", None, host.ledger_birth)
    assert (busy["status"], busy["running"]["id"]) == ("busy", begun.id)


async def test_a_long_wait_keeps_nobody_else_waiting(instrument: Instrument, rig: Any) -> None:
    long = asyncio.create_task(instrument.invoke("hold", {}))
    await asyncio.to_thread(rig._entered.wait, 5)

    readings = await asyncio.gather(*(instrument.read("x") for _ in range(200)))

    assert {reading.value for reading in readings} == {1.5}
    assert not long.done()
    rig._released.set()
    assert (await long).state == "succeeded"


async def test_what_a_driver_raises_is_the_outcome_with_its_words(instrument: Instrument) -> None:
    done = await instrument.invoke("fail", {})

    assert done.state == "failed"
    assert "ValueError: the shutter is stuck" in done.error["detail"]
    assert "rig.py" in done.error["traceback"]


async def test_a_result_that_cannot_be_kept_is_a_failure_that_says_that_it_was_done(instrument: Instrument) -> None:
    done = await instrument.invoke("answer_an_object", {})

    assert done.state == "failed"
    assert "was executed, but its result cannot be kept" in done.error["detail"]


async def test_what_drivers_answer_in_real_life_arrives_exactly(instrument: Instrument) -> None:
    result = (await instrument.invoke("foreign_values", {})).result

    assert np.isnan(result.pop("not a number"))
    array = result.pop("array")
    assert array.dtype == np.int16
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert result == {
        "scalar": 2.5,
        "count": 7,
        "flag": True,
        "bytes": b"\x00\xff",
        "time": datetime(2026, 11, 21, 4, 21, 35, 120_000, UTC),
        "duration": "PT1.5S",
        "pair": [1, 2],
    }


async def test_parameters_arrive_exactly(instrument: Instrument) -> None:
    given = {"array": np.linspace(0, 1, 5), "nan": float("nan"), "bytes": b"\x00\xff", "text": "µ", "none": None}

    result = (await instrument.invoke("echo", {"value": given})).result

    np.testing.assert_array_equal(result["array"], given["array"])
    assert np.isnan(result["nan"])
    assert (result["bytes"], result["text"], result["none"]) == (b"\x00\xff", "µ", None)


async def test_a_parameter_that_cannot_be_sent_is_refused_here(instrument: Instrument) -> None:
    with pytest.raises(InvalidError, match="cannot be sent"):
        await instrument.invoke("echo", {"value": object()})


async def test_a_request_that_is_too_large_is_refused(instrument: Instrument) -> None:
    with pytest.raises(InvalidError, match="takes 8,388,608 at most"):
        await instrument.invoke("echo", {"value": b"\0" * 9_000_000})
    assert (await instrument.read("x")).value == 1.5


async def test_a_value_nested_too_deeply_is_refused(instrument: Instrument) -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]

    with pytest.raises(InvalidError):
        await instrument.invoke("echo", {"value": deep})
    assert (await instrument.read("x")).value == 1.5


# Identity and memory --------------------------------------------------------------------------------------------------


async def test_the_same_id_is_answered_and_not_done_again(instrument: Instrument, rig: Any) -> None:
    identity = new_id()
    first = await instrument.invoke("move", {"to": 5.0}, identity=identity)

    again = await instrument.invoke("move", {"to": 5.0}, identity=identity)

    assert again == first
    assert rig._moves == [5.0]


async def test_the_same_id_asked_while_it_runs_waits_for_the_same_end(instrument: Instrument, rig: Any) -> None:
    identity = new_id()
    both = [asyncio.create_task(instrument.invoke("hold", {}, identity=identity)) for _ in range(2)]
    await asyncio.to_thread(rig._entered.wait, 5)
    rig._released.set()

    first, second = await asyncio.gather(*both)

    assert first == second
    assert first.state == "succeeded"


async def test_the_same_id_for_something_else_is_a_conflict(instrument: Instrument, rig: Any) -> None:
    done = await instrument.invoke("move", {"to": 5.0})

    with pytest.raises(ConflictError, match=r"belongs to move\(to=5\.0\), not to move\(to=6\.0\)"):
        await instrument.invoke("move", {"to": 6.0}, identity=done.id)
    assert rig._moves == [5.0]


async def test_an_id_that_is_none_is_refused(instrument: Instrument) -> None:
    with pytest.raises(InvalidError, match="is not a UUID"):
        await instrument.invoke("move", {"to": 5.0}, identity="first")


async def test_what_never_arrived_may_be_sent(instrument: Instrument) -> None:
    assert (await instrument.find(new_id())).state == "not arrived"


async def test_of_an_id_older_than_its_ledger_a_host_cannot_tell(instrument: Instrument) -> None:
    assert (await instrument.find("01890000-0000-7000-8000-000000000000")).state == "cannot tell"


async def test_what_runs_and_what_ended_is_found(instrument: Instrument, rig: Any) -> None:
    begun = await instrument.invoke("hold", {}, wait=False)
    assert (await instrument.find(begun.id, action="hold")).state == "running"
    rig._released.set()
    await instrument.invoke("hold", {}, identity=begun.id)

    assert (await instrument.find(begun.id)).state == "succeeded"
    with pytest.raises(NotFoundError, match="is of hold, not of move"):
        await instrument.find(begun.id, action="move")


async def test_what_was_running_when_its_host_died_is_interrupted(served: Serve, rig: Any, tmp_path: Path) -> None:
    identity = new_id()
    died = Ledger(tmp_path / "ledger.db")
    died.begin(Invocation(identity, "rig", "hold", {}, "once", "running", now(), now()))
    died.close()

    async with AsyncExitStack() as stack:
        offer = describe(type(rig), name="rig")
        host = await stack.enter_async_context(Host(lambda: rig, offer, Ledger(tmp_path / "ledger.db")))
        address = await stack.enter_async_context(served(host))
        instrument = await stack.enter_async_context(await open_instrument(address))

        assert (await instrument.find(identity)).state == "interrupted"
        again = await instrument.invoke("hold", {}, identity=identity)

    assert again.state == "interrupted"
    assert not rig._entered.is_set()


async def test_a_driver_that_can_look_says_whether_an_interrupted_action_happened(
    served: Serve, tmp_path: Path
) -> None:
    class Valve:
        def turn(self, to: int) -> int:
            return to

        def check_turn(self, to: int) -> Any:
            return "done", np.arange(to)

    identity, unknown = new_id(), new_id()
    died = Ledger(tmp_path / "ledger.db")
    died.begin(Invocation(identity, "valve", "turn", {"to": 3}, "checkable", "running", now(), now()))
    died.close()
    async with AsyncExitStack() as stack:
        host = Host(Valve, describe(Valve, name="valve"), Ledger(tmp_path / "ledger.db"))
        address = await stack.enter_async_context(served(await stack.enter_async_context(host)))
        instrument = await stack.enter_async_context(await open_instrument(address))

        for action in (None, "turn"):
            checked = await instrument.check(identity, action=action)
            assert (checked.outcome, checked.action, list(checked.result)) == ("done", "turn", [0, 1, 2])
        with pytest.raises(NotFoundError):
            await instrument.check(unknown)
        done = await instrument.invoke("turn", {"to": 1})
        with pytest.raises(ConflictError, match="not interrupted"):
            await instrument.check(done.id)
        assert "check_turn" not in instrument.description.actions


async def test_a_lower_lease_number_is_refused(instrument: Instrument) -> None:
    await instrument.invoke("move", {"to": 1.0}, lease=8)

    with pytest.raises(LeaseError, match="Lease 7 on rig is over: number 8 acts here"):
        await instrument.invoke("move", {"to": 2.0}, lease=7)
    with pytest.raises(LeaseError):
        await instrument.write("x", 2.0, lease=7)


async def test_while_a_lease_is_held_nobody_else_acts_and_everybody_looks(instrument: Instrument, rig: Any) -> None:
    lease = await instrument.take("run 7", 8)
    assert (lease.number, lease.holder, lease.until) == (8, "run 7", None)

    for number in (None, 7, 9):
        with pytest.raises(LeaseError, match=r"run 7 has rig since .* \(lease 8\)") as refused:
            await instrument.invoke("move", {"to": 1.0}, lease=number)
        assert (refused.value.fields["holder"], refused.value.fields["highest"]) == ("run 7", 8)
        with pytest.raises(LeaseError, match="setting x was refused"):
            await instrument.write("x", 1.0, lease=number)

    assert (await instrument.read("x")).status == "ok"
    assert (await instrument.find(new_id())).state == "not arrived"
    assert (await instrument.health())["lease"] == lease.as_dict()
    assert await instrument.lease() == lease
    assert (await instrument.stop())["stopped"] is True
    assert (await instrument.invoke("move", {"to": 2.0}, lease=8)).state == "succeeded"
    assert rig._moves == [2.0]


async def test_a_lease_that_is_held_is_had_only_by_taking_it_over(instrument: Instrument) -> None:
    first = await instrument.take("run 7")
    with pytest.raises(LeaseError, match="it was not given to Ada Ångström"):
        await instrument.take("Ada Ångström")

    second = await instrument.take("Ada Ångström", over=True)

    assert second.number > first.number
    with pytest.raises(LeaseError, match="Ada Ångström has rig"):
        await instrument.write("x", 1.0, lease=first.number)
    with pytest.raises(LeaseError, match="cannot be given back"):
        await instrument.give_back(first.number)
    await instrument.give_back(second.number)
    assert await instrument.lease() is None
    assert (await instrument.write("x", 1.0)).value == 1.0
    with pytest.raises(LeaseError, match="is over: number 2 acts here"):
        await instrument.write("x", 1.0, lease=first.number)


async def test_a_lease_ends_at_its_time_and_not_without_a_time_zone(instrument: Instrument) -> None:
    lease = await instrument.take("Ada", until=datetime(2020, 1, 1, tzinfo=UTC))

    assert lease.until == datetime(2020, 1, 1, tzinfo=UTC)
    assert await instrument.lease() is None
    with pytest.raises(InvalidError):
        await instrument.take("Ada", until=datetime(2020, 1, 1))  # noqa: DTZ001 - what is refused
    with pytest.raises(InvalidError):
        await instrument.take("  ")


async def test_who_listens_hears_who_has_an_instrument(instrument: Instrument) -> None:
    heard: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()

    def listener(topic: str, body: dict[str, Any]) -> None:
        if topic == "lease":
            heard.put_nowait((body["holder"], body["number"]))

    instrument.listen(listener)
    await instrument.hearing()
    await instrument.take("Ada", 3)
    await instrument.give_back(3)
    await instrument.take("run 7", 4, until=now() + timedelta(milliseconds=50))

    told = [await asyncio.wait_for(heard.get(), 5) for _ in range(4)]
    assert told == [("Ada", 3), (None, None), ("run 7", 4), (None, None)]


async def test_what_the_lab_does_not_allow_is_refused_and_its_narrower_limits_are_described(
    served: Serve, rig: Any
) -> None:
    rules = {"x": {"maximum": 10, "needs": {"firmware": {"equals": "2.2"}}}, "move.to": {"maximum": 10}}
    async with AsyncExitStack() as stack:
        host = Host(lambda: rig, describe(type(rig), name="rig"), Ledger(), limits=read_limits(rules))
        address = await stack.enter_async_context(served(await stack.enter_async_context(host)))
        instrument = await stack.enter_async_context(await open_instrument(address))

        assert instrument.description.actions["move"].parameters["to"].schema["maximum"] == 10
        with pytest.raises(LimitError, match=r"to=11.0 mm is above 10 mm, a limit of this lab"):
            await instrument.invoke("move", {"to": 11})
        with pytest.raises(ConflictError, match=r"firmware is '2.1', which is not '2.2'"):
            await instrument.write("x", 5)
        assert (await instrument.health())["blocked"] is None
    assert (rig._x, rig._moves) == (1.5, [])


async def test_limits_that_cannot_be_read_block_every_act_and_say_why(served: Serve, rig: Any, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        limits = read_limits(tmp_path / "gone.toml")
        host = Host(lambda: rig, describe(type(rig), name="rig"), Ledger(), limits=limits)
        address = await stack.enter_async_context(served(await stack.enter_async_context(host)))
        instrument = await stack.enter_async_context(await open_instrument(address))

        with pytest.raises(ConflictError, match=r"gone.toml cannot be used: no such file"):
            await instrument.invoke("look", {})
        assert "gone.toml" in (await instrument.health())["blocked"]
        assert (await instrument.read("x")).value == 1.5
        assert (await instrument.stop())["stopped"] is True


# Ending early ---------------------------------------------------------------------------------------------------------


async def test_an_action_that_gives_opportunities_is_cancelled(instrument: Instrument, rig: Any) -> None:
    running = asyncio.create_task(instrument.invoke("wait_for_ever", {}, identity=(identity := new_id())))
    await asyncio.to_thread(rig._entered.wait, 5)

    assert (await instrument.cancel(identity)).id == identity

    done = await running
    assert done.state == "cancelled"
    assert "was cancelled before its end" in done.error["detail"]


async def test_a_cancel_with_a_deadline_is_answered_at_the_end_or_says_that_it_is_overdue(
    instrument: Instrument, rig: Any
) -> None:
    begun = await instrument.invoke("wait_for_ever", {}, wait=False)
    await asyncio.to_thread(rig._entered.wait, 5)

    done = await instrument.cancel(begun.id, within=20)
    assert done.state == "cancelled"

    begun = await instrument.invoke("slow_scan", {}, wait=False)
    await asyncio.to_thread(rig._scanning.wait, 5)
    late = await instrument.cancel(begun.id, action="slow_scan", within=0.01)
    assert (late.state, late.cancelling["overdue"], late.cancelling["within"]) == ("running", True, 0.01)
    rig._released.set()
    assert (await instrument.invoke("slow_scan", {}, identity=begun.id)).state == "cancelled"
    for within in (-1, float("nan"), 1e9):
        with pytest.raises(InvalidError, match="is not between"):
            await instrument.cancel((await instrument.invoke("look", {})).id, within=within)


async def test_how_far_it_is_and_how_long_it_usually_takes_is_said_while_it_runs(
    instrument: Instrument, host: Host, rig: Any
) -> None:
    host._ledger.durations.add("slow_scan", 12.0)
    told = asyncio.Event()
    instrument.listen(lambda topic, body: told.set() if topic == "stream" else None)
    await instrument.hearing()

    begun = await instrument.invoke("slow_scan", {}, wait=False)
    await asyncio.wait_for(told.wait(), 5)
    found = await instrument.find(begun.id)

    assert begun.expected_seconds == found.expected_seconds == 12.0
    assert found.progress == 0.5
    assert (await instrument.health())["running"]["progress"] == 0.5
    rig._released.set()
    done = await instrument.invoke("slow_scan", {}, identity=begun.id)
    assert (done.state, list(done.result["progress"])) == ("succeeded", [0.5])


async def test_an_action_that_blocks_cannot_be_cancelled(instrument: Instrument) -> None:
    begun = await instrument.invoke("hold", {}, wait=False)

    with pytest.raises(ConflictError, match="blocks in its driver"):
        await instrument.cancel(begun.id)


async def test_what_is_not_known_or_over_cannot_be_cancelled(instrument: Instrument) -> None:
    done = await instrument.invoke("move", {"to": 1.0})

    with pytest.raises(NotFoundError):
        await instrument.cancel(new_id())
    with pytest.raises(ConflictError, match="is over: succeeded"):
        await instrument.cancel(done.id, action="move")


async def test_stop_reaches_the_driver_while_an_action_blocks_it(instrument: Instrument, rig: Any) -> None:
    running = asyncio.create_task(instrument.invoke("hold", {}))
    await asyncio.to_thread(rig._entered.wait, 5)

    stopped = await instrument.stop()

    assert stopped["stopped"] is True
    assert rig._stopped.is_set()
    assert (await running).state == "cancelled"


async def test_a_driver_without_stop_is_not_said_to_be_stopped(served: Serve) -> None:
    class Bare:
        """Offers nothing."""

    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(Host(Bare, describe(Bare, name="bare"), Ledger()))
        instrument = await stack.enter_async_context(
            await open_instrument(await stack.enter_async_context(served(host)))
        )

        with pytest.raises(NoStopError, match="bare has no software stop"):
            await instrument.stop()


# Events ---------------------------------------------------------------------------------------------------------------


async def test_rows_are_heard_as_they_are_measured_between_begin_and_end(instrument: Instrument) -> None:
    heard: list[tuple[str, Any]] = []
    over = asyncio.Event()

    def listener(topic: str, body: dict[str, Any]) -> None:
        if topic not in ("invocation", "stream"):
            return
        heard.append((topic, body["state"] if topic == "invocation" else body["columns"]["current"]))
        if heard[-1] == ("invocation", "succeeded"):
            over.set()

    instrument.listen(listener)
    await instrument.hearing()
    done = await instrument.invoke("scan", {"rows": 3})
    await asyncio.wait_for(over.wait(), 5)

    # An array where the wire keeps arrays (msgpack), a list where it does not (JSON).
    table = {name: list(column) for name, column in done.result.items()}
    assert table == {"time": [0.0, 0.1, 0.2], "current": [0.0, 1e-3, 2e-3]}
    rows = [("stream", current) for current in table["current"]]
    assert heard == [("invocation", "running"), *rows, ("invocation", "succeeded")]


async def test_a_listener_that_raises_does_not_keep_others_from_hearing(instrument: Instrument) -> None:
    heard = asyncio.Event()

    def faulty(topic: str, body: dict[str, Any]) -> None:
        raise RuntimeError("mine")

    instrument.listen(faulty)
    end = instrument.listen(lambda topic, body: heard.set())
    await instrument.hearing()
    await instrument.invoke("move", {"to": 1.0})

    await asyncio.wait_for(heard.wait(), 5)
    end()
    end()


# Lost and found -------------------------------------------------------------------------------------------------------


async def test_when_the_wire_is_cut_everything_that_waits_fails_at_once(host: Host, served: Serve, rig: Any) -> None:
    async with AsyncExitStack() as serving:
        instrument = await open_instrument(await serving.enter_async_context(served(host)))
        waiting = asyncio.create_task(instrument.invoke("hold", {}))
        await asyncio.to_thread(rig._entered.wait, 5)

    with pytest.raises(UnreachableError, match="sk again with the same id"):
        await waiting
    with pytest.raises(UnreachableError):
        await instrument.read("x")
    await instrument.close()


async def test_an_instrument_that_comes_back_is_reached_again_and_heard_again(host: Host, served: Serve) -> None:
    async with AsyncExitStack() as serving:
        address = await serving.enter_async_context(served(host))
        instrument = await open_instrument(address)
        heard: asyncio.Queue[str] = asyncio.Queue()
        instrument.listen(lambda topic, body: heard.put_nowait(body["state"]))
        await instrument.hearing()
    back = asyncio.create_task(instrument.reachable())

    where = () if address.startswith("memory") else (address,)
    async with served(host, *where):
        await asyncio.wait_for(back, 5)
        done = await instrument.invoke("move", {"to": 1.0})
        await instrument.hearing()
        await instrument.invoke("move", {"to": 2.0})

        assert done.state == "succeeded"
        assert await asyncio.wait_for(heard.get(), 5) == "running"
        await instrument.close()


async def test_where_nobody_answers_nothing_is_opened(transport: str, free_port: int) -> None:
    address = {
        "memory": "memory:nobody",
        "http": f"http://127.0.0.1:{free_port}",
        "zmq": f"tcp://127.0.0.1:{free_port}",
    }

    with pytest.raises(UnreachableError, match=r"is not reachable.*Nothing was sent") as refused:
        await open_instrument(address[transport])
    assert "same id" not in str(refused.value)  # whoever only opened something has no id


async def test_who_takes_the_connection_and_says_nothing_is_not_waited_for_without_end(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a ZMQ port that is asked over HTTP, or a driver's serial gateway."""
    if transport == "memory":
        pytest.skip("has no address that somebody else could have")
    monkeypatch.setattr(client, "DESCRIBED_WITHIN", 0.2)
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UnreachableError, match=r"is not reachable.*Nothing was sent"):
            await open_instrument(f"{'http' if transport == 'http' else 'tcp'}://127.0.0.1:{port}")
    assert asked.is_set()


@pytest.mark.parametrize("address", ["", "furnace", "ftp://127.0.0.1", "tcp://", "tcp://127.0.0.1", "http://", "tcp:x"])
async def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidError):
        await open_instrument(address)


async def test_closing_ends_what_waits(address: str, rig: Any) -> None:
    instrument = await open_instrument(address)
    waiting = asyncio.create_task(instrument.invoke("hold", {}))
    await asyncio.to_thread(rig._entered.wait, 5)

    await instrument.close()

    with pytest.raises(UnreachableError):
        await waiting
    with pytest.raises(UnreachableError, match=r"was closed by who had it\. Nothing was sent\. Connect anew"):
        await instrument.read("x")
    await instrument.close()


async def test_a_port_or_name_in_use_is_said(host: Host, address: str, served: Serve) -> None:
    where = () if address.startswith("memory") else (address,)

    with pytest.raises(ConflictError, match=r"in use|served in this process already"):
        async with served(host, *where):
            pass
