"""Entries as rows of the database, and back; and what each adds to the sums."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import fields, replace
from operator import add, attrgetter
from typing import Any, Final

import orjson

from proxy.state.base import Period, Sums
from proxy.state.entries import AttemptEntry, Payer, Settlement

#: A row, in the order of its columns.
Row = tuple[Any, ...]

CALL_COLUMNS: Final = (
    *("id", "call_id", "revision", "count", "request_id", "hour", "day", "began_ms", "ended_ms"),
    *("team", "key_name", "cost_center", "tags", "model", "asked_model", "status", "source", "is_stream", "error"),
    *("fallback", "first_ms", "ttft_ms", "duration_ms", "saved_nusd", "provider"),
)
_ATTEMPT_FIELDS: Final = tuple(one.name for one in fields(AttemptEntry))
ATTEMPT_COLUMNS: Final = ("call", "position", *_ATTEMPT_FIELDS)
MEASURES: Final = tuple(one.name for one in fields(Sums))
#: Members of an attempt that are amounts: those of Sums behind its own three.
AMOUNTS: Final = MEASURES[3:]

_attempt_values: Final = attrgetter(*_ATTEMPT_FIELDS)
#: Where an attempt's row has them: behind call and position, in the order of Sums.
_AMOUNTS_AT: Final = slice(ATTEMPT_COLUMNS.index(AMOUNTS[0]), ATTEMPT_COLUMNS.index(AMOUNTS[-1]) + 1)
_PROVIDER_TO_METERING: Final = slice(ATTEMPT_COLUMNS.index("provider"), ATTEMPT_COLUMNS.index("metering") + 1)
_NO_AMOUNTS: Final = (0,) * len(AMOUNTS)

#: Measures, in the order of Sums, by what they are kept by.
_Sums = dict[Row, tuple[int, ...]]


def call_row(number: int, revision: int, count: int, settlement: Settlement, period: Period) -> Row:
    """The row of a call, or of its reversal. What can be told from another column is left empty."""
    payer, answered = settlement.payer, settlement.answered
    return (
        number,
        settlement.call_id,
        revision,
        count,
        None if settlement.request_id == settlement.call_id else settlement.request_id,
        period.hour,
        period.day,
        settlement.began_ms,
        settlement.ended_ms,
        payer.team,
        payer.key_name,
        payer.cost_center,
        orjson.dumps(payer.tags).decode() if payer.tags else None,
        settlement.model,
        None if settlement.asked_model == settlement.model else settlement.asked_model,
        settlement.status,
        settlement.source,
        settlement.is_stream,
        settlement.error,
        settlement.fallback,
        settlement.first_ms,
        settlement.ttft_ms,
        settlement.duration_ms,
        settlement.saved_nusd,
        settlement.attempts[answered].provider if answered is not None else "",
    )


def attempt_rows(number: int, settlement: Settlement) -> list[Row]:
    """The rows of a call's attempts."""
    return [(number, at, *_attempt_values(attempt)) for at, attempt in enumerate(settlement.attempts)]


def reversal(settlement: Settlement) -> Settlement:
    """What takes a settlement back: the same with every amount negated."""
    attempts = tuple(
        replace(attempt, **{name: -getattr(attempt, name) for name in AMOUNTS}) for attempt in settlement.attempts
    )
    return replace(settlement, saved_nusd=-settlement.saved_nusd, attempts=attempts)


class SumsToAdd:
    """What some calls add to the sums. Calls that agree in all that sums are kept by, tags included, are added up
    first; what each adds up to then goes to the rows of its hour, its day and its tags.
    """

    def __init__(self) -> None:
        self._groups: _Sums = {}

    def add(self, settlement: Settlement, count: int, period: Period, attempts: Sequence[Row]) -> None:
        """Add a call (`count` 1), or take one back (-1, and its amounts are negative); `attempts` are its rows."""
        payer, answered = settlement.payer, settlement.answered
        call = (
            *(period, payer.team, payer.key_name, payer.cost_center, settlement.model),
            *(settlement.source, settlement.error or "", tuple(payer.tags.items())),
        )
        for at, row in enumerate(attempts):
            counted = (count, settlement.saved_nusd) if at == answered else (0, 0)
            _add(self._groups, (*call, *row[_PROVIDER_TO_METERING]), (*counted, count, *row[_AMOUNTS_AT]))
        if not attempts:
            _add(self._groups, (*call, "", "", ""), (count, settlement.saved_nusd, 0, *_NO_AMOUNTS))

    def rows(self) -> tuple[list[Row], list[Row]]:
        """Rows for sums_hour and for sums_day: their keys, and what is to be added."""
        hours: _Sums = {}
        days: _Sums = {}
        for group, amounts in self._groups.items():
            (hour, day), team, key_name, cost_center, model, source, error, tags, provider, role, metering = group
            who = (team, key_name, cost_center, model, provider, source, error, role, metering)
            for tag_key, tag in {**dict(tags), "": ""}.items():
                _add(hours, (tag_key, hour, day, *who, tag), amounts)
                _add(days, (tag_key, day, *who, tag), amounts)
        return [(*key, *sums) for key, sums in hours.items()], [(*key, *sums) for key, sums in days.items()]


def _add(sums: _Sums, key: Row, amounts: tuple[int, ...]) -> None:
    before = sums.get(key)
    sums[key] = amounts if before is None else tuple(map(add, before, amounts))


def read_settlement(connection: sqlite3.Connection, number: int) -> Settlement:
    """The settlement in this row, with its attempts. Raises sqlite3.Error."""
    found = connection.execute(f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE id = ?", (number,)).fetchone()
    row = dict(zip(CALL_COLUMNS, found, strict=True))
    attempts = connection.execute(
        f"SELECT {', '.join(_ATTEMPT_FIELDS)} FROM attempts WHERE call = ? ORDER BY position", (number,)
    )
    return Settlement(
        call_id=row["call_id"],
        request_id=row["request_id"] or row["call_id"],
        began_ms=row["began_ms"],
        ended_ms=row["ended_ms"],
        payer=Payer(row["team"], row["key_name"], row["cost_center"], orjson.loads(row["tags"] or "{}")),
        model=row["model"],
        asked_model=row["asked_model"] or row["model"],
        status=row["status"],
        source=row["source"],
        is_stream=bool(row["is_stream"]),
        error=row["error"],
        fallback=row["fallback"],
        first_ms=row["first_ms"],
        ttft_ms=row["ttft_ms"],
        duration_ms=row["duration_ms"],
        saved_nusd=row["saved_nusd"],
        attempts=tuple(_read_attempt(values) for values in attempts),
    )


def _read_attempt(values: Row) -> AttemptEntry:
    members: dict[str, Any] = dict(zip(_ATTEMPT_FIELDS, values, strict=True))
    members["is_answer"] = bool(members["is_answer"])
    return AttemptEntry(**members)
