from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from proxy.keyring import new_key
from proxy.state import Author, SqliteRegistry
from tests.gateways import CONFIG, KEY, OTHER_KEY, VIEWER_KEY, Rig, chat_body

KEYS = "/admin/v1/keys"
BY = Author("cli:alice", 1_795_244_400_000)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[SqliteRegistry]:
    with closing(SqliteRegistry(tmp_path / "a.db")) as registry:
        yield registry


def make(registry: SqliteRegistry, team: str, name: str, expires_ms: int | None = None) -> str:
    key, fingerprint = new_key()
    registry.create_key(team, name, fingerprint, expires_ms, BY)
    return key


async def status(rig: Rig, key: str) -> int:
    async with rig.client(key) as client:
        return (await client.post("/v1/chat/completions", json=chat_body())).status_code


@pytest.mark.parametrize("key", [None, KEY, "sk-way-wrong"])
async def test_nobody_but_operators_sees_or_blocks_keys(registry: SqliteRegistry, key: str | None) -> None:
    async with Rig(registry=registry).admin(key) as client:
        assert (await client.get(KEYS)).status_code == 401
        for verb in ("block", "unblock"):
            response = await client.post(f"{KEYS}/{verb}", json={"team": "search", "name": "ci"})
            assert response.status_code == 401


async def test_a_viewer_sees_keys_and_blocks_none(registry: SqliteRegistry) -> None:
    async with Rig(registry=registry).admin(VIEWER_KEY) as client:
        assert (await client.get(KEYS)).status_code == 200
        for verb in ("block", "unblock"):
            response = await client.post(f"{KEYS}/{verb}", json={"team": "search", "name": "ci"})
            assert response.status_code == 403


async def test_every_key_is_listed_with_how_it_stands_and_never_the_key(registry: SqliteRegistry) -> None:
    text = CONFIG.replace(f"key: {KEY}", f"key: {KEY}, expires: 2026-01-01")
    secrets = [
        make(registry, "search", "made"),
        make(registry, "search", "old", BY.at_ms - 1),
        make(registry, "sales", "ended"),
        make(registry, "gone", "ci"),
    ]
    registry.revoke_key("sales", "ended", BY)
    registry.block_key("sales", "web", BY)
    async with Rig(text, registry).admin(VIEWER_KEY) as client:
        response = await client.get(KEYS)
    rows = response.json()["keys"]
    assert [(row["team"], row["name"], row["source"], row["status"]) for row in rows] == [
        ("search", "ci", "yaml", "expired"),
        ("sales", "web", "yaml", "blocked"),
        ("search", "made", "state", "active"),
        ("search", "old", "state", "expired"),
        ("sales", "ended", "state", "revoked"),
        ("gone", "ci", "state", "no team"),
    ]
    assert rows[0] == {
        "team": "search",
        "name": "ci",
        "source": "yaml",
        "prefix": None,
        "status": "expired",
        "created": None,
        "expires": "2026-01-01T00:00:00+00:00",
        "revoked": None,
    }
    assert (rows[2]["prefix"], rows[2]["created"]) == (secrets[0][:10], "2026-11-21T07:00:00+00:00")
    assert rows[4]["revoked"] == "2026-11-21T07:00:00+00:00"
    for secret in (*secrets, KEY, OTHER_KEY):
        assert secret not in response.text
        assert sha256(secret.encode()).hexdigest() not in response.text


async def test_without_a_database_the_keys_of_the_config_are_listed() -> None:
    async with Rig().admin() as client:
        rows = (await client.get(KEYS)).json()["keys"]
        assert (await client.post(f"{KEYS}/block", json={"team": "search", "name": "ci"})).status_code == 404
    assert [row["name"] for row in rows] == ["ci", "web"]


@pytest.mark.parametrize("name", ["ci", "made"])
async def test_a_key_is_blocked_at_once_and_let_in_again(
    registry: SqliteRegistry, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    rig = Rig(registry=registry)
    key = {"ci": KEY, "made": make(registry, "search", "made")}[name]
    assert await status(rig, key) == 200
    async with rig.admin() as admin:
        blocked = await admin.post(f"{KEYS}/block", json={"team": "search", "name": name})
        assert blocked.json() == {"team": "search", "name": name, "blocked": True}
        assert await status(rig, key) == 401
        assert await status(rig, OTHER_KEY) == 200
        unblocked = await admin.post(f"{KEYS}/unblock", json={"team": "search", "name": name})
        assert unblocked.json() == {"team": "search", "name": name, "blocked": False}
    assert await status(rig, key) == 200
    assert f"audit: 'ops' blocked the key {name} of the team search" in caplog.text
    assert f"audit: 'ops' let the key {name} of the team search in again" in caplog.text
    assert [row.actor for row in registry.audit(2)] == ["admin:ops", "admin:ops"]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"team": "serach", "name": "ci"}, "team", "did you mean 'search'?"),
        ({"team": "search", "name": "web"}, "name", "known: ci"),
        ({"team": "search"}, "name", "Give 'name'"),
        ({"team": 7, "name": "ci"}, "team", "Give 'team'"),
        ({"team": "a\nb", "name": "ci"}, "team", "Give 'team'"),
    ],
)
async def test_a_key_that_there_is_not_is_not_blocked(
    registry: SqliteRegistry, body: dict[str, Any], param: str, words: str
) -> None:
    async with Rig(registry=registry).admin() as client:
        response = await client.post(f"{KEYS}/block", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert words in response.json()["error"]["message"]
    assert registry.audit(1) == []
