from proxy.chain.groups import group_of
from proxy.config.load import load_text
from routing import Capacity, Objective, Price

CONFIG = """
version: 1
providers: {p: {kind: demo}}
models:
  plain: {targets: [{provider: p, model: m}]}
  whole:
    strategy: weighted
    slo: {ttft: 500ms, ttft_within: 90%}
    retries: {max_attempts: 2, max_ratio: 5%}
    targets:
      - provider: p
        model: m
        weight: 3
        capacity: {rpm: 60, tpm: 10k, concurrency: auto}
        price_usd_per_mtok: {input: 0.5, cached_input: 0.25, output: 1.5}
teams: {t: {keys: [{name: k, key: sk-way-0123456789}]}}
"""
MODELS = load_text(CONFIG, {}, "groups.yaml").config.models


def test_what_the_config_says_of_a_model_reaches_routing() -> None:
    group = group_of(MODELS["whole"])
    (target,) = group.targets
    assert (group.strategy, group.objective) == ("weighted", Objective(0.5, 0.9))
    assert (group.retries.max_attempts, group.retries.max_ratio) == (2, 0.05)
    assert (target.name, target.provider, target.model, target.weight) == ("p/m", "p", "m", 3)
    assert target.capacity == Capacity(60, 10_000, "auto")
    assert target.price == Price(0.5, 1.5, 0.25)


def test_what_it_does_not_say_is_unknown_or_the_default() -> None:
    group = group_of(MODELS["plain"])
    (target,) = group.targets
    assert (group.strategy, group.objective) == ("round_robin", Objective(2.0, 0.95))
    assert (target.price, target.capacity) == (None, Capacity())
