import asyncio
from collections.abc import Callable
from time import monotonic

import pytest

from proxy.api.respond import Exchange, Pace
from proxy.config import ConfigFaults
from tests.calls import Client, a_call, never
from tests.gateways import CONFIG, KEY, Rig, chat_body


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
    rig.text = CONFIG + "\nstate: {journal: x}\n"
    assert [warning.path for warning in await rig.gateway.check()] == ["state"]
    assert rig.gateway._world is world
    assert KEY not in str(rig.gateway.config)


def test_a_setting_without_effect_is_warned_of_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    Rig(CONFIG + "\nstate: {journal: x}\n")
    assert "state: accepted, but this version does not act on it" in caplog.text


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
