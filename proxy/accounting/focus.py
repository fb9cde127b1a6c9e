"""A report as rows of FOCUS, the FinOps Open Cost and Usage Specification, version 1.2: its 21 mandatory columns, some
of its conditional ones, and ours behind them with `x_`. It is what the gateway booked, not an invoice: hence "style".

A row is what one key of a team spent on one model at one provider in a day, an hour or a month, and how that is known.
Calls for which nobody was asked cost nothing and are in no row. What was booked late is a `Correction`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final

from proxy.accounting.figures import Figures
from proxy.accounting.periods import Calendar, instant_of, month_of
from proxy.accounting.report_csv import text_cell, write_csv
from proxy.accounting.report_json import TOKENS
from proxy.accounting.report_query import Query
from proxy.accounting.reports import Report
from proxy.accounting.usd import exact_usd
from proxy.state import Span

#: What a row is made by, in this order; a tag may follow.
_GROUPS: Final = ("team", "key", "cost_center", "model", "provider", "metering")
_MANDATORY: Final = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd"),
    *("ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity"),
    *("PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
)
_CONDITIONAL: Final = (
    *("ChargeFrequency", "ConsumedQuantity", "ConsumedUnit", "PricingCategory", "ResourceId", "ResourceName"),
    *("ResourceType", "ServiceSubcategory", "SubAccountId", "SubAccountName", "SubAccountType", "Tags"),
)
_OWN: Final = (
    *("x_CostCenter", "x_KeyName", "x_Metering", "x_LowCost", "x_HighCost", "x_Requests", "x_Attempts"),
    *(f"x_{''.join(part.title() for part in name.split('_'))}" for name in TOKENS),
)
COLUMNS: Final = (*_MANDATORY, *_CONDITIONAL, *_OWN)
#: The columns that are text, or amounts named among them; the other ones of ours are amounts.
_NAMED: Final = (*_MANDATORY, *_CONDITIONAL, *_OWN[:3])
_AMOUNTS: Final = frozenset(
    ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity", "ConsumedQuantity")
)
#: A column must not be empty; of an orphaned call it is not known who was asked.
_UNKNOWN: Final = "unknown"
_HOUR_S: Final = 3600


def focus_query(query: Query) -> Query:
    """The query whose report is to be handed to `as_focus`: by day, unless it was by hour or month."""
    tags = tuple(name for name in query.group_by if name.startswith("tag:"))
    granularity = "day" if query.granularity == "total" else query.granularity
    return replace(query, group_by=(*_GROUPS, *tags), granularity=granularity)


def as_focus(report: Report, calendar: Calendar) -> str:
    """FOCUS rows as CSV. Their BilledCost adds up to the report's cost, to the nano-dollar."""
    return write_csv(COLUMNS, _rows(report, calendar))


def _rows(report: Report, calendar: Calendar) -> Iterator[Sequence[str]]:
    tag_key = report.query.tag_key
    for line in report.lines:
        if line.figures.sums.attempts or line.figures.sums.cost_nusd:
            yield _row(line.period, line.group, line.figures, tag_key, "", calendar)
    for one in report.adjustments:
        if one.figures.sums.attempts or one.figures.sums.cost_nusd:
            yield _row(one.period, one.group, one.figures, tag_key, one.of_month, calendar)


def _row(
    period: str, group: Sequence[str], figures: Figures, tag_key: str, of_month: str, calendar: Calendar
) -> Sequence[str]:
    team, key, cost_center, model, provider, metering, *tag = group
    first_s, end_s, month = _charge_period(period, calendar)
    cost = exact_usd(figures.sums.cost_nusd)
    tokens = str(figures.sums.input_tokens + figures.sums.output_tokens)
    provider = provider or _UNKNOWN
    named = {
        "BilledCost": cost,
        "BillingAccountId": provider,
        "BillingAccountName": provider,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": instant_of(calendar.begin_s(month.end)),
        "BillingPeriodStart": instant_of(calendar.begin_s(month.first)),
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if of_month else "",
        "ChargeDescription": f"{model} at {provider}, {metering}{f', of {of_month}' if of_month else ''}",
        "ChargePeriodEnd": instant_of(end_s),
        "ChargePeriodStart": instant_of(first_s),
        **dict.fromkeys(("ContractedCost", "EffectiveCost", "ListCost"), cost),
        **dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName"), provider),
        **dict.fromkeys(("PricingQuantity", "ConsumedQuantity"), tokens),
        **dict.fromkeys(("PricingUnit", "ConsumedUnit"), "Tokens"),
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "LLM inference",
        "ChargeFrequency": "Usage-Based",
        "PricingCategory": "Standard",
        "ResourceId": model,
        "ResourceName": model,
        "ResourceType": "Model",
        "ServiceSubcategory": "Generative AI",
        "SubAccountId": team,
        "SubAccountName": team,
        "SubAccountType": "Team",
        "Tags": json.dumps({tag_key: tag[0]} if tag and tag[0] else {}, ensure_ascii=False),
        "x_CostCenter": cost_center,
        "x_KeyName": key,
        "x_Metering": metering,
    }
    return [*(named[name] if name in _AMOUNTS else text_cell(named[name]) for name in _NAMED), *_own(figures)]


def _own(figures: Figures) -> Iterator[str]:
    sums = figures.sums
    yield from (exact_usd(sums.low_nusd), exact_usd(sums.high_nusd), str(sums.calls), str(sums.attempts))
    yield from (str(getattr(sums, name)) for name in TOKENS)


def _charge_period(period: str, calendar: Calendar) -> tuple[float, float, Span]:
    """The instants at which it begins and ends, Unix seconds, and the month that it is billed in."""
    if period.endswith("Z"):
        first_s = datetime.fromisoformat(period).timestamp()
        return first_s, first_s + _HOUR_S, month_of(calendar.day(first_s))
    if len(period) == len("2026-11"):
        month = month_of(date.fromisoformat(f"{period}-01"))
        return calendar.begin_s(month.first), calendar.begin_s(month.end), month
    day = date.fromisoformat(period)
    return calendar.begin_s(day), calendar.begin_s(day + timedelta(days=1)), month_of(day)
