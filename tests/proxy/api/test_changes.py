from pathlib import Path

import pytest

from proxy.state import Author, ChangeRefused, SqliteRegistry, StateFailed
from tests.gateways import ADMIN_KEY, CONFIG, KEY, VIEWER_KEY, Rig

AUDIT = "/admin/v1/audit"


class Stuck(SqliteRegistry):
    """Takes no change."""

    def record(self, author: Author, action: str, subject: str, detail: str = "") -> None:
        raise StateFailed("database or disk is full")

    def block_key(self, team: str, name: str, author: Author) -> None:
        raise StateFailed("database or disk is full")

    def unblock_key(self, team: str, name: str, author: Author) -> None:
        raise ChangeRefused("the key 'ci' is not blocked")


@pytest.mark.parametrize("key", [None, KEY, "sk-way-wrong"])
async def test_nobody_but_operators_sees_the_audit(tmp_path: Path, key: str | None) -> None:
    async with Rig(registry=SqliteRegistry(tmp_path / "a.db")).admin(key) as client:
        assert (await client.get(AUDIT)).status_code == 401


async def test_what_operators_do_is_entered_with_their_names(tmp_path: Path) -> None:
    rig = Rig(registry=SqliteRegistry(tmp_path / "a.db"))
    async with rig.admin() as client:
        await client.post("/admin/v1/targets/drain", json={"target": "demo/demo-1", "seconds": 60})
        await client.post("/admin/v1/targets/undrain", json={"target": "demo/demo-1"})
        await client.post("/admin/v1/config/reload")
        rig.text = CONFIG + "\nserver: {max_body: 1MB}\n"
        await client.post("/admin/v1/config/reload")
        rig.text = "version: 3"
        await client.post("/admin/v1/config/reload")
        await client.post("/admin/v1/keys/block", json={"team": "search", "name": "ci"})
    async with rig.admin(VIEWER_KEY) as client:
        rows = (await client.get(AUDIT)).json()["audit"]
        assert (await client.get(AUDIT, params={"limit": 1})).json()["audit"] == rows[:1]
    hashed = rig.gateway.surface.config_hash
    assert {row["actor"] for row in rows} == {"admin:ops"}
    assert all(row["at"].endswith("+00:00") for row in rows)
    assert [(row["action"], row["subject"], row["detail"]) for row in reversed(rows)] == [
        ("target.drain", "demo/demo-1", "60 s"),
        ("target.undrain", "demo/demo-1", ""),
        ("config.reload", rows[-3]["subject"], "unchanged"),
        ("config.reload", hashed, ""),
        ("config.reload", hashed, "rejected"),
        ("key.block", "search/ci", ""),
    ]


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1", "", "1e3", "9" * 5000])
async def test_a_limit_that_is_none_is_refused(tmp_path: Path, limit: str) -> None:
    async with Rig(registry=SqliteRegistry(tmp_path / "a.db")).admin() as client:
        response = await client.get(AUDIT, params={"limit": limit})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "limit")


@pytest.mark.parametrize("path", ["audit", "grants"])
async def test_without_a_database_there_is_nothing_to_show_and_operators_are_told_why(path: str) -> None:
    async with Rig().admin() as client:
        response = await client.get(f"/admin/v1/{path}")
    assert response.status_code == 404
    assert "state.url names no database" in response.json()["error"]["message"]


async def test_what_was_done_stays_done_if_it_cannot_be_entered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Rig(registry=Stuck(tmp_path / "a.db")).admin() as client:
        response = await client.post("/admin/v1/targets/drain", json={"target": "demo/demo-1"})
    assert response.status_code == 200
    assert "could not be entered: database or disk is full" in caplog.text


async def test_a_change_that_fails_is_ours_and_one_that_makes_no_sense_the_callers(tmp_path: Path) -> None:
    async with Rig(registry=Stuck(tmp_path / "a.db")).admin(ADMIN_KEY) as client:
        failed = await client.post("/admin/v1/keys/block", json={"team": "search", "name": "ci"})
        refused = await client.post("/admin/v1/keys/unblock", json={"team": "search", "name": "ci"})
    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "overloaded")
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "The key 'ci' is not blocked.")
