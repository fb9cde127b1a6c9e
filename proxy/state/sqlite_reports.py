"""The books in SQLite, for readers. Every query opens a connection of its own, read-only: 0.3 ms."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from proxy.state.base import (
    Charged,
    Dimension,
    Drift,
    Extent,
    Granularity,
    Late,
    Line,
    Period,
    Span,
    StateFailed,
    Sums,
    Use,
)
from proxy.state.entries import Settlement
from proxy.state.lines import checked_dimensions, hour_text, late_lines
from proxy.state.sqlite_rows import read_settlement
from proxy.state.sqlite_schema import connect
from proxy.state.sums import AMOUNTS, MEASURES, SumsToAdd, attempt_rows

#: What a line's period is made of; never an outsider's word.
_PERIODS: Final[Mapping[Granularity, str]] = {"hour": "hour", "day": "day", "month": "substr(day, 1, 7)", "total": "''"}
_SUMS: Final = ", ".join(f"sum({name})" for name in MEASURES)
_TOKENS: Final = " + ".join(f"sum({name})" for name in MEASURES if name.endswith("_tokens"))
_USE: Final = f"""
    SELECT team, key_name, model, sum(calls), {_TOKENS}, sum(cost_nusd) FROM sums_day
    WHERE tag_key = '' AND day >= ? AND day < ? GROUP BY team, key_name, model ORDER BY team, key_name, model"""
_CALL: Final = """
    SELECT id FROM calls WHERE (call_id = ?1 OR request_id = ?1) AND (?2 IS NULL OR team = ?2)
    ORDER BY began_ms DESC, revision DESC LIMIT 1"""
_OF_TEAM: Final = "day >= ?1 AND day < ?2 AND (?3 IS NULL OR team = ?3)"
_SPENT: Final = f"SELECT day, sum(count), sum(saved_nusd) FROM calls WHERE {_OF_TEAM} GROUP BY day"
_SPENT_AMOUNTS: Final = f"""
    SELECT day, sum(count), {", ".join(f"sum(attempts.{name})" for name in AMOUNTS)}
    FROM calls JOIN attempts ON call = id WHERE {_OF_TEAM} GROUP BY day"""
#: From the index calls_late alone; SQLite turns `hour * 1000 > began_ms` round, and no longer knows it for the index's.
_LATE: Final = "SELECT id, count, hour, day, began_ms FROM calls WHERE day >= ? AND day < ? AND began_ms < hour * 1000"
_CHARGED: Final = """
    SELECT credential_id, date(began_ms / 1000, 'unixepoch') AS began, metering,
        sum(count), sum(cost_nusd), sum(low_nusd), sum(high_nusd)
    FROM (
        SELECT id, count, began_ms FROM calls WHERE day >= ?1 AND day < ?2 AND began_ms >= hour * 1000
        UNION ALL SELECT id, count, began_ms FROM calls WHERE began_ms < hour * 1000
    ) CROSS JOIN attempts ON call = id
    WHERE began_ms >= ?3 AND began_ms < ?4 AND provider = ?5
    GROUP BY credential_id, began, metering ORDER BY credential_id, began, metering"""
_EXTENT: Final = """
    SELECT ifnull((SELECT min(day) FROM sums_day WHERE tag_key = ''), ''), ifnull((SELECT min(day) FROM calls), ''),
        (SELECT ended_ms FROM calls ORDER BY id DESC LIMIT 1)"""
#: One that was withdrawn held until then.
_GRANTED: Final = """
    SELECT team, quota, amount FROM grants
    WHERE created_ms <= ?1 AND until_ms > ?1 AND (withdrawn_ms IS NULL OR withdrawn_ms > ?1)"""
_HOUR_S: Final = 3600
_HOUR_MS: Final = 3_600_000
_DAY_S: Final = 86_400


class SqliteReports:
    """See `LedgerReports`. For any thread."""

    def __init__(self, path: Path) -> None:
        """The file need not be there yet."""
        self._path = path

    def sums(
        self,
        span: Span,
        by: Sequence[Dimension] = (),
        granularity: Granularity = "total",
        where: Mapping[Dimension, str] | None = None,
        tag_key: str = "",
    ) -> Sequence[Line]:
        """See `LedgerReports.sums`."""
        where = checked_dimensions(by, where)
        table = "sums_hour" if granularity == "hour" else "sums_day"
        shown = ", ".join((f"{_PERIODS[granularity]} AS period", *by))
        groups = ", ".join(("period", *by))
        kept = "".join(f" AND {name} = ?" for name in where)
        query = (
            f"SELECT {shown}, {_SUMS} FROM {table} WHERE tag_key = ? AND day >= ? AND day < ?{kept} "
            f"GROUP BY {groups} ORDER BY {groups}"
        )
        # Hours are added up day by day: sorting the rows of a whole month at once takes a quarter longer.
        spans = _single_days(span) if granularity == "hour" else [span]
        rows: list[tuple[Any, ...]] = []
        with self._reading() as connection:
            connection.execute("BEGIN")  # all of it as of one moment
            for one in spans:
                rows += connection.execute(query, (tag_key, *_days(one), *where.values()))
        end = 1 + len(by)
        return [Line(_period(row[0]), tuple(row[1:end]), Sums(*row[end:])) for row in rows]

    def use(self, span: Span) -> Sequence[Use]:
        """See `LedgerReports.use`."""
        with self._reading() as connection:
            return [Use(*row) for row in connection.execute(_USE, _days(span))]

    def call(self, request_id: str, team: str | None = None) -> Settlement | None:
        """See `LedgerReports.call`."""
        with self._reading() as connection:
            found = connection.execute(_CALL, (request_id, team)).fetchone()
            return None if found is None else read_settlement(connection, found[0])

    def drift(self, span: Span, team: str | None = None) -> Sequence[Drift]:
        """See `LedgerReports.drift`."""
        asked = (*_days(span), team)
        with self._reading() as connection:
            connection.execute("BEGIN")  # all of it as of one moment
            spent = {day: counts for day, *counts in connection.execute(_SPENT, asked)}
            amounts = {day: row for day, *row in connection.execute(_SPENT_AMOUNTS, asked)}
            kept = {
                (table, day): Sums(*row)
                for table in ("day", "hour")
                for day, *row in connection.execute(
                    f"SELECT day, {_SUMS} FROM sums_{table} WHERE tag_key = '' AND {_OF_TEAM} GROUP BY day", asked
                )
            }
        calls = {day: Sums(*counts, *amounts.get(day, ())) for day, counts in spent.items()}
        nothing = Sums()
        return [
            Drift(day, table, calls.get(day, nothing), kept.get((table, day), nothing))
            for day in sorted({*calls, *(day for _, day in kept)})
            for table in ("day", "hour")
            if calls.get(day, nothing) != kept.get((table, day), nothing)
        ]

    def late(
        self,
        span: Span,
        by: Sequence[Dimension] = (),
        granularity: Granularity = "total",
        where: Mapping[Dimension, str] | None = None,
        tag_key: str = "",
    ) -> Sequence[Late]:
        """See `LedgerReports.late`. Cost: 50 µs a call."""
        where = checked_dimensions(by, where)
        found: dict[int, SumsToAdd] = {}
        with self._reading() as connection:
            for number, count, hour, day, began_ms in connection.execute(_LATE, _days(span)).fetchall():
                sums = found.setdefault(began_ms // _HOUR_MS * _HOUR_S, SumsToAdd())
                settlement = read_settlement(connection, number)
                sums.add(settlement, count, Period(hour, day), attempt_rows(number, settlement))
        return late_lines(found, by, granularity, where, tag_key)

    def charged(self, provider: str, first_ms: int, end_ms: int) -> Sequence[Charged]:
        """See `LedgerReports.charged`."""
        # The books' own days may begin half a day before those of UTC, or after them.
        first = datetime.fromtimestamp(first_ms / 1000 - _DAY_S, UTC).date().isoformat()
        end = datetime.fromtimestamp(end_ms / 1000 + 2 * _DAY_S, UTC).date().isoformat()
        with self._reading() as connection:
            rows = connection.execute(_CHARGED, (first, end, first_ms, end_ms, provider)).fetchall()
        return [Charged(*row) for row in rows]

    def extent(self) -> Extent:
        """See `LedgerReports.extent`."""
        with self._reading() as connection:
            return Extent(*connection.execute(_EXTENT).fetchone())

    def granted(self, at_ms: int) -> Mapping[tuple[str, str], int]:
        """See `LedgerReports.granted`."""
        granted: dict[tuple[str, str], int] = {}
        with self._reading() as connection:
            for team, quota, amount in connection.execute(_GRANTED, (at_ms,)):
                granted[team, quota] = granted.get((team, quota), 0) + amount  # may be more than SQLite's own sum takes
        return granted

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with closing(connect(self._path, read_only=True)) as connection:
            try:
                yield connection
            except sqlite3.Error as error:
                raise StateFailed(f"the database {self._path}: {error}") from error


def _days(span: Span) -> tuple[str, str]:
    return span.first.isoformat(), span.end.isoformat()


def _single_days(span: Span) -> list[Span]:
    days = range(span.first.toordinal(), span.end.toordinal())
    return [Span(date.fromordinal(day), date.fromordinal(day + 1)) for day in days]


def _period(value: str | int) -> str:
    return value if isinstance(value, str) else hour_text(value)
