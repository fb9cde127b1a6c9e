"""What stands below the lines of a report: how sure the cost is, the cache, refusals, who pays for second attempts,
quotas, adjustments, the comparison, and the check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rich.table import Table

from proxy.accounting.figures import Attempts
from proxy.accounting.quota_use import QuotaUse
from proxy.accounting.reports import Check, Report
from proxy.accounting.usd import decimals_for, exact_usd, short_usd
from proxy.cli.cells import bar, name_cell, share, short_count, table_of
from proxy.state import Span

_METERING: Final = ("reported", "estimated", "unmetered")
_MEANING: Final = (
    "reported: by the provider's own count; estimated: by ours; unmetered: cut off or timed out without a count, "
    "and may be billed all the same."
)
_EXTRA: Final = ("retry", "hedge", "rescue", "fallback")
_CACHES: Final[Mapping[str, str]] = {"cache:exact": "exact", "cache:semantic": "semantic"}
_BAR: Final = 10


class Section(NamedTuple):
    """A part of the report; any of title, table and note may be missing."""

    title: str
    table: Table | None = None
    note: str = ""


def sections(report: Report) -> Iterator[Section]:
    """All that there is something to say in."""
    if report.total.metering:
        yield _metering(report)
    yield from _cache(report)
    yield from _reasons("Refused before anybody was asked", report.total.refused)
    yield from _reasons("Failed although somebody was asked", report.total.failed)
    yield from _second_attempts(report)
    yield from _quotas(report.quotas)
    yield from _adjustments(report)
    yield from _comparison(report)
    yield _check(report.check)


def _metering(report: Report) -> Section:
    parts = report.total.metering
    decimals = decimals_for(max(abs(part.high_nusd) for part in parts.values()))
    table = table_of(("how it is known",), ("attempts", "cost $", "at least $", "at most $"))
    for name in _METERING:
        part = parts.get(name, Attempts())
        amounts = (short_usd(value, decimals) for value in (part.cost_nusd, part.low_nusd, part.high_nusd))
        table.add_row(name, f"{part.attempts:,}", *amounts)
    return Section("How sure the cost is", table, _MEANING)


def _cache(report: Report) -> Iterator[Section]:
    sources = report.total.sources
    if not sources.keys() & _CACHES.keys():
        return
    decimals = decimals_for(report.total.sums.saved_nusd)
    table = table_of(("answered from the cache",), ("requests", "saved $, net"))
    for source, name in _CACHES.items():
        if source in sources:
            table.add_row(name, f"{sources[source].calls:,}", short_usd(sources[source].saved_nusd, decimals))
    yield Section("Saved by the cache, its own cost taken off", table)


def _reasons(title: str, reasons: Mapping[str, int]) -> Iterator[Section]:
    if not reasons:
        return
    table = table_of(("reason",), ("requests",), "")
    most = max(reasons.values())
    for reason, calls in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(name_cell(reason), f"{calls:,}", bar(calls, most, _BAR))
    yield Section(title, table)


def _second_attempts(report: Report) -> Iterator[Section]:
    """By team, or by whatever comes first."""
    names = report.query.group_by
    at = names.index("team") if "team" in names else 0
    spent: dict[str, dict[str, int]] = {}
    booked = [(one.group[at], one.figures) for one in report.lines]
    booked += [(one.group[at], one.figures) for one in report.adjustments]
    for name, figures in booked:
        for role, part in figures.roles.items():
            if role in _EXTRA:
                mine = spent.setdefault(name, {})
                mine[role] = mine.get(role, 0) + part.cost_nusd
    if not spent:
        return
    decimals = decimals_for(max(sum(mine.values()) for mine in spent.values()))
    table = table_of((names[at],), (*(f"{role} $" for role in _EXTRA), "all $"))
    for name, mine in sorted(spent.items(), key=lambda item: (-sum(item[1].values()), item[0])):
        amounts = [short_usd(mine.get(role, 0), decimals) for role in _EXTRA]
        table.add_row(name_cell(name), *amounts, short_usd(sum(mine.values()), decimals))
    yield Section("Who pays for retries, hedges, rescues and fallbacks", table)


def _quotas(quotas: Sequence[QuotaUse]) -> Iterator[Section]:
    if not quotas:
        return
    table = table_of(("team or key", "quota"), ("used", "of"), "", "runs out")
    for one in quotas:
        used, cap = _amount(one, one.used), _amount(one, one.cap)
        share_of = f"{bar(one.used, one.cap, _BAR):{_BAR}} {share(one.used, one.cap)}"
        table.add_row(name_cell(one.owner), name_cell(one.terms.name), used, cap, share_of, _end(one))
    methods = sorted({one.burn_down.method for one in quotas if one.burn_down is not None})
    notes = [f"Method: {method}." for method in methods]
    notes += [
        f"{one.owner}, {one.terms.name}: {_amount(one, one.granted)} of it are granted."
        for one in quotas
        if one.granted
    ]
    yield Section("Quotas, as booked", table, "\n".join(notes))


def _amount(one: QuotaUse, value: int) -> str:
    return f"${short_usd(value, decimals_for(one.terms.cap))}" if one.terms.unit == "usd" else short_count(value)


def _end(one: QuotaUse) -> str:
    burn = one.burn_down
    if burn is None:
        return one.blank
    if burn.runs_out is None:
        return f"lasts ({burn.chance_pct}% it does not)" if burn.chance_pct else "lasts"
    latest = "after it" if burn.latest is None else f"{burn.latest:%m-%d}"
    return f"{burn.runs_out} ({burn.earliest or burn.runs_out:%m-%d} to {latest})"


def _adjustments(report: Report) -> Iterator[Section]:
    if not report.adjustments:
        return
    decimals = decimals_for(max(abs(one.figures.sums.cost_nusd) for one in report.adjustments))
    table = table_of(("of", "booked", *report.query.group_by), ("requests", "cost $"))
    for one in report.adjustments:
        sums = one.figures.sums
        names = (name_cell(value) for value in one.group)
        cells = (f"{sums.calls:,}", short_usd(sums.cost_nusd, decimals))
        table.add_row(one.of_month, one.period or "in this span", *names, *cells)
    yield Section("Adjustments of months that were closed, in the total and in no line", table)


def _comparison(report: Report) -> Iterator[Section]:
    if report.spans is None:
        return
    now, before = report.spans
    amounts = [value for change in report.changes for value in (change.now.cost_nusd, change.before.cost_nusd)]
    decimals = decimals_for(max(map(abs, amounts), default=0))
    table = table_of(report.query.group_by, ("requests", "before", "cost $", "before $", "change $", ""))
    for change in sorted(report.changes, key=lambda one: (-one.now.cost_nusd, one.group)):
        cost, earlier = change.now.cost_nusd, change.before.cost_nusd
        table.add_row(
            *(name_cell(value) for value in change.group),
            f"{change.now.calls:,}",
            f"{change.before.calls:,}" if change.before.calls else "–",
            short_usd(cost, decimals),
            short_usd(earlier, decimals) if change.before.calls else "–",
            short_usd(cost - earlier, decimals),
            f"{100 * (cost - earlier) // earlier:+}%" if earlier > 0 else "",
        )
    first_day = report.extent.first_day
    note = f"The books begin on {first_day}." if before.first.isoformat() < first_day else ""
    yield Section(f"{_days(now)} against {_days(before)}", table, note)


def _check(check: Check) -> Section:
    why = f"; {check.why}" if check.why else ""
    if check.state == "not_made" or check.span is None:
        return Section("", note=f"Check of Σ calls = Σ sums: not made{why}.")
    what = f"{_days(check.span)}, {check.calls:,} requests"
    if check.state == "holds":
        return Section("", note=f"Check: Σ calls = Σ sums ({what}{why}).")
    table = table_of(("day", "by"), ("requests", "summed", "cost $", "summed $"))
    for one in check.drift:
        costs = (exact_usd(one.calls.cost_nusd), exact_usd(one.sums.cost_nusd))
        table.add_row(one.day, one.table, f"{one.calls.calls:,}", f"{one.sums.calls:,}", *costs)
    return Section(f"CHECK FAILED: single calls do not come to the sums ({what}{why})", table)


def _days(span: Span) -> str:
    """With its last day: `2026-11-01 to 2026-11-30`."""
    last = span.last
    return f"{span.first}" if last == span.first else f"{span.first} to {last}"
