from typing import Any

import pytest

from proxy.config.verify import Finding, verify

KEY = "sk-way-0123456789"


def config(**sections: Any) -> dict[str, Any]:
    target = {"provider": "p", "model": "m"}
    return {
        "version": 1,
        "providers": {"p": {"kind": "demo"}},
        "models": {"chat": {"targets": [target]}, "large": {"targets": [target]}},
        "teams": {"t": {"keys": [{"name": "k", "key": KEY}]}},
        **sections,
    }


def found(**sections: Any) -> list[Finding]:
    return [finding for finding in verify(config(**sections)) if not finding.is_warning]


def models(**fields: Any) -> dict[str, Any]:
    return {
        "chat": {"targets": [{"provider": "p", "model": "m"}], **fields},
        "large": {"targets": [], "aliases": ["big"]},
    }


def test_a_good_config_has_no_findings() -> None:
    assert verify(config()) == []


@pytest.mark.parametrize(
    ("sections", "path", "words"),
    [
        (
            {"models": models(targets=[{"provider": "q", "model": "m"}])},
            "models chat targets 0 provider",
            "no provider 'q'",
        ),
        ({"models": models(targets=[{"provider": "p", "model": "m"}] * 2)}, "models chat targets 1", "twice"),
        ({"models": models(aliases=["large"])}, "models chat aliases 0", "name of a model"),
        ({"models": models(aliases=["big"])}, "models large aliases 0", "alias of 'chat' already"),
        (
            {"models": models(fallbacks=[{"on": "unavailable", "model": "x"}])},
            "models chat fallbacks 0 model",
            "no model 'x'",
        ),
        (
            {"models": models(fallbacks=[{"on": "unavailable", "model": "big"}])},
            "models chat fallbacks 0 model",
            "no model 'big'",
        ),
        ({"models": models(fallbacks=[{"model": "chat"}])}, "models chat fallbacks", "circle: chat → chat"),
        ({"models": models(tier={"simple": "x", "hard": "large"})}, "models chat tier simple", "no model 'x'"),
        (
            {"models": models(targets=[{"provider": "p", "model": "m", "weight": 2}])},
            "models chat targets 0 weight",
            "weighted",
        ),
        (
            {"models": models(strategy="weighted", targets=[{"provider": "p", "model": "m", "weight": 0}])},
            "models chat targets",
            "all weights are zero",
        ),
        ({"teams": {"t": {"models": ["x"]}}}, "teams t models 0", "no model 'x'"),
        ({"teams": {"t": {"quotas": [{"models": ["x"]}]}}}, "teams t quotas 0 models 0", "no model 'x'"),
        ({"teams": {"t": {"quotas": [{"when_spent": "downgrade:x"}]}}}, "teams t quotas 0 when_spent", "no model 'x'"),
        ({"teams": {"t": {"keys": [{"name": "k"}, {"name": "k"}]}}}, "teams t keys 1 name", "taken"),
        ({"teams": {"t": {"keys": [{"key": KEY}]}, "u": {"keys": [{"key": KEY}]}}}, "teams u keys 0 key", "same key"),
        ({"admin": {"keys": [{"name": "ops", "key": KEY}]}}, "admin keys 0 key", "same key"),
        ({"server": {"workers": 4}}, "server workers", "one worker"),
    ],
)
def test_a_contradiction_is_found_where_it_stands(sections: dict[str, Any], path: str, words: str) -> None:
    [finding] = found(**sections)
    assert " ".join(map(str, finding.path)) == path
    assert words in finding.message
    assert KEY not in f"{finding.message}{finding.hint}"


def test_an_alias_where_a_model_belongs_is_translated() -> None:
    [finding] = found(models=models(fallbacks=[{"on": "unavailable", "model": "big"}]))
    assert finding.hint == "it is an alias: write 'large'"


def test_a_long_circle_is_found_once_and_a_chain_is_none() -> None:
    def link(to: str) -> dict[str, Any]:
        return {"targets": [{"provider": "p", "model": "m"}], "fallbacks": [{"on": "unavailable", "model": to}]}

    [finding] = found(models={"b": link("c"), "c": link("a"), "a": link("b"), "d": link("a")})
    assert finding.message.endswith("a → b → c → a")
    chain = {"a": link("b"), "b": link("c"), "c": {"targets": [{"provider": "p", "model": "m"}]}}
    assert found(models=chain) == []


def test_what_helps_nobody_draws_a_warning() -> None:
    warnings = [f.message for f in verify(config(teams={}, providers={"p": {}, "idle": {}})) if f.is_warning]
    assert warnings == ["no model uses this provider", "there are no teams: nobody has a key"]


@pytest.mark.parametrize("data", [None, [], {"models": []}, {"models": {"m": []}, "teams": {"t": 7}, "server": "x"}])
def test_data_of_a_wrong_shape_is_left_to_the_schema(data: object) -> None:
    assert all(finding.is_warning for finding in verify(data))
