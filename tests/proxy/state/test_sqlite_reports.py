from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from proxy.state import (
    Charged,
    Extent,
    Granularity,
    Payer,
    Position,
    Span,
    SqliteLedger,
    SqliteReports,
    StateFailed,
    Use,
    orphan_of,
)
from tests.books import MORNING_MS, NOVEMBER, attempt, booked_at, booking, intent, settlement, unix_s

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SALES = Payer("sales", "web", "99", {"env": "test"})


class Books:
    def __init__(self, path: Path) -> None:
        self.store = SqliteLedger(path)
        self.reports = SqliteReports(path)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Three calls of two teams: one with a retry elsewhere, one from the cache, one refused on the next day."""
    books = Books(tmp_path / "books.db")
    retried = settlement(
        "a",
        attempt("openai", 100, metering="unmetered", low_nusd=0, high_nusd=300, is_answer=False),
        attempt("qwen", 400, role="retry"),
    )
    cached = replace(settlement("b", payer=SALES, model="mini"), attempts=(), source="cache:exact", saved_nusd=50)
    refused = replace(
        settlement("c", payer=Payer("sales", "web", "99"), began_ms=MORNING_MS + DAY_MS, error="rate_limit_exceeded"),
        attempts=(),
        request_id="mine",
    )
    books.store.fold((), [booking(one) for one in (retried, cached, refused)], Position())
    yield books
    books.store.close()


def test_sums_are_by_what_is_asked_for(books: Books) -> None:
    found = books.reports.sums(NOVEMBER, ("team",))
    assert [(line.group, line.sums.calls, line.sums.cost_nusd, line.sums.saved_nusd) for line in found] == [
        (("sales",), 2, 0, 50),
        (("search",), 1, 500, 0),
    ]
    assert (found[1].sums.low_nusd, found[1].sums.high_nusd) == (400, 700)
    assert (found[1].sums.input_tokens, found[1].sums.output_tokens) == (20, 40)


def test_tokens_and_money_are_the_attempts_and_the_call_is_its_answers(books: Books) -> None:
    found = books.reports.sums(NOVEMBER, ("provider", "role", "metering"), where={"team": "search"})
    assert [(line.group, line.sums.calls, line.sums.attempts, line.sums.cost_nusd) for line in found] == [
        (("openai", "first", "unmetered"), 0, 1, 100),
        (("qwen", "retry", "reported"), 1, 1, 400),
    ]


def test_refusals_are_told_by_their_reason(books: Books) -> None:
    found = books.reports.sums(NOVEMBER, ("error", "source"))
    assert [(line.group, line.sums.calls) for line in found] == [
        (("", "cache:exact"), 1),
        (("", "upstream"), 1),
        (("rate_limit_exceeded", "upstream"), 1),
    ]


def test_sums_are_by_hour_day_and_month(books: Books) -> None:
    def calls(granularity: str, span: Span = NOVEMBER) -> list[tuple[str, int]]:
        return [
            (line.period, line.sums.calls)
            for line in books.reports.sums(span, granularity=granularity)  # type: ignore[arg-type]
        ]

    assert calls("hour") == [("2026-11-21T07:00:00Z", 2), ("2026-11-22T07:00:00Z", 1)]
    assert calls("day") == [("2026-11-21", 2), ("2026-11-22", 1)]
    assert calls("month") == [("2026-11", 3)]
    assert calls("total") == [("", 3)]
    assert calls("day", Span(date(2026, 11, 22), date(2026, 11, 23))) == [("2026-11-22", 1)]
    assert calls("total", Span(date(2026, 11, 1), date(2026, 11, 21))) == []


def test_tags_are_summed_by_their_values(books: Books) -> None:
    found = books.reports.sums(NOVEMBER, ("tag", "team"), tag_key="env")
    assert [(line.group, line.sums.calls, line.sums.cost_nusd) for line in found] == [
        (("prod", "search"), 1, 500),
        (("test", "sales"), 1, 0),
    ]
    assert books.reports.sums(NOVEMBER, ("tag",), tag_key="unheard") == []


def test_a_dimension_that_there_is_not_is_refused(books: Books) -> None:
    with pytest.raises(ValueError, match="unknown dimensions"):
        books.reports.sums(NOVEMBER, ["calls; --"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="unknown dimensions"):
        books.reports.sums(NOVEMBER, where={"1=1 OR team": "x"})  # type: ignore[dict-item]


def test_what_was_used_is_told_by_team_key_and_model(books: Books) -> None:
    assert books.reports.use(NOVEMBER) == [
        Use("sales", "web", "chat", 1, 0, 0),
        Use("sales", "web", "mini", 1, 0, 0),
        Use("search", "ci", "chat", 1, 60, 500),
    ]
    assert books.reports.use(Span(date(2026, 12, 1), date(2027, 1, 1))) == []


def test_a_call_is_found_by_its_own_id_and_by_the_clients(books: Books) -> None:
    found = books.reports.call("mine")
    assert found is not None
    assert found.call_id == "c"
    assert books.reports.call("c") == found
    assert books.reports.call("c", team="sales") == found
    assert books.reports.call("c", team="search") is None
    assert books.reports.call("unheard") is None


def test_of_calls_with_one_request_id_the_latest_is_told(books: Books) -> None:
    later = settlement("d", payer=SALES, began_ms=MORNING_MS + 2 * DAY_MS, request_id="mine")
    books.store.fold((), [booking(later)], Position())
    assert books.reports.call("mine") == later


@pytest.mark.parametrize("table", ["hour", "day"])
def test_sums_that_are_not_what_the_calls_come_to_are_told(books: Books, table: str) -> None:
    assert books.reports.drift(NOVEMBER) == []
    wrong = f"UPDATE sums_{table} SET cost_nusd = cost_nusd + 1 WHERE provider = 'qwen' AND tag_key = ''"
    books.store._connection.execute(wrong)
    (found,) = books.reports.drift(NOVEMBER)
    assert (found.day, found.table) == ("2026-11-21", table)
    assert (found.calls.cost_nusd, found.sums.cost_nusd) == (500, 501)


def test_a_lost_row_is_told(books: Books) -> None:
    books.store._connection.execute("DELETE FROM calls WHERE call_id = 'c'")
    assert [(one.day, one.table, one.calls.calls, one.sums.calls) for one in books.reports.drift(NOVEMBER)] == [
        ("2026-11-22", "day", 0, 1),
        ("2026-11-22", "hour", 0, 1),
    ]


def test_books_that_are_not_there_are_a_failure(tmp_path: Path) -> None:
    with pytest.raises(StateFailed, match="nowhere"):
        SqliteReports(tmp_path / "nowhere.db").use(NOVEMBER)


def test_the_drift_of_one_team_is_told_by_itself(books: Books) -> None:
    books.store._connection.execute("UPDATE sums_day SET calls = 9 WHERE team = 'sales' AND tag_key = '' AND calls = 1")
    assert {one.day for one in books.reports.drift(NOVEMBER)} == {"2026-11-21", "2026-11-22"}
    assert books.reports.drift(NOVEMBER, "search") == []
    assert [one.calls.calls for one in books.reports.drift(NOVEMBER, "sales")] == [1, 1]


@pytest.mark.parametrize(
    ("granularity", "period"),
    [("hour", "2026-11-03T00:00:00Z"), ("day", "2026-11-03"), ("month", "2026-11"), ("total", "")],
)
def test_what_was_booked_late_is_told_as_it_is_in_the_sums(books: Books, granularity: Granularity, period: str) -> None:
    began_ms = int(unix_s("2026-10-20T10:30") * 1000)
    orphan = orphan_of(intent("o", began_ms=began_ms, cost_nusd=900), began_ms)
    settled = settlement("o", attempt("openai", 200), attempt("qwen", 50, role="hedge"), began_ms=began_ms)
    assert books.reports.late(NOVEMBER) == []
    books.store.fold((), [booking(orphan), booked_at(settled, "2026-11-03T00:45")], Position())
    found = books.reports.late(NOVEMBER, ("team", "error"), granularity)
    assert [(one.began_hour, one.line.period) for one in found] == [(int(unix_s("2026-10-20T10:00")), period)] * 2
    assert [(one.line.group, one.line.sums.calls, one.line.sums.cost_nusd) for one in found] == [
        (("search", "orphaned"), -1, -900),
        (("search", ""), 1, 250),
    ]
    assert books.reports.late(NOVEMBER, (), granularity, {"team": "sales"}) == []
    assert [one.line.group for one in books.reports.late(NOVEMBER, ("tag",), granularity, tag_key="env")] == [("prod",)]
    assert books.reports.late(Span(date(2026, 11, 4), date(2026, 12, 1))) == []
    with pytest.raises(ValueError, match="unknown dimensions"):
        books.reports.late(NOVEMBER, ["day; --"])  # type: ignore[list-item]


def test_late_calls_are_found_by_their_index(books: Books) -> None:
    plan = "EXPLAIN QUERY PLAN SELECT id, count, hour, day, began_ms FROM calls WHERE day >= '2026' AND day < '2027' "
    rows = books.store._connection.execute(plan + "AND began_ms < hour * 1000").fetchall()
    assert "COVERING INDEX calls_late" in rows[0][-1]


def test_what_a_credential_was_used_for_is_told_by_day_of_utc(books: Books) -> None:
    began_ms = int(unix_s("2026-10-31T23:59:59") * 1000)
    last = settlement("n", attempt("openai", 5, credential_id="9z"), began_ms=began_ms)
    books.store.fold((), [booked_at(last, "2026-12-24T10:00")], Position())
    first = int(unix_s("2026-10-31T00:00") * 1000)
    assert books.reports.charged("openai", first, MORNING_MS + 1) == [
        Charged("", "2026-11-21", "unmetered", 1, 100, 0, 300),
        Charged("9z", "2026-10-31", "reported", 1, 5, 5, 5),
    ]
    assert books.reports.charged("openai", first + DAY_MS, MORNING_MS) == []
    assert [one.cost_nusd for one in books.reports.charged("qwen", first, MORNING_MS + 1)] == [400]


def test_how_far_the_books_reach_is_told(books: Books) -> None:
    assert books.reports.extent() == Extent("2026-11-21", "2026-11-21", MORNING_MS + DAY_MS + 100)
    books.store.retain(date(2026, 11, 22), date(2026, 1, 1), 10)
    assert books.reports.extent()[:2] == ("2026-11-21", "2026-11-22")


def test_of_empty_books_nothing_is_told(tmp_path: Path) -> None:
    SqliteLedger(tmp_path / "new.db").close()
    assert SqliteReports(tmp_path / "new.db").extent() == Extent()
