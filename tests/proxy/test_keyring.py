import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from proxy.call import Principal
from proxy.config import AdminConfig, TeamConfig
from proxy.errors import InvalidKey, Overloaded
from proxy.keyring import Keyring, admin_keyring, client_keyring, new_key, read_key
from proxy.state import Author, Registry, SqliteRegistry, StateFailed

KEY = "sk-way-0123456789"
DIGEST = "sha256:" + sha256(b"sk-way-another-key").hexdigest()


def team(**fields: object) -> TeamConfig:
    return TeamConfig.model_validate(fields)


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer sk-1"},
        {b"authorization": b"bearer   sk-1 "},
        {b"x-api-key": b"sk-1"},
        {b"api-key": b"sk-1"},
        {b"authorization": b"Bearer sk-1", b"x-api-key": b"sk-1", b"api-key": b"sk-1"},
        {b"authorization": b"Bearer ", b"x-api-key": b"sk-1"},
    ],
)
def test_a_key_is_read_from_any_header_that_carries_it(headers: dict[bytes, bytes]) -> None:
    assert read_key(headers) == b"sk-1"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "No API key"),
        ({b"x-api-key": b" "}, "No API key"),
        ({b"authorization": b"Basic dXNlcg=="}, "Bearer KEY"),
        ({b"authorization": b"Bearer sk-1", b"x-api-key": b"sk-2"}, "Two different"),
    ],
)
def test_no_key_or_two_that_differ_are_refused_without_repeating_them(
    headers: dict[bytes, bytes], message: str
) -> None:
    with pytest.raises(InvalidKey, match=message) as caught:
        read_key(headers)
    assert "sk-1" not in caught.value.message


def test_a_key_is_found_by_itself_or_by_the_digest_in_the_config() -> None:
    keyring = client_keyring(
        {"search": team(keys=[{"name": "ci", "key": KEY}, {"name": "web", "digest": DIGEST}], models=["chat"])}
    )
    assert keyring.find({b"x-api-key": KEY.encode()}, 0) == Principal("search", "ci", frozenset({"chat"}))
    assert keyring.find({b"x-api-key": b"sk-way-another-key"}, 0).key_name == "web"
    assert len(keyring) == 2


@pytest.mark.parametrize("wrong", [KEY[:-1], KEY + "x", KEY.upper(), DIGEST])
def test_nothing_but_the_whole_key_opens(wrong: str) -> None:
    keyring = client_keyring({"search": team(keys=[{"name": "ci", "key": KEY}])})
    with pytest.raises(InvalidKey):
        keyring.find({b"x-api-key": wrong.encode()}, 0)


def test_a_key_is_good_until_the_day_it_expires_begins() -> None:
    keyring = client_keyring({"search": team(keys=[{"name": "ci", "key": KEY, "expires": date(2027, 1, 1)}])})
    midnight = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    headers = {b"x-api-key": KEY.encode()}
    assert keyring.find(headers, midnight - 1).team == "search"
    with pytest.raises(InvalidKey, match="expired"):
        keyring.find(headers, midnight)


def test_a_team_without_a_list_may_use_every_model() -> None:
    keyring = client_keyring({"search": team(keys=[{"name": "ci", "key": KEY}])})
    assert keyring.find({b"x-api-key": KEY.encode()}, 0).may_use("anything")


def test_admin_keys_open_a_ring_of_their_own() -> None:
    ring = admin_keyring(AdminConfig.model_validate({"keys": [{"name": "ops", "key": KEY, "role": "admin"}]}))
    assert ring.find({b"x-api-key": KEY.encode()}, 0).role == "admin"
    with pytest.raises(InvalidKey):
        Keyring[Principal]({}).find({b"x-api-key": KEY.encode()}, 0)


def test_a_caller_has_its_teams_priority() -> None:
    keyring = client_keyring({"search": team(keys=[{"name": "ci", "key": KEY}], priority=8)})
    assert keyring.find({b"x-api-key": KEY.encode()}, 0).priority == 8


TEAMS = {
    "search": team(keys=[{"name": "ci", "key": KEY}], models=["chat"], priority=7),
    "sales": team(keys=[{"name": "ci", "digest": DIGEST}]),
}
BY = Author("cli:alice", 1_000)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SqliteRegistry]:
    with closing(SqliteRegistry(tmp_path / "a.db")) as registry:
        yield registry


def sent(key: str) -> dict[bytes, bytes]:
    return {b"x-api-key": key.encode()}


def make(registry: Registry, team: str = "search", name: str = "made", expires_ms: int | None = None) -> str:
    key, fingerprint = new_key()
    registry.create_key(team, name, fingerprint, expires_ms, BY)
    return key


def refusal(keyring: Keyring[Principal], key: str, now: float = 0) -> str:
    with pytest.raises(InvalidKey) as caught:
        keyring.find(sent(key), now)
    assert caught.value.code == "invalid_api_key"
    return caught.value.message


def test_a_new_key_cannot_be_guessed_and_is_kept_as_its_digest() -> None:
    key, fingerprint = new_key()
    assert re.fullmatch(r"sk-ws-[A-Za-z0-9_-]{43}", key)
    assert fingerprint.digest == sha256(key.encode()).digest()
    assert fingerprint.prefix == key[:10]
    assert new_key()[0] != key


def test_a_key_made_at_run_time_is_known_at_once_and_has_what_its_team_has_now(registry: SqliteRegistry) -> None:
    keyring = client_keyring(TEAMS, registry)
    key = make(registry)
    assert keyring.find(sent(key), 0) == Principal("search", "made", frozenset({"chat"}), None, 7)
    assert keyring.find(sent(KEY), 0).key_name == "ci"
    assert {owner.key_name for owner in keyring.owners()} == {"ci", "made"}
    changed = client_keyring({**TEAMS, "search": team(keys=[], models=["large"])}, registry)
    assert changed.find(sent(key), 0) == Principal("search", "made", frozenset({"large"}), None, 5)


def test_owners_are_those_of_now(registry: SqliteRegistry) -> None:
    keyring = client_keyring(TEAMS, registry)
    make(registry)
    assert len(keyring.owners()) == 3


def test_a_revoked_key_is_refused_at_once_and_told_so(registry: SqliteRegistry) -> None:
    keyring = client_keyring(TEAMS, registry)
    key = make(registry)
    keyring.find(sent(key), 0)
    registry.revoke_key("search", "made", BY)
    assert "has been revoked" in refusal(keyring, key)


def test_both_secrets_of_a_rotated_key_are_the_same_key_until_the_old_one_ends(registry: SqliteRegistry) -> None:
    keyring = client_keyring(TEAMS, registry)
    old = make(registry)
    new, fingerprint = new_key()
    registry.rotate_key("search", "made", fingerprint, 60_000, BY)
    assert keyring.find(sent(old), 60.9).key_name == keyring.find(sent(new), 60.9).key_name == "made"
    assert "has expired" in refusal(keyring, old, 61.0)
    assert keyring.find(sent(new), 61.0).key_name == "made"


def test_a_key_expires_at_its_instant(registry: SqliteRegistry) -> None:
    key = make(registry, expires_ms=5000)
    keyring = client_keyring(TEAMS, registry)
    assert keyring.find(sent(key), 4.999).key_name == "made"
    assert "has expired" in refusal(keyring, key, 5.0)


@pytest.mark.parametrize("name", ["ci", "made"])
def test_a_blocked_key_is_refused_wherever_it_is_kept_and_let_in_again(registry: SqliteRegistry, name: str) -> None:
    keyring = client_keyring(TEAMS, registry)
    keys = {"ci": KEY, "made": make(registry)}
    registry.block_key("search", name, BY)
    assert "is blocked" in refusal(keyring, keys.pop(name))
    assert keyring.find(sent(*keys.values()), 0).team == "search"
    assert keyring.find(sent("sk-way-another-key"), 0).team == "sales"  # of the same name
    registry.unblock_key("search", name, BY)
    assert len(keyring.owners()) == 3


def test_a_team_that_is_gone_takes_its_keys_along_and_brings_them_back(registry: SqliteRegistry) -> None:
    key = make(registry, "sales")
    assert "team is no longer served" in refusal(client_keyring({"search": TEAMS["search"]}, registry), key)
    assert client_keyring(TEAMS, registry).find(sent(key), 0).team == "sales"


def test_where_a_change_cannot_be_read_nobody_is_let_in_and_all_are_told_to_try_again() -> None:
    class Broken:
        version, keys, blocked, is_broken = 1, (), frozenset[tuple[str, str]](), False

        def refresh(self) -> int:
            if self.is_broken:
                raise StateFailed("disk I/O error")
            return self.version

    registry = Broken()
    keyring = client_keyring(TEAMS, registry)  # type: ignore[arg-type]  # as much of it as is looked at
    assert keyring.find(sent(KEY), 0).key_name == "ci"
    registry.is_broken = True
    with pytest.raises(Overloaded, match="can't be read just now") as caught:
        keyring.find(sent(KEY), 0)
    assert caught.value.status == 503
    registry.is_broken = False
    assert keyring.find(sent(KEY), 0).key_name == "ci"
