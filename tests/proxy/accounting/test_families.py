import pytest
from tiktoken import model as tables

from proxy.accounting.families import Family, encoding_for, family_of


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5.2", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("o4-mini", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("ft:gpt-4o:acme", "o200k_base"),
        ("openai/gpt-oss-120b", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("ft:gpt-3.5-turbo:acme", "cl100k_base"),
        ("claude-sonnet-4-5", "claude"),
        ("anthropic.claude-3-haiku", "claude"),
        ("deepseek-chat", "deepseek"),
        ("deepseek-r1-distill-llama-70b", "llama"),
        ("meta-llama/Llama-3.1-8B", "llama"),
        ("Qwen/Qwen3-32B", "qwen"),
        ("gemini-2.5-flash", "gemini"),
        ("mistral-large", "other"),
        ("gpt-40", "other"),
        ("o365-assistant", "other"),
        ("", "other"),
    ],
)
def test_a_model_is_known_by_its_name(model: str, family: Family) -> None:
    assert family_of(model) == family


@pytest.mark.parametrize("name", sorted({*tables.MODEL_TO_ENCODING, *tables.MODEL_PREFIX_TO_ENCODING}))
def test_names_agree_with_tiktokens_own_table(name: str) -> None:
    theirs = {**tables.MODEL_PREFIX_TO_ENCODING, **tables.MODEL_TO_ENCODING}[name].replace("harmony", "base")
    assert encoding_for(name) == (theirs if theirs in ("o200k_base", "cl100k_base") else None)
