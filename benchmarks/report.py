"""Figures as tables, for the terminal and for results.md alike."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.chat import KINDS, Kind
from benchmarks.measure import Figures, quantile
from benchmarks.session import DIRECT, Results
from benchmarks.subjects import FLOOR, WAYSTATION

MAX_RATIO: Final = 1.35
MAX_START_S: Final = 1.5
MAX_IDLE_RSS_MB: Final = 90
_NONE: Final = "–"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a reader must know to believe the figures, or to repeat them."""

    date: str
    machine: str
    versions: str
    command: str
    method: str


def report(results: Results, setting: Setting) -> str:
    """The whole of results.md."""
    parts = [
        "# Results",
        "Written by `scripts/bench`; docs/performance.md says how to read it.",
        "\n".join(
            (
                f"- date: {setting.date}",
                f"- machine: {setting.machine}",
                f"- versions: {setting.versions}",
                f"- command: `{setting.command}`",
                f"- method: {setting.method}",
            )
        ),
        "## Against the targets",
        table(("figure", "measured", "target", "met"), _targets(results)),
        "## CPU of the gateway's own processes, µs a request (lowest to highest run)",
        table(("", "JSON", "× floor", "stream", "× floor"), _costs(results)),
        "## The same with one request after the other, each wake-up of an idle process included",
        table(("", "JSON", "× floor", "stream", "× floor"), _lone_costs(results)),
        "## Requests a second at full load, and the share of its core that the server used",
        table(("", "JSON", "core", "stream", "core"), _throughput(results)),
        "## Latency on one connection, ms; all but `direct` as what it adds to direct",
        table(("", "JSON p50", "p99", "first event p50", "p99", "whole stream p50", "p99"), _latencies(results)),
        "## Memory after the load",
        table(("", "resident MB"), [(name, f"{rss / 1e6:.0f}") for name, rss in results.loaded_rss_bytes.items()]),
    ]
    if results.notes:
        parts += ["## Missing", "\n".join(f"- {name}: {note}" for name, note in results.notes.items())]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is aligned as plain text too; figures to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    rule = ["-" * max(widths[0], 3), *("-" * (max(width, 3) - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(max(widths[0], 3))]
        padded += [cell.rjust(max(width, 3)) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    return "\n".join((line(header), line(rule), *(line(row) for row in rows)))


def ratio(results: Results, name: str, kind: Kind) -> float | None:
    """CPU over the floor's in the same run, median of all runs; None if either is missing."""
    figures, floor = results.figures.get((name, kind)), results.figures.get((FLOOR.name, kind))
    if figures is None or floor is None:
        return None
    pairs = zip(figures.costs, floor.costs, strict=False)
    return statistics.median(own.cpu_us / least.cpu_us for own, least in pairs)


def lone_ratio(results: Results, name: str, kind: Kind) -> float | None:
    """As `ratio`, of requests that come one after the other."""
    figures, floor = results.figures.get((name, kind)), results.figures.get((FLOOR.name, kind))
    if figures is None or floor is None:
        return None
    return statistics.median(own / least for own, least in zip(figures.lone_cpu_us, floor.lone_cpu_us, strict=False))


def _targets(results: Results) -> list[tuple[str, ...]]:
    rows = []
    for kind in KINDS:
        found = ratio(results, WAYSTATION.name, kind)
        if found is not None:
            rows.append(_target(f"CPU of a {kind} request, × floor", found, MAX_RATIO, ".2f"))
    if results.footprint is not None:
        footprint = results.footprint
        rows.append(_target("start to first answer, s", footprint.start_s, MAX_START_S, ".2f"))
        rows.append(("of which imports, s", f"{footprint.import_s:.2f}", _NONE, _NONE))
        rows.append(_target("resident when idle, MB", footprint.idle_rss_bytes / 1e6, MAX_IDLE_RSS_MB, ".0f"))
    return rows


def _target(what: str, measured: float, limit: float, spec: str) -> tuple[str, ...]:
    return what, f"{measured:{spec}}", f"≤ {limit:g}", "yes" if measured <= limit else "no"


def _names(results: Results) -> list[str]:
    return list(dict.fromkeys(name for name, _ in results.figures))


def _costs(results: Results) -> list[tuple[str, ...]]:
    def cells(name: str, kind: Kind) -> tuple[str, str]:
        figures, times = results.figures.get((name, kind)), ratio(results, name, kind)
        if figures is None:
            return _NONE, _NONE
        low, high = figures.cpu_us_range()
        return f"{figures.cpu_us():.0f} ({low:.0f}–{high:.0f})", _NONE if times is None else f"{times:.2f}"

    return [(name, *cells(name, "json"), *cells(name, "stream")) for name in _names(results) if name != DIRECT]


def _lone_costs(results: Results) -> list[tuple[str, ...]]:
    def cells(name: str, kind: Kind) -> tuple[str, str]:
        figures, times = results.figures.get((name, kind)), lone_ratio(results, name, kind)
        if figures is None:
            return _NONE, _NONE
        return f"{figures.lone_us():.0f}", _NONE if times is None else f"{times:.2f}"

    return [(name, *cells(name, "json"), *cells(name, "stream")) for name in _names(results) if name != DIRECT]


def _throughput(results: Results) -> list[tuple[str, ...]]:
    def cells(name: str, kind: Kind) -> tuple[str, str]:
        figures = results.figures.get((name, kind))
        return (_NONE, _NONE) if figures is None else (f"{figures.per_s():,.0f}", f"{figures.busy():.0%}")

    return [(name, *cells(name, "json"), *cells(name, "stream")) for name in _names(results)]


def _latencies(results: Results) -> list[tuple[str, ...]]:
    def samples(figures: Figures | None, *, first: bool) -> list[float]:
        return [] if figures is None else figures.first_s if first else figures.whole_s

    def cells(name: str, kind: Kind, *, first: bool) -> list[str]:
        own = samples(results.figures.get((name, kind)), first=first)
        base = samples(results.figures.get((DIRECT, kind)), first=first)
        if not own or not base:
            return [_NONE, _NONE]
        if name == DIRECT:
            return [f"{quantile(own, share) * 1000:.2f}" for share in (0.5, 0.99)]
        return [f"{(quantile(own, share) - quantile(base, share)) * 1000:+.2f}" for share in (0.5, 0.99)]

    return [
        (
            name,
            *cells(name, "json", first=False),
            *cells(name, "stream", first=True),
            *cells(name, "stream", first=False),
        )
        for name in _names(results)
    ]
