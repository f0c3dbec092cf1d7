"""When runs are expected to begin and to end."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from labretto.experiment.estimate import Spread
from labretto.orchestrator.expected import Expected, GoingOn, ToCome, expect

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    id: str
    instruments: tuple[str, ...] = ("stage",)
    priority: int = 0
    position: float = 0
    held: bool = False
    not_before: str | None = None
    name: str = "x"
    reason: str | None = None


def about(seconds: float) -> Spread:
    return Spread(seconds * 0.9, seconds, seconds * 1.2)


def told(*to_come: ToCome, going_on: tuple[GoingOn, ...] = (), limit: int | None = None) -> dict[str, Expected]:
    return {each.run: each for each in expect(going_on, to_come, now=NOW, limit=limit)}


def begins(expected: Expected) -> float | None:
    return None if expected.begin is None else (expected.begin - NOW).total_seconds()


BUSY = GoingOn("busy", NOW - timedelta(minutes=5), about(100), ("stage",))


def test_a_run_begins_when_the_one_before_it_that_has_its_instrument_ends():
    found = told(ToCome(Row("a"), about(50)), ToCome(Row("b", ("camera",)), about(10)), going_on=(BUSY,))

    assert begins(found["a"]) == 100
    assert found["a"].end == Spread(145, 150, 160)
    assert begins(found["b"]) == 0
    assert found["busy"].end == about(100)


def test_the_queue_s_order_decides():
    found = told(ToCome(Row("late", position=1), about(10)), ToCome(Row("first", position=2, priority=5), about(30)))

    assert begins(found["first"]) == 0
    assert begins(found["late"]) == 30


def test_a_run_is_not_expected_before_its_time():
    found = told(ToCome(Row("a", not_before="2026-11-21T20:30:00.000000Z"), about(10)))

    assert begins(found["a"]) == 1800


def test_behind_a_run_of_which_nobody_knows_how_long_it_takes_nothing_is_told():
    found = told(ToCome(Row("python"), None), ToCome(Row("next", position=1), about(10)))

    assert begins(found["python"]) == 0
    assert found["python"].end is None
    assert begins(found["next"]) is None
    assert found["next"].end is None


def test_a_run_that_is_held_is_not_expected_and_stands_in_nobody_s_way():
    found = told(ToCome(Row("held", held=True), about(1000)), ToCome(Row("next", position=1), about(10)))

    assert begins(found["held"]) is None
    assert begins(found["next"]) == 0


def test_not_more_runs_at_once_than_may():
    rows = [ToCome(Row(name, (name,), position=place), about(60)) for place, name in enumerate("abc")]

    found = told(*rows, limit=2)

    assert [begins(found[name]) for name in "abc"] == [0, 0, 60]


def test_a_deadline_is_late_when_the_run_will_rather_end_after_it():
    found = told(
        ToCome(Row("a", ("a",)), about(60), "2026-11-21T20:01:30.000000Z"),
        ToCome(Row("b", ("b",)), about(120), "2026-11-21T20:01:30.000000Z"),
        ToCome(Row("c", ("c",)), about(120)),
    )

    assert [found[name].late for name in "abc"] == [False, True, None]
    assert found["b"].as_dict()["end"]["p50"] == "2026-11-21T20:02:00.000000Z"
