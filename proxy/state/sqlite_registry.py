"""Keys, grants and the audit in SQLite, in the file of the books but over connections of their own: one that reads, and
one for each change, which waits for the ledger and for other processes as long as `connect` says.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Final, Literal

from proxy.state.base import StateFailed, StateUnusable
from proxy.state.registry import AuditRow, Author, Fingerprint, Grant, Snapshot, StoredKey
from proxy.state.registry_rules import (
    check_blocked,
    check_grant,
    check_known,
    check_new_key,
    grant_text,
    latest_live,
    revocation_text,
    rotation_text,
)
from proxy.state.sqlite_schema import connect, open_database
from proxy.state.stamp import Look, Stamp

#: A look that the stamp never has: whatever it has next is another.
_NO_LOOK: Final[Look] = (-1, -1, -1)

_KEY: Final = ", ".join(one.name for one in fields(StoredKey))
_GRANT: Final = ", ".join(one.name for one in fields(Grant))
_AUDIT: Final = ", ".join(one.name for one in fields(AuditRow))
_ADD_KEY: Final = f"""
    INSERT INTO client_keys (digest, prefix, team, name, created_ms, expires_ms, rotated_from)
    VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_KEY}"""
_KEYS_OF: Final = f"SELECT {_KEY} FROM client_keys WHERE team = ? AND name = ? ORDER BY id"
_END: Final = """
    UPDATE client_keys SET expires_ms = min(?1, ifnull(expires_ms, ?1))
    WHERE team = ?2 AND name = ?3 AND id < ?4 AND revoked_ms IS NULL"""
_REVOKE: Final = "UPDATE client_keys SET revoked_ms = ? WHERE team = ? AND name = ? AND revoked_ms IS NULL"
_ADD_GRANT: Final = f"""
    INSERT INTO grants (team, quota, amount, unit, until_ms, created_ms, created_by, note)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING {_GRANT}"""
_WITHDRAW: Final = "UPDATE grants SET withdrawn_ms = ? WHERE id = ?"
_RECORD: Final = "INSERT INTO audit (at_ms, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)"
_COUNT_UP: Final = """
    INSERT INTO meta VALUES ('registry_changes', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1
    RETURNING value"""

_logger = logging.getLogger(__name__)


class SqliteRegistry:
    """See `Registry`."""

    is_read = True  # from the start, or there is none

    def __init__(self, path: Path) -> None:
        """Open the file, create it or bring it up to date. Raises StateUnusable."""
        self._path = path
        self._stamp = Stamp(path)
        self._seen: Look | None = _NO_LOOK
        self._snapshot = Snapshot()
        self._is_failing = False
        self.version = 0
        # Open as long as the process is: the last one to close a database locks out those who open it meanwhile.
        self._reader = open_database(path)
        try:
            self.refresh()
            self._reader.execute("PRAGMA busy_timeout = 0")  # from now on it is the event loop that would wait
        except (StateFailed, sqlite3.Error) as error:
            self._reader.close()
            raise StateUnusable(f"the keys in the database {path} can't be read: {error}. Restore a backup.") from error

    def refresh(self) -> int:
        """See `Registry.refresh`. Cost: 2 µs; after a change 0.1 ms more, and 2 µs a key."""
        try:
            look = self._stamp.look()
        except OSError:
            look = _NO_LOOK  # nobody can tell: it is read at each request, then
        if look != self._seen or look is _NO_LOOK:
            self._read()
            self._seen = look  # as it was before reading: what came in between is read once more
        return self.version

    @property
    def keys(self) -> Sequence[StoredKey]:
        """See `Registry.keys`."""
        return self._snapshot.keys

    @property
    def blocked(self) -> frozenset[tuple[str, str]]:
        """See `Registry.blocked`."""
        return self._snapshot.blocked

    def grants_in_force(self, now_s: float) -> Sequence[Grant]:
        """See `Registry.grants_in_force`."""
        return self._snapshot.grants_in_force(now_s)

    def create_key(
        self, team: str, name: str, fingerprint: Fingerprint, expires_ms: int | None, author: Author
    ) -> StoredKey:
        """See `Registry.create_key`."""
        with self._changing() as connection:
            blocked = connection.execute("SELECT 1 FROM blocked_keys WHERE team = ? AND name = ?", (team, name))
            is_blocked = blocked.fetchone() is not None
            check_new_key(_keys_of(connection, team, name), is_blocked, team, name, author.at_ms)
            key = _add_key(connection, team, name, fingerprint, expires_ms, None, author)
            _record(connection, author, "key.create", f"{team}/{name}", key.prefix)
        return key

    def rotate_key(self, team: str, name: str, fingerprint: Fingerprint, overlap_ms: int, author: Author) -> StoredKey:
        """See `Registry.rotate_key`."""
        with self._changing() as connection:
            old = latest_live(_keys_of(connection, team, name), team, name, author.at_ms)
            key = _add_key(connection, team, name, fingerprint, old.expires_ms, old.id, author)
            connection.execute(_END, (author.at_ms + overlap_ms, team, name, key.id))
            _record(connection, author, "key.rotate", f"{team}/{name}", rotation_text(old, key, overlap_ms))
        return key

    def revoke_key(self, team: str, name: str, author: Author) -> int:
        """See `Registry.revoke_key`. Announced even if it was revoked before: that may have been cut short."""
        with self._changing() as connection:
            found = _keys_of(connection, team, name)
            check_known(found, team, name)
            connection.execute(_REVOKE, (author.at_ms, team, name))
            live = [key for key in found if key.is_live(author.at_ms)]
            _record(connection, author, "key.revoke", f"{team}/{name}", revocation_text(live))
        return len(live)

    def block_key(self, team: str, name: str, author: Author) -> None:
        """See `Registry.block_key`."""
        with self._changing() as connection:
            connection.execute("INSERT OR IGNORE INTO blocked_keys VALUES (?, ?, ?)", (team, name, author.at_ms))
            _record(connection, author, "key.block", f"{team}/{name}")

    def unblock_key(self, team: str, name: str, author: Author) -> None:
        """See `Registry.unblock_key`."""
        with self._changing() as connection:
            gone = connection.execute("DELETE FROM blocked_keys WHERE team = ? AND name = ?", (team, name))
            check_blocked(gone.rowcount > 0, team, name)
            _record(connection, author, "key.unblock", f"{team}/{name}")

    def add_grant(
        self,
        team: str,
        quota: str,
        amount: int,
        unit: Literal["nusd", "tokens"],
        until_ms: int,
        note: str,
        author: Author,
    ) -> Grant:
        """See `Registry.add_grant`."""
        row = (team, quota, amount, unit, until_ms, author.at_ms, author.name, note)
        with self._changing() as connection:
            grant = Grant(*connection.execute(_ADD_GRANT, row).fetchone())
            _record(connection, author, "grant.add", f"{team}/{quota}", grant_text(grant))
        return grant

    def withdraw_grant(self, grant_id: int, author: Author) -> Grant:
        """See `Registry.withdraw_grant`."""
        with self._changing() as connection:
            row = connection.execute(f"SELECT {_GRANT} FROM grants WHERE id = ?", (grant_id,)).fetchone()
            grant = check_grant(None if row is None else Grant(*row), grant_id, author.at_ms)
            connection.execute(_WITHDRAW, (author.at_ms, grant_id))
            _record(connection, author, "grant.withdraw", f"{grant.team}/{grant.quota}", f"grant {grant_id}")
        return replace(grant, withdrawn_ms=author.at_ms)

    def record(self, author: Author, action: str, subject: str, detail: str = "") -> None:
        """See `Registry.record`."""
        with self._writing() as connection:
            _record(connection, author, action, subject, detail)
            connection.execute("COMMIT")

    def grants(self, limit: int) -> Sequence[Grant]:
        """See `Registry.grants`."""
        with self._connected() as connection:
            rows = connection.execute(f"SELECT {_GRANT} FROM grants ORDER BY id DESC LIMIT ?", (limit,))
            return [Grant(*row) for row in rows]

    def audit(self, limit: int) -> Sequence[AuditRow]:
        """See `Registry.audit`."""
        with self._connected() as connection:
            rows = connection.execute(f"SELECT {_AUDIT} FROM audit ORDER BY id DESC LIMIT ?", (limit,))
            return [AuditRow(*row) for row in rows]

    def close(self) -> None:
        """See `Registry.close`."""
        self._reader.close()

    def _read(self) -> None:
        try:
            snapshot = _read_snapshot(self._reader)
        except sqlite3.Error as error:
            if not self._is_failing:
                _logger.error("keys were changed and can't be read, so nobody is let in until they can: %s", error)
            self._is_failing = True
            raise StateFailed(f"the database {self._path}: {error}") from error
        if self._is_failing:
            _logger.warning("keys can be read again")
        self._is_failing = False
        if snapshot != self._snapshot or not self.version:
            self._snapshot = snapshot
            self.version += 1

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which happens whole or not at all, and is announced."""
        with self._writing() as connection:
            yield connection
            (number,) = connection.execute(_COUNT_UP).fetchone()
            try:
                with self._stamp.announcing(number):
                    connection.execute("COMMIT")
            except OSError as error:
                done = "is not made" if connection.in_transaction else "is made, but running gateways may not see it"
                raise StateFailed(
                    f"the change {done}: {self._stamp.path} can't be written: {error.strerror}"
                ) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection  # closing it takes back what was not committed

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(connect(self._path)) as connection:
            try:
                yield connection
            except sqlite3.Error as error:
                raise StateFailed(f"the database {self._path}: {error}") from error


def _read_snapshot(connection: sqlite3.Connection) -> Snapshot:
    connection.execute("BEGIN")  # all of it as of one moment
    try:
        keys = tuple([StoredKey(*row) for row in connection.execute(f"SELECT {_KEY} FROM client_keys ORDER BY id")])
        blocked = frozenset(connection.execute("SELECT team, name FROM blocked_keys"))
        rows = connection.execute(f"SELECT {_GRANT} FROM grants WHERE withdrawn_ms IS NULL ORDER BY id")
        return Snapshot(keys, blocked, tuple([Grant(*row) for row in rows]))
    finally:
        connection.rollback()


def _keys_of(connection: sqlite3.Connection, team: str, name: str) -> list[StoredKey]:
    return [StoredKey(*row) for row in connection.execute(_KEYS_OF, (team, name))]


def _add_key(
    connection: sqlite3.Connection,
    team: str,
    name: str,
    fingerprint: Fingerprint,
    expires_ms: int | None,
    rotated_from: int | None,
    author: Author,
) -> StoredKey:
    row = (fingerprint.digest, fingerprint.prefix, team, name, author.at_ms, expires_ms, rotated_from)
    return StoredKey(*connection.execute(_ADD_KEY, row).fetchone())


def _record(connection: sqlite3.Connection, author: Author, action: str, subject: str, detail: str = "") -> None:
    connection.execute(_RECORD, (author.at_ms, author.name, action, subject, detail))
