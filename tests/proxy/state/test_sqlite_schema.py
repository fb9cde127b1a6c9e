import hashlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.state.base import StateUnusable
from proxy.state.sqlite_schema import MIGRATIONS, connect, open_database, prepare, sqlite_path

#: What was released is never edited. A new version adds a line here, and a file of the version before it to the tests.
DIGESTS = ("86ef3e5437a085e2", "b94237acce3cb284", "5f12fa010a0cf6e9")
NEXT = "ALTER TABLE calls ADD COLUMN region TEXT NOT NULL DEFAULT 'eu';"
REPEATABLE = "INSERT INTO audit VALUES (NULL, 0, 'a;b', '', '', '');"
BROKEN = "CREATE TABLE fine (x INTEGER); CREATE TABLE calls (x INTEGER);"


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def prepared(path: Path, *migrations: str) -> None:
    with closing(connect(path)) as connection:
        prepare(connection, path, migrations or MIGRATIONS)


def test_a_released_migration_is_never_edited() -> None:
    assert tuple(hashlib.sha256(text.encode()).hexdigest()[:16] for text in MIGRATIONS) == DIGESTS


def test_a_new_file_gets_the_latest_version(tmp_path: Path) -> None:
    prepared(tmp_path / "a.db")
    assert version(tmp_path / "a.db") == len(MIGRATIONS)
    books = {"meta", "calls", "attempts", "open_calls", "sums_hour", "sums_day"}
    assert tables(tmp_path / "a.db") == books | {"client_keys", "blocked_keys", "grants", "audit"}


@pytest.mark.parametrize("begin", range(1, len(MIGRATIONS) + 1))
def test_every_earlier_version_is_brought_forward_with_what_it_holds(tmp_path: Path, begin: int) -> None:
    path = tmp_path / "a.db"
    prepared(path, *MIGRATIONS[:begin])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO calls (call_id, revision, count, hour, day, began_ms, ended_ms, team, key_name, cost_center, "
            "model, status, source, is_stream, duration_ms, saved_nusd, provider) "
            "VALUES ('req_1', 0, 1, 0, '2026-11-21', 0, 0, 't', 'k', '', 'm', 200, 'upstream', 0, 0, 0, '')"
        )
    prepared(path, *MIGRATIONS, NEXT)
    assert version(path) == len(MIGRATIONS) + 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT call_id, region FROM calls").fetchall() == [("req_1", "eu")]


def test_a_migration_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    prepared(path)
    with pytest.raises(StateUnusable, match="already exists"):
        prepared(path, *MIGRATIONS, BROKEN)
    assert version(path) == len(MIGRATIONS)
    assert "fine" not in tables(path)
    prepared(path, *MIGRATIONS, NEXT)
    assert version(path) == len(MIGRATIONS) + 1


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    prepared(path, *MIGRATIONS, NEXT)
    before = path.read_bytes()
    with pytest.raises(StateUnusable, match="a later version of the gateway"):
        prepared(path)
    assert path.read_bytes() == before


def test_another_programs_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StateUnusable, match="another program's database"):
        prepared(path)
    assert tables(path) == {"theirs"}


def test_a_commit_waits_for_the_disk_and_readers_for_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(connect(path)) as connection:
        prepare(connection, path)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_two_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    script = (
        "import sys, pathlib; from proxy.state.sqlite_schema import open_database as o; o(pathlib.Path(sys.argv[1]))"
    )
    makers = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(4)]
    assert [maker.wait(30) for maker in makers] == [0] * 4
    assert version(path) == len(MIGRATIONS)


def test_a_step_that_another_process_took_meanwhile_is_not_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    class Slow(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE" and version(path) == 0:
                prepared(path, *MIGRATIONS, REPEATABLE)
            return super().execute(sql, *parameters)

    with closing(sqlite3.connect(path, factory=Slow, isolation_level=None)) as connection:
        prepare(connection, path, (*MIGRATIONS, REPEATABLE))
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (1,)
    assert version(path) == len(MIGRATIONS) + 1


def test_a_database_is_opened_with_its_folder_and_for_its_own_user(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.db"
    open_database(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateUnusable, match=r"can't be opened: .*Make its directory writable"):
        open_database(path / "below-a-file.db")
    (tmp_path / "text.db").write_text("no database, but long enough to be taken for one" * 20)
    with pytest.raises(StateUnusable, match="not a database"):
        open_database(tmp_path / "text.db")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///waystation.db", Path("waystation.db")),
        ("sqlite:///state/a b.db", Path("state/a b.db")),
        ("sqlite:////var/lib/a.db", Path("/var/lib/a.db")),
        ("redis://host:6379/0", None),
    ],
)
def test_the_url_of_a_database_names_its_file(url: str, path: Path | None) -> None:
    assert sqlite_path(url) == path
