import csv
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting.report_csv import as_csv, text_cell, write_csv
from proxy.accounting.report_query import Query
from proxy.state import Payer
from tests.books import MORNING_S, NOVEMBER, settlement
from tests.reported import report, reporter

MONEY = ("cost_usd", "low_usd", "high_usd", "saved_usd", "unmetered_high_usd", "retry_usd")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text, newline="")))


def test_the_last_row_is_the_total_of_all_others_to_the_nano_dollar(tmp_path: Path) -> None:
    *parts, total = rows(as_csv(report(tmp_path, Query(NOVEMBER, ("team", "key", "tag:env"), "day"))))
    assert (total["kind"], total["team"]) == ("total", "")
    assert [one["kind"] for one in parts] == ["usage"] * 4 + ["adjustment of 2026-10"]
    for name in MONEY:
        assert sum(Decimal(one[name]) for one in parts) == Decimal(total[name])
    for name in ("requests", "refused", "failed", "attempts", "input_tokens", "uncached_tokens"):
        assert sum(int(one[name]) for one in parts) == int(total[name])
    assert (total["cost_usd"], total["requests"]) == ("0.000004557", "7")
    assert total["refusals"] == "rate_limit_exceeded:team_rpm 1"
    assert {one["tag:env"] for one in parts} == {"(none)", "prod", "test"}


def test_every_row_has_every_column(tmp_path: Path) -> None:
    header, *lines = csv.reader(StringIO(as_csv(report(tmp_path)), newline=""))
    assert len(set(header)) == len(header)
    assert {len(line) for line in lines} == {len(header)}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_tag_is_taken_for_a_formula(tmp_path: Path, text: str) -> None:
    made = reporter(tmp_path, settlement("x", payer=Payer("search", "ci", tags={"env": text})))
    line, _ = rows(as_csv(made.build(Query(NOVEMBER, ("tag:env",)), MORNING_S)))
    assert line["tag:env"] == f"'{text}"


@given(st.text())
def test_any_text_is_one_cell_and_never_a_formula(text: str) -> None:
    ((cell, beside),) = csv.reader(StringIO(write_csv((text, "b"), iter(())), newline=""))
    assert beside == "b"
    assert cell == text_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell.removeprefix("'") == text.removeprefix("'")
