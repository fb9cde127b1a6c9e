import pytest

from proxy.config.verify_cache import check_caches

SEMANTIC: dict[str, object] = {"cache": {"semantic": {}}}
PROVIDERS = {"openai": {"kind": "openai"}, "claude": {"kind": "anthropic"}, "demo": {"kind": "demo"}}


def test_a_fallback_to_a_cache_that_is_not_there_is_a_fault() -> None:
    models = {"chat": {"fallbacks": [{"on": "unavailable", "cache": "semantic"}], "cache": {"exact": {}}}}
    [finding] = check_caches(models, {}, {})
    assert finding.path == ("models", "chat", "fallbacks", 0, "cache")
    assert "semantic" in finding.hint
    assert not finding.is_warning


def test_one_to_a_cache_that_is_there_is_fine() -> None:
    assert list(check_caches({"chat": {"fallbacks": [{"cache": "semantic"}], **SEMANTIC}}, {}, {})) == []


def test_an_embedder_that_does_not_exist_is_a_fault_with_the_nearest() -> None:
    [finding] = check_caches({"chat": SEMANTIC}, {"embedder": {"provider": "opena"}}, PROVIDERS)
    assert finding.path == ("cache", "embedder", "provider")
    assert "openai" in finding.hint


@pytest.mark.parametrize("name", ["claude", "demo"])
def test_a_provider_that_makes_no_vectors_is_no_embedder(name: str) -> None:
    [finding] = check_caches({"chat": SEMANTIC}, {"embedder": {"provider": name}}, PROVIDERS)
    assert "makes no vectors" in finding.message


def test_an_embedder_that_nobody_asks_draws_a_warning() -> None:
    [finding] = check_caches({"chat": {}}, {"embedder": {"provider": "openai"}}, PROVIDERS)
    assert finding.is_warning
    assert list(check_caches({"chat": SEMANTIC}, {"embedder": {"provider": "openai"}}, PROVIDERS)) == []


@pytest.mark.parametrize("odd", [{"chat": 7}, {"chat": {"fallbacks": "x", "cache": []}}, {}])
def test_nothing_is_said_of_what_is_of_another_shape(odd: dict[str, object]) -> None:
    assert list(check_caches(odd, {"embedder": 3}, {})) == []
