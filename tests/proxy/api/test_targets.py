from math import inf
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.cli.latencies import read_measured
from routing.tally import Share
from tests.gateways import CONFIG, KEY, VIEWER_KEY, Rig, chat_body
from tests.news import FakeNews

TWO = CONFIG.replace(
    "targets: [{provider: demo, model: demo-1}]",
    "strategy: balanced, targets: [{provider: demo, model: demo-1, price_usd_per_mtok: {input: 1, output: 2}},"
    " {provider: demo, model: demo-9, price_usd_per_mtok: {input: 3, output: 6}}]",
)


async def explain(client: httpx.AsyncClient, **body: Any) -> Any:
    response = await client.post("/admin/v1/explain", json={"model": "chat", **body})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("key", [None, KEY, "sk-way-wrong"])
async def test_nobody_but_operators_sees_or_moves_targets(key: str | None) -> None:
    async with Rig(TWO).admin(key) as client:
        assert (await client.get("/admin/v1/targets")).status_code == 401
        for path in ("targets/drain", "targets/undrain", "explain"):
            assert (await client.post(f"/admin/v1/{path}", json={"target": "demo/demo-1"})).status_code == 401


async def test_every_target_is_listed_with_how_it_fares() -> None:
    rig = Rig(TWO)
    async with rig.client() as client:
        await client.post("/v1/chat/completions", json=chat_body())
    async with rig.admin(VIEWER_KEY) as client:
        rows = (await client.get("/admin/v1/targets")).json()["targets"]
    assert {row["target"] for row in rows} == {"demo/demo-1", "demo/demo-9", "demo/demo-2"}
    assert {row["breaker"] for row in rows} == {"closed"}
    assert all(row["in_flight"] == 0 and row["p_ok"] > 0.98 and row["headroom"] == 1 for row in rows)


async def test_what_is_measured_of_a_target_is_what_a_simulation_reads(tmp_path: Path) -> None:
    rig = Rig()
    async with rig.client() as client:
        for _ in range(6):
            rig.gateway.surface.router.fleet["demo/demo-1"]._heard_at = -inf  # as if it were some time ago
            await client.post("/v1/chat/completions", json=chat_body(stream=True))
    async with rig.admin(VIEWER_KEY) as client:
        response = await client.get("/admin/v1/targets")
    rows = {row["target"]: row for row in response.json()["targets"]}
    assert (rows["demo/demo-1"]["samples"], rows["demo/demo-2"]["samples"]) == (6, 0)
    assert rows["demo/demo-1"]["tokens_per_s"] > 0
    assert rows["demo/demo-2"]["tokens_per_s"] is None
    (saved := tmp_path / "targets.json").write_bytes(response.content)
    (latency,) = read_measured(saved).values()
    assert (latency.source, latency.base_s) == ("measured", rows["demo/demo-1"]["base_s"])


async def test_a_drained_target_is_left_out_until_it_is_taken_in_again(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(TWO)
    async with rig.admin() as admin, rig.client() as client:
        with caplog.at_level("WARNING", logger="proxy"):
            drained = await admin.post("/admin/v1/targets/drain", json={"target": "demo/demo-1", "seconds": 60})
        assert drained.json() == {"target": "demo/demo-1", "drained_for_s": 60}
        assert "audit: 'ops' drained the target demo/demo-1 for 60 s" in caplog.text
        answer = await client.post("/v1/chat/completions", json=chat_body())
        assert answer.headers["x-waystation-model"] == "demo-9"
        verdict = (await explain(admin))["candidates"][-1]
        assert (verdict["target"], verdict["excluded"], verdict["place"]) == ("demo/demo-1", "drained", None)
        assert 50 < verdict["until_s"] <= 60
        assert (await admin.post("/admin/v1/targets/undrain", json={"target": "demo/demo-1"})).status_code == 200
        answer = await client.post("/v1/chat/completions", json=chat_body())
        assert answer.headers["x-waystation-model"] == "demo-1"


async def test_a_viewer_may_not_drain() -> None:
    async with Rig(TWO).admin(VIEWER_KEY) as client:
        response = await client.post("/admin/v1/targets/drain", json={"target": "demo/demo-1"})
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("targets/drain", {"target": "nobody/x"}, "target"),
        ("targets/drain", {"target": "demo/demo-1", "seconds": 0}, "seconds"),
        ("targets/drain", {"target": "demo/demo-1", "seconds": True}, "seconds"),
        ("targets/drain", {"target": "demo/demo-1", "seconds": 1e9}, "seconds"),
        ("targets/undrain", {}, "target"),
        ("explain", {"model": "chat", "tokens": -1}, "tokens"),
        ("explain", {"model": "chat", "tokens": "many"}, "tokens"),
        ("explain", {"model": "chat", "needs": ["tolls"]}, "needs"),
        ("explain", {"model": "chat", "needs": "tools"}, "needs"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_named(path: str, body: dict[str, Any], param: str) -> None:
    async with Rig(TWO).admin() as client:
        response = await client.post(f"/admin/v1/{path}", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a":"' + b"x" * 70_000 + b'"}'])
async def test_a_body_that_is_no_small_object_is_refused(content: bytes) -> None:
    async with Rig(TWO).admin() as client:
        assert (await client.post("/admin/v1/explain", content=content)).status_code == 400


async def test_an_explanation_shows_every_candidate_with_its_price_its_risk_and_its_margin() -> None:
    async with Rig(TWO).admin(VIEWER_KEY) as client:
        said = await explain(client, tokens=2000, max_tokens=100, team="search")
    assert (said["model"], said["strategy"], said["team_may_use_it"]) == ("chat", "balanced", True)
    first, second = said["candidates"]
    assert (first["target"], first["place"], first["margin_usd"]) == ("demo/demo-1", 1, 0)
    assert (second["target"], second["place"], second["excluded"]) == ("demo/demo-9", 2, None)
    assert second["margin_usd"] > 0
    assert first["price_usd_per_mtok"] == {"input": 1, "output": 2, "cached_input": None}
    assert first["price_source"] == "config"
    assert first["price_version"].startswith("config:")
    assert first["estimate"]["cost_usd"] == pytest.approx(2000 * 1e-6 + 100 * 2e-6)
    assert 0 < first["estimate"]["ttft_p50_s"] < first["estimate"]["ttft_p95_s"]


async def test_an_explanation_says_what_a_target_lacks_holds_and_has_dropped_for_it() -> None:
    text = TWO.replace("model: demo-9,", "model: demo-9, context: 4k, lacks: [tools, seed], drop_params: [seed],")
    async with Rig(text).admin() as client:
        able = (await explain(client))["candidates"][-1]
        unable = (await explain(client, needs=["tools", "seed"]))["candidates"][-1]
        too_long = (await explain(client, tokens=3000, max_tokens=1001))["candidates"][-1]
    assert (able["lacks"], able["context_tokens"], able["drop_params"]) == (["tools"], 4000, ["seed"])
    assert (able["excluded"], unable["excluded"]) == (None, "lacks tools")
    assert too_long["excluded"] == "context of 4000 tokens"


async def test_explaining_asks_nobody_and_changes_nothing() -> None:
    rig = Rig(TWO)
    async with rig.admin() as client:
        assert await explain(client) == await explain(client)
    assert rig.log.lines == []


async def test_an_explanation_needs_a_model_and_a_team_that_exist() -> None:
    async with Rig(TWO).admin() as client:
        assert (await client.post("/admin/v1/explain", json={"model": "nope"})).status_code == 404
        assert (await client.post("/admin/v1/explain", json={"model": "chat", "team": "nope"})).status_code == 404
        assert (await explain(client, model="large", team="search"))["team_may_use_it"] is False


async def test_a_model_that_only_takes_turns_is_explained_without_estimates() -> None:
    async with Rig().admin() as client:
        said = await explain(client)
    assert (said["strategy"], said["miss_usd"]) == ("round_robin", None)
    assert [one["price_source"] for one in said["candidates"]] == ["simulated"]
    assert [(one["place"], one["estimate"]) for one in said["candidates"]] == [(1, None)]


async def test_an_explanation_says_what_a_failure_counts_as_where_success_is_promised() -> None:
    promised = TWO.replace("strategy: balanced", "strategy: balanced, slo: {success: 99.9%}")
    async with Rig(TWO).admin() as client, Rig(promised).admin() as strict:
        without, with_it = await explain(client), await explain(strict)
    assert (without["objective_success"], without["failure_usd"]) == (None, None)
    assert (with_it["objective_success"], with_it["failure_usd"] > 0) == (0.999, True)


async def test_an_explanation_is_for_a_chat_completion_unless_it_asks_for_embeddings() -> None:
    rig = Rig(CONFIG.replace("model: demo-2", "model: demo-embed"))
    async with rig.admin() as client:
        chat, embedding = [
            (await client.post("/admin/v1/explain", json={"model": "large", "needs": needs})).json()["candidates"][0]
            for needs in ([], ["embeddings"])
        ]
    assert (chat["excluded"], embedding["excluded"]) == ("lacks chat", None)


async def test_in_a_fleet_a_drain_is_ordered_for_all_gateways_or_for_none() -> None:
    news = FakeNews()
    rig = Rig(TWO, news=news)
    order = {"target": "demo/demo-1", "seconds": 60}
    async with rig.admin() as admin:
        assert (await admin.post("/admin/v1/targets/drain", json=order)).status_code == 200
        assert (await admin.post("/admin/v1/targets/undrain", json=order)).status_code == 200
        assert news.told == [("drain", "demo/demo-1", 60.0), ("undrain", "demo/demo-1")]
        news.is_away = True
        refused = await admin.post("/admin/v1/targets/drain", json=order)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "Take it as not done" in refused.json()["error"]["message"]
        assert rig.gateway.surface.router.fleet["demo/demo-1"].drained_until == -inf


async def test_in_a_fleet_attempts_under_way_elsewhere_are_shown() -> None:
    rig = Rig(TWO, news=FakeNews())
    fleet_news = rig.gateway.surface.fleet_news
    assert fleet_news is not None
    fleet_news.share()
    share = list(Share(in_flight=3.0))
    fleet_news.sharing.absorb("other", {"demo/demo-1": share}, 0.0)
    async with rig.admin(VIEWER_KEY) as client:
        rows = (await client.get("/admin/v1/targets")).json()["targets"]
    assert {row["target"]: row["in_flight_elsewhere"] for row in rows}["demo/demo-1"] == 3
