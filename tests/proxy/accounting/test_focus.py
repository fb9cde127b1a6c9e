import csv
import json
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest

from proxy.accounting.focus import COLUMNS, as_focus, focus_query
from proxy.accounting.report_query import Query
from proxy.accounting.reports import Reporter
from proxy.state import orphan_of
from tests.books import MORNING_S, NOVEMBER, intent
from tests.reported import CONFIG, reporter

#: FOCUS 1.2, feature level "Mandatory".
MANDATORY = {
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd"),
    *("ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity"),
    *("PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
}


def rows(books: Reporter, query: Query | None = None) -> list[dict[str, str]]:
    made = books.build(focus_query(query or Query(NOVEMBER)), MORNING_S)
    return list(csv.DictReader(StringIO(as_focus(made, books.calendar), newline="")))


def test_mandatory_columns_are_there_and_filled(tmp_path: Path) -> None:
    found = rows(reporter(tmp_path))
    assert set(COLUMNS) >= MANDATORY
    assert len(COLUMNS) == len(set(COLUMNS))
    for row in found:
        assert set(row) == set(COLUMNS)
        assert all(row[name] for name in MANDATORY - {"ChargeClass"})
        assert (row["BillingCurrency"], row["ServiceCategory"]) == ("USD", "AI and Machine Learning")


def test_costs_add_up_and_calls_that_asked_nobody_are_in_no_row(tmp_path: Path) -> None:
    found = rows(reporter(tmp_path))
    assert sum(Decimal(row["BilledCost"]) for row in found) == Decimal("0.000004557")
    assert {row["ProviderName"] for row in found} == {"openai", "qwen"}
    assert sum(int(row["x_Requests"]) for row in found) == 5


def test_a_row_says_who_spent_what_where_and_when(tmp_path: Path) -> None:
    (row,) = [one for one in rows(reporter(tmp_path)) if one["x_Metering"] == "unmetered"]
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert (row["SubAccountName"], row["x_KeyName"], row["x_CostCenter"]) == ("search", "ci", "4711")
    assert (row["ResourceId"], row["BillingAccountId"]) == ("chat", "openai")
    assert (row["x_LowCost"], row["x_HighCost"]) == ("0.000000000", "0.000000300")
    assert (row["ChargeClass"], row["ChargeCategory"], row["PricingQuantity"]) == ("", "Usage", "30")


def test_what_was_booked_late_is_a_correction(tmp_path: Path) -> None:
    (row,) = [one for one in rows(reporter(tmp_path)) if one["ChargeClass"]]
    assert (row["ChargeClass"], row["ChargePeriodStart"]) == ("Correction", "2026-11-05T00:00:00Z")
    assert row["ChargeDescription"] == "chat at openai, reported, of 2026-10"


@pytest.mark.parametrize(
    ("granularity", "start", "end"),
    [
        ("hour", "2026-11-21T07:00:00Z", "2026-11-21T08:00:00Z"),
        ("day", "2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z"),
        ("month", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"),
        ("total", "2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z"),
    ],
)
def test_periods_are_instants_of_utc_in_the_time_zone_of_the_books(
    tmp_path: Path, granularity: str, start: str, end: str
) -> None:
    text = CONFIG.replace("accounting: {", "accounting: {timezone: Europe/Berlin, ")
    found = rows(reporter(tmp_path, text=text), Query(NOVEMBER, granularity=granularity))  # type: ignore[arg-type]
    (row,) = [one for one in found if one["x_Metering"] == "unmetered"]
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == (start, end)
    assert row["BillingPeriodStart"] == "2026-10-31T23:00:00Z"


def test_a_tag_that_is_asked_for_is_among_the_tags(tmp_path: Path) -> None:
    found = rows(reporter(tmp_path), Query(NOVEMBER, ("team", "tag:env")))
    assert {json.dumps(json.loads(row["Tags"])) for row in found} == {'{"env": "prod"}', '{"env": "test"}', "{}"}


def test_of_an_orphan_it_is_unknown_who_was_asked(tmp_path: Path) -> None:
    orphan = orphan_of(intent(), int(MORNING_S * 1000))
    (row,) = rows(reporter(tmp_path, orphan))
    assert (row["ProviderName"], row["x_Metering"]) == ("unknown", "unmetered")
