"""Who begins next: priority before place, never two on one instrument, nobody starved."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from labretto.instrument.reading import isoformat, spoken
from labretto.orchestrator.order import in_order, next_due, next_runs, standings

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
LATER = isoformat(NOW + timedelta(hours=1))
EARLIER = isoformat(NOW - timedelta(hours=1))
INSTRUMENTS = ("camera", "furnace", "pump", "stage")


@dataclass(frozen=True)
class Row:
    id: str
    instruments: tuple[str, ...] = ()
    position: float = 0
    priority: int = 0
    held: bool = False
    not_before: str | None = None
    reason: str | None = None
    name: str = "scan"


some_instruments = st.lists(st.sampled_from(INSTRUMENTS), unique=True).map(tuple)


@st.composite
def queues(draw: st.DrawFn) -> list[Row]:
    count = draw(st.integers(0, 8))
    places = draw(st.permutations(range(count)))
    return [
        Row(
            f"r{k}",
            draw(some_instruments),
            position=places[k],
            priority=draw(st.integers(-2, 2)),
            held=draw(st.booleans()),
            not_before=draw(st.sampled_from([None, EARLIER, LATER])),
        )
        for k in range(count)
    ]


def begin(queued: list[Row], busy: frozenset[str] = frozenset(), running: int = 0, limit: int | None = None):
    return next_runs(queued, busy, now=NOW, running=running, limit=limit)


busy_ones = st.frozensets(st.sampled_from(INSTRUMENTS))
limits = st.none() | st.integers(0, 4)


@given(queues(), busy_ones, st.integers(0, 4), limits)
def test_no_two_that_act_share_an_instrument(queued: list[Row], busy: frozenset[str], running: int, limit: int | None):
    used = set(busy)
    for run in begin(queued, busy, running, limit):
        (row,) = (row for row in queued if row.id == run)
        assert used.isdisjoint(row.instruments)
        used |= set(row.instruments)


@given(queues(), busy_ones, st.integers(0, 4), limits)
def test_who_begins_takes_nothing_that_one_ahead_of_it_waits_for(
    queued: list[Row], busy: frozenset[str], running: int, limit: int | None
):
    begun = begin(queued, busy, running, limit)
    wanted: set[str] = set()
    for row in in_order(queued):
        if row.id in begun:
            assert wanted.isdisjoint(row.instruments)
        elif not row.held and row.not_before != LATER:
            wanted |= set(row.instruments)


@given(queues(), busy_ones, st.integers(0, 4), limits)
def test_held_runs_and_runs_before_their_time_do_not_begin_and_do_not_hinder(
    queued: list[Row], busy: frozenset[str], running: int, limit: int | None
):
    begun = begin(queued, busy, running, limit)
    free = [row for row in queued if not row.held and row.not_before != LATER]
    assert set(begun) <= {row.id for row in free}
    assert begun == begin(free, busy, running, limit)


@given(queues(), st.integers(0, 4), st.integers(0, 4))
def test_never_more_act_than_may(queued: list[Row], running: int, limit: int):
    assert len(begin(queued, running=running, limit=limit)) <= max(0, limit - running)


@given(queues(), busy_ones, limits.filter(lambda limit: limit != 0))
def test_whoever_is_first_begins_as_soon_as_its_instruments_are_free(
    queued: list[Row], busy: frozenset[str], limit: int | None
):
    free = [row for row in in_order(queued) if not row.held and row.not_before != LATER]
    for first in free[:1]:
        assert (first.id in begin(queued, busy, 0, limit)) == busy.isdisjoint(first.instruments)


@given(queues(), limits.filter(lambda limit: limit != 0))
def test_every_run_has_its_turn_if_those_that_act_end(queued: list[Row], limit: int | None):
    left = [replace(row, held=False, not_before=None) for row in queued]
    acting: list[Row] = []
    order: list[str] = []
    while left:
        busy = frozenset(name for row in acting for name in row.instruments)
        begun = begin(left, busy, len(acting), limit)
        assert begun or acting
        order += begun
        acting = acting[1:] + [row for row in left if row.id in begun]
        left = [row for row in left if row.id not in begun]

    assert sorted(order) == sorted(row.id for row in queued)


@given(queues(), busy_ones, st.integers(0, 4), limits)
def test_who_does_not_begin_has_a_sentence_that_says_why(
    queued: list[Row], busy: frozenset[str], running: int, limit: int | None
):
    users = dict.fromkeys(busy, "the run 'x' (7)")
    told = list(standings(queued, users, now=NOW, running=running, limit=limit))

    assert [each.run for each in told if each.why is None] == begin(queued, busy, running, limit)
    assert all(each.why is None or each.why.endswith(".") for each in told)


def test_priority_goes_before_place_and_place_decides_among_equals():
    queued = [Row("a", position=1), Row("b", position=0.5), Row("c", position=9, priority=1)]

    assert begin(queued) == ["c", "b", "a"]


def test_a_small_run_does_not_slip_past_a_big_one_that_waits():
    big, small = Row("big", ("furnace", "stage"), 1), Row("small", ("stage",), 2)

    assert begin([big, small], frozenset({"furnace"})) == []
    assert begin([replace(big, held=True), small], frozenset({"furnace"})) == ["small"]


SENTENCES = [
    (Row("r", held=True, reason="Held by ada: the lamp is warm."), "Held by ada: the lamp is warm."),
    (Row("r", held=True), "A person holds it back."),
    (Row("r", not_before=LATER), f"It is not to begin before {spoken(LATER)}."),
    (Row("r", ("stage", "furnace")), "Waits for furnace, which run 7 has."),
    (Row("r", ("camera",)), 'Waits for camera, which run …first "scan" waits for before it.'),
    (Row("r", ("pump",)), "Waits for its turn: as many runs act as may at once."),
]


@pytest.mark.parametrize(("row", "sentence"), SENTENCES, ids=[sentence for _, sentence in SENTENCES])
def test_each_kind_of_waiting_has_its_sentence(row: Row, sentence: str):
    first = Row("first", ("furnace", "camera"), position=-1)
    users = {"furnace": "run 7"}
    told = {each.run: each.why for each in standings([first, row], users, now=NOW, running=2, limit=2)}

    assert told["r"] == sentence


def test_the_next_moment_to_look_is_the_first_time_that_is_still_to_come():
    later = isoformat(NOW + timedelta(hours=2))
    queued = [Row("a", not_before=later), Row("b", not_before=LATER), Row("c", not_before=EARLIER), Row("d")]

    assert next_due(queued, NOW) == NOW + timedelta(hours=1)
    assert next_due([replace(queued[1], held=True), *queued[2:]], NOW) is None
