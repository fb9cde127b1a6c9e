"""The shared level of the cache in SQLite: a file of its own, beside the books' and never in a backup of them. What is
in it may be lost at any time, so it is not synced, and a file that can't be read is begun anew.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from proxy.state.base import StateFailed, StateUnusable
from proxy.state.cache_rows import CacheRow, Meant
from proxy.state.sqlite_schema import MODE, connect

#: `PRAGMA application_id` of such a file: "Wayc".
_APPLICATION_ID: Final = 0x57617963
#: Of the table below; a file with another is begun anew.
_VERSION: Final = 1
#: So much of all rows goes at once to make room.
_STEPS: Final = 64
#: So many steps are made at most in one go: a budget that was cut is met by and by.
_MAX_STEPS: Final = 8
_SCHEMA: Final = """
CREATE TABLE answers (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, data BLOB NOT NULL, team TEXT NOT NULL, model TEXT NOT NULL,
    scope BLOB NOT NULL, call_id TEXT NOT NULL, request_id TEXT NOT NULL, answer_id TEXT NOT NULL,
    stored_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL
) STRICT"""
_NOTES: Final = "CREATE TABLE notes (name TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT, WITHOUT ROWID"
_COLUMNS: Final = ", ".join(CacheRow._fields)
_ADD: Final = f"INSERT OR REPLACE INTO answers ({_COLUMNS}) VALUES ({', '.join('?' * len(CacheRow._fields))})"
#: Ids grow with time: the oldest, as many as one step takes.
_DROP_OLDEST: Final = f"""
    DELETE FROM answers WHERE id <= (SELECT min(id) + (max(id) - min(id)) / {_STEPS} FROM answers)"""
_MEANT: Final = """
    (?1 IS NULL OR call_id = ?1 OR request_id = ?1 OR answer_id = ?1) AND (?2 IS NULL OR team = ?2)
    AND (?3 IS NULL OR model = ?3) AND (?4 IS NULL OR stored_ms < ?4)"""

_logger = logging.getLogger(__name__)


class _Outdated(Exception):
    """The file is the cache's, of another version."""


class SqliteCache:
    """See `SharedRows`."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin it; one that is damaged or of another version is set aside. Raises StateUnusable."""
        self._path = path
        self._used_bytes = 0
        try:
            try:
                self._connection = self._open()
            except (sqlite3.Error, _Outdated) as error:
                _logger.warning("cache: %s can't be read (%s): it is set aside, and begun anew", path, error)
                self._set_aside()
                self._connection = self._open()
        except (OSError, sqlite3.Error, StateFailed, _Outdated) as error:
            raise StateUnusable(
                f"the cache's file {path} can't be opened: {error}. Make its directory writable for this user, or set "
                "cache.shared to null."
            ) from error

    @property
    def used_bytes(self) -> int:
        """See `SharedRows.used_bytes`."""
        return self._used_bytes

    def all_keys(self) -> Iterable[bytes]:
        """See `SharedRows.all_keys`."""
        with self._using("BEGIN") as connection:
            return [key for (key,) in connection.execute("SELECT key FROM answers WHERE length(key) = 32")]

    def find(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """See `SharedRows.find`. Cost: 10 µs each."""
        found = {}
        with self._using("BEGIN") as connection:
            for key in keys:
                row = connection.execute("SELECT data FROM answers WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = row[0]
        return found

    def add(self, rows: Sequence[CacheRow], budget_bytes: int, now_ms: int) -> None:
        """See `SharedRows.add`. Cost: 15 µs a row."""
        with self._using() as connection:
            connection.executemany(_ADD, rows)
            if self._measure(connection) > budget_bytes:
                connection.execute("DELETE FROM answers WHERE expires_ms <= ?", (now_ms,))
                steps = 0
                while self._measure(connection) > budget_bytes and steps < _MAX_STEPS:
                    connection.execute(_DROP_OLDEST)
                    steps += 1

    def discard(self, keys: Sequence[bytes]) -> None:
        """See `SharedRows.discard`."""
        with self._using() as connection:
            connection.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in keys])

    def purge(self, meant: Meant) -> int:
        """See `SharedRows.purge`. Reads every row: 1 s a million."""
        asked = meant.id, meant.team, meant.model, meant.stored_before_ms
        with self._using() as connection:
            count = connection.execute(f"DELETE FROM answers WHERE {_MEANT}", asked).rowcount
        with suppress(sqlite3.Error):  # so that it is not to be read from the log of changes either
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def keep_scopes(self, scopes: Collection[bytes]) -> int:
        """See `SharedRows.keep_scopes`. Reads every row: 1 s a million."""
        marks = ", ".join("?" * len(scopes))
        with self._using() as connection:
            return connection.execute(f"DELETE FROM answers WHERE scope NOT IN ({marks})", tuple(scopes)).rowcount

    def note(self, name: str, data: bytes) -> None:
        """See `SharedRows.note`."""
        with self._using() as connection:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, data))

    def find_note(self, name: str) -> bytes | None:
        """See `SharedRows.find_note`."""
        with self._using("BEGIN") as connection:
            found = connection.execute("SELECT data FROM notes WHERE name = ?", (name,)).fetchone()
        return None if found is None else bytes(found[0])

    def close(self) -> None:
        """See `SharedRows.close`."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        """Raises sqlite3.Error if it is damaged, StateFailed if it is another program's, _Outdated, OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=MODE)
        connection = connect(self._path)
        try:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if tables and application != _APPLICATION_ID:
                raise StateFailed("it is another program's database")
            if tables and version != _VERSION:
                raise _Outdated(f"version {version}, this one is {_VERSION}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA secure_delete = ON")  # what is purged is not to be read from the file either
            connection.execute("PRAGMA journal_size_limit = 16000000")
            if not tables:
                connection.execute(_SCHEMA)
                connection.execute(_NOTES)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            self._measure(connection)
        except (sqlite3.Error, StateFailed, _Outdated):
            connection.close()
            raise
        return connection

    def _set_aside(self) -> None:
        """Raises OSError."""
        os.replace(self._path, f"{self._path}.damaged")
        for left in ("-wal", "-shm"):
            Path(f"{self._path}{left}").unlink(missing_ok=True)

    @contextmanager
    def _using(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """One transaction. Raises StateFailed."""
        connection = self._connection
        try:
            connection.execute(begin)
            yield connection
            self._measure(connection)
            connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError) as error:  # SQLite's integers have 64 bits
            raise StateFailed(f"the cache's file {self._path}: {error}") from error
        finally:
            if connection.in_transaction:
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself
                    connection.execute("ROLLBACK")

    def _measure(self, connection: sqlite3.Connection) -> int:
        """What the pages that are in use take."""
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        self._used_bytes = (pages - free) * size
        return self._used_bytes
