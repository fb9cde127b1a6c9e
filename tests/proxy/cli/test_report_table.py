from dataclasses import replace
from io import StringIO
from pathlib import Path

from proxy.accounting.report_query import Query
from proxy.accounting.reports import Report, Reporter
from proxy.cli.report_table import print_report
from proxy.state import Payer
from tests.books import MORNING_S, NOVEMBER, attempt, booked, settlement
from tests.reported import config, report


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def shown(made: Report, out: StringIO | None = None) -> list[str]:
    out = out or StringIO()
    print_report(made, out)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_lines_are_in_the_order_of_their_cost_with_bars_and_a_total(tmp_path: Path) -> None:
    lines = shown(report(tmp_path))
    at = next(number for number, line in enumerate(lines) if line.startswith("team "))
    assert lines[at].split() == ["team", "requests", "tokens", "cost", "$", "saved", "$"]
    assert [line.split()[0] for line in lines[at + 1 : at + 5]] == ["sales", "search", "adjustment", "total"]
    assert lines[at + 1].endswith("█" * 14)
    assert lines[at + 4].split()[:4] == ["total", "7", "210", "0.000005"]


def test_with_periods_lines_stay_in_their_order(tmp_path: Path) -> None:
    lines = shown(report(tmp_path, Query(NOVEMBER, ("team",), "day")))
    assert [line.split()[:2] for line in lines if line.startswith("2026-11")] == [
        ["2026-11-21", "sales"],
        ["2026-11-21", "search"],
        ["2026-11-22", "sales"],
        ["2026-11-23", "sales"],
    ]
    assert "each day" in lines[0]


def test_many_groups_and_long_names_stay_within_eighty_columns(tmp_path: Path) -> None:
    payer = Payer("a-team-with-quite-a-long-name" * 3, "key" * 20, "cost-center" * 5, {"env": "標籤\x1b]0;x\x07" * 9})
    long = settlement("x", attempt("provider" * 9, 10**15, uncached_tokens=10**12), payer=payer, model="model" * 12)
    books = Reporter(booked(tmp_path / "b.db", long), config())
    groups = ("team", "key", "cost_center", "model", "provider", "tag:env")
    lines = shown(books.build(Query(NOVEMBER, groups, "hour"), MORNING_S))
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)
    assert "█" not in "".join(lines)  # no room for bars


def test_no_calls_are_said_and_not_shown_as_zero(tmp_path: Path) -> None:
    made = report(tmp_path)
    nothing = Reporter(booked(tmp_path / "empty.db"), config()).build(Query(NOVEMBER), MORNING_S)
    assert "No call was booked in this span." in shown(nothing)
    assert "Nothing has been booked yet." in shown(nothing)
    closed = replace(made, is_closed=True)
    assert any(line.startswith("Closed: only adjustments") for line in shown(closed))


def test_tokens_are_told_by_kind_and_colours_only_to_a_terminal(tmp_path: Path) -> None:
    made = report(tmp_path, Query(NOVEMBER, team="search"))
    assert "Tokens: input 50 (uncached 50); output 100 (visible 100)." in shown(made)
    assert "of team search" in shown(made)[0]
    assert "\x1b[1m" in "".join(shown(made, Terminal()))
