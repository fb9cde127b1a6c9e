import itertools
from hashlib import sha256
from typing import Any

import pytest

from proxy.config.faults import Finding
from proxy.config.verify import verify

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


def test_second_attempts_are_fine_with_an_objective_and_prices() -> None:
    target = {"provider": "p", "model": "m", "price_usd_per_mtok": {"input": 1, "output": 2}}
    for share, strategy in (("5%", "balanced"), ("5%", "reliable"), ("0%", "cheapest"), ("0.0 %", "round_robin")):
        settings = models(strategy=strategy, targets=[target], hedge={"max_extra_cost": share})
        assert found(models=settings) == []


@pytest.mark.parametrize(
    ("sections", "path", "words"),
    [
        (
            {"models": models(targets=[{"provider": "q", "model": "m"}])},
            "models chat targets 0 provider",
            "no such provider",
        ),
        ({"models": models(targets=[{"provider": "p", "model": "m"}] * 2)}, "models chat targets 1", "twice"),
        ({"models": models(aliases=["large"])}, "models chat aliases 0", "a model has this name"),
        ({"models": models(aliases=["big"])}, "models large aliases 0", "'chat' has this alias"),
        (
            {"models": models(fallbacks=[{"on": "unavailable", "model": "x"}])},
            "models chat fallbacks 0 model",
            "no such model",
        ),
        (
            {"models": models(fallbacks=[{"on": "unavailable", "model": "big"}])},
            "models chat fallbacks 0 model",
            "no such model",
        ),
        ({"models": models(fallbacks=[{"model": "chat"}])}, "models chat fallbacks 0 model", "circle: chat → chat"),
        ({"models": models(tier={"simple": "x", "hard": "large"})}, "models chat tier simple", "no such model"),
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
        (
            {"models": models(hedge={"max_extra_cost": "5%"})},
            "models chat hedge max_extra_cost",
            "only strategies balanced and reliable",
        ),
        (
            {"models": models(strategy="balanced", hedge={"max_extra_cost": "0.5%"})},
            "models chat hedge max_extra_cost",
            "weighed by its price",
        ),
        ({"teams": {"t": {"models": ["x"]}}}, "teams t models 0", "no such model"),
        ({"teams": {"t": {"quotas": [{"models": ["x"]}]}}}, "teams t quotas 0 models 0", "no such model"),
        ({"teams": {"t": {"quotas": [{"when_spent": "downgrade:x"}]}}}, "teams t quotas 0 when_spent", "no such model"),
        ({"teams": {"t": {"keys": [{"name": "k"}, {"name": "k"}]}}}, "teams t keys 1 name", "has this name"),
        ({"teams": {"t": {"keys": [{"key": KEY}]}, "u": {"keys": [{"key": KEY}]}}}, "teams u keys 0 key", "same key"),
        ({"admin": {"keys": [{"name": "ops", "key": KEY}]}}, "admin keys 0 key", "same key"),
        (
            {"teams": {"t": {"keys": [{"key": KEY}, {"digest": "sha256:" + sha256(KEY.encode()).hexdigest()}]}}},
            "teams t keys 1 digest",
            "same key",
        ),
        ({"server": {"workers": 4}}, "server workers", "one process"),
        ({"server": {"workers": "4"}}, "server workers", "one process"),
        ({"server": {"listen": "[::]:80", "admin_listen": "[::]:80"}}, "server admin_listen", "clients have this"),
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
    names = [f"m{number:04}" for number in range(3000)]  # 20 s, were each link of it followed from each of its models
    links = {name: link(following) for name, following in itertools.pairwise(names)}
    assert found(models={**links, names[-1]: chain["c"]}) == []


def test_two_circles_through_one_model_are_both_found() -> None:
    def fallbacks(*to: str) -> dict[str, Any]:
        target = {"provider": "p", "model": "m"}
        return {"targets": [target], "fallbacks": [{"on": "unavailable", "model": name} for name in to]}

    circles = found(models={"a": fallbacks("b"), "b": fallbacks("a", "c"), "c": fallbacks("d"), "d": fallbacks("b")})
    assert [finding.path for finding in circles] == [
        ("models", "a", "fallbacks", 0, "model"),
        ("models", "b", "fallbacks", 1, "model"),
    ]


def test_no_value_of_the_config_is_repeated() -> None:
    wrong = "sk-secret-in-the-wrong-place"
    data = config(
        models={
            "chat": {
                "aliases": [wrong, wrong],
                "targets": [{"provider": wrong, "model": wrong, "weight": wrong}] * 2,
                "fallbacks": [{"on": wrong, "model": wrong}],
                "tier": {"simple": wrong},
            }
        },
        teams={"t": {"models": [wrong], "keys": [{"name": wrong, "key": wrong}] * 2}},
    )
    said = [f"{finding.message}{finding.hint}" for finding in verify(data)]
    assert len(said) >= 8
    assert not any(wrong in text for text in said)


def test_what_helps_nobody_draws_a_warning() -> None:
    warnings = [f.message for f in verify(config(teams={}, providers={"p": {}, "idle": {}})) if f.is_warning]
    assert warnings == ["no model uses this provider", "there are no teams: nobody has a key"]
    assert next(f.message for f in verify({}) if f.is_warning) == "there are no models: there is nothing to ask"


@pytest.mark.parametrize("data", [None, [], {"models": []}, {"models": {"m": []}, "teams": {"t": 7}, "server": "x"}])
def test_data_of_a_wrong_shape_is_left_to_the_schema(data: object) -> None:
    assert all(
        finding.is_warning for has_price in (None, lambda provider, model: False) for finding in verify(data, has_price)
    )


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"fallbacks": [{"model": "chat"}]}, "leave this one out"),
        ({"strategy": "weighted", "targets": [{"provider": "p", "model": "m", "weight": 0}]}, "a weight above 0"),
    ],
)
def test_a_contradiction_within_a_model_says_what_to_do(settings: dict[str, Any], hint: str) -> None:
    [finding] = found(models=models(**settings))
    assert hint in finding.hint


@pytest.mark.parametrize("provider", [["p"], {"p": 1}, 7, None])
def test_an_embedder_of_another_shape_is_left_to_the_schema(provider: object) -> None:
    assert found(cache={"embedder": {"provider": provider}}) == []
