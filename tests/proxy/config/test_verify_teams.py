from typing import Any

import pytest

from proxy.config.faults import Finding, display_path
from proxy.config.load import load_text
from proxy.config.verify_teams import check_key_limits
from tests.gateways import CONFIG, KEY


def findings(team: object, *keys: object) -> list[Finding]:
    return list(check_key_limits({"search": {"limits": team, "keys": [{"limits": limits} for limits in keys]}}))


def test_a_keys_limit_above_its_teams_is_pointed_out() -> None:
    [finding] = findings({"rpm": 60, "tpm": "10k"}, {"rpm": 10}, {"rpm": 10, "tpm": "20k"})
    assert (display_path(finding.path), finding.is_warning) == ("teams.search.keys[1].limits.tpm", True)
    assert "10,000" in finding.message


@pytest.mark.parametrize(
    ("team", "key"),
    [
        ({"rpm": 60}, {"rpm": 60}),
        ({"rpm": 60}, {"tpm": 600}),
        (None, {"rpm": 60}),
        ({"rpm": 60}, None),
        ({"rpm": "many"}, {"rpm": 60}),
        ({"rpm": 60}, {"rpm": [], "tpmm": 7}),
        ("garbage", {"rpm": 60}),
    ],
)
def test_what_can_bind_or_is_not_sane_is_not(team: Any, key: Any) -> None:
    assert findings(team, key) == []


def test_it_is_a_warning_of_check() -> None:
    old = f"keys: [{{name: ci, key: {KEY}}}]"
    loaded = load_text(
        CONFIG.replace(old, f"limits: {{rpm: 5}}, keys: [{{name: ci, key: {KEY}, limits: {{rpm: 6}}}}]"), {}, "x.yaml"
    )
    assert [warning.path for warning in loaded.warnings] == ["teams.search.keys[0].limits.rpm"]


def cache_warnings(quota: str, model: str = "") -> list[str]:
    text = CONFIG.replace("models: [chat]}", f"models: [chat], quotas: [{quota}]}}").replace(
        "chat: {", f"chat: {{{model}"
    )
    return [str(one) for one in load_text(text, {}, "a.yaml").warnings if "has a cache" in str(one)]


def test_a_quota_that_leaves_the_cache_wants_one() -> None:
    quota = "{usd: 5, per: day, when_spent: cache_only}"
    assert len(cache_warnings(quota)) == 1
    assert cache_warnings(quota, "cache: {exact: {}}, ") == []
    assert (
        len(cache_warnings("{usd: 5, per: day, models: [large], when_spent: cache_only}", "cache: {exact: {}}, ")) == 1
    )
    assert cache_warnings("{usd: 5, per: day}") == []
