from datetime import UTC, date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting.periods import Calendar, UnknownTimeZone, find_zone, month_of
from proxy.state import Span
from tests.books import unix_s

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago")


def test_hours_are_of_utc_and_days_of_the_time_zone() -> None:
    kolkata = Calendar(ZoneInfo("Asia/Kolkata"))  # midnight is at 18:30 UTC
    hour = unix_s("2026-11-30T18:00")
    assert kolkata.period(unix_s("2026-11-30T18:29:59")) == (hour, "2026-11-30")
    assert kolkata.period(unix_s("2026-11-30T18:30")) == (hour, "2026-12-01")


def test_a_month_begins_and_ends_at_local_midnight_though_clocks_changed_in_it() -> None:
    berlin = Calendar(ZoneInfo("Europe/Berlin"))  # summer time ends on 2026-10-25
    assert berlin.begin_s(date(2026, 10, 1)) == unix_s("2026-09-30T22:00")
    assert berlin.begin_s(date(2026, 11, 1)) == unix_s("2026-10-31T23:00")
    assert berlin.period(unix_s("2026-10-31T22:59:59")).day == "2026-10-31"
    assert berlin.period(unix_s("2026-10-31T23:00")).day == "2026-11-01"


def test_days_on_which_clocks_change_have_23_and_25_hours() -> None:
    berlin = Calendar(ZoneInfo("Europe/Berlin"))
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 10, 26), 24)):
        assert berlin.begin_s(day + timedelta(days=1)) - berlin.begin_s(day) == hours * 3600


def test_a_day_whose_midnight_is_skipped_begins_after_the_gap() -> None:
    santiago = Calendar(ZoneInfo("America/Santiago"))  # on 2026-09-06 clocks go from 24:00 to 1:00
    begin_s = santiago.begin_s(date(2026, 9, 6))
    assert begin_s == unix_s("2026-09-06T04:00")
    assert santiago.day(begin_s) == date(2026, 9, 6)
    assert santiago.day(begin_s - 1) == date(2026, 9, 5)


@given(st.sampled_from(ZONES), st.integers(1_700_000_000, 1_900_000_000), st.integers(-1000, 1000))
def test_every_instant_lies_in_the_day_that_is_said(zone: str, at_s: int, step_s: int) -> None:
    calendar = Calendar(find_zone(zone))
    calendar.period(at_s + step_s)  # what was asked before makes no difference
    day = date.fromisoformat(calendar.period(at_s).day)
    assert calendar.begin_s(day) <= at_s < calendar.begin_s(day + timedelta(days=1))
    assert calendar.period(at_s).hour <= at_s < calendar.period(at_s).hour + 3600


@pytest.mark.parametrize(
    ("per", "first", "end"),
    [
        ("day", date(2026, 11, 21), date(2026, 11, 22)),
        ("week", date(2026, 11, 16), date(2026, 11, 23)),
        ("month", date(2026, 11, 1), date(2026, 12, 1)),
    ],
)
def test_spans_hold_their_day(per: str, first: date, end: date) -> None:
    assert Calendar(UTC).span(per, unix_s("2026-11-21T07:00")) == Span(first, end)  # type: ignore[arg-type]


def test_months_have_their_own_lengths() -> None:
    assert month_of(date(2028, 2, 29)) == Span(date(2028, 2, 1), date(2028, 3, 1))
    assert month_of(date(2026, 12, 31)) == Span(date(2026, 12, 1), date(2027, 1, 1))


def test_calls_are_booked_when_they_began_until_their_month_is_closed() -> None:
    calendar = Calendar(UTC)
    began_s = unix_s("2026-11-30T23:59")
    late_s = unix_s("2026-12-01T23:59")
    assert calendar.booked(began_s, late_s) == calendar.period(began_s)
    assert calendar.booked(began_s, late_s + 60) == calendar.period(late_s + 60)
    assert calendar.booked(unix_s("2026-11-02T00:00"), unix_s("2026-11-20T00:00")).day == "2026-11-02"


def test_an_unknown_time_zone_is_refused_with_what_was_expected() -> None:
    for name in ("Europe/Atlantis", "", "../etc/passwd"):
        with pytest.raises(UnknownTimeZone, match="expected one such as Europe/Berlin"):
            find_zone(name)
    assert find_zone("UTC") is UTC


def test_a_month_is_closed_a_day_after_its_end() -> None:
    berlin = Calendar(ZoneInfo("Europe/Berlin"))
    closes_s = unix_s("2026-11-01T23:00")
    assert not berlin.is_closed(date(2026, 10, 5), closes_s - 1)
    assert berlin.is_closed(date(2026, 10, 5), closes_s)
    assert not berlin.is_closed(date(2026, 11, 1), closes_s)


def test_a_call_counts_in_a_day_a_week_and_a_month_by_their_first_days() -> None:
    calendar, at_s = Calendar(find_zone("Europe/Berlin")), unix_s("2026-11-21T23:30")
    names = calendar.counted(at_s)[::2]
    assert names == ("day:2026-11-22", "week:2026-11-16", "month:2026-11-01")
    forgotten_at = calendar.counted(at_s)[1::2]
    assert all(isinstance(one, int) and one > at_s + 40 * 86_400 for one in forgotten_at)
    assert calendar.counted(at_s + 86_400)[0] == "day:2026-11-23"
