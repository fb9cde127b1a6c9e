import pytest

from proxy.providers.dialects import DIALECTS, chat_url, dialect_for, embeddings_url


@pytest.mark.parametrize(
    ("kind", "wanted", "base_url", "name"),
    [
        ("openai", "auto", "https://api.openai.com/v1", "openai"),
        ("openai", "auto", "https://api.deepseek.com/v1", "deepseek"),
        ("openai", "auto", "https://dashscope.aliyuncs.com/compatible-mode/v1", "qwen"),
        ("openai", "auto", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "qwen"),
        ("openai", "auto", "http://127.0.0.1:11434/v1", "ollama"),
        ("openai", "auto", "http://10.0.0.5:8000/v1", "openai"),
        ("openai", "vllm", "http://10.0.0.5:8000/v1", "vllm"),
        ("openai", "auto", "https://x.openai.azure.com/openai/v1", "openai"),
        ("azure", "auto", "https://x.openai.azure.com", "azure"),
        ("anthropic", "auto", "https://api.anthropic.com/v1", "anthropic"),
        ("openai", "auto", "https://api.deepseek.com.evil.example/v1", "openai"),
        ("demo", "auto", "", "openai"),
    ],
)
def test_a_dialect_is_chosen_by_name_then_kind_then_host(kind: str, wanted: str, base_url: str, name: str) -> None:
    assert dialect_for(kind, wanted, base_url).name == name


def test_chat_completions_live_below_the_base_url() -> None:
    assert chat_url(DIALECTS["openai"], "https://h/v1/", "m", "") == "https://h/v1/chat/completions"


def test_a_deployment_is_one_segment_of_the_path_whatever_it_is_called() -> None:
    url = chat_url(DIALECTS["azure"], "https://x.openai.azure.com", "a/../../admin?x#y", "2025-04-01&z=1")
    assert url == (
        "https://x.openai.azure.com/openai/deployments/a%2F..%2F..%2Fadmin%3Fx%23y/chat/completions"
        "?api-version=2025-04-01%26z%3D1"
    )


def test_embeddings_live_beside_the_chat_completions() -> None:
    assert embeddings_url(DIALECTS["openai"], "https://h/v1/", "m", "") == "https://h/v1/embeddings"
    assert embeddings_url(DIALECTS["azure"], "https://x.openai.azure.com", "a/b", "v") == (
        "https://x.openai.azure.com/openai/deployments/a%2Fb/embeddings?api-version=v"
    )
