"""Token counts as providers report them. Not what they cost, and never an estimate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """What a provider counted for one answer."""

    input_tokens: int  #: cached ones included
    output_tokens: int
    cached_tokens: int = 0  #: the part of `input_tokens` that was read from the provider's cache; 0 if it didn't say

    def __add__(self, other: Usage) -> Usage:
        """What both counted together."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
        )


def read_usage(obj: object) -> Usage | None:
    """The counts in a `usage` object; None unless input and output are both there as whole numbers ≥ 0."""
    if not isinstance(obj, dict):
        return None
    input_tokens = _count(obj.get("prompt_tokens"))
    output_tokens = _count(obj.get("completion_tokens"))
    if input_tokens is None or output_tokens is None:
        return None
    details = obj.get("prompt_tokens_details")
    cached_tokens = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    if cached_tokens is None:
        cached_tokens = _count(obj.get("prompt_cache_hit_tokens")) or 0  # DeepSeek's name
    return Usage(input_tokens, output_tokens, min(cached_tokens, input_tokens))


def _count(value: object) -> int | None:
    # A bool is an int to isinstance, but no count.
    return value if type(value) is int and value >= 0 else None
