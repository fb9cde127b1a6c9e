from datetime import date, timedelta
from random import Random

import pytest

from proxy.accounting.burndown import BurnDown, project

TODAY = date(2026, 11, 16)  # a Monday
END = date(2026, 12, 1)
NOON_S = 43_200


def past(*spent: int) -> dict[date, int]:
    """Days until yesterday."""
    return {TODAY - timedelta(days=len(spent) - at): value for at, value in enumerate(spent)}


def projected(days: dict[date, int], used: int, cap: int, end: date = END, left_s: int = NOON_S) -> BurnDown:
    found = project(days, used, cap, TODAY, end, left_s, Random(1))
    assert found is not None
    return found


def test_below_seven_days_there_is_no_projection() -> None:
    assert project(past(*[10] * 6), 60, 100, TODAY, END, NOON_S, Random(1)) is None
    assert projected(past(*[10] * 7), 70, 100).days == 7


def test_even_days_run_out_on_the_day_that_they_come_to() -> None:
    # Half of today is to come, 5; then 10 a day: 100 is reached on the third day after today.
    found = projected(past(*[10] * 10), 70, 100)
    day = TODAY + timedelta(days=3)
    assert found == BurnDown(10, day, day, day, 100)


def test_what_no_future_can_reach_lasts() -> None:
    assert projected(past(*[10] * 10), 70, 1000) == BurnDown(10, None, None, None, 0)
    assert projected(past(*[0] * 10), 70, 100) == BurnDown(10, None, None, None, 0)


def test_uneven_days_have_an_interval_around_the_day() -> None:
    found = projected(past(*[0, 30] * 7), 210, 330)
    assert found.runs_out is not None
    assert found.earliest is not None
    assert found.latest is not None
    assert found.earliest < found.runs_out < found.latest
    assert found.chance_pct >= 90


def test_a_day_beyond_the_period_is_none_though_some_futures_get_there() -> None:
    found = projected(past(*[0] * 13, 60), 60, 130)
    assert (found.runs_out, found.latest) == (None, None)
    assert 0 < found.chance_pct < 50


def test_weekends_are_not_taken_for_weekdays() -> None:
    week = [0, 10, 10, 10, 10, 10, 0]  # from a Sunday to a Saturday; yesterday was a Sunday
    found = projected(past(*week, *week, 0), 100, 150, left_s=86_400)
    friday = TODAY + timedelta(days=4)
    assert (found.earliest, found.runs_out, found.latest) == (friday, friday, friday)
    beyond_the_weekend = projected(past(*week, *week, 0), 99, 150, left_s=86_400)
    assert beyond_the_weekend.runs_out == TODAY + timedelta(days=7)


def test_the_same_books_make_the_same_projection_and_say_how() -> None:
    days = past(*range(5, 25))
    assert projected(days, 290, 400) == projected(days, 290, 400)
    method = projected(days, 290, 400).method
    assert "last 20 days" in method
    assert "interval 80 %" in method


@pytest.mark.parametrize("left_s", [0, 86_400])
def test_of_today_only_what_is_left_counts(left_s: int) -> None:
    found = projected(past(*[10] * 7), 90, 100, left_s=left_s)
    assert found.runs_out == TODAY + timedelta(days=0 if left_s else 1)
