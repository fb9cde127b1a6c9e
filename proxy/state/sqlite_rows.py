"""Entries as rows of the database, and back."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import orjson

from proxy.state.base import Period
from proxy.state.entries import AttemptEntry, Payer, Settlement
from proxy.state.sums import ATTEMPT_FIELDS, Row

CALL_COLUMNS: Final = (
    *("id", "call_id", "revision", "count", "request_id", "hour", "day", "began_ms", "ended_ms"),
    *("team", "key_name", "cost_center", "tags", "model", "asked_model", "status", "source", "is_stream", "error"),
    *("fallback", "first_ms", "ttft_ms", "duration_ms", "saved_nusd", "provider"),
)


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


def read_settlement(connection: sqlite3.Connection, number: int) -> Settlement:
    """The settlement in this row, with its attempts. Raises sqlite3.Error."""
    found = connection.execute(f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE id = ?", (number,)).fetchone()
    row = dict(zip(CALL_COLUMNS, found, strict=True))
    attempts = connection.execute(
        f"SELECT {', '.join(ATTEMPT_FIELDS)} FROM attempts WHERE call = ? ORDER BY position", (number,)
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
    members: dict[str, Any] = dict(zip(ATTEMPT_FIELDS, values, strict=True))
    members["is_answer"] = bool(members["is_answer"])
    return AttemptEntry(**members)
