from datetime import UTC, date

from proxy.accounting import QuotaTerms, Tally
from proxy.accounting.periods import Calendar
from proxy.state import Span, Use
from tests.books import unix_s

NOON = unix_s("2026-11-21T12:00:00")  # a Saturday
DAILY = QuotaTerms(("search",), "usd", 1, "day")
WEEKLY = QuotaTerms(("search", "ci"), "tokens", 1, "week")
MONTHLY = QuotaTerms(("search",), "tokens", 1, "month", frozenset({"chat"}))


def used(tally: Tally) -> tuple[int, ...]:
    return tuple(tally.used(terms) for terms in (DAILY, WEEKLY, MONTHLY))


def test_a_call_counts_in_its_day_its_week_and_its_month() -> None:
    tally = Tally(Calendar(UTC), NOON)
    tally.add("search", "ci", "chat", NOON, 500, 30)
    tally.add("search", "web", "large", NOON, 70, 4)
    tally.add("sales", "ci", "chat", NOON, 9, 9)
    assert used(tally) == (570, 30, 30)
    assert tally.uses("day") == [
        Use("sales", "ci", "chat", 1, 9, 9),
        Use("search", "ci", "chat", 1, 30, 500),
        Use("search", "web", "large", 1, 4, 70),
    ]


def test_it_goes_on_from_what_the_books_say() -> None:
    tally = Tally(Calendar(UTC), NOON)
    tally.load("day", [Use("search", "ci", "chat", 7, 100, 1000)])
    tally.add("search", "ci", "chat", NOON, 1, 1)
    assert used(tally) == (1001, 1, 1)
    assert tally.uses("day") == [Use("search", "ci", "chat", 8, 101, 1001)]


def test_a_period_that_is_over_is_forgotten_and_a_call_that_began_in_it_counts_there() -> None:
    tally = Tally(Calendar(UTC), NOON)
    tally.add("search", "ci", "chat", NOON, 500, 30)
    sunday = unix_s("2026-11-22T00:00:01")
    tally.roll(sunday)
    assert used(tally) == (0, 30, 30)
    tally.add("search", "ci", "chat", sunday - 2, 1, 1)  # it began before midnight
    assert used(tally) == (0, 31, 31)
    tally.roll(unix_s("2026-12-01T00:00:00"))
    assert used(tally) == (0, 0, 0)


def test_a_clock_that_is_set_back_opens_no_period_again() -> None:
    tally = Tally(Calendar(UTC), NOON)
    tally.add("search", "ci", "chat", NOON, 500, 30)
    tally.roll(NOON - 86_400)
    assert used(tally)[0] == 500
    assert tally.span("day") == Span(date(2026, 11, 21), date(2026, 11, 22))
    assert tally.bounds("day") == (unix_s("2026-11-21T00:00:00"), unix_s("2026-11-22T00:00:00"))


def test_the_first_call_of_a_day_counts_even_if_nobody_looked_before_it_ended() -> None:
    tally = Tally(Calendar(UTC), NOON)
    december = unix_s("2026-12-01T00:00:01")
    tally.add("search", "ci", "chat", december, 5, 3)
    assert used(tally) == (5, 3, 3)
    tally.roll(december + 1)
    assert used(tally) == (5, 3, 3)
