"""Token counts as providers report them, in parts that never overlap. Not what they cost, and never an estimate.

Providers agree on few names and on less meaning. What is read here, and how it is told apart:

- OpenAI and Azure: `prompt_tokens` and `completion_tokens` are totals; their `_details` name subsets, which may
  overlap. The Responses API has the same under `input_tokens` and `output_tokens`.
- Anthropic: `input_tokens` leaves out what was read from or written to the cache; told by its `cache_*` members.
- DeepSeek: `prompt_cache_hit_tokens` in place of `cached_tokens`. Moonshot: `cached_tokens` without details. Qwen:
  cache writes are `cache_creation_input_tokens` among the details. LiteLLM: Anthropic's names beside OpenAI's totals.
- xAI and Gemini: `completion_tokens` leaves out the reasoning, which is billed and which `total_tokens` includes
  (docs.x.ai, "Consumption and Rate Limits"; github.com/vercel/ai/pull/12425).
- Portkey: `prompt_tokens` leaves out Anthropic's cache counts, `total_tokens` includes them
  (github.com/Portkey-AI/gateway/issues/1564).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NO_DETAILS: Final[Mapping[str, object]] = {}
#: No model reads or writes as much. A larger number is a fault of the provider's, and no count.
_MAX_COUNT: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """What a provider counted for one answer. Each token is in one part only, so parts can be priced one by one.

    Images have no part of their own: they are among the uncached tokens.
    """

    uncached_tokens: int  #: input that is in none of the other parts
    visible_tokens: int  #: output that is neither reasoning nor audio; rejected predictions, which are billed, included
    cached_tokens: int = 0  #: input read from the provider's cache
    cache_write_tokens: int = 0  #: input written to the provider's cache
    audio_input_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """All input, cached or not."""
        return self.uncached_tokens + self.cached_tokens + self.cache_write_tokens + self.audio_input_tokens

    @property
    def output_tokens(self) -> int:
        """All output, reasoning included."""
        return self.visible_tokens + self.reasoning_tokens + self.audio_output_tokens

    def __add__(self, other: Usage) -> Usage:
        """What both counted together."""
        return Usage(
            self.uncached_tokens + other.uncached_tokens,
            self.visible_tokens + other.visible_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.audio_input_tokens + other.audio_input_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.audio_output_tokens + other.audio_output_tokens,
        )


def read_usage(obj: object) -> Usage | None:
    """The counts in a `usage` object. A count is a whole number from 0 to 1,000,000,000; 0 is one.

    None unless input and output are both there: half a report would bill the other half at nothing. Details that
    claim more than there is are cut down to what is left, in the order cached, written, audio.
    """
    if not isinstance(obj, dict):
        return None
    sent, made = count_of(obj.get("prompt_tokens")), count_of(obj.get("completion_tokens"))
    if sent is not None and made is not None:
        if len(obj) == 3 and obj.get("total_tokens") == sent + made:
            return Usage(sent, made)  # nothing else is said
        details, made_details = _details(obj, "prompt_tokens_details"), _details(obj, "completion_tokens_details")
        is_beside = False
    else:
        sent, made = count_of(obj.get("input_tokens")), count_of(obj.get("output_tokens"))
        if sent is None or made is None:
            return None
        details, made_details = _details(obj, "input_tokens_details"), _details(obj, "output_tokens_details")
        is_beside = not details  # Anthropic gives none
    cached = _first(
        details.get("cached_tokens"),
        obj.get("prompt_cache_hit_tokens"),
        obj.get("cached_tokens"),
        obj.get("cache_read_input_tokens"),
    )
    written = _first(
        details.get("cache_write_tokens"),
        details.get("cache_creation_input_tokens"),
        obj.get("cache_creation_input_tokens"),
    )
    reasoning = _first(made_details.get("reasoning_tokens"), made_details.get("thinking_tokens"))
    if is_beside:
        sent += cached + written
    left_out = (count_of(obj.get("total_tokens")) or 0) - sent - made
    if left_out > 0:
        if left_out == cached + written and left_out != reasoning:
            sent += left_out
        else:
            made += left_out
            reasoning = max(reasoning, left_out)
    return _split(
        sent,
        made,
        cached,
        written,
        _first(details.get("audio_tokens")),
        reasoning,
        _first(made_details.get("audio_tokens")),
    )


def merge_reports(earlier: Mapping[str, object] | None, later: dict[str, object]) -> dict[str, object]:
    """A stream's `usage` object as it stands after one more: counters are cumulative, so the later one replaces.

    What the later one does not count is kept from the earlier, except the total, which holds only for its own report.
    """
    if earlier is None:
        return later
    merged = {name: value for name, value in earlier.items() if name != "total_tokens"}
    for name, value in later.items():
        if isinstance(value, dict):
            before = merged.get(name)
            merged[name] = merge_reports(before, value) if isinstance(before, dict) else value
        elif count_of(value) is not None:
            merged[name] = value
    return merged


def _split(sent: int, made: int, cached: int, written: int, audio_sent: int, reasoning: int, audio_made: int) -> Usage:
    """The totals cut into parts, none of which is larger than what those before it have left."""
    uncached, visible = sent, made
    if cached or written or audio_sent:
        uncached -= (cached := min(cached, uncached))
        uncached -= (written := min(written, uncached))
        uncached -= (audio_sent := min(audio_sent, uncached))
    if audio_made or reasoning:
        visible -= (audio_made := min(audio_made, visible))
        visible -= (reasoning := min(reasoning, visible))
    return Usage(uncached, visible, cached, written, audio_sent, reasoning, audio_made)


def _details(obj: dict[str, object], name: str) -> Mapping[str, object]:
    details = obj.get(name)
    return details if isinstance(details, dict) else _NO_DETAILS


def _first(*values: object) -> int:
    """The first that is a count, even if it is 0; 0 if none is."""
    for value in values:
        if type(value) is int and 0 <= value <= _MAX_COUNT:
            return value
    return 0


def count_of(value: object) -> int | None:
    """A count of tokens as a provider may report it; None for anything else."""
    # A bool is an int to isinstance, but no count.
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else None
