"""The books in SQLite: one file, one writer, any number of readers beside it (write-ahead mode)."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from proxy.state.base import Booking, EntryRefused, Folded, Period, Position, StateFailed, StateUnusable
from proxy.state.entries import Intent, Settlement, decode_entry, encode_entry
from proxy.state.sqlite_rows import CALL_COLUMNS, call_row, read_settlement
from proxy.state.sqlite_schema import MODE, connect, open_database
from proxy.state.sums import ATTEMPT_COLUMNS, MEASURES, Row, SumsToAdd, attempt_rows, reversal

#: Settlements that are prepared at once, in 0.5 ms: short enough that the event loop is not kept from running.
_CHUNK: Final = 32
_GROUP: Final = (
    *("team", "key_name", "cost_center", "model", "provider", "source", "error", "role", "metering", "tag"),
)
#: What the data itself is to blame for; a retry would fail too.
_REFUSALS: Final = (
    *(sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError),
    *(AttributeError, OverflowError, TypeError, ValueError),
)


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _add_to(table: str, period: Sequence[str]) -> str:
    key = ("tag_key", *period, *_GROUP)
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in MEASURES)
    return f"{_insert(table, (*key, *MEASURES))} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {added}"


_INSERT_CALL: Final = _insert("calls", CALL_COLUMNS)
_INSERT_ATTEMPT: Final = _insert("attempts", ATTEMPT_COLUMNS)
_ADD_TO_HOUR: Final = _add_to("sums_hour", ("hour", "day"))
_ADD_TO_DAY: Final = _add_to("sums_day", ("day",))
_OPEN: Final = """
    INSERT OR IGNORE INTO open_calls SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM calls WHERE call_id = ?1)"""
_KNOWN: Final = """
    SELECT call_id, id, max(revision) FROM calls WHERE call_id IN (SELECT value FROM json_each(?)) GROUP BY call_id"""
_CLOSE: Final = "DELETE FROM open_calls WHERE call_id = ?"
_SET_META: Final = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


class SqliteLedger:
    """See `LedgerStore`."""

    def __init__(self, path: Path) -> None:
        """Open the file, create it or bring it up to date. Raises StateUnusable."""
        self._path = path
        self._connection = open_database(path)
        self._lock = threading.Lock()

    def position(self) -> Position:
        """See `LedgerStore.position`."""
        with self._writing() as connection:
            found = dict(connection.execute("SELECT name, value FROM meta").fetchall())
        return Position(found.get("journal_segment", ""), found.get("journal_offset", 0))

    def fold(self, opened: Sequence[Intent], bookings: Iterable[Booking], position: Position) -> Folded:
        """See `LedgerStore.fold`. Cost: 15 to 35 µs a call, by how many share a row of the sums, and one sync of the
        disk.
        """
        with self._writing() as connection:
            connection.executemany(_OPEN, [(one.call_id, one.began_ms, encode_entry(one)) for one in opened])
            batch = _Batch(connection)
            rest = iter(bookings)
            while chunk := list(islice(rest, _CHUNK)):
                batch.add(chunk)
            batch.add_sums()
            connection.executemany(
                _SET_META, (("journal_segment", position.segment), ("journal_offset", position.offset))
            )
        return Folded(batch.booked, batch.adjusted, batch.ignored)

    def open_calls(self, began_before_ms: int, limit: int) -> Sequence[Intent]:
        """See `LedgerStore.open_calls`."""
        query = "SELECT entry FROM open_calls WHERE began_ms < ? ORDER BY began_ms LIMIT ?"
        with self._writing() as connection:
            found = [decode_entry(data) for (data,) in connection.execute(query, (began_before_ms, limit))]
        return [entry for entry in found if isinstance(entry, Intent)]

    def retain(self, calls_from: Period, sums_from: date, limit: int) -> int:
        """See `LedgerStore.retain`. The file does not shrink; its free pages are used again."""
        oldest = "SELECT id FROM calls WHERE day < ? ORDER BY day LIMIT ?"
        with self._writing() as connection:
            numbers = connection.execute(oldest, (calls_from.day, limit)).fetchall()
            connection.executemany("DELETE FROM attempts WHERE call = ?", numbers)
            connection.executemany("DELETE FROM calls WHERE id = ?", numbers)
            connection.execute("DELETE FROM sums_hour WHERE day < ?", (sums_from.isoformat(),))
            connection.execute("DELETE FROM sums_day WHERE day < ?", (sums_from.isoformat(),))
        return len(numbers)

    def backup(self, target: Path) -> None:
        """See `LedgerStore.backup`. One read transaction: the writer is not held up."""
        backup_books(self._path, target)

    def close(self) -> None:
        """See `LedgerStore.close`."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which happens whole or not at all."""
        connection = self._connection
        with self._lock:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except _REFUSALS as error:
                raise EntryRefused(f"{type(error).__name__}: {error}") from error
            except sqlite3.Error as error:
                raise StateFailed(f"the database {self._path}: {error}") from error
            finally:
                if connection.in_transaction:
                    with suppress(sqlite3.Error):  # SQLite has rolled back by itself, as it does when the disk is full
                        connection.execute("ROLLBACK")


class _Batch:
    """What one transaction enters."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.booked = self.adjusted = self.ignored = 0
        self._connection = connection
        self._number = int(connection.execute("SELECT ifnull(max(id), 0) FROM calls").fetchone()[0])
        self._sums = SumsToAdd()
        self._calls: list[Row] = []
        self._attempts: list[Row] = []

    def add(self, bookings: Sequence[Booking]) -> None:
        ids = orjson.dumps([booking.settlement.call_id for booking in bookings]).decode()
        known = {call_id: (number, revision) for call_id, number, revision in self._connection.execute(_KNOWN, (ids,))}
        fresh: dict[str, Settlement] = {}  # of this chunk
        for booking in bookings:
            settlement = booking.settlement
            call_id = settlement.call_id
            if call_id not in known:
                self._book(booking, 0)
                self.booked += 1
                known[call_id] = self._number, 0
            else:
                number, revision = known[call_id]
                assumed = None
                if not settlement.is_orphan:
                    assumed = fresh.get(call_id) or read_settlement(self._connection, number)
                if assumed is None or not assumed.is_orphan:
                    self.ignored += 1
                    continue
                self._book(Booking(reversal(assumed), booking.period), revision + 1, -1)
                self._book(booking, revision + 2)
                self.adjusted += 1
                known[call_id] = self._number, revision + 2
            fresh[call_id] = settlement
        self._flush(bookings)

    def add_sums(self) -> None:
        hours, days = self._sums.rows()
        self._connection.executemany(_ADD_TO_HOUR, hours)
        self._connection.executemany(_ADD_TO_DAY, days)

    def _book(self, booking: Booking, revision: int, count: int = 1) -> None:
        settlement, period = booking
        self._number += 1
        attempts = attempt_rows(self._number, settlement)
        self._calls.append(call_row(self._number, revision, count, settlement, period))
        self._attempts += attempts
        self._sums.add(settlement, count, period, attempts)

    def _flush(self, bookings: Sequence[Booking]) -> None:
        self._connection.executemany(_INSERT_CALL, self._calls)
        self._connection.executemany(_INSERT_ATTEMPT, self._attempts)
        self._connection.executemany(_CLOSE, [(booking.settlement.call_id,) for booking in bookings])
        self._calls.clear()
        self._attempts.clear()


def backup_books(path: Path, target: Path) -> None:
    """Copy the books in `path` to the new file `target`, whoever uses them. Raises StateUnusable, StateFailed."""
    if target.exists():
        raise StateUnusable(f"{target} exists. A backup is never written over another file: name a new one.")
    partial = target.with_name(target.name + ".partial")
    try:
        partial.touch(mode=MODE)
        with closing(connect(path, read_only=True)) as source, closing(connect(partial)) as copy:
            source.backup(copy)
            (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            copy.execute("PRAGMA journal_mode = DELETE")  # leaves one file, not three
        if verdict != "ok":
            raise StateFailed(f"the copy of {path} is damaged: {verdict}")
        os.rename(partial, target)
    except (OSError, sqlite3.Error) as error:
        raise StateFailed(f"{path} can't be copied to {target}: {error}") from error
    finally:
        for left in (partial, Path(f"{partial}-wal"), Path(f"{partial}-shm")):
            left.unlink(missing_ok=True)
