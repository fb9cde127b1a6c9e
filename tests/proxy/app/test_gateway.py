import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from proxy.api.respond import Exchange, Pace
from proxy.config import ConfigFaults
from proxy.state import open_registry
from proxy.wire.answer import ChatAnswer
from proxy.wire.usage import Usage
from routing import Facts, Price
from tests.calls import Client, ScriptedProvider, a_call, never
from tests.gateways import CONFIG, KEY, OTHER_KEY, Rig, chat_body


def closed(rig: Rig, name: str) -> Callable[[], bool]:
    """Has this provider of the world in force been closed?"""
    provider = rig.gateway._world.providers[name]
    state = {"closed": False}
    inner = provider.aclose

    async def aclose() -> None:
        state["closed"] = True
        await inner()

    provider.aclose = aclose  # type: ignore[method-assign]  # the only way to see it from outside
    return lambda: state["closed"]


async def test_a_changed_config_is_in_force_for_the_next_call() -> None:
    rig = Rig()
    before = rig.gateway.surface.config_hash
    rig.text = CONFIG.replace("aliases: [default, org/chat]", "aliases: [brand-new]")
    assert await rig.gateway.reload()
    assert rig.gateway.surface.config_hash != before
    async with rig.client() as client:
        assert (await client.post("/v1/chat/completions", json=chat_body("brand-new"))).status_code == 200
        assert (await client.post("/v1/chat/completions", json=chat_body("default"))).status_code == 404
    assert rig.metrics.registry.get_sample_value("llm_config_reloads_total", {"result": "ok"}) == 1


async def test_a_config_that_says_the_same_changes_nothing() -> None:
    rig = Rig()
    world = rig.gateway._world
    rig.text = CONFIG + "\n# a comment\n"
    assert not await rig.gateway.reload()
    assert rig.gateway._world is world


async def test_a_faulty_config_keeps_the_old_world_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    world = rig.gateway._world
    rig.text = CONFIG.replace("provider: demo, model: demo-2", "provider: dmeo, model: demo-2")
    with pytest.raises(ConfigFaults):
        await rig.gateway.reload()
    assert rig.gateway._world is world
    assert "gateway.yaml:" in caplog.text
    assert "did you mean 'demo'?" in caplog.text
    assert rig.metrics.registry.get_sample_value("llm_config_reloads_total", {"result": "rejected"}) == 1


async def test_an_unchanged_provider_is_carried_over_and_a_changed_one_closed() -> None:
    rig = Rig(
        CONFIG.replace("models:", "  other: {kind: demo}\nmodels:", 1).replace(
            "demo-1}]", "demo-1}, {provider: other, model: x}]"
        )
    )
    kept, dropped = closed(rig, "demo"), closed(rig, "other")
    old = rig.gateway._world
    rig.text = rig.text.replace("other: {kind: demo}", "other: {kind: demo, profile: cheap}")
    assert await rig.gateway.reload()
    await asyncio.gather(*rig.gateway._retiring)
    assert rig.gateway._world.providers["demo"] is old.providers["demo"]
    assert rig.gateway._world.providers["other"] is not old.providers["other"]
    assert (kept(), dropped()) == (False, True)


async def test_a_dropped_provider_lives_until_the_last_call_that_could_use_it_has_ended() -> None:
    rig = Rig()
    is_closed = closed(rig, "demo")
    client = Client()
    exchange = Exchange(a_call(), never(), client.receive, client.send, Pace(60, 60))
    rig.gateway.exchanges.add(exchange)
    rig.text = CONFIG.replace("kind: demo,", "kind: demo, profile: cheap,")
    await rig.gateway.reload()
    await asyncio.sleep(0.25)
    assert not is_closed()
    rig.gateway.exchanges.discard(exchange)
    await asyncio.wait_for(asyncio.gather(*rig.gateway._retiring), 2)
    assert is_closed()


async def test_closing_the_gateway_closes_its_providers() -> None:
    rig = Rig()
    is_closed = closed(rig, "demo")
    await rig.gateway.aclose()
    assert is_closed()


async def test_exchanges_that_outlive_the_drain_are_stopped() -> None:
    rig = Rig()
    client = Client()
    exchange = Exchange(a_call(), never(), client.receive, client.send, Pace(60, 60))
    rig.gateway.exchanges.add(exchange)
    task = asyncio.create_task(exchange.run())
    await asyncio.sleep(0)
    assert rig.gateway.stop_exchanges() == 1
    await asyncio.wait_for(task, 1)
    assert client.status == 503


def test_a_gateway_does_not_start_on_a_faulty_config() -> None:
    with pytest.raises(ConfigFaults):
        Rig("version: 2")


async def test_a_check_reads_the_file_and_changes_nothing() -> None:
    rig = Rig()
    world = rig.gateway._world
    rig.text = CONFIG + "\nserver: {trusted_proxies: [10.0.0.1]}\n"
    assert [warning.path for warning in await rig.gateway.check()] == ["server.trusted_proxies"]
    assert rig.gateway._world is world
    assert KEY not in str(rig.gateway.config)


def test_a_setting_without_effect_is_warned_of_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    Rig(CONFIG + "\nserver: {trusted_proxies: [10.0.0.1]}\n")
    assert "server.trusted_proxies: accepted, but this version does not act on it" in caplog.text


async def test_a_provider_that_gets_one_more_model_keeps_its_connections() -> None:
    rig = Rig()
    old = rig.gateway._world.providers["demo"]
    rig.text = CONFIG.replace("models:\n", "models:\n  new: {targets: [{provider: demo, model: demo-9}]}\n", 1)
    assert await rig.gateway.reload()
    assert rig.gateway._world.providers["demo"] is old


async def test_what_was_learned_of_a_target_survives_a_reload_and_ends_with_it() -> None:
    rig = Rig()
    state = rig.gateway.surface.router.fleet["demo/demo-1"]
    rig.text = CONFIG.replace("aliases: [default, org/chat]", "aliases: [brand-new]")
    await rig.gateway.reload()
    assert rig.gateway.surface.router.fleet["demo/demo-1"] is state
    rig.text = CONFIG.replace("model: demo-1", "model: demo-7")
    await rig.gateway.reload()
    await asyncio.gather(*rig.gateway._retiring)
    assert set(rig.gateway.surface.router.fleet) == {"demo/demo-7", "demo/demo-2"}


def test_the_state_of_every_breaker_is_a_metric() -> None:
    rig = Rig()
    read = rig.metrics.registry.get_sample_value
    assert read("llm_breaker_state", {"target": "demo/demo-1"}) == 0
    rig.gateway.surface.router.fleet["demo/demo-1"].breaker.cool_down(60, monotonic())
    assert read("llm_breaker_state", {"target": "demo/demo-1"}) == 2


def listening(rig: Rig) -> ScriptedProvider:
    """A provider in the place of `demo` that keeps what it is sent."""
    provider = ScriptedProvider("demo", [ChatAnswer(b"{}", Usage(1, 1))])
    rig.gateway._world.providers["demo"] = provider  # type: ignore[index]  # only a test may
    return provider


def with_target(settings: str) -> Rig:
    """Model `chat` has demo-1 with these settings, then demo-9."""
    return Rig(CONFIG.replace("model: demo-1}]", f"model: demo-1, {settings}}}, {{provider: demo, model: demo-9}}]"))


async def test_a_call_skips_the_target_that_lacks_what_it_needs_and_no_other_call_does() -> None:
    rig = with_target("lacks: [tools, seed]")
    provider = listening(rig)
    async with rig.client() as client:
        for _ in range(4):
            await client.post("/v1/chat/completions", json=chat_body(seed=1))
        assert set(provider.asked) == {"demo-9"}
        await client.post("/v1/chat/completions", json=chat_body())
        await client.post("/v1/chat/completions", json=chat_body())
    assert "demo-1" in provider.asked


async def test_what_may_be_dropped_is_left_out_for_its_target_alone_and_everybody_is_told() -> None:
    rig = with_target("lacks: [seed], drop_params: [seed, user]")
    provider = listening(rig)
    told = {}
    async with rig.client() as client:
        for _ in range(2):
            answer = await client.post("/v1/chat/completions", json=chat_body(seed=1, user="u", top_p=0.5))
            told[answer.headers["x-waystation-model"]] = answer.headers.get("x-waystation-dropped")
    assert told == {"demo-1": "seed,user", "demo-9": None}
    sent = dict(zip(provider.asked, provider.requests, strict=True))
    assert sent["demo-1"].body.keys() == {"model", "messages", "top_p"}
    assert sent["demo-9"].body.keys() == {"model", "messages", "top_p", "seed", "user"}
    assert [line.get("dropped") for line in rig.log.lines] == [
        "seed,user" if model == "demo-1" else None for model in provider.asked
    ]


async def test_a_need_that_nobody_meets_and_a_length_that_nobody_holds_are_the_requests_own_fault() -> None:
    rig = Rig(CONFIG.replace("model: demo-1}", "model: demo-1, lacks: [tools], context: 1k}"))
    provider = listening(rig)
    tools = [{"type": "function", "function": {"name": "f"}}]
    long = [{"role": "user", "content": "word " * 4000}]
    async with rig.client() as client:
        unmet = await client.post("/v1/chat/completions", json=chat_body(tools=tools))
        too_long = await client.post("/v1/chat/completions", json=chat_body(messages=long))
    assert (unmet.status_code, unmet.json()["error"]["param"]) == (400, "tools")
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert too_long.headers["x-should-retry"] == "false"
    assert provider.asked == []


@pytest.mark.parametrize(
    ("shadow", "key", "asked", "said"),
    [
        ("false", OTHER_KEY, "demo-2", "simple"),
        ("true", OTHER_KEY, "demo-1", "simple; shadow"),
        ("false", KEY, "demo-1", "simple; not allowed"),  # its team may use no model but chat
    ],
)
async def test_a_simple_call_goes_to_the_model_of_its_tier(shadow: str, key: str, asked: str, said: str) -> None:
    tier = f"chat: {{tier: {{simple: large, hard: chat, shadow: {shadow}}}, "
    rig = Rig(CONFIG.replace("chat: {", tier, 1))
    provider = listening(rig)
    async with rig.client(key) as client:
        answer = await client.post("/v1/chat/completions", json=chat_body("default"))
    assert provider.asked == [asked]
    assert (answer.headers["x-waystation-model"], answer.headers["x-waystation-tier"]) == (asked, said)
    [line] = rig.log.lines
    assert (line["asked_model"], line["tier"]) == ("chat", said)
    assert line["model"] == ("large" if asked == "demo-2" else "chat")
    labels = {"model": "chat", "tier": "simple", "shadow": shadow}
    assert rig.metrics.registry.get_sample_value("llm_tier_decisions_total", labels) == 1


async def test_calls_of_an_older_world_count_until_they_end_and_new_bounds_hold_at_once() -> None:
    bounded = CONFIG.replace("version: 1\n", "version: 1\nserver: {admission: {concurrency: 1, queue: 0}}\n")
    rig = Rig(bounded)
    inside = a_call()
    rig.gateway._lasting.admission.let_in(inside)
    rig.text = bounded.replace("models: [chat]", "models: [chat, large]")
    assert await rig.gateway.reload()
    async with rig.client() as client:
        refused = await client.post("/v1/chat/completions", json=chat_body())
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        rig.text = rig.text.replace("concurrency: 1", "concurrency: 2")
        assert await rig.gateway.reload()
        assert (await client.post("/v1/chat/completions", json=chat_body())).status_code == 200
    await inside.closing.aclose()
    assert rig.gateway._lasting.admission.inside == 0
    assert rig.metrics.registry.get_sample_value("llm_shed_requests_total", {"reason": "queue_full"}) == 1


def test_routing_compares_the_prices_of_the_config_and_of_the_table_and_none_of_simulations() -> None:
    targets = (
        "[{provider: openai, model: gpt-4o-mini}, {provider: openai, model: gpt-99},"
        " {provider: openai, model: gpt-4o, price_usd_per_mtok: {input: 1, output: 2}},"
        " {provider: demo, model: demo-1}]"
    )
    text = CONFIG.replace("targets: [{provider: demo, model: demo-1}]", f"strategy: balanced, targets: {targets}")
    rig = Rig(text.replace("providers:\n", "providers:\n  openai: {kind: openai, api_key: sk-abcdefabcdefabcdef}\n"))
    explanation = rig.gateway.surface.router.explain(Facts("chat", stream=True), 0.0)
    assert {verdict.target.name: verdict.target.price for verdict in explanation.verdicts} == {
        "openai/gpt-4o-mini": Price(0.15, 0.6, 0.075),
        "openai/gpt-99": None,
        "openai/gpt-4o": Price(1.0, 2.0),
        "demo/demo-1": None,
    }


async def test_a_json_answer_says_what_it_cost_and_so_do_the_log_and_the_metrics() -> None:
    rig = Rig(CONFIG.replace("model: demo-1}", "model: demo-1, price_usd_per_mtok: {input: 1, output: 2}}"))
    provider = ScriptedProvider("demo", [ChatAnswer(b"{}", Usage(1000, 500))])
    rig.gateway._world.providers["demo"] = provider  # type: ignore[index]  # only a test may
    async with rig.client() as client:
        answer = await client.post("/v1/chat/completions", json=chat_body())
    assert answer.headers["x-waystation-cost-usd"] == "0.002000000"
    assert rig.log.lines[0]["cost_usd"] == 0.002
    labels = {"model": "chat", "provider": "demo", "team": "search"}
    assert rig.metrics.registry.get_sample_value("llm_cost_usd_total", labels) == 0.002


def _limited(limits: str) -> str:
    return CONFIG.replace("models: [chat]}", f"models: [chat], limits: {limits}}}")


async def test_limits_hold_across_reloads_and_the_layer_is_there_only_with_them() -> None:
    rig = Rig(_limited("{rpm: 2}"))
    async with rig.client() as client, rig.client(OTHER_KEY) as other:
        first = await client.post("/v1/chat/completions", json=chat_body())
        assert (first.status_code, first.headers["x-ratelimit-remaining-requests"]) == (200, "1")
        assert "x-ratelimit-limit-requests" not in (await other.post("/v1/chat/completions", json=chat_body())).headers
        rig.text = _limited("{rpm: 3, tpm: 100k}")
        assert await rig.gateway.reload()
        second = await client.post("/v1/chat/completions", json=chat_body())
        assert (second.status_code, second.headers["x-ratelimit-remaining-requests"]) == (200, "1")
        rig.text = _limited("{rpm: 1}")
        assert await rig.gateway.reload()
        refused = await client.post("/v1/chat/completions", json=chat_body())
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 0 < int(refused.headers["retry-after-ms"]) <= 60_500
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        rig.text = CONFIG
        assert await rig.gateway.reload()
        last = await client.post("/v1/chat/completions", json=chat_body())
        assert last.status_code == 200
        assert "x-ratelimit-limit-requests" not in last.headers
    assert [line["limit"] for line in rig.log.lines if "limit" in line] == ["team_rpm"]


async def test_another_database_is_taken_at_the_next_start_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = open_registry(f"sqlite:///{tmp_path}/a.db")
    rig = Rig(registry=registry)
    rig.text = CONFIG + f"\nstate: {{url: 'sqlite:///{tmp_path}/b.db'}}\n"
    assert await rig.gateway.reload()
    assert "state.url is read at start only" in caplog.text
    assert rig.gateway.surface.registry is registry
    await rig.gateway.aclose()
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]
