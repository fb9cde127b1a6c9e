"""How the books lie in SQLite, and how a file of an earlier version becomes one of this.

A migration that was released is never edited: a test holds its digest. To change the schema, append one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from proxy.state.base import StateFailed, StateUnusable

#: Who spent what is for the gateway's own user; SQLite gives the files beside it the same mode.
MODE: Final = 0o600
#: `PRAGMA application_id` of our files: "Wayl".
_APPLICATION_ID: Final = 0x5761796C
_BUSY_TIMEOUT_S: Final = 5.0
_SCHEME: Final = "sqlite:///"

_MEASURES_1: Final = """
    calls INTEGER NOT NULL, saved_nusd INTEGER NOT NULL, attempts INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL, low_nusd INTEGER NOT NULL, high_nusd INTEGER NOT NULL,
    uncached_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
    audio_input_tokens INTEGER NOT NULL, visible_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
    audio_output_tokens INTEGER NOT NULL"""
_GROUP_1: Final = """
    team TEXT NOT NULL, key_name TEXT NOT NULL, cost_center TEXT NOT NULL, model TEXT NOT NULL,
    provider TEXT NOT NULL, source TEXT NOT NULL, error TEXT NOT NULL, role TEXT NOT NULL, metering TEXT NOT NULL,
    tag TEXT NOT NULL"""
_GROUP_KEY_1: Final = "team, key_name, cost_center, model, provider, source, error, role, metering, tag"

#: From each version to the next. `count` is 1 for a call and -1 for the reversal of one.
MIGRATIONS: Final[Sequence[str]] = (
    f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, call_id TEXT NOT NULL, revision INTEGER NOT NULL, count INTEGER NOT NULL,
    request_id TEXT, hour INTEGER NOT NULL, day TEXT NOT NULL, began_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,
    team TEXT NOT NULL, key_name TEXT NOT NULL, cost_center TEXT NOT NULL, tags TEXT, model TEXT NOT NULL,
    asked_model TEXT, status INTEGER NOT NULL, source TEXT NOT NULL, is_stream INTEGER NOT NULL, error TEXT,
    fallback TEXT, first_ms INTEGER, ttft_ms INTEGER, duration_ms INTEGER NOT NULL, saved_nusd INTEGER NOT NULL,
    provider TEXT NOT NULL,
    UNIQUE (call_id, revision)
) STRICT;
CREATE INDEX calls_by_day ON calls (day);
CREATE INDEX calls_by_request ON calls (request_id) WHERE request_id IS NOT NULL;
CREATE TABLE attempts (
    call INTEGER NOT NULL, position INTEGER NOT NULL, target TEXT NOT NULL, provider TEXT NOT NULL,
    role TEXT NOT NULL, metering TEXT NOT NULL, cost_nusd INTEGER NOT NULL, low_nusd INTEGER NOT NULL,
    high_nusd INTEGER NOT NULL, uncached_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL, audio_input_tokens INTEGER NOT NULL, visible_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL, audio_output_tokens INTEGER NOT NULL, credential_id TEXT NOT NULL,
    upstream_id TEXT NOT NULL, service_tier TEXT NOT NULL, price_version TEXT NOT NULL, error TEXT,
    is_answer INTEGER NOT NULL,
    PRIMARY KEY (call, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE open_calls (call_id TEXT PRIMARY KEY, began_ms INTEGER NOT NULL, entry BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE sums_hour (
    tag_key TEXT NOT NULL, hour INTEGER NOT NULL, day TEXT NOT NULL,{_GROUP_1},{_MEASURES_1},
    PRIMARY KEY (tag_key, day, hour, {_GROUP_KEY_1})
) STRICT, WITHOUT ROWID;
CREATE TABLE sums_day (
    tag_key TEXT NOT NULL, day TEXT NOT NULL,{_GROUP_1},{_MEASURES_1},
    PRIMARY KEY (tag_key, day, {_GROUP_KEY_1})
) STRICT, WITHOUT ROWID;
""",
    """
CREATE TABLE client_keys (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, prefix TEXT NOT NULL, team TEXT NOT NULL, name TEXT NOT NULL,
    created_ms INTEGER NOT NULL, expires_ms INTEGER, revoked_ms INTEGER, rotated_from INTEGER
) STRICT;
CREATE TABLE blocked_keys (team TEXT NOT NULL, name TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (team, name))
    STRICT, WITHOUT ROWID;
CREATE TABLE grants (
    id INTEGER PRIMARY KEY, team TEXT NOT NULL, quota TEXT NOT NULL, amount INTEGER NOT NULL, unit TEXT NOT NULL,
    until_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, created_by TEXT NOT NULL, note TEXT NOT NULL,
    withdrawn_ms INTEGER
) STRICT;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
""",
    # The few calls that were booked later than when they began. It has all that is asked of it, so SQLite takes it.
    """
CREATE INDEX calls_late ON calls (day, hour, began_ms, count) WHERE began_ms < hour * 1000;
""",
)


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode, for one thread at a time. Raises StateFailed."""
    mode = "ro" if read_only else "rwc"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA foreign_keys = OFF")
    except sqlite3.Error as error:
        raise StateFailed(f"the database {path} can't be opened: {error}") from error
    return connection


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to the file, which is created or brought up to date. Raises StateUnusable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=MODE)
        connection = connect(path)
    except (OSError, StateFailed) as error:
        raise StateUnusable(
            f"the database {path} can't be opened: {error}. Make its directory writable for this user, or set "
            "state.url to another file."
        ) from error
    try:
        prepare(connection, path)
    except StateUnusable:
        connection.close()
        raise
    return connection


def sqlite_path(url: str) -> Path | None:
    """The file of `sqlite:///FILE`, relative to the working directory; None for the URL of something else."""
    return Path(url.removeprefix(_SCHEME)) if url.startswith(_SCHEME) else None


def prepare(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Make the file one of this version, step by step; each step happens whole or not at all.

    Raises StateUnusable if it is another program's, of a later version, or no database.
    """
    try:
        connection.execute("BEGIN")  # the three as of one moment: another process may be making the file just now
        version = _version(connection)
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        connection.execute("COMMIT")
        if application != _APPLICATION_ID and (version or tables):
            raise StateUnusable(f"{path} is another program's database. Set state.url to a file of the gateway's own.")
        if version > len(migrations):
            raise StateUnusable(
                f"{path} was written by a later version of the gateway (schema {version}; this one knows "
                f"{len(migrations)}). Run that version, or restore a backup."
            )
        # A commit waits for the disk: segments of the journal are removed as soon as they are in the books.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -32000")  # KiB: ids are random, so all of their index is in use
        for number in range(version, len(migrations)):
            _migrate(connection, migrations[number], number)
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.rollback()
        raise StateUnusable(
            f"the database {path} can't be used: {error}. Make it writable for this user, or restore a backup."
        ) from error


def _migrate(connection: sqlite3.Connection, migration: str, number: int) -> None:
    """From this version to the next, unless another process was faster: a command beside a server that starts."""
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) == number:
        for statement in _statements(migration):  # executescript() would end the transaction first
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute("COMMIT")


def _statements(migration: str) -> Iterator[str]:
    statement = ""
    for piece in migration.split(";")[:-1]:
        statement += f"{piece};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
