"""Opens books on Redis, for who has them there: loading redis-py takes as long as all else of a command's start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol

from proxy.state.base import LedgerReports, LedgerStore
from proxy.state.registry import Registry

_ALL: Final = 1_000_000  #: grants are made by hand

#: Where a call counts that began then (Unix seconds): `Calendar.counted`.
Periods = Callable[[float], Sequence[str | int]]
#: By how much quotas were raised at an instant (Unix milliseconds), by team and the quota's name.
Granted = Callable[[int], Mapping[tuple[str, str], int]]


class SharedLedger(LedgerStore, Protocol):
    """Books that many processes fold their journals into."""

    def of(self, journal: str) -> LedgerStore:
        """The same books, for another journal; to be used by the same thread."""
        ...


def nothing_granted(at_ms: int) -> Mapping[tuple[str, str], int]:
    """For who reads books without knowing of grants."""
    return {}


def granted_of(registry: Registry) -> Granted:
    """What the grants of this registry raised quotas by; one that was withdrawn held until then."""

    def granted(at_ms: int) -> Mapping[tuple[str, str], int]:
        sums: dict[tuple[str, str], int] = {}
        for one in registry.grants(_ALL):
            end_ms = one.until_ms if one.withdrawn_ms is None else min(one.until_ms, one.withdrawn_ms)
            if one.created_ms <= at_ms < end_ms:
                sums[one.team, one.quota] = sums.get((one.team, one.quota), 0) + one.amount
        return sums

    return granted


def open_redis_ledger(url: str, namespace: str, journal: str, periods: Periods) -> SharedLedger:
    """The books in the Redis of this URL, for the ledger of one journal. It is asked nothing yet.

    Raises StateUnusable.
    """
    store: SharedLedger = import_module("proxy.state.redis_ledger").open_ledger(url, namespace, journal, periods)
    return store


def open_redis_reports(url: str, namespace: str, granted: Granted = nothing_granted) -> LedgerReports:
    """The books in the Redis of this URL, for readers. It is asked nothing yet. Raises StateUnusable."""
    reports: LedgerReports = import_module("proxy.state.redis_reports").open_reports(url, namespace, granted)
    return reports
