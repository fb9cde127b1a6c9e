import pytest

from proxy.accounting import PriceBook, PriceTable
from proxy.chain.groups import group_of, lacks_of
from proxy.config import TargetConfig
from proxy.config.load import load_text
from routing import Capacity, Group, Objective, Price

CONFIG = """
version: 1
providers: {p: {kind: demo}}
models:
  plain: {targets: [{provider: p, model: m}]}
  whole:
    strategy: weighted
    slo: {ttft: 500ms, ttft_within: 90%, success: 99.9%}
    retries: {max_attempts: 2, max_ratio: 5%}
    targets:
      - provider: p
        model: m
        weight: 3
        capacity: {rpm: 60, tpm: 10k, concurrency: auto}
        price_usd_per_mtok: {input: 0.5, cached_input: 0.25, output: 1.5}
teams: {t: {keys: [{name: k, key: sk-way-0123456789}]}}
"""
LOADED = load_text(CONFIG, {}, "groups.yaml").config


def group(model: str) -> Group:
    return group_of(model, LOADED, PriceBook(LOADED, PriceTable(), 0.0), 0.0)


def test_what_the_config_says_of_a_model_reaches_routing() -> None:
    made = group("whole")
    (target,) = made.targets
    assert (made.strategy, made.objective) == ("weighted", Objective(0.5, 0.9, 0.999))
    assert (made.retries.max_attempts, made.retries.max_ratio) == (2, 0.05)
    assert (target.name, target.provider, target.model, target.weight) == ("p/m", "p", "m", 3)
    assert target.capacity == Capacity(60, 10_000, "auto")
    assert target.price == Price(0.5, 1.5, 0.25)


def test_what_it_does_not_say_is_unknown_or_the_default() -> None:
    made = group("plain")
    (target,) = made.targets
    assert (made.strategy, made.objective) == ("round_robin", Objective(2.0, 0.95))
    assert (target.price, target.capacity) == (None, Capacity())


@pytest.mark.parametrize(
    ("kind", "model", "lacks"),
    [
        ("openai", "gpt-4o-mini", set()),
        ("anthropic", "claude-haiku-4-5", {"embeddings"}),
        ("openai", "text-embedding-3-small", {"chat"}),
        ("openai", "nomic-Embed-text", {"chat"}),
        ("openai", "bge-m3", set()),
    ],
)
def test_what_a_target_is_for_is_known_by_its_provider_and_its_name(kind: str, model: str, lacks: set[str]) -> None:
    assert lacks_of(TargetConfig(provider="p", model=model), kind) == lacks


def test_the_kind_of_its_provider_reaches_routing() -> None:
    text = CONFIG.replace("{p: {kind: demo}}", "{p: {kind: anthropic, api_key: sk-ant-0123456789}}")
    config = load_text(text, {}, "groups.yaml").config
    made = group_of("plain", config, PriceBook(config, PriceTable(), 0.0), 0.0)
    assert made.targets[0].lacks == {"embeddings"}
