import pytest

from proxy.config.detect import detect, merge


@pytest.mark.parametrize(
    ("environ", "provider", "model"),
    [
        ({"OPENAI_API_KEY": "sk-1"}, "openai", "gpt-4o-mini"),
        ({"ANTHROPIC_API_KEY": "sk-1"}, "anthropic", "claude-sonnet-4-5"),
        ({"DEEPSEEK_API_KEY": "sk-1"}, "deepseek", "deepseek-chat"),
        ({"TONGYI_API_KEY": "sk-1"}, "qwen", "qwen-plus"),
        ({"DASHSCOPE_API_KEY": "sk-1"}, "qwen", "qwen-plus"),
        ({"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com/"}, "azure", "gpt-4o"),
        ({"LOCAL_MODEL_ENDPOINT": "http://127.0.0.1:11434/v1"}, "local", "local"),
    ],
)
def test_a_key_in_the_environment_brings_its_provider_and_models(
    environ: dict[str, str], provider: str, model: str
) -> None:
    found = detect(environ)
    assert list(found.providers) == [provider]
    assert found.found[provider] in environ
    assert model in found.models


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}, {"AZURE_OPENAI_API_KEY": "k"}])
def test_nothing_or_half_of_it_brings_nothing(environ: dict[str, str]) -> None:
    assert detect(environ).providers == {}


def test_space_around_a_variable_is_no_part_of_it() -> None:
    found = detect({"OPENAI_API_KEY": "sk-1\n", "ANTHROPIC_API_KEY": " "})
    assert found.providers == {"openai": {"kind": "openai", "api_key": "sk-1"}}


def test_two_providers_of_one_model_share_it() -> None:
    environ = {
        "OPENAI_API_KEY": "a",
        "AZURE_OPENAI_API_KEY": "b",
        "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com",
    }
    assert detect(environ).models["gpt-4o"] == {
        "targets": [{"provider": "openai", "model": "gpt-4o"}, {"provider": "azure", "model": "gpt-4o"}]
    }


def test_names_of_deployments_and_local_models_can_be_chosen() -> None:
    azure = {"AZURE_OPENAI_API_KEY": "b", "AZURE_OPENAI_ENDPOINT": "https://x", "AZURE_OPENAI_DEPLOYMENT": "mine"}
    assert list(detect(azure).models) == ["mine"]
    local = {"LOCAL_MODEL_ENDPOINT": "http://h/v1", "LOCAL_MODEL_NAME": "qwen3:8b"}
    assert detect(local).models["local"] == {"targets": [{"provider": "local", "model": "qwen3:8b"}]}


def test_a_real_model_takes_its_name_from_a_simulated_ones_aliases() -> None:
    data = {"models": {"chat": {"aliases": ["gpt-4o-mini", "default"]}}, "providers": {"demo": {}}, "version": 1}
    merged = merge(data, {"models": {"gpt-4o-mini": {}}, "providers": {"openai": {}}})
    assert merged["models"] == {"chat": {"aliases": ["default"]}, "gpt-4o-mini": {}}
    assert merged["providers"] == {"demo": {}, "openai": {}}
    assert data["models"]["chat"]["aliases"] == ["gpt-4o-mini", "default"]  # type: ignore[index]  # as written above
