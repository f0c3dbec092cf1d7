"""When something is due: on the clock on the wall, also where that is put forward and back."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from labretto.errors import InvalidError
from labretto.orchestrator.schedule import parse

BERLIN = ZoneInfo("Europe/Berlin")

moments = st.integers(0, 15 * 366 * 86400).map(
    lambda second: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
)
zones = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Africa/Cairo",
    ]
)
times = st.times().map(lambda each: f"{each:%H:%M}")
rules = st.one_of(
    st.builds("every day {}".format, times),
    st.builds("every day {}, {}".format, times, times),
    st.builds("every {} {}".format, st.sampled_from(["monday", "friday, sunday", "weekday"]), times),
    st.builds("every {} minutes".format, st.integers(1, 5000)),
    st.builds("every {} hours".format, st.integers(1, 200)),
)


def due(rule: str, after: str, zone: str = "Europe/Berlin") -> str:
    moment = datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone))
    found = parse(rule, zone).next_after(moment)
    assert found is not None
    return f"{found.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M %Z}"


@pytest.mark.parametrize(
    ("rule", "after", "said"),
    [
        ("every day 02:00", "2026-11-21 01:59", "2026-11-21 02:00 CET"),
        ("every day 02:00", "2026-11-21 02:00", "2026-11-22 02:00 CET"),
        ("every day 02:00, 14:30", "2026-11-21 02:00", "2026-11-21 14:30 CET"),
        ("Every  Monday at 06:00", "2026-11-21 12:00", "2026-11-23 06:00 CET"),
        ("every monday, thursday 06:00", "2026-11-23 06:00", "2026-11-26 06:00 CET"),
        ("every monday and thursday 06:00", "2026-11-23 06:00", "2026-11-26 06:00 CET"),
        ("every weekday 6:00", "2026-11-20 07:00", "2026-11-23 06:00 CET"),
        ("every 30 minutes", "2026-11-21 10:01", "2026-11-21 10:30 CET"),
        ("every hour", "2026-11-21 10:00", "2026-11-21 11:00 CET"),
        ("once 2026-11-22 03:00", "2026-11-21 10:00", "2026-11-22 03:00 CET"),
    ],
)
def test_a_rule_says_when_it_is_due_next(rule: str, after: str, said: str):
    assert due(rule, after) == said


def test_once_is_over_when_it_is_over():
    assert parse("once 2026-11-22 03:00", "UTC").next_after(datetime(2026, 11, 22, 3, tzinfo=UTC)) is None


def test_a_time_that_the_clocks_jump_over_is_due_at_the_first_moment_after_the_gap():
    assert due("every day 02:30", "2026-03-28 12:00") == "2026-03-29 03:00 CEST"
    assert due("every day 02:30", "2026-03-29 03:00") == "2026-03-30 02:30 CEST"


def test_two_times_in_one_gap_are_due_once():
    assert due("every day 02:15, 02:45", "2026-03-28 12:00") == "2026-03-29 03:00 CEST"
    assert due("every day 02:15, 02:45", "2026-03-29 03:00") == "2026-03-30 02:15 CEST"


def test_a_time_that_comes_twice_is_due_the_first_time_only():
    assert due("every day 02:30", "2026-10-24 12:00") == "2026-10-25 02:30 CEST"
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    second = parse("every day 02:30", "Europe/Berlin").next_after(first)
    assert second == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_the_clock_on_the_wall_shows_the_same_all_year():
    assert due("every day 02:00", "2026-07-01 12:00") == "2026-07-02 02:00 CEST"
    assert due("every day 02:00", "2026-12-01 12:00") == "2026-12-02 02:00 CET"


def test_an_interval_is_elapsed_time_also_while_the_clocks_are_changed():
    rule = parse("every 30 minutes", "Europe/Berlin")
    moment = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)

    found = [moment := rule.next_after(moment) or moment for _ in range(3)]

    assert found == [datetime(2026, 3, 29, 1, 0, tzinfo=UTC) + k * timedelta(minutes=30) for k in range(3)]


@given(rules, zones, moments)
def test_the_next_time_is_always_after_now_and_nothing_is_due_in_between(rule: str, zone: str, moment: datetime):
    parsed = parse(rule, zone)

    found = parsed.next_after(moment)

    assert found is not None
    assert found > moment
    assert found.tzinfo is UTC
    between = moment + (found - moment) / 2
    assert parsed.next_after(between) == found


@given(rules, zones, moments, st.timedeltas(timedelta(0), timedelta(days=40)))
def test_who_asks_later_is_told_no_earlier_time(rule: str, zone: str, moment: datetime, later: timedelta):
    parsed = parse(rule, zone)

    first, second = parsed.next_after(moment), parsed.next_after(moment + later)

    assert first is not None
    assert second is not None
    assert first <= second


@given(rules, zones, moments)
def test_the_last_time_until_a_moment_is_the_one_after_which_it_is_not_due_before_it(
    rule: str, zone: str, moment: datetime
):
    parsed = parse(rule, zone)

    last = parsed.last_until(moment)

    assert last is not None
    assert last <= moment
    assert (parsed.next_after(last) or last) > moment
    assert parsed.next_after(last - timedelta(seconds=1)) == last


@given(times, zones, moments)
def test_a_daily_rule_is_due_once_a_day_on_the_clock_on_the_wall(at: str, zone: str, moment: datetime):
    parsed = parse(f"every day {at}", zone)
    days = []
    for _ in range(5):
        moment = parsed.next_after(moment) or moment
        days.append(moment.astimezone(ZoneInfo(zone)).date())

    assert [(day - days[0]).days for day in days] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rule", "zone", "said"),
    [
        ("sometimes", "UTC", "'sometimes' says no time."),
        ("every thurday 06:00", "UTC", "'thurday' is no day of the week. Did you mean 'thursday'?"),
        ("every day 25:00", "UTC", "25:00 is no time of day."),
        ("every 2 days", "UTC", "'every 2 days' says no time."),
        ("every 0 minutes", "UTC", "is too often or too seldom"),
        ("every day 02:00", "Europe/Berlon", "There is no time zone 'Europe/Berlon'. Did you mean 'Europe/Berlin'?"),
        ("every day 02:00", "../etc/passwd", "There is no time zone"),
        ("once 2026-02-30 03:00", "UTC", "2026-02-30 is no date."),
    ],
)
def test_what_says_no_time_is_refused_with_the_way_out(rule: str, zone: str, said: str):
    with pytest.raises(InvalidError) as refused:
        parse(rule, zone)

    assert said in str(refused.value)
