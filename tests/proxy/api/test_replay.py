from typing import Any

import httpx
import pytest

from tests.gateways import CONFIG, KEY, VIEWER_KEY, Rig, chat_body

TARGETS = (
    "targets: [{provider: broken, model: cheap, price_usd_per_mtok: {input: 1, output: 2}},"
    " {provider: demo, model: dear, price_usd_per_mtok: {input: 3, output: 6}}]"
)
TWO = CONFIG.replace("targets: [{provider: demo, model: demo-1}]", f"strategy: balanced, {TARGETS}").replace(
    "models:", "  broken: {kind: demo, faults: {first_token: 0ms, error_rate: 100%}}\nmodels:", 1
)


async def a_call(rig: Rig, request_id: str = "mine/1", **fields: Any) -> httpx.Response:
    async with rig.client() as client:
        headers = {"x-request-id": request_id}
        return await client.post("/v1/chat/completions", json=chat_body(**fields), headers=headers)


async def replayed(rig: Rig, id: str = "mine/1") -> Any:
    async with rig.admin(VIEWER_KEY) as client:
        response = await client.get(f"/admin/v1/replay/{id}")
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("key", [None, KEY, "sk-way-wrong"])
async def test_nobody_but_operators_may_ask(key: str | None) -> None:
    rig = Rig(TWO)
    await a_call(rig)
    async with rig.admin(key) as client:
        assert (await client.get("/admin/v1/replay/mine/1")).status_code == 401


@pytest.mark.parametrize("streams", [False, True])
async def test_a_call_that_failed_over_shows_both_plans_and_both_attempts(streams: bool) -> None:
    rig = Rig(TWO)
    assert (await a_call(rig, stream=streams)).status_code == 200
    said = await replayed(rig)
    assert (said["request_id"], said["model"], said["status"], said["error"]) == ("mine/1", "chat", 200, None)
    first, second = said["plans"]
    assert (first["strategy"], first["order"], first["tried"]) == ("balanced", ["broken/cheap", "demo/dear"], [])
    assert second["tried"] == ["broken/cheap"]
    assert [one["target"] for one in said["attempts"]] == ["broken/cheap", "demo/dear"]
    assert said["attempts"][0]["kind"] in ("failed", "rate_limited")  # as the simulated provider breaks
    assert said["attempts"][1]["kind"] == "ok"
    assert said["attempts"][1]["output_tokens"] > 0
    assert (said["attempts"][1]["ttft_s"] is not None) == streams
    assert 0 <= said["attempts"][1]["at_s"] <= said["age_s"]


async def test_every_strategy_has_its_order_and_its_margins() -> None:
    rig = Rig(TWO)
    await a_call(rig, max_tokens=100)
    plan = (await replayed(rig))["plans"][0]
    assert (plan["max_output_tokens"], plan["limit_s"] > 1) == (100, True)
    strategies = {one["strategy"]: one for one in plan["strategies"]}
    assert set(strategies) == {"balanced", "cheapest", "fastest", "reliable"}
    assert [name for name, one in strategies.items() if one["in_force"]] == ["balanced"]
    for one in strategies.values():
        first, second = one["targets"]
        assert (first["place"], first["margin_usd"], second["place"]) == (1, 0, 2)
        assert second["margin_usd"] == pytest.approx(second["estimate"]["score"] - first["estimate"]["score"])
    assert strategies["cheapest"]["targets"][0]["target"] == "broken/cheap"


async def test_a_model_that_takes_turns_has_an_order_and_no_comparison() -> None:
    rig = Rig()
    await a_call(rig)
    (plan,) = (await replayed(rig))["plans"]
    assert (plan["strategy"], plan["order"], plan["strategies"]) == ("round_robin", ["demo/demo-1"], [])


async def test_a_call_is_found_by_its_own_id_too_and_survives_a_reload() -> None:
    rig = Rig(TWO)
    await a_call(rig)
    rig.text = TWO.replace("aliases: [default, org/chat]", "aliases: [brand-new]")
    assert await rig.gateway.reload()
    (line,) = rig.log.lines
    assert (await replayed(rig, line["id"]))["request_id"] == "mine/1"


async def test_nothing_of_the_prompt_and_no_key_is_kept() -> None:
    rig = Rig(TWO)
    await a_call(rig, messages=[{"role": "user", "content": "zanzibar"}], user="somebody")
    said = str(await replayed(rig)) + repr(rig.gateway.surface.history.find("mine/1"))
    assert "zanzibar" not in said
    assert "somebody" not in said
    assert KEY not in said


@pytest.mark.parametrize("path", ["never-heard-of", "a%20b", "mine"])
async def test_an_unknown_id_is_not_found_and_the_answer_helps(path: str) -> None:
    rig = Rig(TWO)
    await a_call(rig)
    async with rig.admin() as client:
        response = await client.get(f"/admin/v1/replay/{path}")
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "not_found")
    assert "x-request-id" in error["message"]
    assert "1 just now" in error["message"]


async def test_without_an_id_there_is_nothing() -> None:
    async with Rig(TWO).admin() as client:
        assert (await client.get("/admin/v1/replay/")).status_code == 404
        assert (await client.post("/admin/v1/replay/x")).status_code == 405
