"""What every reader of the books makes of its rows, wherever they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import add
from typing import Final

from proxy.state.base import DIMENSIONS, Dimension, Granularity, Late, Line, Sums
from proxy.state.sums import MEASURES, SumsToAdd

_NOTHING: Final = (0,) * len(MEASURES)


def checked_dimensions(by: Sequence[Dimension], where: Mapping[Dimension, str] | None) -> Mapping[Dimension, str]:
    """`where`, after a look at every dimension: they may become part of a query. Raises ValueError."""
    where = where or {}
    if unknown := {*by, *where}.difference(DIMENSIONS):
        raise ValueError(f"unknown dimensions {sorted(unknown)}; expected some of {', '.join(DIMENSIONS)}")
    return where


def period_of(granularity: Granularity, hour: int, day: str) -> str:
    """What a line's period is called. `hour` is in Unix seconds."""
    if granularity == "hour":
        return hour_text(hour)
    return {"day": day, "month": day[:7], "total": ""}[granularity]


def hour_text(hour: int) -> str:
    """An hour of UTC, in Unix seconds, as `2026-11-21T07:00:00Z`."""
    return datetime.fromtimestamp(hour, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def late_lines(
    found: Mapping[int, SumsToAdd],
    by: Sequence[Dimension],
    granularity: Granularity,
    where: Mapping[Dimension, str],
    tag_key: str,
) -> Sequence[Late]:
    """See `LedgerReports.late`; `found` is what was booked late, by the hour in which it began, in Unix seconds."""
    lines: dict[tuple[int, str, tuple[str, ...]], tuple[int, ...]] = {}
    for began_hour, sums in sorted(found.items()):
        for key, hour, day, *row in sums.rows()[0]:
            values, amounts = row[: len(DIMENSIONS)], row[len(DIMENSIONS) :]
            named = dict(zip(DIMENSIONS, values, strict=True))
            if key == tag_key and all(named[name] == value for name, value in where.items()):
                at = (began_hour, period_of(granularity, hour, day), tuple(named[name] for name in by))
                lines[at] = tuple(map(add, lines.get(at, _NOTHING), amounts))
    return [Late(hour, Line(period, group, Sums(*sums))) for (hour, period, group), sums in lines.items()]
