"""The simulated instruments under a real host, and under a real kill."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.instrument.simulated.bench import Bench
from labretto.instrument.simulated.potentiostat import Potentiostat
from labretto.instrument.simulated.stage import SampleStage

A_LONG_MOVE = """
import asyncio, sys
from labretto.instrument.simulated.stage import SampleStage

async def leave():
    move = asyncio.create_task(SampleStage(velocity=1.0, bench=sys.argv[1]).move(x=100, y=0))
    await asyncio.sleep(0)
    print("moving", flush=True)
    await move

asyncio.run(leave())
"""


def hosted(driver, name, **settings):
    return Host(lambda: driver(**settings), describe(driver, name=name), Ledger())


async def test_a_stage_and_a_potentiostat_in_two_hosts_measure_the_same_sample(tmp_path):
    bench = str(tmp_path)
    async with (
        hosted(SampleStage, "stage", velocity=500, acceleration=5000, bench=bench) as stage,
        hosted(Potentiostat, "potentiostat", time_scale=0, bench=bench) as potentiostat,
    ):
        moved = await stage.wait((await stage.invoke("move_to", {"sample": "B2"})).id)
        sweep = {"start": -0.2, "vertex": 0.7, "scan_rate": 0.1}
        measured = await potentiostat.wait((await potentiostat.invoke("cyclic_voltammetry", sweep)).id)

        assert (moved.state, measured.state) == ("succeeded", "succeeded")
        assert (await stage.read("sample")).value == "B2"
        assert set(measured.result) == {"time", "potential", "current"}
        assert np.shape(measured.result["current"]) == (1801,)
        assert np.max(measured.result["current"]) > 1e-6


async def test_a_halt_of_the_host_ends_a_move_on_its_way(tmp_path):
    async with hosted(SampleStage, "stage", velocity=1.0, bench=str(tmp_path)) as stage:
        running = await stage.invoke("move", {"x": 100, "y": 0})
        await stage.stop()
        ended = await stage.wait(running.id)

        assert ended.state == "cancelled"
        assert "stopped before its end" in ended.error["detail"]
        assert (await stage.read("x")).value < 100
        assert (await stage.read("moving")).value is False


async def test_the_position_answers_while_the_host_runs_a_move(tmp_path):
    async with hosted(SampleStage, "stage", velocity=1.0, bench=str(tmp_path)) as stage:
        running = await stage.invoke("move", {"x": 100, "y": 0})
        reading = await stage.read("x")

        assert reading.status == "ok"
        assert 0 <= reading.value < 100
        await stage.stop()
        await stage.wait(running.id)


def test_a_killed_stage_goes_on_and_its_successor_knows_where_it_is(tmp_path):
    """The witness saw a begin and no end: that is what a kill in mid-action leaves."""
    process = subprocess.Popen([sys.executable, "-c", A_LONG_MOVE, str(tmp_path)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"moving\n"
        process.send_signal(signal.SIGKILL)

    successor = SampleStage(bench=str(tmp_path))
    motion = Bench(tmp_path).motion("stage")

    assert successor.moving
    assert motion.target == (100.0, 0.0)
    assert successor.x == pytest.approx(motion.position(time.time())[0], abs=0.5)
    assert [line["phase"] for line in Bench(tmp_path).physical_log()] == ["begin"]
