"""Runs with nothing in common act at once, nobody has what another has, and everybody comes to their end."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, strategies as st

from labretto.orchestrator.reservations import Obstacle, Reservations


def test_runs_with_nothing_in_common_act_at_once_and_the_third_waits_for_the_one_that_has_its_instrument():
    table = Reservations()

    assert table.ask("scan", ["stage", "camera"], (1,)) == ["scan"]
    assert table.ask("anneal", ["furnace"], (2,)) == ["anneal"]
    assert table.ask("look", ["camera"], (3,)) == []

    assert table.obstacle("look") == Obstacle("camera", "scan")
    assert table.obstacle("scan") is None
    assert table.rest("scan") == ["look"]


def test_who_asks_for_more_gives_all_back_and_waits_for_everything():
    table = Reservations()
    table.ask("one", ["stage"], (1,))
    table.ask("two", ["camera"], (2,))
    table.ask("three", ["stage"], (3,))

    assert table.ask("one", ["stage", "camera"], (1,)) == []
    assert table.has("one") == frozenset()
    assert table.rest("two") == ["one"]
    assert table.rest("one") == ["three"]


def test_a_large_run_is_not_starved_by_small_ones_behind_it():
    table = Reservations()
    table.ask("small", ["stage"], (1,))
    table.ask("large", ["stage", "camera"], (2,))

    assert table.ask("smaller", ["camera"], (3,)) == []
    assert table.obstacle("smaller") == Obstacle("camera", "large", ahead=True)
    assert table.rest("small") == ["large"]


def test_who_stands_still_keeps_what_it_says_and_goes_on_when_it_may_act():
    table = Reservations(limit=1)
    table.ask("one", ["stage", "furnace"], (1,))
    table.ask("two", ["stage"], (2,))

    assert table.rest("one", ["furnace"]) == ["two"]
    assert table.ask("one", ["furnace"], (1,)) == []
    assert table.obstacle("one") == Obstacle(None)
    assert table.has("one") == {"furnace"}
    assert table.rest("two") == ["one"]


def test_of_two_that_wait_for_what_the_other_kept_the_later_gives_way():
    table = Reservations()
    table.ask("one", ["a"], (1,))
    table.ask("two", ["b"], (2,))
    table.rest("one", ["a"])
    table.rest("two", ["b"])

    assert table.ask("two", ["a", "b"], (2,)) == []
    assert table.ask("one", ["a", "b"], (1,)) == ["one"]
    assert table.rest("one") == ["two"]


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_act_than_may(limit: int):
    table = Reservations(limit)
    for number in range(4):
        table.ask(f"run {number}", [f"instrument {number}"], (number,))

    assert [table.acts(f"run {number}") for number in range(4)] == [number < limit for number in range(4)]
    assert table.running == 4


NAMES = ("camera", "furnace", "pump", "stage")
some = st.frozensets(st.sampled_from(NAMES))


@dataclass
class Sham:
    """A run that asks for more and more, stands still now and then, and ends."""

    name: str
    rank: int
    script: list[tuple[str, frozenset[str]]]
    needs: frozenset[str] = frozenset()
    log: list[str] = field(default_factory=list)


@st.composite
def labs(draw: st.DrawFn) -> list[Sham]:
    count = draw(st.integers(1, 6))
    ranks = draw(st.permutations(range(count)))
    steps = st.lists(st.tuples(st.sampled_from(["ask", "rest"]), some), min_size=1, max_size=5)
    return [Sham(f"run {k}", ranks[k], draw(steps)) for k in range(count)]


def advance(table: Reservations, run: Sham) -> None:
    """The next of its steps; asking again is what follows on standing still."""
    if not run.script:
        table.rest(run.name)
        return
    kind, names = run.script.pop(0)
    if kind == "ask" or not table.acts(run.name):
        run.needs |= names
        table.ask(run.name, run.needs, (run.rank,))
    else:
        table.rest(run.name, names)


@given(labs(), st.none() | st.integers(1, 3), st.randoms(use_true_random=False))
def test_whatever_they_ask_for_nobody_has_what_another_has_and_everybody_ends(runs, limit, chance):
    """No deadlock: as long as a run is left, one of them can go on."""
    table = Reservations(limit)
    left = list(runs)
    while left:
        able = [run for run in left if table.obstacle(run.name) is None]
        assert able, "all wait for each other"
        run = chance.choice(able)
        ends = not run.script
        advance(table, run)
        left = [each for each in left if not (ends and each is run)]
        held = [name for each in runs for name in table.has(each.name)]
        assert len(held) == len(set(held))
        assert limit is None or sum(table.acts(each.name) for each in runs) <= limit
    assert table.users == {}
    assert table.running == 0
