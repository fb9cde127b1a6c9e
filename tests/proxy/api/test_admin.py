import pytest

from proxy.observe import Board, Crew, Metrics
from tests.gateways import CONFIG, KEY, VIEWER_KEY, Rig


async def test_metrics_are_open_at_the_admin_address() -> None:
    async with Rig().admin(None) as client:
        response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "llm_config_info{config_hash=" in response.text


@pytest.mark.parametrize("key", [None, KEY, "sk-way-wrong"])
async def test_nobody_but_operators_sees_or_changes_the_config(key: str | None) -> None:
    async with Rig().admin(key) as client:
        assert (await client.get("/admin/v1/config")).status_code == 401
        assert (await client.post("/admin/v1/config/check")).status_code == 401
        assert (await client.post("/admin/v1/config/reload")).status_code == 401


async def test_a_viewer_may_look_and_check_but_not_reload() -> None:
    rig = Rig()
    async with rig.admin(VIEWER_KEY) as client:
        assert (await client.get("/admin/v1/config")).json()["config_hash"] == rig.gateway.surface.config_hash
        assert (await client.post("/admin/v1/config/check")).json() == {"ok": True, "warnings": []}
        response = await client.post("/admin/v1/config/reload")
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "admin_role_required"


async def test_an_admin_reloads_and_is_remembered_for_it(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.text = CONFIG.replace("demo-2", "demo-3")
    with caplog.at_level("INFO", logger="proxy"):
        async with rig.admin() as client:
            response = await client.post("/admin/v1/config/reload")
    assert response.json() == {"ok": True, "changed": True, "config_hash": rig.gateway.surface.config_hash}
    assert "audit: 'ops'" in caplog.text


async def test_a_faulty_file_is_reported_with_its_lines_and_not_taken() -> None:
    rig = Rig()
    before = rig.gateway.surface
    rig.text = CONFIG.replace("version: 1", "version: 1\nserver: {lisen: x}")
    async with rig.admin() as client:
        checked = await client.post("/admin/v1/config/check")
        reloaded = await client.post("/admin/v1/config/reload")
    assert (checked.status_code, reloaded.status_code) == (422, 422)
    assert checked.json() == reloaded.json()
    assert checked.json()["faults"] == ["gateway.yaml:3:10: server: unknown key 'lisen' (did you mean 'listen'?)"]
    assert rig.gateway.surface is before


async def test_the_chat_endpoint_is_not_at_the_admin_address() -> None:
    async with Rig().admin() as client:
        assert (await client.post("/v1/chat/completions", json={})).status_code == 404


async def test_one_of_several_workers_shows_the_metrics_of_all_and_has_all_reload() -> None:
    rig, board, sibling = Rig(), Board(2), Metrics()
    rig.gateway.crew = Crew(board, 0, -1)
    sibling.error("timeout")
    Crew(board, 1, -1).publish_now(sibling)
    rig.metrics.error("timeout")
    before = board.reloads
    async with rig.admin() as client:
        metrics = await client.get("/metrics")
        reloaded = await client.post("/admin/v1/config/reload")
    assert 'llm_errors_total{kind="timeout"} 2.0' in metrics.text
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert reloaded.status_code == 200
    assert board.reloads != before
