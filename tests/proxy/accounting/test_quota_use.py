from datetime import UTC, date
from pathlib import Path

from proxy.accounting.periods import Calendar
from proxy.accounting.quota_terms import terms_of
from proxy.accounting.quota_use import QuotaUse, quota_use
from proxy.state import Author, Payer, Settlement, Span, SqliteLedger, SqliteRegistry
from tests.books import MORNING_MS, MORNING_S, attempt, booked, settlement
from tests.reported import CONFIG, DAY_MS, SALES, config

USD = 10**9
QUOTAS = """quotas:
      - {usd: 20.5, per: month}
      - {tokens: 1k, per: day, models: [chat]}
      - {usd: 5, per: week, models: [mini, chat]}
"""
TEXT = CONFIG.replace('search: {cost_center: "4711", keys:', "search:\n    keys:").replace(
    '[{name: ci, key: "sk-way-search-0123456789"}]}',
    f'[{{name: ci, key: "sk-way-search-0123456789"}}]\n    {QUOTAS}',
)


def a_dollar_a_day(days: int) -> list[Settlement]:
    """Until today, the 21st, a Saturday."""
    return [
        settlement(
            f"{at}", attempt("openai", USD, uncached_tokens=90, visible_tokens=10), began_ms=MORNING_MS - at * DAY_MS
        )
        for at in range(days)
    ]


def used(folder: Path, *calls: Settlement, at_s: float = MORNING_S, now_s: float = MORNING_S) -> list[QuotaUse]:
    books = booked(folder / "b.db", *calls)
    return list(quota_use(books, terms_of(config(TEXT)), Calendar(UTC), at_s, now_s))


def test_each_quota_has_what_its_team_used_of_its_models_in_its_period(tmp_path: Path) -> None:
    others = (
        settlement("s", attempt("openai", 7 * USD), payer=SALES),
        settlement("m", attempt("qwen", USD), model="x"),
    )
    month, day, week = used(tmp_path, *a_dollar_a_day(12), *others)
    assert (month.terms.name, month.terms.unit, month.used, month.terms.cap) == (
        "usd per month",
        "usd",
        13 * USD,
        20_500_000_000,
    )
    assert month.span == Span(date(2026, 11, 1), date(2026, 12, 1))
    assert (day.terms.name, day.terms.unit, day.used, day.terms.cap) == ("tokens per day for chat", "tokens", 100, 1000)
    assert (week.terms.name, week.used) == ("usd per week for chat,mini", 6 * USD)
    assert week.span == Span(date(2026, 11, 16), date(2026, 11, 23))
    assert {one.owner for one in (month, day, week)} == {"search"}


def test_a_projection_says_when_it_runs_out_and_a_blank_why_there_is_none(tmp_path: Path) -> None:
    month, day, week = used(tmp_path, *a_dollar_a_day(12))
    assert month.burn_down is not None
    # 8.5 are left; of today, where 17 of 24 hours are to come, 0.7 go, and 1 each day from tomorrow on.
    assert month.burn_down.runs_out == date(2026, 11, 29)
    assert (month.burn_down.days, month.blank) == (11, "")
    assert (day.burn_down, day.blank) == (None, "a period of one day is not projected")
    assert (week.burn_down, week.blank) == (None, "it is spent")


def test_below_seven_whole_days_there_is_no_projection(tmp_path: Path) -> None:
    (month, *_) = used(tmp_path / "a", *a_dollar_a_day(7))
    assert (month.burn_down, month.blank) == (None, "needs 7 whole days of calls, there are 6")
    (month, *_) = used(tmp_path / "b", *a_dollar_a_day(8))
    assert month.burn_down is not None
    (month, *_) = used(tmp_path / "c", settlement("other", payer=SALES))
    assert (month.used, month.blank) == (0, "needs 7 whole days of calls, there are 0")


def test_a_period_that_is_over_is_told_as_it_ended(tmp_path: Path) -> None:
    at_s = MORNING_S - 21 * 86_400  # 31 October
    month, *_ = used(tmp_path, *a_dollar_a_day(28), at_s=at_s)
    assert (month.used, month.span.first, month.blank) == (7 * USD, date(2026, 10, 1), "the period is over")


def test_without_quotas_the_books_are_not_asked(tmp_path: Path) -> None:
    SqliteLedger(tmp_path / "b.db").close()
    assert quota_use(booked(tmp_path / "b.db"), terms_of(config()), Calendar(UTC), MORNING_S, MORNING_S) == ()


def test_a_keys_quota_counts_its_own_calls(tmp_path: Path) -> None:
    text = CONFIG.replace(
        '{name: ci, key: "sk-way-search-0123456789"}',
        '{name: ci, key: "sk-way-search-0123456789", quotas: [{tokens: 1k, per: day}]}',
    )
    other = settlement("w", attempt("openai", USD), payer=Payer("search", "web", "4711"))
    books = booked(tmp_path / "b.db", *a_dollar_a_day(1), other)
    [quota] = quota_use(books, terms_of(config(text)), Calendar(UTC), MORNING_S, MORNING_S)
    assert (quota.owner, quota.used) == ("search/ci", 100)


def test_a_quota_is_as_large_as_grants_made_it_then(tmp_path: Path) -> None:
    books = booked(tmp_path / "b.db", *a_dollar_a_day(3))
    registry = SqliteRegistry(tmp_path / "b.db")
    made, until_ms = Author("ops", MORNING_MS - 1000), MORNING_MS + 1000
    registry.add_grant("search", "usd per month", 2 * USD, "nusd", until_ms, "launch", made)
    registry.add_grant("search", "usd per month", USD, "nusd", until_ms, "more", made)
    registry.add_grant("search", "usd per month", 9 * USD, "nusd", MORNING_MS - 1, "over by then", made)
    registry.add_grant("sales", "usd per month", 9 * USD, "nusd", until_ms, "", made)
    withdrawn = registry.add_grant("search", "usd per month", 9 * USD, "nusd", until_ms, "", made)
    registry.withdraw_grant(withdrawn.id, made)
    registry.close()

    def month(at_s: float) -> QuotaUse:
        return quota_use(books, terms_of(config(TEXT)), Calendar(UTC), at_s, at_s)[0]

    assert (month(MORNING_S).granted, month(MORNING_S).cap) == (3 * USD, 23_500_000_000)
    assert month(MORNING_S + 1).granted == 0


def test_grants_raise_what_a_team_may_use_and_not_its_keys(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "b.db")
    registry.add_grant("search", "tokens per day", 500, "tokens", MORNING_MS + 1000, "", Author("ops", MORNING_MS))
    registry.close()
    text = CONFIG.replace(
        '{name: ci, key: "sk-way-search-0123456789"}',
        '{name: ci, key: "sk-way-search-0123456789", quotas: [{tokens: 1k, per: day}]}',
    )
    books = booked(tmp_path / "b.db")
    [of_key] = quota_use(books, terms_of(config(text)), Calendar(UTC), MORNING_S, MORNING_S)
    assert (of_key.owner, of_key.granted) == ("search/ci", 0)
