import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest

from proxy.state import (
    Author,
    ChangeRefused,
    Fingerprint,
    Position,
    Registry,
    SqliteLedger,
    SqliteRegistry,
    StateFailed,
    StateUnusable,
    StoredKey,
    open_redis_registry,
)
from proxy.state.sqlite_schema import MIGRATIONS, connect, prepare
from proxy.state.stamp import Stamp
from tests.books import booking, settlement
from tests.redis_server import redis_server

DAY_MS = 86_400_000


def fingerprint(text: str = "a") -> Fingerprint:
    return Fingerprint(sha256(text.encode()).digest(), f"sk-ws-{text}")


def at(at_ms: int = 1000) -> Author:
    return Author("cli:alice", at_ms)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.integration)])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Registry]:
    """Opens the same registry, as each process does for itself."""
    if request.param == "sqlite":
        return lambda: SqliteRegistry(tmp_path / "a.db")
    url, namespace = request.getfixturevalue("redis_url"), f"t{uuid4().hex}"
    return lambda: open_redis_registry(url, namespace)


@pytest.fixture
def either(reopen: Callable[[], Registry]) -> Iterator[Registry]:
    """Wherever it is kept."""
    with closing(reopen()) as registry:
        yield registry


@pytest.fixture
def either_elsewhere(reopen: Callable[[], Registry], either: Registry) -> Iterator[Registry]:
    """The same, as another process has it."""
    with closing(reopen()) as registry:
        yield registry


@pytest.fixture
def registry(path: Path) -> Iterator[SqliteRegistry]:
    with closing(SqliteRegistry(path)) as registry:
        yield registry


@pytest.fixture
def elsewhere(path: Path, registry: SqliteRegistry) -> Iterator[SqliteRegistry]:
    """The same file, as another process has it."""
    with closing(SqliteRegistry(path)) as registry:
        yield registry


def audited(registry: Registry) -> list[tuple[str, str]]:
    return [(row.action, row.subject) for row in reversed(registry.audit(100))]


def test_a_key_is_kept_as_its_digest_and_seen_elsewhere_at_the_next_look(
    either: Registry, either_elsewhere: Registry
) -> None:
    before = either.refresh()
    assert not either.keys
    made = either_elsewhere.create_key("search", "ci", fingerprint(), None, at())
    assert made == StoredKey(1, fingerprint().digest, "sk-ws-a", "search", "ci", 1000)
    assert len(either.keys) == 0
    assert either.refresh() == before + 1
    assert either.keys == (made,)
    assert either.refresh() == before + 1


def test_a_change_of_ones_own_is_seen_too(either: Registry) -> None:
    either.create_key("search", "ci", fingerprint(), None, at())
    either.refresh()
    assert [key.name for key in either.keys] == ["ci"]


def test_what_was_there_before_is_known_from_the_beginning(registry: SqliteRegistry, path: Path) -> None:
    registry.create_key("search", "ci", fingerprint(), None, at())
    registry.block_key("sales", "web", at())
    os.unlink(Stamp(path).path)
    with closing(SqliteRegistry(path)) as other:
        assert [key.name for key in other.keys] == ["ci"]
        assert other.blocked == {("sales", "web")}


def test_a_name_is_one_live_keys_within_its_team(either: Registry) -> None:
    either.create_key("search", "ci", fingerprint("a"), 5000, at())
    with pytest.raises(ChangeRefused, match="has a key 'ci' already"):
        either.create_key("search", "ci", fingerprint("b"), None, at(4999))
    either.create_key("sales", "ci", fingerprint("c"), None, at())
    either.create_key("search", "ci", fingerprint("d"), None, at(5000))
    either.revoke_key("search", "ci", at(5001))
    either.create_key("search", "ci", fingerprint("e"), None, at(5002))
    assert len(audited(either)) == 5


def test_a_name_that_is_blocked_is_not_given_to_a_new_key(either: Registry) -> None:
    either.block_key("search", "ci", at())
    with pytest.raises(ChangeRefused, match="the name 'ci' is blocked"):
        either.create_key("search", "ci", fingerprint(), None, at())


def test_a_rotated_key_has_two_secrets_until_the_old_one_ends(either: Registry) -> None:
    either.create_key("search", "ci", fingerprint("a"), None, at(1000))
    new = either.rotate_key("search", "ci", fingerprint("b"), DAY_MS, at(2000))
    either.refresh()
    old, kept = either.keys
    assert kept == new
    assert (old.expires_ms, new.expires_ms, new.rotated_from) == (2000 + DAY_MS, None, old.id)
    assert (old.is_live(2000 + DAY_MS - 1), old.is_live(2000 + DAY_MS)) == (True, False)


def test_rotation_gives_no_secret_more_time_than_it_had(either: Registry) -> None:
    either.create_key("search", "ci", fingerprint("a"), 9000, at(1000))
    either.rotate_key("search", "ci", fingerprint("b"), 1000, at(2000))
    either.rotate_key("search", "ci", fingerprint("c"), DAY_MS, at(2500))
    either.refresh()
    assert [key.expires_ms for key in either.keys] == [3000, 9000, 9000]
    either.revoke_key("search", "ci", at(2600))
    with pytest.raises(ChangeRefused, match="no live key 'ci'"):
        either.rotate_key("search", "ci", fingerprint("d"), 0, at(2700))


def test_revocation_ends_all_secrets_of_a_key_and_no_others(either: Registry) -> None:
    either.create_key("search", "ci", fingerprint("a"), None, at())
    either.rotate_key("search", "ci", fingerprint("b"), DAY_MS, at())
    either.create_key("search", "web", fingerprint("c"), None, at())
    assert either.revoke_key("search", "ci", at(3000)) == 2
    assert either.revoke_key("search", "ci", at(4000)) == 0
    either.refresh()
    assert [key.revoked_ms for key in either.keys] == [3000, 3000, None]
    with pytest.raises(ChangeRefused, match="no key 'cj'"):
        either.revoke_key("search", "cj", at())


def test_a_revocation_that_is_repeated_is_announced_again(registry: SqliteRegistry, elsewhere: SqliteRegistry) -> None:
    """The first time may have ended between writing and announcing."""
    registry.create_key("search", "ci", fingerprint(), None, at())
    elsewhere.refresh()
    with closing(sqlite3.connect(registry._path)) as connection, connection:
        connection.execute("UPDATE client_keys SET revoked_ms = 1")
    elsewhere.refresh()
    assert elsewhere.keys[0].revoked_ms is None
    registry.revoke_key("search", "ci", at())
    elsewhere.refresh()
    assert elsewhere.keys[0].revoked_ms == 1


def test_any_key_can_be_blocked_and_let_in_again(either: Registry, either_elsewhere: Registry) -> None:
    either_elsewhere.block_key("search", "of-the-config", at())
    either_elsewhere.block_key("search", "of-the-config", at())
    either.refresh()
    assert either.blocked == {("search", "of-the-config")}
    either_elsewhere.unblock_key("search", "of-the-config", at())
    either.refresh()
    assert either.blocked == frozenset()
    with pytest.raises(ChangeRefused, match="is not blocked"):
        either_elsewhere.unblock_key("search", "of-the-config", at())


def test_a_grant_is_in_force_until_it_is_over_or_withdrawn(either: Registry, either_elsewhere: Registry) -> None:
    first = either_elsewhere.add_grant("search", "usd per month", 10**18, "nusd", 10_000, "launch", at())
    second = either_elsewhere.add_grant("search", "tokens per day", 5, "tokens", 20_000, "", at())
    version = either.refresh()
    assert list(either.grants_in_force(9.999)) == [first, second]
    assert list(either.grants_in_force(10.0)) == [second]
    withdrawn = either_elsewhere.withdraw_grant(second.id, at(9000))
    assert withdrawn.withdrawn_ms == 9000
    assert either.refresh() > version
    assert list(either.grants_in_force(9.999)) == [first]
    assert list(either.grants(10)) == [withdrawn, first]
    assert list(either.grants(1)) == [withdrawn]


@pytest.mark.parametrize(("grant_id", "now_ms"), [(2, 2000), (1, 10_000)])
def test_what_is_over_or_never_was_is_not_withdrawn(either: Registry, grant_id: int, now_ms: int) -> None:
    either.add_grant("search", "usd per month", 1, "nusd", 10_000, "", at())
    with pytest.raises(ChangeRefused, match=r"no grant 2|is over already"):
        either.withdraw_grant(grant_id, at(now_ms))


def test_every_change_is_audited_with_who_made_it_and_when(either: Registry) -> None:
    either.create_key("search", "ci", fingerprint("a"), None, Author("cli:alice", 1))
    either.rotate_key("search", "ci", fingerprint("b"), 60_000, Author("cli:alice", 2))
    either.revoke_key("search", "ci", Author("cli:bob", 3))
    either.block_key("search", "web", Author("admin:ops", 4))
    either.unblock_key("search", "web", Author("admin:ops", 5))
    either.add_grant("search", "usd per month", 5, "nusd", 10_000, "", Author("admin:ops", 6))
    either.withdraw_grant(1, Author("admin:ops", 7))
    either.record(Author("admin:ops", 8), "target.drain", "openai/gpt-4o", "60 s")
    rows = either.audit(100)
    assert [(row.at_ms, row.actor, row.action, row.subject) for row in reversed(rows)] == [
        (1, "cli:alice", "key.create", "search/ci"),
        (2, "cli:alice", "key.rotate", "search/ci"),
        (3, "cli:bob", "key.revoke", "search/ci"),
        (4, "admin:ops", "key.block", "search/web"),
        (5, "admin:ops", "key.unblock", "search/web"),
        (6, "admin:ops", "grant.add", "search/usd per month"),
        (7, "admin:ops", "grant.withdraw", "search/usd per month"),
        (8, "admin:ops", "target.drain", "openai/gpt-4o"),
    ]
    assert rows[-2].detail == "sk-ws-a -> sk-ws-b, overlap 60 s"
    assert rows[2].detail == "grant 1: 5 nusd until 1970-01-01T00:00:10+00:00"
    assert len(either.audit(3)) == 3


def test_what_is_refused_leaves_no_trace(either: Registry) -> None:
    before = either.refresh()
    for change in (either.revoke_key, either.unblock_key):
        with pytest.raises(ChangeRefused):
            change("search", "ci", at())
    assert either.refresh() == before
    assert audited(either) == []


def test_a_change_waits_for_a_writer_and_not_for_readers(registry: SqliteRegistry, path: Path) -> None:
    with closing(connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO meta VALUES ('x', 1)")
        done = threading.Thread(target=registry.block_key, args=("search", "ci", at()))
        done.start()
        done.join(0.05)
        assert done.is_alive()
        other.execute("COMMIT")
        done.join(10)
    registry.refresh()
    assert registry.blocked == {("search", "ci")}


def test_the_ledger_and_the_registry_share_a_file(registry: SqliteRegistry, path: Path) -> None:
    ledger = SqliteLedger(path)
    registry.create_key("search", "ci", fingerprint(), None, at())
    ledger.fold((), [booking(settlement("a"))], Position("one", 10))
    registry.revoke_key("search", "ci", at())
    assert ledger.position() == Position("one", 10)
    ledger.close()
    registry.refresh()
    assert registry.keys[0].revoked_ms == 1000


def test_a_change_that_cannot_be_read_is_an_error_until_it_can(
    registry: SqliteRegistry, elsewhere: SqliteRegistry, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.create_key("search", "ci", fingerprint(), None, at())
    registry.refresh()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE blocked_keys RENAME TO away")  # stands for a damaged or locked file
        elsewhere.record(at(), "x", "y")
        registry.refresh()  # nothing was announced
        elsewhere.revoke_key("search", "ci", at())
        for _ in range(2):
            with pytest.raises(StateFailed):
                registry.refresh()
        assert caplog.text.count("can't be read") == 1
        other.execute("ALTER TABLE away RENAME TO blocked_keys")
    registry.refresh()
    assert registry.keys[0].revoked_ms == 1000
    assert "can be read again" in caplog.text


def test_where_nobody_can_tell_whether_there_was_a_change_it_is_read_each_time(
    registry: SqliteRegistry, elsewhere: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Stamp) -> None:
        raise PermissionError

    monkeypatch.setattr(Stamp, "look", fail)
    version = registry.refresh()
    assert registry.refresh() == version
    elsewhere.block_key("search", "ci", at())
    assert registry.refresh() == version + 1
    assert registry.blocked == {("search", "ci")}


def test_a_change_that_cannot_be_announced_is_not_made(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.state.stamp.mkstemp", _refuse)
    with pytest.raises(StateFailed, match="is not made"):
        registry.block_key("search", "ci", at())
    assert audited(registry) == []
    monkeypatch.undo()
    monkeypatch.setattr("proxy.state.stamp.os.replace", _refuse)
    with pytest.raises(StateFailed, match="is made, but running gateways may not see it"):
        registry.block_key("search", "ci", at())
    assert audited(registry) == [("key.block", "search/ci")]


def _refuse(*args: object, **more: object) -> None:
    raise OSError(13, "Permission denied")


def test_a_file_of_the_first_version_gets_its_tables_and_keeps_its_calls(path: Path) -> None:
    with closing(connect(path)) as connection:
        prepare(connection, path, MIGRATIONS[:1])
        connection.execute("INSERT INTO meta VALUES ('journal_offset', 7)")
    with closing(SqliteRegistry(path)) as registry:
        registry.create_key("search", "ci", fingerprint(), None, at())
        ledger = SqliteLedger(path)
        assert ledger.position().offset == 7
        ledger.close()


def test_a_database_that_cannot_be_used_is_named(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StateUnusable, match="another program's database"):
        SqliteRegistry(path)


def test_keys_that_cannot_be_read_at_the_start_are_named(registry: SqliteRegistry, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE client_keys")
    with pytest.raises(StateUnusable, match="keys in the database"):
        SqliteRegistry(path)


def test_what_is_left_when_it_is_closed_is_one_file_and_the_stamp(path: Path) -> None:
    registry = SqliteRegistry(path)
    registry.create_key("search", "ci", fingerprint(), None, at())
    registry.close()
    assert sorted(one.name for one in path.parent.iterdir()) == ["a.db", "a.db-keys"]
