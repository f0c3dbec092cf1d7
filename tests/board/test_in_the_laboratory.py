"""A board as the laboratory sees it: through the hub's own client, over a real socket, and after a kill -9 in
mid-action.
"""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from labretto.errors import BusyError, LeaseError, LimitError, UnreachableError
from labretto.instrument.invocation import new_id
from labretto.network.client import Instrument, open_instrument

EXAMPLES = Path(__file__).parents[2] / "board/examples"


class Board:
    """One example, running; it can be killed and started again, its flash is a folder."""

    def __init__(self, start: Callable[..., Any], program: Path, port: int, flash: Path) -> None:
        self.start, self.program, self.port, self.flash = start, program, port, flash
        self.process = self.boot()

    def boot(self) -> Any:
        self.process = self.start(str(self.program), str(self.port), cwd=self.flash)
        return self.process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def connect(self) -> Instrument:
        end = time.monotonic() + 10
        while True:
            try:
                return await open_instrument(f"http://127.0.0.1:{self.port}")
            except UnreachableError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError((self.flash / "output.txt").read_text()) from None
                await anyio.sleep(0.02)


@pytest.fixture
def board(started: Callable[..., Any], free_port: int, tmp_path: Path) -> Callable[[str], Board]:
    """Starts an example."""
    return lambda example: Board(started, EXAMPLES / example / "main.py", free_port, tmp_path)


@pytest.fixture
async def pump(board: Callable[[str], Board]) -> AsyncIterator[Instrument]:
    """The pump, by the laboratory's client."""
    async with await board("pump").connect() as instrument:
        yield instrument


async def test_a_board_is_an_instrument_like_any_other(pump: Instrument) -> None:
    assert (pump.description.name, pump.description.stop) == ("pump", True)
    assert pump.description.actions["dispense"].effect == "once"
    assert pump.description.actions["dispense"].parameters["volume"].schema["unit"] == "mL"

    assert (await pump.write("speed", 2.0, lease=3)).value == 2.0
    assert (await pump.read("pumped")).unit == "mL"
    ended = await pump.invoke("dispense", {"volume": 0.2}, lease=3, actor="Ada Ångström")

    assert (ended.state, ended.actor) == ("succeeded", "Ada Ångström")
    assert ended.result == pytest.approx(0.2)
    assert await pump.find(ended.id) == ended
    with pytest.raises(LimitError, match="mL"):
        await pump.invoke("dispense", {"volume": 51})
    with pytest.raises(LeaseError):
        await pump.invoke("prime", {}, lease=2)


async def test_what_happens_is_told_live(board: Callable[[str], Board]) -> None:
    async with await board("thermometer").connect() as thermometer:
        told: list[tuple[str, dict[str, Any]]] = []
        thermometer.listen(lambda topic, body: told.append((topic, body)))
        await thermometer.hearing()

        ended = await thermometer.invoke("record", {"points": 4})
        with anyio.fail_after(10):
            while not any(topic == "invocation" and body["state"] == "succeeded" for topic, body in told):  # noqa: ASYNC110
                await anyio.sleep(0.01)

        rows = [body for topic, body in told if topic == "stream"]
        assert [row["row"] for row in rows] == [0, 1, 2, 3]
        assert ended.result["temperature"] == [row["columns"]["temperature"] for row in rows]


async def test_stop_is_answered_while_an_action_runs(pump: Instrument) -> None:
    begun = await pump.invoke("dispense", {"volume": 50}, wait=False)
    with pytest.raises(BusyError):
        await pump.invoke("prime", {})

    assert (await pump.stop())["stopped"] is True

    with anyio.fail_after(10):
        while (await pump.find(begun.id)).state == "running":  # noqa: ASYNC110  a board has nothing to wait on
            await anyio.sleep(0.01)
    assert (await pump.find(begun.id)).state == "cancelled"


async def test_a_board_that_was_killed_in_mid_action_says_that_it_does_not_know_the_end(
    board: Callable[[str], Board],
) -> None:
    """The action is neither forgotten nor repeated; a person is asked, because it is `once`."""
    pump_board = board("pump")
    done, cut = new_id(), new_id()
    async with await pump_board.connect() as pump:
        await pump.write("speed", 2.0, lease=7)
        first = await pump.invoke("dispense", {"volume": 0.1}, identity=done)
        await pump.invoke("dispense", {"volume": 50}, identity=cut, wait=False, lease=7)
        pump_board.kill()
        with pytest.raises(UnreachableError):
            await pump.find(cut)

    pump_board.boot()
    async with await pump_board.connect() as pump:
        assert (await pump.find(done)).result == first.result
        assert (await pump.find(cut)).state == "interrupted"
        asked_again = await pump.invoke("dispense", {"volume": 50}, identity=cut)
        assert asked_again.state == "interrupted"
        assert asked_again.error is not None
        assert (await pump.read("pumped")).value == 0.0
        assert (await pump.health())["status"] == "idle"
        assert (await pump.find(new_id(), action="dispense")).state == "not arrived"
        with pytest.raises(LeaseError):
            await pump.invoke("prime", {}, lease=6)


@pytest.mark.parametrize("interpreter", ["i386"], indirect=True)  # its waits are seconds long
def test_a_board_keeps_the_contract_that_hosts_keep(board: Callable[[str], Board]) -> None:
    """`labretto conformance`, with the pump's dispensing as the action that takes its time."""
    pump = board("pump")
    anyio.run(_until_it_answers, pump)

    command = [sys.executable, "-m", "labretto", "conformance", f"http://127.0.0.1:{pump.port}", "--allow", "once"]
    command += ["--use", "hold=dispense", "--use", "linger=dispense", "--parameter", "dispense.volume=1", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=50)

    assert told.returncode == 0, told.stdout + told.stderr


async def _until_it_answers(board: Board) -> None:
    await (await board.connect()).close()
