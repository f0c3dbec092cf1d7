"""SIGKILL of a host at every point of its ledger and at random moments, and a link that breaks anywhere.

What matter did is compared with what was told: no dose begins twice without a decision, none is told done that did not
end, and what a host says after its death is right. The kit is `labretto.network.conformance.killing`; here it is used.

    LABRETTO_KILLS=200 .venv/bin/pytest tests/system/test_kill_hosts.py      200 random deaths instead of 40
    LABRETTO_SEED=4711 .venv/bin/pytest tests/system/test_kill_hosts.py      the moments of an earlier run again

The random waits are the stimulus; what is waited for is always an event.
"""

import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from labretto.network.conformance.host import POINTS, Order, Point
from labretto.network.conformance.killing import (
    Attempt,
    Story,
    acts,
    doser,
    faults,
    killed_at,
    killed_at_random,
)
from labretto.network.conformance.link import breaking
from labretto.network.conformance.mortal import Command, Nursery

REPOSITORY = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("LABRETTO_KILLS", "40"))
SEED = int(os.environ.get("LABRETTO_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
DOSES = 60
"""Asked for over a link that breaks."""


@pytest.fixture
def chance() -> random.Random:
    print(f"LABRETTO_SEED={SEED} LABRETTO_KILLS={KILLS}")  # noqa: T201 - to do a failed run again
    return random.Random(SEED)


@pytest.fixture(params=["http", "tcp"])
async def host(request: pytest.FixtureRequest, free_port: int, tmp_path: Path) -> AsyncIterator[Nursery]:
    """A host that can be killed, on each wire in turn."""
    order = Order(str(tmp_path), f"{request.param}://127.0.0.1:{free_port}")
    async with Nursery(order) as nursery:
        yield nursery


@pytest.mark.parametrize("point", POINTS)
async def test_at_every_point_of_its_ledger_a_host_may_die(host: Nursery, point: Point) -> None:
    assert await killed_at(host, point) == []

    begun = [mark for phase, mark in acts(host.log) if phase == "begin"]
    assert len(begun) == 2


@pytest.mark.timeout(60 + 3 * KILLS)
async def test_at_any_moment_a_host_may_die(host: Nursery, chance: random.Random) -> None:
    assert await killed_at_random(host, KILLS, chance) == []


@pytest.mark.parametrize("longest", [3_000, 8_000])
async def test_the_link_may_break_at_any_byte(host: Nursery, chance: random.Random, longest: int) -> None:
    await host.start()
    async with doser(host.address, host.log) as direct:
        async with breaking(host.address, chance, longest) as link, doser(link.address, host.log) as asking:
            for number in range(DOSES):
                await asking.dose(number)
            assert link.cuts > 5
            direct.story = asking.story

        assert faults(direct.story, acts(host.log), await direct.remembered()) == []
    assert len(acts(host.log)) == 2 * DOSES
    assert {attempt.told for attempt in direct.story.attempts} == {"succeeded"}


async def test_any_host_that_a_command_starts_can_be_killed(
    free_port: int, tmp_path: Path, chance: random.Random
) -> None:
    """Here a board, which remembers in a file on its flash."""
    log = tmp_path / "physical.log"
    program = REPOSITORY / "tests/network/board_subject.py"
    environment = f"PYTHONPATH={REPOSITORY / 'board/src'}"
    command = ["env", environment, sys.executable, str(program), str(free_port), str(log)]
    async with Command(command, f"http://127.0.0.1:{free_port}", log, folder=tmp_path) as board:
        assert await killed_at_random(board, min(KILLS, 10), chance, longest=0.2, forgetful=True) == []

    assert acts(log)


LIES: dict[str, Callable[[], list[str]]] = {
    "began 2 times": lambda: faults(
        Story([Attempt(1, "a", "succeeded")]), [("begin", "a"), ("end", "a"), ("begin", "a")], {"a": "succeeded"}
    ),
    "is reported done and did not end": lambda: faults(
        Story([Attempt(1, "a", "succeeded")]), [("begin", "a")], {"a": "succeeded"}
    ),
    "told not to have arrived": lambda: faults(
        Story([Attempt(1, "a", "interrupted", "repeat"), Attempt(1, "b", "succeeded")]),
        [("begin", "a"), ("begin", "b"), ("end", "b")],
        {"a": "not arrived", "b": "succeeded"},
    ),
    "with 0 decisions to repeat it": lambda: faults(
        Story([Attempt(1, "a", "interrupted", "happened"), Attempt(1, "b", "succeeded")]),
        [("begin", "a"), ("begin", "b"), ("end", "b")],
        {"a": "interrupted", "b": "succeeded"},
    ),
    "was told interrupted, and now succeeded": lambda: faults(
        Story([Attempt(1, "a", "interrupted", "happened")]), [("begin", "a"), ("end", "a")], {"a": "succeeded"}
    ),
    "is running, which no dose should be": lambda: faults(
        Story([Attempt(1, "a", "running")]), [("begin", "a")], {"a": "running"}
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_each_lie_is_found_out(lie: str) -> None:
    assert any(lie in fault for fault in LIES[lie]())
