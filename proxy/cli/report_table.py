"""A report as tables for people: 80 columns wide where it is piped, and without colour there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.accounting.figures import Figures
from proxy.accounting.report_json import TOKENS
from proxy.accounting.reports import Report, ReportLine
from proxy.accounting.usd import decimals_for, short_usd
from proxy.cli.cells import bar, name_cell, short_count, table_of
from proxy.cli.report_sections import sections

_PIPED_WIDTH: Final = 80
_BAR: Final = 14
#: With more columns of names than these there is no room for bars.
_MAX_NAMES: Final = 3


def print_report(report: Report, out: TextIO) -> None:
    """Print the report."""
    console = Console(file=out, width=None if out.isatty() else _PIPED_WIDTH, highlight=False, emoji=False)
    console.print(Text(_title(report), "bold"))
    console.print(Text(_state(report)))
    console.print()
    if report.lines or report.adjustments:
        console.print(_lines(report))
        console.print()
        console.print(Text(_tokens(report.total)))
    else:
        console.print("No call was booked in this span.")
    for section in sections(report):
        console.print()
        if section.title:
            console.print(Text(section.title, "bold"))
        if section.table is not None:
            console.print(section.table)
        if section.note:
            console.print(Text(section.note))


def _title(report: Report) -> str:
    query = report.query
    whose = "" if query.team is None else f" of team {name_cell(query.team).plain}"
    by = ", ".join(query.group_by)
    each = "" if query.granularity == "total" else f", each {query.granularity}"
    return f"Usage{whose}, {query.span.first} to {query.span.last} ({report.zone}), by {by}{each}"


def _state(report: Report) -> str:
    first, latest_ms = report.extent.first_day, report.extent.latest_ms
    if latest_ms is None:
        return "Nothing has been booked yet."
    latest = datetime.fromtimestamp(latest_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    state = "Closed: only adjustments can follow" if report.is_closed else "Not closed"
    return f"{state}. The books begin on {first}; the last call in them ended at {latest}."


def _lines(report: Report) -> Table:
    query, total = report.query, report.total
    has_period = query.granularity != "total"
    names = (*(("period",) if has_period else ()), *query.group_by)
    has_bars = len(names) <= _MAX_NAMES
    has_saved = bool(total.sums.saved_nusd)
    numbers = ("requests", "tokens", "cost $", *(("saved $",) if has_saved else ()))
    table = table_of(names, numbers, *(("",) if has_bars else ()))
    lines = report.lines if has_period else sorted(report.lines, key=_by_cost)
    decimals = decimals_for(total.sums.cost_nusd)
    most = max((line.figures.sums.cost_nusd for line in lines), default=0)

    def row(cells: Sequence[Text], figures: Figures, drawn: str = "") -> None:
        sums = figures.sums
        tokens = short_count(sums.input_tokens + sums.output_tokens)
        saved = (short_usd(sums.saved_nusd, decimals),) if has_saved else ()
        cost = short_usd(sums.cost_nusd, decimals)
        table.add_row(*cells, f"{sums.calls:,}", tokens, cost, *saved, *((drawn,) if has_bars else ()))

    for line in lines:
        period = (Text(line.period),) if has_period else ()
        groups = [name_cell(value) for value in line.group]
        row([*period, *groups], line.figures, bar(line.figures.sums.cost_nusd, most, _BAR))
    blank = [Text("") for _ in names[1:]]
    for one in report.adjustments:
        row([Text(f"adjustment of {one.of_month}"), *blank], one.figures)
    table.add_section()
    row([Text("total"), *blank], total)
    return table


def _by_cost(line: ReportLine) -> tuple[int, int, tuple[str, ...]]:
    return -line.figures.sums.cost_nusd, -line.figures.sums.calls, line.group


def _tokens(figures: Figures) -> str:
    """`Tokens: input 1,000 (uncached 900, cached 100), output 20 (visible 20).`"""
    parts = []
    for kind, whole, names in (
        ("input", figures.sums.input_tokens, TOKENS[:4]),
        ("output", figures.sums.output_tokens, TOKENS[4:]),
    ):
        kinds = [
            f"{name.removesuffix('_tokens').replace('_', ' ')} {count:,}"
            for name in names
            if (count := getattr(figures.sums, name))
        ]
        parts.append(f"{kind} {whole:,}" + (f" ({', '.join(kinds)})" if kinds else ""))
    return f"Tokens: {'; '.join(parts)}."
