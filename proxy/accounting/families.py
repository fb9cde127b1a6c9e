"""Which tokenizer a model counts with, told by its name. An unknown name belongs to the family `other`."""

from __future__ import annotations

import re
from typing import Final, Literal

Encoding = Literal["o200k_base", "cl100k_base"]
#: Models that share a tokenizer, or nearly so.
Family = Literal["o200k_base", "cl100k_base", "claude", "deepseek", "gemini", "llama", "qwen", "other"]

_O200K: Final = re.compile(r"gpt-4o|gpt-4\.[15]|gpt-5|gpt-oss|chatgpt-|codex-|o[134](?![a-z0-9])")
_CL100K: Final = re.compile(r"gpt-4(?![0-9.])|gpt-3\.?5|text-embedding-(?:3|ada-002)|(?:davinci|babbage)-002")
#: The first word found in a name decides: a distilled model keeps the tokenizer of the model it was made of.
_WORDS: Final[tuple[tuple[str, Family], ...]] = (
    ("claude", "claude"),
    ("qwen", "qwen"),
    ("qwq", "qwen"),
    ("llama", "llama"),
    ("deepseek", "deepseek"),
    ("gemini", "gemini"),
    ("gemma", "gemini"),
)


def family_of(model: str) -> Family:
    """The family of a model as its provider calls it: `gpt-4o-mini`, `openai/gpt-4.1`, `meta-llama/Llama-3.1-8B`."""
    name = model.lower()
    own = name.rpartition("/")[2].removeprefix("ft:")
    if _O200K.match(own):
        return "o200k_base"
    if _CL100K.match(own):
        return "cl100k_base"
    return next((family for word, family in _WORDS if word in name), "other")


def encoding_for(model: str) -> Encoding | None:
    """The encoding of OpenAI's that this model counts with; None for a model that is counted by ratio."""
    family = family_of(model)
    return family if family == "o200k_base" or family == "cl100k_base" else None
