"""What every store of books keeps to, whichever it is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.state import (
    Booking,
    Charged,
    EntryRefused,
    Extent,
    Folded,
    Granularity,
    Period,
    Position,
    Span,
    Sums,
    Use,
    orphan_of,
)
from tests.books import MORNING_MS, NOVEMBER, PAYER, attempt, booked_at, booking, intent, settlement, unix_s
from tests.ledgers import DAY_MS, SALES, LedgerBooks, Opener, RedisBooks, SqliteBooks, enter_three, first_of
from tests.redis_server import RedisServer, redis_server

NOWHERE = Position()
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.integration)])
def open_books(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Books of each kind."""
    if request.param == "sqlite":
        numbers = iter(range(1000))
        return lambda: SqliteBooks(tmp_path / f"books{next(numbers)}.db")
    server: RedisServer = request.getfixturevalue("server")
    return lambda: RedisBooks(server.url)


@pytest.fixture
def books(open_books: Opener) -> Iterator[LedgerBooks]:
    """Empty books, which must add up in the end."""
    books = open_books()
    yield books
    assert books.reports.drift(NOVEMBER) == []
    books.close()


@pytest.fixture
def three(books: LedgerBooks) -> LedgerBooks:
    """See `enter_three`."""
    enter_three(books.store)
    return books


def total(books: LedgerBooks) -> Sums:
    lines = books.reports.sums(NOVEMBER)
    return lines[0].sums if lines else Sums()


def test_calls_are_booked_with_their_attempts(books: LedgerBooks) -> None:
    entry = settlement("a", attempt("openai", 0, error="upstream_timeout", is_answer=False), attempt("qwen", 700))
    assert books.store.fold((), [booking(entry)], NOWHERE) == Folded(booked=1)
    assert books.reports.call("a") == entry
    assert total(books) == Sums(
        calls=1, attempts=2, cost_nusd=700, low_nusd=700, high_nusd=700, uncached_tokens=20, visible_tokens=40
    )


def test_a_call_that_is_booked_already_is_ignored(books: LedgerBooks) -> None:
    first = booking(settlement("a"))
    assert books.store.fold((), [first, first], NOWHERE) == Folded(booked=1, ignored=1)
    again = booking(settlement("a", attempt(cost_nusd=99)))
    assert books.store.fold((), [again, booking(settlement("b"))], NOWHERE) == Folded(booked=1, ignored=1)
    assert (total(books).calls, total(books).cost_nusd) == (2, 1000)


def test_open_calls_are_kept_until_they_are_settled(books: LedgerBooks) -> None:
    books.store.fold([intent("a", began_ms=2), intent("b", began_ms=1)], (), NOWHERE)
    books.store.fold([intent("a", began_ms=2)], (), NOWHERE)
    assert [one.call_id for one in books.store.open_calls(10, 10)] == ["b", "a"]
    assert [one.call_id for one in books.store.open_calls(10, 1)] == ["b"]
    assert [one.call_id for one in books.store.open_calls(2, 10)] == ["b"]
    books.store.fold((), [booking(settlement("a", began_ms=2))], NOWHERE)
    books.store.fold([intent("a", began_ms=2)], (), NOWHERE)  # read once more: it is settled
    assert list(books.store.open_calls(10, 10)) == [intent("b", began_ms=1)]


def test_open_calls_of_several_teams_come_in_the_order_in_which_they_began(books: LedgerBooks) -> None:
    opened = [replace(intent(str(n), began_ms=n), payer=SALES if n % 2 else PAYER) for n in (3, 1, 4, 2)]
    books.store.fold(opened, (), NOWHERE)
    assert [one.call_id for one in books.store.open_calls(2**62, 3)] == ["1", "2", "3"]


@pytest.mark.parametrize("is_together", [False, True])
def test_an_orphan_that_is_settled_after_all_counts_as_it_was_settled(books: LedgerBooks, is_together: bool) -> None:
    orphan, late = booking(orphan_of(intent("a"), MORNING_MS)), booking(settlement("a"))
    if is_together:
        assert books.store.fold((), [orphan, late], NOWHERE) == Folded(booked=1, adjusted=1)
    else:
        books.store.fold((), [orphan], NOWHERE)
        assert total(books).cost_nusd == 1000
        assert books.store.fold((), [late], NOWHERE) == Folded(adjusted=1)
    assert books.store.fold((), [late, orphan], NOWHERE) == Folded(ignored=2)
    assert total(books) == Sums(
        calls=1, attempts=1, cost_nusd=500, low_nusd=500, high_nusd=500, uncached_tokens=10, visible_tokens=20
    )
    assert books.reports.call("a") == late.settlement


def test_an_adjustment_of_a_closed_month_is_booked_when_it_is_made(books: LedgerBooks) -> None:
    orphan = booking(orphan_of(intent("a", began_ms=MORNING_MS - 40 * 86_400_000), MORNING_MS))
    books.store.fold((), [orphan], NOWHERE)
    late = settlement("a", began_ms=MORNING_MS - 40 * 86_400_000)
    books.store.fold((), [Booking(late, booking(settlement()).period)], NOWHERE)
    october = replace(NOVEMBER, first=date(2026, 10, 1), end=date(2026, 11, 1))
    assert books.reports.sums(october)[0].sums.cost_nusd == 1000  # as it was when the month was closed
    assert total(books).cost_nusd == 500 - 1000
    assert books.reports.drift(october) == []


def test_the_position_is_kept_with_what_was_folded(books: LedgerBooks) -> None:
    assert books.store.position() == Position()
    books.store.fold((), [booking(settlement("a"))], Position("one", 10))
    books.store.fold((), (), Position("two", 20))
    books.reopen()
    assert books.store.position() == Position("two", 20)


@pytest.mark.parametrize(
    "bad",
    [
        settlement("bad", status="ok"),
        settlement("bad", attempt(cost_nusd=2**64)),
        settlement("bad", duration_ms=None),
        settlement("bad", asked_model=["x"]),
        settlement("bad", attempt(role="\ud800")),
    ],
)
def test_a_batch_with_an_entry_that_cannot_be_booked_changes_nothing(books: LedgerBooks, bad: object) -> None:
    bookings = [booking(settlement("good")), booking(bad)]  # type: ignore[arg-type]
    with pytest.raises(EntryRefused):
        books.store.fold([intent("open")], bookings, Position("one", 1))
    assert total(books) == Sums()
    assert books.store.position() == Position()
    assert list(books.store.open_calls(2**62, 1)) == []


def forget(books: LedgerBooks, calls_from: date, sums_from: date) -> int:
    forgotten = 0
    while count := books.store.retain(first_of(calls_from), sums_from, limit=2):
        forgotten += count
    return forgotten


def test_what_is_older_than_it_is_kept_is_forgotten(books: LedgerBooks) -> None:
    old = [settlement(f"old {n}", began_ms=MORNING_MS - 5 * DAY_MS, request_id=f"mine {n}") for n in range(3)]
    books.store.fold((), [booking(one) for one in (*old, settlement("new"))], NOWHERE)
    assert books.reports.call("mine 0") == old[0]
    assert forget(books, date(2026, 11, 20), date(2026, 11, 1)) == 3
    assert books.reports.call("old 0") is None
    assert books.reports.call("mine 0") is None
    assert books.reports.call("new") is not None
    assert total(books).calls == 4  # the sums are kept for longer
    assert forget(books, date(2026, 11, 20), date(2026, 11, 20)) == 0
    assert total(books).calls == 1


def test_what_was_booked_late_is_kept_from_when_it_was_booked(books: LedgerBooks) -> None:
    long_ago = settlement("a", began_ms=MORNING_MS - 40 * DAY_MS)
    books.store.fold((), [Booking(long_ago, booking(settlement()).period)], NOWHERE)
    assert forget(books, date(2026, 11, 21), date(2026, 11, 1)) == 0
    assert books.reports.call("a") == long_ago
    assert books.reports.drift(NOVEMBER) == []
    assert forget(books, date(2026, 11, 22), date(2026, 11, 22)) == 1
    assert books.reports.call("a") is None


def test_neither_team_nor_tag_is_taken_for_sql(books: LedgerBooks) -> None:
    entry = settlement("a'; DROP TABLE calls; --")
    books.store.fold((), [booking(entry)], NOWHERE)
    assert books.reports.call(entry.call_id) == entry
    assert books.reports.sums(NOVEMBER, where={"team": "' OR 1=1 --"}) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=150), max_size=4))
def test_every_call_counts_once_whatever_is_said_of_it_how_often(
    open_books: Opener, batches: list[list[tuple[int, bool]]]
) -> None:
    books = open_books()
    settled: dict[str, bool] = {}
    for batch in batches:
        bookings = []
        for number, is_orphan in batch:
            call_id = str(number)
            settled[call_id] = settled.get(call_id, False) or not is_orphan
            bookings.append(booking(orphan_of(intent(call_id), MORNING_MS) if is_orphan else settlement(call_id)))
        books.store.fold((), bookings, NOWHERE)
    assert total(books).calls == len(settled)
    assert total(books).cost_nusd == sum(500 if is_settled else 1000 for is_settled in settled.values())
    assert books.reports.drift(NOVEMBER) == []
    books.close()


def test_sums_are_by_what_is_asked_for(three: LedgerBooks) -> None:
    found = three.reports.sums(NOVEMBER, ("team",))
    assert [(line.group, line.sums.calls, line.sums.cost_nusd, line.sums.saved_nusd) for line in found] == [
        (("sales",), 2, 0, 50),
        (("search",), 1, 500, 0),
    ]
    assert (found[1].sums.low_nusd, found[1].sums.high_nusd) == (400, 700)
    assert (found[1].sums.input_tokens, found[1].sums.output_tokens) == (20, 40)


def test_tokens_and_money_are_the_attempts_and_the_call_is_its_answers(three: LedgerBooks) -> None:
    found = three.reports.sums(NOVEMBER, ("provider", "role", "metering"), where={"team": "search"})
    assert [(line.group, line.sums.calls, line.sums.attempts, line.sums.cost_nusd) for line in found] == [
        (("openai", "first", "unmetered"), 0, 1, 100),
        (("qwen", "retry", "reported"), 1, 1, 400),
    ]


def test_refusals_are_told_by_their_reason(three: LedgerBooks) -> None:
    found = three.reports.sums(NOVEMBER, ("error", "source"))
    assert [(line.group, line.sums.calls) for line in found] == [
        (("", "cache:exact"), 1),
        (("", "upstream"), 1),
        (("rate_limit_exceeded", "upstream"), 1),
    ]


def test_sums_are_by_hour_day_and_month(three: LedgerBooks) -> None:
    def calls(granularity: str, span: Span = NOVEMBER) -> list[tuple[str, int]]:
        return [
            (line.period, line.sums.calls)
            for line in three.reports.sums(span, granularity=granularity)  # type: ignore[arg-type]
        ]

    assert calls("hour") == [("2026-11-21T07:00:00Z", 2), ("2026-11-22T07:00:00Z", 1)]
    assert calls("day") == [("2026-11-21", 2), ("2026-11-22", 1)]
    assert calls("month") == [("2026-11", 3)]
    assert calls("total") == [("", 3)]
    assert calls("day", Span(date(2026, 11, 22), date(2026, 11, 23))) == [("2026-11-22", 1)]
    assert calls("total", Span(date(2026, 11, 1), date(2026, 11, 21))) == []


def test_tags_are_summed_by_their_values(three: LedgerBooks) -> None:
    found = three.reports.sums(NOVEMBER, ("tag", "team"), tag_key="env")
    assert [(line.group, line.sums.calls, line.sums.cost_nusd) for line in found] == [
        (("prod", "search"), 1, 500),
        (("test", "sales"), 1, 0),
    ]
    assert three.reports.sums(NOVEMBER, ("tag",), tag_key="unheard") == []


def test_a_dimension_that_there_is_not_is_refused(three: LedgerBooks) -> None:
    with pytest.raises(ValueError, match="unknown dimensions"):
        three.reports.sums(NOVEMBER, ["calls; --"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="unknown dimensions"):
        three.reports.sums(NOVEMBER, where={"1=1 OR team": "x"})  # type: ignore[dict-item]


def test_what_was_used_is_told_by_team_key_and_model(three: LedgerBooks) -> None:
    assert three.reports.use(NOVEMBER) == [
        Use("sales", "web", "chat", 1, 0, 0),
        Use("sales", "web", "mini", 1, 0, 0),
        Use("search", "ci", "chat", 1, 60, 500),
    ]
    assert three.reports.use(Span(date(2026, 12, 1), date(2027, 1, 1))) == []


def test_a_call_is_found_by_its_own_id_and_by_the_clients(three: LedgerBooks) -> None:
    found = three.reports.call("mine")
    assert found is not None
    assert found.call_id == "c"
    assert three.reports.call("c") == found
    assert three.reports.call("c", team="sales") == found
    assert three.reports.call("c", team="search") is None
    assert three.reports.call("unheard") is None


def test_of_calls_with_one_request_id_the_latest_is_told(three: LedgerBooks) -> None:
    later = settlement("d", payer=SALES, began_ms=MORNING_MS + 2 * DAY_MS, request_id="mine")
    three.store.fold((), [booking(later)], Position())
    assert three.reports.call("mine") == later


@pytest.mark.parametrize(
    ("granularity", "period"),
    [("hour", "2026-11-03T00:00:00Z"), ("day", "2026-11-03"), ("month", "2026-11"), ("total", "")],
)
def test_what_was_booked_late_is_told_as_it_is_in_the_sums(
    three: LedgerBooks, granularity: Granularity, period: str
) -> None:
    began_ms = int(unix_s("2026-10-20T10:30") * 1000)
    orphan = orphan_of(intent("o", began_ms=began_ms, cost_nusd=900), began_ms)
    settled = settlement("o", attempt("openai", 200), attempt("qwen", 50, role="hedge"), began_ms=began_ms)
    assert three.reports.late(NOVEMBER) == []
    three.store.fold((), [booking(orphan), booked_at(settled, "2026-11-03T00:45")], Position())
    found = three.reports.late(NOVEMBER, ("team", "error"), granularity)
    assert [(one.began_hour, one.line.period) for one in found] == [(int(unix_s("2026-10-20T10:00")), period)] * 2
    assert [(one.line.group, one.line.sums.calls, one.line.sums.cost_nusd) for one in found] == [
        (("search", "orphaned"), -1, -900),
        (("search", ""), 1, 250),
    ]
    assert three.reports.late(NOVEMBER, (), granularity, {"team": "sales"}) == []
    assert [one.line.group for one in three.reports.late(NOVEMBER, ("tag",), granularity, tag_key="env")] == [("prod",)]
    assert three.reports.late(Span(date(2026, 11, 4), date(2026, 12, 1))) == []
    with pytest.raises(ValueError, match="unknown dimensions"):
        three.reports.late(NOVEMBER, ["day; --"])  # type: ignore[list-item]


def test_what_a_credential_was_used_for_is_told_by_day_of_utc(three: LedgerBooks) -> None:
    began_ms = int(unix_s("2026-10-31T23:59:59") * 1000)
    last = settlement("n", attempt("openai", 5, credential_id="9z"), began_ms=began_ms)
    three.store.fold((), [booked_at(last, "2026-12-24T10:00")], Position())
    first = int(unix_s("2026-10-31T00:00") * 1000)
    assert three.reports.charged("openai", first, MORNING_MS + 1) == [
        Charged("", "2026-11-21", "unmetered", 1, 100, 0, 300),
        Charged("9z", "2026-10-31", "reported", 1, 5, 5, 5),
    ]
    assert three.reports.charged("openai", first + DAY_MS, MORNING_MS) == []
    assert [one.cost_nusd for one in three.reports.charged("qwen", first, MORNING_MS + 1)] == [400]


def test_how_far_the_books_reach_is_told(three: LedgerBooks) -> None:
    assert three.reports.extent() == Extent("2026-11-21", "2026-11-21", MORNING_MS + DAY_MS + 100)
    forget(three, date(2026, 11, 22), date(2026, 1, 1))
    assert three.reports.extent()[:2] == ("2026-11-21", "2026-11-22")
    forget(three, date(2026, 11, 23), date(2026, 11, 23))
    assert three.reports.extent()[:2] == ("", "")


def test_of_empty_books_nothing_is_told(books: LedgerBooks) -> None:
    assert books.reports.extent() == Extent()
    assert books.reports.sums(NOVEMBER) == []
    assert books.reports.use(NOVEMBER) == []
    assert books.reports.late(NOVEMBER) == []
    assert books.reports.call("a") is None
    assert books.store.retain(first_of(date(2026, 11, 1)), date(2026, 11, 1), 10) == 0


def test_the_day_of_a_call_is_that_of_the_books_time_zone(books: LedgerBooks) -> None:
    late_evening = settlement("a", began_ms=int(unix_s("2026-11-21T23:30") * 1000))
    early_morning = settlement("b", began_ms=int(unix_s("2026-11-21T00:10") * 1000))
    for one, day in ((late_evening, "2026-11-22"), (early_morning, "2026-11-20")):
        books.store.fold((), [Booking(one, Period(one.began_ms // HOUR_MS * 3600, day))], NOWHERE)
        assert books.reports.call(one.call_id) == one
        (found,) = books.reports.sums(Span(date.fromisoformat(day), date.fromisoformat(day) + timedelta(days=1)))
        assert found.sums.calls == 1
    assert books.reports.drift(Span(date(2026, 11, 22), date(2026, 11, 23))) == []
    assert books.reports.late(NOVEMBER) == []


def test_sums_beyond_what_a_double_holds_are_exact(books: LedgerBooks) -> None:
    most = settlement("a", attempt(cost_nusd=2**53 - 1, low_nusd=0, high_nusd=1))
    books.store.fold((), [booking(most), booking(replace(most, call_id="b")), booking(settlement("c"))], NOWHERE)
    assert total(books).cost_nusd == 2 * (2**53 - 1) + 500
