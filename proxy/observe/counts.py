"""Tokens as metrics show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

#: The `type` of each part. They do not overlap: their sum is all tokens, in and out.
TOKEN_TYPES: Final[Mapping[str, str]] = {
    "uncached_tokens": "input",
    "cached_tokens": "cached_input",
    "cache_write_tokens": "cache_write",
    "audio_input_tokens": "audio_input",
    "visible_tokens": "output",
    "reasoning_tokens": "reasoning",
    "audio_output_tokens": "audio_output",
}
#: These are shown from the start, the others once there is something to show: most models never have any.
USUAL_TYPES: Final = frozenset({"input", "cached_input", "output"})


class TokenCounts(Protocol):
    """Tokens in parts that do not overlap (`proxy/wire/usage.py` has them)."""

    @property
    def uncached_tokens(self) -> int: ...
    @property
    def visible_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def cache_write_tokens(self) -> int: ...
    @property
    def audio_input_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...
    @property
    def audio_output_tokens(self) -> int: ...
