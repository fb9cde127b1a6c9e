from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.accounting.figures import Attempts
from proxy.accounting.report_query import BadQuery, Query, compared_spans
from proxy.accounting.reports import Report, Reporter
from proxy.state import AttemptEntry, Booking, Payer, Span, SqliteLedger, Sums, orphan_of
from tests.books import MORNING_MS, MORNING_S, NOVEMBER, attempt, booked, booked_at, booking, intent, settlement, unix_s
from tests.ledgers import first_of
from tests.reported import DAY_MS, config, report, reporter

OCTOBER = Span(date(2026, 10, 1), date(2026, 11, 1))


def costs(found: Report) -> list[tuple[str, tuple[str, ...], int, int]]:
    return [(line.period, line.group, line.figures.sums.calls, line.figures.sums.cost_nusd) for line in found.lines]


def test_lines_are_by_group_and_period_and_the_total_is_their_sum(tmp_path: Path) -> None:
    found = report(tmp_path, Query(NOVEMBER, ("team", "model"), "day"))
    assert costs(found) == [
        ("2026-11-21", ("sales", "chat"), 1, 0),
        ("2026-11-21", ("sales", "mini"), 1, 7),
        ("2026-11-21", ("search", "chat"), 2, 550),
        ("2026-11-22", ("sales", "chat"), 1, 0),
        ("2026-11-23", ("sales", "chat"), 1, 1000),
    ]
    assert (found.total.sums.calls, found.total.sums.cost_nusd) == (7, 4557)
    assert found.total.metering == {
        "reported": Attempts(5, 4450, 4450, 4450),
        "unmetered": Attempts(1, 100, 0, 300),
        "estimated": Attempts(1, 7, 5, 9),
    }
    assert found.total.refused == {"rate_limit_exceeded:team_rpm": 1}
    assert found.total.failed == {"upstream_error": 1}
    assert found.total.roles["hedge"] == Attempts(1, 30, 30, 30)


def test_what_began_in_a_closed_month_is_an_adjustment_and_in_no_line(tmp_path: Path) -> None:
    found = report(tmp_path, Query(NOVEMBER, ("team",)))
    assert costs(found) == [("", ("sales",), 4, 1007), ("", ("search",), 2, 550)]
    (late,) = found.adjustments
    assert (late.of_month, late.period, late.group) == ("2026-10", "", ("search",))
    assert (late.figures.sums.calls, late.figures.sums.cost_nusd) == (1, 3000)
    october = report(tmp_path, Query(OCTOBER))
    assert (october.lines, october.adjustments, october.total.sums) == ([], [], Sums())


def test_an_orphan_that_was_settled_after_its_month_is_taken_back_by_an_adjustment(tmp_path: Path) -> None:
    began_ms = int(unix_s("2026-10-20T10:00") * 1000)
    orphan = orphan_of(intent("o", began_ms=began_ms, cost_nusd=900), began_ms + 60_000)
    settled = settlement("o", attempt("openai", 200), began_ms=began_ms)
    books = Reporter(booked(tmp_path / "b.db", orphan, booked_at(settled, "2026-11-03T00:30")), config())
    october = books.build(Query(OCTOBER), MORNING_S, 10)
    assert (october.is_closed, costs(october)) == (True, [("", ("search",), 1, 900)])
    november = books.build(Query(NOVEMBER, granularity="day"), MORNING_S, 10)
    (taken,) = november.adjustments
    assert (taken.of_month, taken.period, november.lines) == ("2026-10", "2026-11-03", [])
    assert (taken.figures.sums.calls, taken.figures.sums.cost_nusd) == (0, -700)
    assert taken.figures.failed == {"orphaned": -1}
    assert november.total == taken.figures
    assert {october.check.state, november.check.state} == {"holds"}


def test_calls_without_the_tag_are_a_group_of_their_own(tmp_path: Path) -> None:
    found = report(tmp_path, Query(NOVEMBER, ("tag:env", "team")))
    assert costs(found) == [
        ("", ("", "sales"), 2, 1000),
        ("", ("prod", "search"), 2, 550),
        ("", ("test", "sales"), 2, 7),
    ]
    assert [one.group for one in found.adjustments] == [("prod", "search")]
    assert found.total == report(tmp_path / "again", Query(NOVEMBER)).total
    none = report(tmp_path / "none", Query(NOVEMBER, ("tag:feature",)))
    assert costs(none) == [("", ("",), 6, 1557)]


def test_one_team_is_told_of_itself_alone(tmp_path: Path) -> None:
    found = report(tmp_path, Query(NOVEMBER, ("key",), team="sales"))
    assert costs(found) == [("", ("batch",), 2, 1000), ("", ("web",), 2, 7)]
    assert found.adjustments == []
    assert (found.check.state, found.check.calls) == ("holds", 4)


def test_groups_are_compared_with_the_span_before(tmp_path: Path) -> None:
    week = Span(date(2026, 11, 22), date(2026, 11, 24))
    spans = compared_spans(week, date(2026, 11, 30))
    found = reporter(tmp_path).build(Query(week), MORNING_S, spans=spans)
    assert found.spans == (week, Span(date(2026, 11, 20), date(2026, 11, 22)))
    assert [(one.group, one.now.cost_nusd, one.before.cost_nusd) for one in found.changes] == [
        (("sales",), 1000, 7),
        (("search",), 0, 550),
    ]


def test_days_with_more_calls_than_may_be_checked_are_left_out_and_said(tmp_path: Path) -> None:
    assert report(tmp_path / "a").check.span == NOVEMBER
    few = report(tmp_path / "b", check_calls=3).check
    assert (few.state, few.span, few.calls) == ("holds", Span(date(2026, 11, 22), NOVEMBER.end), 2)
    assert "at most 3 calls" in few.why
    none = report(tmp_path / "c", check_calls=0).check
    assert (none.state, none.span) == ("not_made", None)


def test_sums_that_are_wrong_are_told(tmp_path: Path) -> None:
    books = reporter(tmp_path)
    store = SqliteLedger(tmp_path / "books.db")
    store._connection.execute("UPDATE sums_day SET cost_nusd = cost_nusd + 1 WHERE provider = 'qwen' AND tag_key = ''")
    store.close()
    check = books.build(Query(NOVEMBER), MORNING_S, 1000).check
    assert check.state == "drift"
    assert {(one.day, one.table) for one in check.drift} == {("2026-11-21", "day")}
    assert books.build(Query(NOVEMBER, team="sales"), MORNING_S, 1000).check.state == "holds"


def test_days_whose_calls_are_forgotten_are_not_checked(tmp_path: Path) -> None:
    books = reporter(tmp_path)
    store = SqliteLedger(tmp_path / "books.db")
    store.retain(first_of(date(2026, 11, 22)), date(2026, 1, 1), 100)
    store.close()
    found = books.build(Query(NOVEMBER), MORNING_S, 1000)
    assert found.total.sums.calls == 7
    assert (found.check.state, found.check.calls) == ("holds", 1)
    assert found.check.why == "single calls from before 2026-11-23 are forgotten"
    store = SqliteLedger(tmp_path / "books.db")
    store.retain(first_of(date(2027, 1, 1)), date(2026, 1, 1), 100)
    store.close()
    assert books.build(Query(NOVEMBER), MORNING_S, 1000).check.state == "not_made"


def test_empty_books_are_a_report_without_lines(tmp_path: Path) -> None:
    SqliteLedger(tmp_path / "books.db").close()
    found = Reporter(booked(tmp_path / "books.db"), config()).build(Query(NOVEMBER), MORNING_S, 10)
    assert (found.lines, found.extent.latest_ms, found.check.state) == ([], None, "not_made")


def test_a_team_of_the_config_or_of_the_books_is_known(tmp_path: Path) -> None:
    books = reporter(tmp_path, settlement("x", payer=Payer("gone", "k")))
    books.check_team("search")
    books.check_team("gone")
    with pytest.raises(BadQuery, match=r"no team 'serch' \(did you mean 'search'\?\)"):
        books.check_team("serch")


NAMES = st.sampled_from(["a", "b"])
PAYERS = st.builds(
    Payer, NAMES, NAMES, st.sampled_from(["", "1"]), st.dictionaries(st.just("env"), st.sampled_from(["x", "", "=y"]))
)
ATTEMPTS = st.builds(
    lambda provider, role, metering, cost, spread, tokens, answer: AttemptEntry(
        *("t", provider, role, metering, cost, max(cost - spread, 0), cost + spread, tokens), is_answer=answer
    ),
    *(st.sampled_from(["p", "q"]), st.sampled_from(["first", "retry", "hedge", "rescue", "fallback"])),
    st.sampled_from(["reported", "estimated", "unmetered"]),
    *(st.integers(0, 10**12), st.integers(0, 10**6), st.integers(0, 10**6), st.booleans()),
)
CALLS = st.lists(
    st.tuples(
        *(PAYERS, NAMES, st.integers(0, 40), st.lists(ATTEMPTS, max_size=3), st.sampled_from([None, "overloaded"])),
        *(st.sampled_from(["upstream", "cache:exact"]), st.integers(0, 10**6), st.booleans()),
    ),
    max_size=12,
)


def settled(number: int, made: tuple[Payer, str, int, list[AttemptEntry], str | None, str, int, bool]) -> Booking:
    payer, model, day, attempts, error, source, saved, is_late = made
    one = settlement(
        str(number), began_ms=MORNING_MS - day * DAY_MS, payer=payer, model=model, error=error, source=source
    )
    one = replace(one, attempts=tuple(attempts), saved_nusd=saved)
    return booked_at(one, "2026-11-21T09:00") if is_late else booking(one)


@settings(max_examples=40, deadline=None)
@given(
    CALLS,
    st.permutations(["team", "key", "cost_center", "model", "provider", "tag:env"]),
    st.integers(1, 6),
    st.sampled_from(["hour", "day", "month", "total"]),
)
def test_however_it_is_grouped_lines_and_adjustments_come_to_what_the_calls_cost(
    made: Sequence[tuple[Payer, str, int, list[AttemptEntry], str | None, str, int, bool]],
    groups: list[str],
    count: int,
    granularity: str,
) -> None:
    bookings = [settled(number, one) for number, one in enumerate(made)]
    query = Query(Span(date(2026, 9, 1), date(2027, 1, 1)), tuple(groups[:count]), granularity)  # type: ignore[arg-type]
    with TemporaryDirectory() as folder:
        found = Reporter(booked(Path(folder) / "b.db", *bookings), config()).build(query, MORNING_S, 100)
    settlements = [one.settlement for one in bookings]
    parts = [one.figures.sums for one in (*found.lines,)] + [one.figures.sums for one in found.adjustments]
    for sums in ([found.total.sums], parts):
        assert sum(one.calls for one in sums) == len(settlements)
        assert sum(one.saved_nusd for one in sums) == sum(one.saved_nusd for one in settlements)
        for name in ("cost_nusd", "low_nusd", "high_nusd", "uncached_tokens"):
            booked_sum = sum(getattr(part, name) for one in settlements for part in one.attempts)
            assert sum(getattr(one, name) for one in sums) == booked_sum
    assert {one.of_month for one in found.adjustments} <= {"2026-10", "2026-11"}
    assert found.check.state == ("holds" if made else "not_made")
