"""A report for spreadsheets: a row a line, then the adjustments, then the total of all of them, to the nano-dollar."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Final

from proxy.accounting.figures import Attempts, Figures
from proxy.accounting.report_json import TOKENS
from proxy.accounting.reports import Report
from proxy.accounting.usd import exact_usd

#: What a spreadsheet takes for the beginning of a formula; tags are text of clients.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NONE: Final = "(none)"
_METERING: Final = ("reported", "estimated", "unmetered")
_ROLES: Final = ("first", "retry", "hedge", "rescue", "fallback")
_FIGURES: Final = (
    *("requests", "refused", "failed", "attempts", "input_tokens", "output_tokens", *TOKENS),
    *("cost_usd", "low_usd", "high_usd", "saved_usd"),
    *(f"{name}_{part}" for name in _METERING for part in ("attempts", "usd", "low_usd", "high_usd")),
    *(f"{name}_{part}" for name in _ROLES for part in ("attempts", "usd")),
    "refusals",
)


def as_csv(report: Report) -> str:
    """The report; its last row is the total. Lines end as RFC 4180 says."""
    return write_csv(("kind", "period", *report.query.group_by, *_FIGURES), _rows(report))


def write_csv(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """CSV of cells that are safe already (`text_cell`), header first."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow([text_cell(name) for name in header])
    writer.writerows(rows)
    return out.getvalue()


def text_cell(text: str) -> str:
    """A name or a tag as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _rows(report: Report) -> Iterator[Sequence[str]]:
    for line in report.lines:
        yield "usage", line.period, *_group(line.group), *_figures(line.figures)
    for one in report.adjustments:
        yield f"adjustment of {one.of_month}", one.period, *_group(one.group), *_figures(one.figures)
    yield "total", "", *("" for _ in report.query.group_by), *_figures(report.total)


def _group(values: Sequence[str]) -> Iterator[str]:
    return (text_cell(value or _NONE) for value in values)


def _figures(figures: Figures) -> Iterator[str]:
    sums, none = figures.sums, Attempts()
    yield str(sums.calls)
    yield str(sum(figures.refused.values()))
    yield str(sum(figures.failed.values()))
    yield str(sums.attempts)
    yield str(sums.input_tokens)
    yield str(sums.output_tokens)
    yield from (str(getattr(sums, name)) for name in TOKENS)
    yield from map(exact_usd, (sums.cost_nusd, sums.low_nusd, sums.high_nusd, sums.saved_nusd))
    for name in _METERING:
        part = figures.metering.get(name, none)
        yield str(part.attempts)
        yield from map(exact_usd, (part.cost_nusd, part.low_nusd, part.high_nusd))
    for name in _ROLES:
        part = figures.roles.get(name, none)
        yield str(part.attempts)
        yield exact_usd(part.cost_nusd)
    yield text_cell(_reasons(figures.refused))


def _reasons(refused: Mapping[str, int]) -> str:
    """`rate_limit_exceeded:team_rpm 3; overloaded 1`."""
    return "; ".join(f"{reason} {calls}" for reason, calls in sorted(refused.items()))
