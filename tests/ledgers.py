"""Books of every kind of store, for tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import redis

from proxy.accounting.periods import Calendar
from proxy.state import LedgerReports, LedgerStore, Payer, Period, Position, SqliteLedger, SqliteReports
from proxy.state.redis_client import open_client
from proxy.state.redis_keys import RedisKeys
from proxy.state.redis_ledger import RedisLedger
from proxy.state.redis_reports import RedisReports
from tests.books import MORNING_MS, attempt, booking, settlement

DAY_MS = 86_400_000
SALES = Payer("sales", "web", "99", {"env": "test"})


class LedgerBooks(Protocol):
    """A store and its reports."""

    @property
    def store(self) -> LedgerStore: ...
    @property
    def reports(self) -> LedgerReports: ...
    def reopen(self) -> None:
        """Close the store, and open it again."""
        ...

    def close(self) -> None: ...


#: Opens books of which nobody has heard.
Opener = Callable[[], LedgerBooks]


class SqliteBooks:
    """In a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteLedger(path)
        self.reports = SqliteReports(path)

    def reopen(self) -> None:
        self.store.close()
        self.store = SqliteLedger(self.path)

    def close(self) -> None:
        self.store.close()


class RedisBooks:
    """In a Redis, under names of their own."""

    def __init__(self, url: str, namespace: str | None = None, journal: str = "j") -> None:
        self.client: redis.Redis = open_client(url)
        self.keys = RedisKeys(namespace or f"t{uuid4().hex}")
        self.journal = journal
        self.reports = RedisReports(self.client, self.keys)
        self.reopen()

    def reopen(self) -> None:
        self.store = RedisLedger(self.client, self.keys, self.journal, Calendar(UTC).counted)

    def close(self) -> None:
        self.client.close()

    def counted(self, team: str, period: str) -> dict[str, int]:
        """What `lua/counters.lua` says a team used in a period, by key, model and what."""
        found = self.client.hgetall(f"{self.keys.team(team)}:use:{period}")
        return {name.decode().replace("\n", " "): int(value) for name, value in found.items()}  # type: ignore[union-attr]


def enter_three(store: LedgerStore) -> None:
    """Three calls of two teams: one with a retry elsewhere, one from the cache, one refused on the next day."""
    retried = settlement(
        "a",
        attempt("openai", 100, metering="unmetered", low_nusd=0, high_nusd=300, is_answer=False),
        attempt("qwen", 400, role="retry"),
    )
    cached = replace(settlement("b", payer=SALES, model="mini"), attempts=(), source="cache:exact", saved_nusd=50)
    refused = replace(
        settlement("c", payer=replace(SALES, tags={}), began_ms=MORNING_MS + DAY_MS, error="rate_limit_exceeded"),
        attempts=(),
        request_id="mine",
    )
    store.fold((), [booking(one) for one in (retried, cached, refused)], Position())


def first_of(day: date) -> Period:
    """Where what happens at the beginning of a day is booked, in UTC."""
    return Period(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()), day.isoformat())
