"""Which parameters a chat request may have, and which of them nobody may leave out for a target."""

from __future__ import annotations

from typing import Final

#: Without these, another kind of answer would come than was asked for, or a longer and dearer one.
KEPT: Final = frozenset(
    {
        "audio",
        "function_call",
        "functions",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "model",
        "n",
        "response_format",
        "stream",
        "stream_options",
        "tool_choice",
        "tools",
        "web_search_options",
    }
)
#: The chat API's own, and what is widely understood besides. Providers have more of their own.
PARAMETERS: Final = KEPT | {
    "chat_template_kwargs",
    "enable_thinking",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "metadata",
    "min_p",
    "moderation",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "repetition_penalty",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "temperature",
    "thinking",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
}
