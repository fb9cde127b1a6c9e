"""The books in SQLite, for readers. Every query opens a connection of its own, read-only: 0.3 ms."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from proxy.state.base import DIMENSIONS, Dimension, Drift, Granularity, Line, Span, StateFailed, Sums, Use
from proxy.state.entries import Settlement
from proxy.state.sqlite_rows import AMOUNTS, MEASURES, read_settlement
from proxy.state.sqlite_schema import connect

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
_SPENT: Final = """
    SELECT day, sum(count), sum(saved_nusd), sum(count * (SELECT count(*) FROM attempts WHERE call = id)) FROM calls
    WHERE day >= ? AND day < ? GROUP BY day"""
_SPENT_AMOUNTS: Final = f"""
    SELECT day, {", ".join(f"sum(attempts.{name})" for name in AMOUNTS)} FROM calls JOIN attempts ON call = id
    WHERE day >= ? AND day < ? GROUP BY day"""


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
        where = where or {}
        if unknown := {*by, *where}.difference(DIMENSIONS):
            raise ValueError(f"unknown dimensions {sorted(unknown)}; expected some of {', '.join(DIMENSIONS)}")
        table = "sums_hour" if granularity == "hour" else "sums_day"
        shown = ", ".join((f"{_PERIODS[granularity]} AS period", *by))
        groups = ", ".join(("period", *by))
        kept = "".join(f" AND {name} = ?" for name in where)
        query = (
            f"SELECT {shown}, {_SUMS} FROM {table} WHERE tag_key = ? AND day >= ? AND day < ?{kept} "
            f"GROUP BY {groups} ORDER BY {groups}"
        )
        with self._reading() as connection:
            rows = connection.execute(query, (tag_key, *_days(span), *where.values())).fetchall()
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

    def drift(self, span: Span) -> Sequence[Drift]:
        """See `LedgerReports.drift`."""
        days = _days(span)
        with self._reading() as connection:
            connection.execute("BEGIN")  # all of it as of one moment
            spent = {day: counts for day, *counts in connection.execute(_SPENT, days)}
            amounts = {day: row for day, *row in connection.execute(_SPENT_AMOUNTS, days)}
            kept = {
                (table, day): Sums(*row)
                for table in ("day", "hour")
                for day, *row in connection.execute(
                    f"SELECT day, {_SUMS} FROM sums_{table} WHERE tag_key = '' AND day >= ? AND day < ? GROUP BY day",
                    days,
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

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with closing(connect(self._path, read_only=True)) as connection:
            try:
                yield connection
            except sqlite3.Error as error:
                raise StateFailed(f"the database {self._path}: {error}") from error


def _days(span: Span) -> tuple[str, str]:
    return span.first.isoformat(), span.end.isoformat()


def _period(value: str | int) -> str:
    if isinstance(value, str):
        return value
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
