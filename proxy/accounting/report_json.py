"""A report for programs. Money is text, in USD and exact; what is not known is null, and never 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Final

from proxy.accounting.figures import Attempts, Figures
from proxy.accounting.periods import instant_of
from proxy.accounting.quota_use import QuotaUse
from proxy.accounting.reports import Adjustment, Check, Report
from proxy.accounting.usd import exact_usd
from proxy.state import Span, Sums

#: The kinds of tokens; they do not overlap.
TOKENS: Final = tuple(one.name for one in fields(Sums) if one.name.endswith("_tokens"))


def as_json(report: Report) -> Mapping[str, object]:
    """The report as plain values."""
    query, extent = report.query, report.extent
    names = query.group_by
    return {
        "object": "usage.report",
        "span": {
            **_span(query.span),
            "timezone": report.zone,
            "granularity": query.granularity,
            "is_closed": report.is_closed,
        },
        "made_at": _instant(int(report.made_s * 1000)),
        "booked_from": extent.first_day or None,
        "booked_through": _instant(extent.latest_ms),
        "team": query.team,
        "group_by": list(names),
        "currency": "USD",
        "lines": [
            {"period": line.period or None, **_group(names, line.group), **_figures(line.figures)}
            for line in report.lines
        ],
        "adjustments": [_adjustment(names, one) for one in report.adjustments],
        "total": _figures(report.total),
        "comparison": _comparison(report),
        "quotas": [_quota(one) for one in report.quotas],
        "check": _check(report.check),
    }


def _span(span: Span) -> dict[str, str]:
    return {"from": span.first.isoformat(), "to": span.end.isoformat()}


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else instant_of(at_ms / 1000)


def _group(names: Sequence[str], group: Sequence[str]) -> dict[str, str | None]:
    return {name: value or None for name, value in zip(names, group, strict=True)}


def _figures(figures: Figures) -> dict[str, object]:
    sums = figures.sums
    return {
        "requests": sums.calls,
        "attempts": sums.attempts,
        "tokens": {
            "input": sums.input_tokens,
            "output": sums.output_tokens,
            **{name.removesuffix("_tokens"): getattr(sums, name) for name in TOKENS},
        },
        "cost_usd": exact_usd(sums.cost_nusd),
        "low_usd": exact_usd(sums.low_nusd),
        "high_usd": exact_usd(sums.high_nusd),
        "saved_usd": exact_usd(sums.saved_nusd),
        "metering": {name: _attempts(part) for name, part in figures.metering.items()},
        "roles": {name: _attempts(part) for name, part in figures.roles.items()},
        "sources": {
            name: {"requests": part.calls, "saved_usd": exact_usd(part.saved_nusd)}
            for name, part in figures.sources.items()
        },
        "refused": dict(figures.refused),
        "failed": dict(figures.failed),
    }


def _attempts(part: Attempts) -> dict[str, object]:
    return {
        "attempts": part.attempts,
        "cost_usd": exact_usd(part.cost_nusd),
        "low_usd": exact_usd(part.low_nusd),
        "high_usd": exact_usd(part.high_nusd),
    }


def _adjustment(names: Sequence[str], one: Adjustment) -> dict[str, object]:
    return {
        "of": one.of_month,
        "period": one.period or None,
        **_group(names, one.group),
        **_figures(one.figures),
    }


def _comparison(report: Report) -> dict[str, object] | None:
    if report.spans is None:
        return None
    now, before = report.spans
    return {
        "now": _span(now),
        "before": _span(before),
        "groups": [
            {
                **_group(report.query.group_by, change.group),
                "requests": change.now.calls,
                "requests_before": change.before.calls,
                "cost_usd": exact_usd(change.now.cost_nusd),
                "cost_usd_before": exact_usd(change.before.cost_nusd),
                "change_usd": exact_usd(change.now.cost_nusd - change.before.cost_nusd),
            }
            for change in report.changes
        ],
    }


def _quota(one: QuotaUse) -> dict[str, object]:
    burn = one.burn_down
    terms = one.terms
    is_money = terms.unit == "usd"
    return {
        "team": terms.owner[0],
        "key": terms.owner[1] if len(terms.owner) > 1 else None,
        "quota": terms.name,
        "unit": terms.unit,
        "used": exact_usd(one.used) if is_money else one.used,
        "cap": exact_usd(one.cap) if is_money else one.cap,
        "granted": exact_usd(one.granted) if is_money else one.granted,
        "used_percent": 100 * one.used // one.cap,
        "period": _span(one.span),
        "burn_down": None
        if burn is None
        else {
            "runs_out": burn.runs_out and burn.runs_out.isoformat(),
            "earliest": burn.earliest and burn.earliest.isoformat(),
            "latest": burn.latest and burn.latest.isoformat(),
            "chance_percent": burn.chance_pct,
            "days": burn.days,
            "method": burn.method,
        },
        "burn_down_blank": one.blank or None,
    }


def _check(check: Check) -> dict[str, object]:
    return {
        "state": check.state,
        **({} if check.span is None else _span(check.span)),
        "requests": check.calls,
        "incomplete": check.why or None,
        "drift": [
            {
                "day": one.day,
                "table": one.table,
                "requests": one.calls.calls,
                "requests_summed": one.sums.calls,
                "cost_usd": exact_usd(one.calls.cost_nusd),
                "cost_usd_summed": exact_usd(one.sums.cost_nusd),
            }
            for one in check.drift
        ],
    }
