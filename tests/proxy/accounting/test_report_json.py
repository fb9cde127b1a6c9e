from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from proxy.accounting.report_json import as_json
from proxy.accounting.report_query import Query, compared_spans
from proxy.state import Span
from tests.books import MORNING_S, NOVEMBER, attempt, settlement
from tests.reported import CONFIG, calls, report, reporter


def plain(value: object) -> Any:
    return orjson.loads(orjson.dumps(value))


def test_a_report_says_what_it_is_about_and_how_far_the_books_reach(tmp_path: Path) -> None:
    found = plain(as_json(report(tmp_path, Query(NOVEMBER, ("team",), "day"))))
    assert found["span"] == {
        "from": "2026-11-01",
        "to": "2026-12-01",
        "timezone": "UTC",
        "granularity": "day",
        "is_closed": False,
    }
    assert (found["booked_from"], found["booked_through"]) == ("2026-11-05", "2026-10-31T23:30:00Z")
    assert (found["team"], found["group_by"], found["currency"]) == (None, ["team"], "USD")
    assert (found["comparison"], found["quotas"]) == (None, [])
    assert found["check"]["state"] == "holds"


def test_money_is_exact_text_and_adds_up(tmp_path: Path) -> None:
    found = plain(as_json(report(tmp_path, Query(NOVEMBER, ("team", "model")))))
    parts = [*found["lines"], *found["adjustments"]]
    for name in ("cost_usd", "low_usd", "high_usd", "saved_usd"):
        assert sum(Decimal(one[name]) for one in parts) == Decimal(found["total"][name])
    assert found["total"]["cost_usd"] == "0.000004557"
    assert sum(one["requests"] for one in parts) == found["total"]["requests"] == 7
    assert found["total"]["metering"]["unmetered"] == {
        "attempts": 1,
        "cost_usd": "0.000000100",
        "low_usd": "0.000000000",
        "high_usd": "0.000000300",
    }
    assert found["total"]["tokens"]["input"] == 70
    assert found["total"]["sources"]["cache:exact"] == {"requests": 1, "saved_usd": "0.000000050"}
    assert found["total"]["refused"] == {"rate_limit_exceeded:team_rpm": 1}


def test_what_there_is_none_of_is_null(tmp_path: Path) -> None:
    found = plain(as_json(report(tmp_path, Query(NOVEMBER, ("tag:env", "cost_center")))))
    assert {(one["tag:env"], one["cost_center"]) for one in found["lines"]} == {
        (None, None),
        ("prod", "4711"),
        ("test", "99"),
    }
    assert {one["period"] for one in found["lines"]} == {None}
    assert [one["of"] for one in found["adjustments"]] == ["2026-10"]


def test_a_comparison_and_quotas_are_told_with_their_method(tmp_path: Path) -> None:
    text = CONFIG.replace('cost_center: "4711", keys', "quotas: [{usd: 9, per: month}, {tokens: 1k, per: day}], keys")
    days = [settlement(f"{day}", attempt(cost_nusd=10**8), began_ms=at_ms(day)) for day in range(1, 21)]
    span = Span(date(2026, 11, 8), date(2026, 11, 15))
    made = reporter(tmp_path, *days, text=text).build(
        Query(span), at_ms(14) / 1000, spans=compared_spans(span, date(2026, 11, 30))
    )
    found = plain(as_json(made))
    (group,) = found["comparison"]["groups"]
    assert (found["comparison"]["before"], group["change_usd"]) == (
        {"from": "2026-11-01", "to": "2026-11-08"},
        "0.000000000",
    )
    month, day = found["quotas"]
    assert (month["quota"], month["used"], month["cap"], month["used_percent"]) == (
        *("usd per month", "2.000000000", "9.000000000"),
        22,
    )
    assert month["burn_down"]["runs_out"] is None
    assert "drawn from the last 13 days" in month["burn_down"]["method"]
    assert (day["used"], day["cap"], day["burn_down"]) == (30, 1000, None)
    assert day["burn_down_blank"] == "a period of one day is not projected"


def test_drift_is_told_with_both_sums(tmp_path: Path) -> None:
    books = reporter(tmp_path, *calls()[4:5])
    wrong = books.build(Query(NOVEMBER), MORNING_S, 10)
    assert plain(as_json(wrong))["check"]["drift"] == []


def at_ms(day: int) -> int:
    return int(MORNING_S + (day - 21) * 86_400) * 1000
