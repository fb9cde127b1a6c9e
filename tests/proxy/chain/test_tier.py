from typing import Any

import pytest

from proxy.call import Answer, Call, Principal
from proxy.chain.tier import TierRule, Tiers
from proxy.observe import Metrics
from tests.calls import a_call

RULE = TierRule("small", "large")
HARD = (
    "Prove rigorously, step by step, that the algorithm below is correct, derive its complexity, and design a "
    "distributed version that must never deadlock:\n```python\ndef f(xs):\n    return [x for x in xs if x]\n```\n"
) * 3


def asking(text: str, **more: Any) -> Call:
    call = a_call(**more)
    call.request.body["messages"] = [{"role": "user", "content": text}]
    return call


async def through(call: Call, rule: TierRule = RULE, metrics: Metrics | None = None) -> Call:
    async def accept(call: Call) -> Answer:
        return Answer(200, (), "upstream")

    layer = Tiers({"chat": rule}, metrics or Metrics())
    assert (await layer(call, accept)).status == 200
    return call


@pytest.mark.parametrize(
    ("text", "rule", "tier", "model"),
    [
        ("Hello", RULE, "simple", "small"),
        (HARD, RULE, "hard", "large"),
        ("Hello", TierRule("small", "large", simple_below=0.0, hard_above=0.8), "middle", "chat"),
        (HARD, TierRule("small", "large", simple_below=0.3, hard_above=1.0), "middle", "chat"),
    ],
)
async def test_a_call_goes_to_the_model_of_its_tier(text: str, rule: TierRule, tier: str, model: str) -> None:
    call = await through(asking(text), rule)
    assert call.model == model
    assert call.tier is not None
    assert (str(call.tier), call.tier.model) == (tier, "chat")
    assert 0 <= call.tier.complexity < 1


async def test_in_shadow_a_tier_is_found_counted_and_told_and_changes_nothing() -> None:
    metrics = Metrics()
    call = await through(asking(HARD), TierRule("small", "large", is_shadow=True), metrics)
    assert (call.model, str(call.tier)) == ("chat", "hard; shadow")
    labels = {"model": "chat", "tier": "hard", "shadow": "true"}
    assert metrics.registry.get_sample_value("llm_tier_decisions_total", labels) == 1


async def test_a_tier_never_opens_a_model_the_team_may_not_use() -> None:
    call = await through(asking("Hello", principal=Principal("search", "ci", frozenset({"chat", "large"}))))
    assert (call.model, str(call.tier)) == ("chat", "simple; not allowed")


async def test_a_call_in_the_middle_is_always_allowed_to_stay() -> None:
    rule = TierRule("small", "large", simple_below=0.0)
    call = await through(asking("Hello", principal=Principal("search", "ci", frozenset({"chat"}))), rule)
    assert (call.model, str(call.tier)) == ("chat", "middle")


async def test_a_model_without_tiers_is_left_alone_and_so_is_the_tier_of_a_tier() -> None:
    call = await through(asking("Hello", model="other"))
    assert (call.model, call.tier) == ("other", None)
    both = Tiers({"chat": RULE, "small": TierRule("tiny", "large")}, Metrics())
    call = asking("Hello")

    async def accept(call: Call) -> Answer:
        return Answer(200, (), "upstream")

    await both(call, accept)
    assert call.model == "small"
