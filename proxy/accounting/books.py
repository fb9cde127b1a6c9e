"""The books of one process: the journal, the ledger that brings it in, and what readers of it need. Opened before the
first call, closed after the last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from time import time
from typing import Final, get_args

from proxy.accounting.journal import Journal
from proxy.accounting.ledger import Ledger
from proxy.accounting.periods import Calendar, Per, find_zone
from proxy.accounting.siblings import FindLapsed, LapsedClaims, LeftJournal, Siblings, take_journal
from proxy.accounting.tally import Tally
from proxy.config import AccountingConfig, RetainConfig, StateConfig
from proxy.state import (
    Granted,
    LedgerReports,
    LedgerStore,
    SqliteLedger,
    SqliteReports,
    StateFailed,
    StateUnusable,
    nothing_granted,
    open_redis_ledger,
    open_redis_reports,
    sqlite_path,
)

#: No call lasts as long; one that was not settled by then never will be.
_LEASE_S: Final = 25 * 3600.0
#: How often what is too old is forgotten, in seconds, and how many calls at a time.
_RETAIN_EVERY_S: Final = 3600.0
_RETAIN_STEP: Final = 500

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Books:
    """All that is kept of calls."""

    journal: Journal
    ledger: Ledger
    store: LedgerStore
    reports: LedgerReports
    calendar: Calendar  #: for the event loop's thread
    tally: Tally  #: what it counts of calls; of books that many share it knows only this process's

    def troubles(self) -> dict[str, int]:
        """Entries that are in memory only, and those that something became of which never should."""
        return {
            "unwritten": self.journal.unwritten,
            "lost": self.journal.lost,
            "orphaned": self.ledger.orphaned,
            "refused": self.ledger.refused,
        }

    def retain(self, settings: RetainConfig, now_s: float) -> None:
        """Forget what is too old by now. Blocks; for a thread of its own. Raises StateFailed."""
        calls_from = Calendar(self.calendar.zone).period(now_s - settings.requests_s)
        # Quotas are counted from the sums at a start: those of the week and the month that it is stay.
        needed = [self.calendar.span(per, now_s).first for per in get_args(Per)]
        sums_from = min(self.calendar.day(now_s - settings.rollups_s), *needed)
        while self.store.retain(calls_from, sums_from, _RETAIN_STEP) >= _RETAIN_STEP:
            pass

    async def forget_old(self, settings: Callable[[], RetainConfig]) -> None:
        """Once an hour, for ever; `settings` gives those in force. A disk that is stuck holds up nobody but this."""
        while True:
            try:
                await asyncio.to_thread(self.retain, settings(), time())
            except StateFailed as error:
                _logger.error("what is too old in the books could not be removed: %s", error)
            await asyncio.sleep(_RETAIN_EVERY_S)

    def close(self) -> None:
        """Write, bring in and sync all that there is, waiting for a stuck disk no longer than some seconds. Blocks."""
        self.journal.close()
        self.ledger.close()
        self.store.close()
        self.journal.release()


def open_books(
    state: StateConfig,
    accounting: AccountingConfig,
    clock: Callable[[], float] = time,
    *,
    slot: int | None = None,
    lapsed: FindLapsed | None = None,
    granted: Granted = nothing_granted,
) -> Books:
    """Take the state over: what earlier processes left is brought in, and what they had under way is given up.

    With a file, blocks as long as that takes, mostly milliseconds. With a Redis it is done on the ledger's thread, as
    soon as that can be asked: `slot` is the first folder of the journal to try, `lapsed` gives calls whose claims
    nobody holds any more, `granted` what quotas are raised by. `clock` gives Unix time. Raises StateUnusable.
    """
    zone, path = find_zone(accounting.timezone), sqlite_path(state.url)
    if path is None:
        return _open_shared(state, zone, clock, slot or 0, lapsed, granted)
    return _open_file(state, path, zone, clock)


def _open_file(state: StateConfig, path: Path, zone: tzinfo, clock: Callable[[], float]) -> Books:
    journal = Journal(Path(state.journal))
    try:
        store = SqliteLedger(path)
    except StateUnusable:
        _abandon(journal)
        raise
    ledger = Ledger(journal, store, Calendar(zone), _LEASE_S, clock)
    reports = SqliteReports(path)
    calendar = Calendar(zone)
    tally = Tally(calendar, clock())
    try:
        ledger.recover()
        for per in get_args(Per):
            tally.load(per, reports.use(tally.span(per)))
    except StateFailed as error:
        store.close()
        _abandon(journal)
        raise StateUnusable(
            f"what was booked can't be read or completed: {error}. Free some space, or restore a backup of {path}."
        ) from error
    ledger.start()
    return Books(journal, ledger, store, reports, calendar, tally)


def _open_shared(
    state: StateConfig,
    zone: tzinfo,
    clock: Callable[[], float],
    slot: int,
    lapsed: FindLapsed | None,
    granted: Granted,
) -> Books:
    root = Path(state.journal)
    journal = take_journal(root, slot)
    try:
        store = open_redis_ledger(state.url, state.namespace, journal.segments.id(), Calendar(zone).counted)
    except StateUnusable:
        _abandon(journal)
        raise

    def recover(left: LeftJournal) -> None:
        others = Ledger(left, store.of(left.segments.id()), Calendar(zone), _LEASE_S, clock)
        try:
            others.recover()
        finally:
            ledger.orphaned += others.orphaned
            ledger.refused += others.refused

    siblings = Siblings(root, journal.segments.folder, recover)
    chores: list[Callable[[], object]] = [siblings.adopt]
    ledger = Ledger(journal, store, Calendar(zone), _LEASE_S, clock, lambda: [chore() for chore in chores])
    if lapsed is not None:
        chores.append(LapsedClaims(lapsed, ledger.give_up, clock).look)
    calendar = Calendar(zone)
    reports = open_redis_reports(state.url, state.namespace, granted)
    ledger.start()
    return Books(journal, ledger, store, reports, calendar, Tally(calendar, clock()))


def _abandon(journal: Journal) -> None:
    journal.close()
    journal.release()
