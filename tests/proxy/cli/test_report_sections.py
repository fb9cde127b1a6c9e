from datetime import date
from io import StringIO
from pathlib import Path

from rich.console import Console

from proxy.accounting.report_query import Query, compared_spans
from proxy.accounting.reports import Report
from proxy.cli.report_sections import Section, sections
from proxy.state import Span
from tests.books import MORNING_MS, MORNING_S, NOVEMBER, attempt, settlement
from tests.reported import CONFIG, DAY_MS, report, reporter

QUOTAS = "quotas: [{usd: 2.05, per: month}, {usd: 900, per: month, models: [chat]}, {tokens: 1k, per: day}], keys"


def titled(made: Report) -> dict[str, Section]:
    return {section.title: section for section in sections(made)}


def rows(section: Section) -> list[list[str]]:
    out = StringIO()
    assert section.table is not None
    Console(file=out, width=80).print(section.table)
    return [line.split() for line in out.getvalue().splitlines()]


def test_the_three_classes_are_kept_apart_with_their_range(tmp_path: Path) -> None:
    found = rows(titled(report(tmp_path))["How sure the cost is"])
    assert found[1:] == [
        ["reported", "5", "0.000004", "0.000004", "0.000004"],
        ["estimated", "1", "<0.000001", "<0.000001", "<0.000001"],
        ["unmetered", "1", "<0.000001", "0.000000", "<0.000001"],
    ]


def test_refusals_failures_and_the_cache_have_their_tables(tmp_path: Path) -> None:
    found = titled(report(tmp_path))
    assert rows(found["Refused before anybody was asked"])[1][:2] == ["rate_limit_exceeded:team_rpm", "1"]
    assert rows(found["Failed although somebody was asked"])[1][:2] == ["upstream_error", "1"]
    assert rows(found["Saved by the cache, its own cost taken off"])[1] == ["exact", "1", "<0.000001"]


def test_who_pays_for_second_attempts_is_told_by_team(tmp_path: Path) -> None:
    title = "Who pays for retries, hedges, rescues and fallbacks"
    (head, line) = rows(titled(report(tmp_path, Query(NOVEMBER, ("model", "team"))))[title])
    assert head[0] == "team"
    assert line == ["search", "<0.000001", "<0.000001", "0.000000", "0.000000", "<0.000001"]
    assert rows(titled(report(tmp_path / "b", Query(NOVEMBER, ("provider",))))[title])[1][0] == "qwen"


def test_quotas_say_when_they_run_out_or_why_that_is_not_known(tmp_path: Path) -> None:
    text = CONFIG.replace('cost_center: "4711", keys', QUOTAS)
    days = [settlement(f"{day}", attempt(cost_nusd=10**8), began_ms=MORNING_MS - day * DAY_MS) for day in range(15)]
    section = titled(reporter(tmp_path, *days, text=text).build(Query(NOVEMBER), MORNING_S))["Quotas, as booked"]
    out = " ".join(word for row in rows(section) for word in row)
    assert "$1.5000 $2.0500" in out
    assert "2026-11-26 (11-26 to 11-26)" in out
    assert "lasts" in out
    assert "not projected" in out.replace("is ", "")
    assert "drawn from the last 14 days" in section.note


def test_adjustments_say_of_which_month_they_are(tmp_path: Path) -> None:
    section = titled(report(tmp_path))["Adjustments of months that were closed, in the total and in no line"]
    assert rows(section)[1][:1] == ["2026-10"]
    assert rows(section)[1][-3:] == ["search", "1", "0.000003"]


def test_what_was_not_called_before_is_a_dash_and_no_zero(tmp_path: Path) -> None:
    week = Span(date(2026, 11, 22), date(2026, 11, 24))
    made = reporter(tmp_path).build(Query(week), MORNING_S, spans=compared_spans(week, date(2026, 11, 30)))
    found = rows(titled(made)["2026-11-22 to 2026-11-23 against 2026-11-20 to 2026-11-21"])
    assert found[1][0] == "sales"
    assert found[2][:3] == ["search", "0", "2"]
    later = Span(date(2026, 11, 21), date(2026, 11, 22))
    made = reporter(tmp_path / "b").build(Query(later), MORNING_S, spans=compared_spans(later, date(2026, 11, 30)))
    assert rows(titled(made)["2026-11-21 against 2026-11-20"])[1][2:5] == ["–", "0.000001", "–"]


def test_a_comparison_with_days_before_the_books_says_so(tmp_path: Path) -> None:
    spans = compared_spans(NOVEMBER, date(2026, 11, 30))
    made = reporter(tmp_path).build(Query(NOVEMBER), MORNING_S, spans=spans)
    assert titled(made)["2026-11-01 to 2026-11-30 against 2026-10-01 to 2026-10-31"].note == (
        "The books begin on 2026-11-05."
    )


def test_a_check_that_was_not_made_says_why(tmp_path: Path) -> None:
    assert titled(report(tmp_path, check_calls=0))[""].note == (
        "Check of Σ calls = Σ sums: not made; only the latest days, of at most 0 calls, are checked."
    )
    assert titled(report(tmp_path / "b"))[""].note == (
        "Check: Σ calls = Σ sums (2026-11-01 to 2026-11-30, 7 requests)."
    )
