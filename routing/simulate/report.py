"""Figures from records, and the tables that show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from routing.simulate.faults import Fault
from routing.simulate.records import CallRecord

#: Minutes with fewer requests say little.
_LEAST_REQUESTS: Final = 20
_NONE: Final = "–"


@dataclass(frozen=True, slots=True)
class Phase:
    """The calls that began while a fault was on. Percentages 0..100; None: there were no calls."""

    name: str
    calls: int
    success_pct: float | None
    objective_pct: float | None
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in figures. Percentages 0..100, of all calls."""

    name: str
    calls: int
    success_pct: float
    objective_pct: float  #: answered in full, and begun within the objective
    ttft_p50_s: float  #: of all calls: one that failed counts as the client's whole patience
    ttft_p95_s: float
    ttft_p99_s: float
    cost_usd: float
    waste_pct: float  #: of the billed tokens
    worst_success_pct: float  #: of the worst minute with at least 20 calls; of the whole run if there is none
    worst_objective_pct: float
    rate_limited: int  #: attempts answered with 429
    hedges: int
    attempts: int
    phases: tuple[Phase, ...]


def summarize(
    name: str,
    records: Sequence[CallRecord],
    faults: Sequence[Fault] = (),
    objective_s: float = 2.0,
    patience_s: float = 30.0,
) -> Summary:
    """The figures of one run; raises ValueError if it has no records."""
    if not records:
        raise ValueError("a run without calls has no figures")
    ttfts = sorted(patience_s if not one.is_ok or one.ttft_s is None else one.ttft_s for one in records)
    minutes: defaultdict[int, list[CallRecord]] = defaultdict(list)
    for record in records:
        minutes[int(record.at // 60)].append(record)
    full = [minute for minute in minutes.values() if len(minute) >= _LEAST_REQUESTS] or [list(records)]
    billed = sum(record.billed_tokens for record in records)
    return Summary(
        name,
        len(records),
        _success(records),
        _objective(records, objective_s),
        _quantile(ttfts, 0.5),
        _quantile(ttfts, 0.95),
        _quantile(ttfts, 0.99),
        sum(record.cost_usd for record in records),
        100 * sum(record.wasted_tokens for record in records) / billed if billed else 0.0,
        min(_success(minute) for minute in full),
        min(_objective(minute, objective_s) for minute in full),
        sum(record.rate_limited for record in records),
        sum(record.hedges for record in records),
        sum(record.attempts for record in records),
        tuple(_phase(fault, records, objective_s) for fault in faults),
    )


def _phase(fault: Fault, records: Sequence[CallRecord], objective_s: float) -> Phase:
    met = [record for record in records if fault.is_on(record.at)]
    cost_usd = sum(record.cost_usd for record in met)
    if not met:
        return Phase(fault.name, 0, None, None, cost_usd)
    return Phase(fault.name, len(met), _success(met), _objective(met, objective_s), cost_usd)


def _success(records: Sequence[CallRecord]) -> float:
    return 100 * sum(record.is_ok for record in records) / len(records)


def _objective(records: Sequence[CallRecord], objective_s: float) -> float:
    met = sum(one.is_ok and one.ttft_s is not None and one.ttft_s <= objective_s for one in records)
    return 100 * met / len(records)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def table(summaries: Sequence[Summary], oracle: Summary | None = None) -> str:
    """A Markdown table, one row for each run; with `oracle`, a column says how many times its money was spent."""
    head = ("router", "success %", "TTFT ≤ objective %", "TTFT p50/p95/p99 s", "cost $", "cost/oracle", "waste %")
    rows = [(*head, "worst minute success/objective %", "429s", "hedges")]
    for one in summaries:
        ratio = f"{one.cost_usd / oracle.cost_usd:.2f}" if oracle is not None and oracle.cost_usd else _NONE
        rows.append(
            (
                one.name,
                _success_cell(one.success_pct),
                percent(one.objective_pct, 1),
                f"{one.ttft_p50_s:.2f} / {one.ttft_p95_s:.2f} / {one.ttft_p99_s:.2f}",
                f"{one.cost_usd:.2f}",
                ratio,
                f"{one.waste_pct:.1f}",
                f"{percent(one.worst_success_pct, 0)} / {percent(one.worst_objective_pct, 0)}",
                str(one.rate_limited),
                str(one.hedges),
            )
        )
    return _markdown(rows)


def fault_table(summaries: Sequence[Summary]) -> str:
    """A Markdown table, one row for each run and one column for each fault: success and objective in percent."""
    if not summaries or not summaries[0].phases:
        return "no faults"
    rows: list[tuple[str, ...]] = [("router", *(phase.name for phase in summaries[0].phases))]
    rows += [(one.name, *(_both(phase) for phase in one.phases)) for one in summaries]
    return _markdown(rows)


def _both(phase: Phase) -> str:
    if phase.success_pct is None or phase.objective_pct is None:
        return _NONE
    return f"{_success_cell(phase.success_pct)} / {percent(phase.objective_pct, 1)}"


def percent(value: float, decimals: int) -> str:
    """A share of 0..100 as people read it; never 100 for what is not."""
    least_short = 10.0**-decimals
    return f"{value if value >= 100 else min(value, 100 - least_short):.{decimals}f}"


def _success_cell(value: float) -> str:
    """Two decimals where they matter."""
    return "100" if value == 100 else percent(value, 1 if value < 99.5 else 2)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join((lines[0], rule, *lines[1:]))
