from collections.abc import Mapping
from typing import Any

import pytest

from proxy.config.faults import Finding
from proxy.config.verify_prices import check_prices


def knows(provider: Mapping[str, object], model: str) -> bool:
    """A price table with one model in it."""
    return provider.get("kind") == "openai" and model == "known"


def beside_prices(*names: str, policy: str = "warn", **fields: Any) -> list[Finding]:
    """What is found of a model with these targets at a real provider, and another one at a simulated."""
    targets = [{"provider": "real", "model": name} for name in names]
    data = {
        "providers": {"real": {"kind": "openai"}, "p": {"kind": "demo"}},
        "models": {"chat": {"targets": targets, **fields}, "other": {"targets": [{"provider": "p", "model": "m"}]}},
        "accounting": {"unpriced": policy},
    }
    return list(check_prices(data, knows))


@pytest.mark.parametrize("policy", ["warn", "refuse"])
def test_a_target_without_a_price_is_warned_of_or_refused(policy: str) -> None:
    [finding] = beside_prices("known", "unknown", policy=policy)
    assert (finding.path, finding.is_warning) == (("models", "chat", "targets", 1), policy == "warn")
    assert finding.message.startswith("no price is known for it")
    assert "price_usd_per_mtok" in finding.hint


def test_a_price_of_the_config_is_a_price() -> None:
    target = {"provider": "real", "model": "unknown", "price_usd_per_mtok": {"input": 0, "output": 0}}
    assert beside_prices(targets=[target], policy="refuse") == []


def test_prices_of_the_table_are_enough_to_compare_by() -> None:
    target = {"provider": "real", "model": "unknown", "price_usd_per_mtok": {"input": 1, "output": 1}}
    targets = [{"provider": "real", "model": "known"}, target]
    assert beside_prices(targets=targets, strategy="cheapest") == []
    assert beside_prices(targets=targets, strategy="balanced", hedge={"max_extra_cost": "5%"}) == []


def test_cheapest_names_only_the_targets_that_nobody_has_a_price_for() -> None:
    faults = [finding for finding in beside_prices("known", "unknown", strategy="cheapest") if not finding.is_warning]
    assert [finding.path for finding in faults] == [("models", "chat", "targets", 1)]
    assert faults[0].message == "strategy cheapest needs its price"
