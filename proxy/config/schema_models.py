"""The section `models`: what clients may name, and what stands behind it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proxy.config.schema_fields import Name, Printable, Section, Text, written
from proxy.config.schema_units import Count, CountOrAuto, Exact, Flag, Number, Seconds, Share, Whole, between

_Price = Annotated[Exact, Field(ge=0, le=100_000)]
_Complexity = Annotated[Number, Field(ge=0, le=1)]
_Wait = Annotated[Seconds, between("10ms", "1d")]
_Ttl = Annotated[Seconds, between("10ms", "365d")]
Cause = Literal["unavailable", "context_length", "content_filter", "rate_limited"]
#: What a request may ask of a target beyond text, by the names of `routing/needs.py`.
Need = Literal[
    "tools",
    "parallel_tool_calls",
    "json_object",
    "json_schema",
    "vision",
    "audio",
    "logprobs",
    "n",
    "seed",
    "stop",
    "logit_bias",
    "prediction",
    "web_search",
    "reasoning_effort",
    "chat",
    "embeddings",
]


class CapacityConfig(Section):
    """What a target is known to bear."""

    rpm: Annotated[Count, Field(ge=1)] | None = Field(None, description="Requests a minute.")
    tpm: Annotated[Count, Field(ge=1)] | None = Field(None, description="Tokens a minute.")
    concurrency: CountOrAuto | None = Field(
        None, description="Calls at once; auto finds out; null is no bound of the gateway's."
    )


class PriceConfig(Section):
    """Prices in USD for a million tokens."""

    input: _Price = Field(description="Input tokens.")
    cached_input: _Price | None = Field(
        None, description="Input tokens read from the provider's cache; default: as input."
    )
    output: _Price = Field(description="Output tokens.")
    cache_write: _Price | None = Field(
        None, description="Input tokens written to the provider's cache; default: as input."
    )
    reasoning: _Price | None = Field(None, description="Output tokens of reasoning; default: as output.")
    audio_input: _Price | None = Field(None, description="Input tokens of audio; default: as input.")
    audio_output: _Price | None = Field(None, description="Output tokens of audio; default: as output.")


class TargetConfig(Section):
    """One model at one provider."""

    provider: Name = Field(description="A name under providers.")
    model: Printable = Field(description="What that provider calls the model, or the deployment.")
    weight: Annotated[Number, Field(ge=0, le=1_000_000)] = Field(1, description="Its share under strategy weighted.")
    capacity: CapacityConfig = Field(CapacityConfig(), description="What it is known to bear.")
    price_usd_per_mtok: PriceConfig | None = Field(
        None, description="Its price, where the price table is wrong or silent."
    )
    context: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="Tokens that it can hold, input and output together."
    )
    max_output: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="Tokens that one answer can have at most: what quotas reserve. Default: 16,384."
    )
    lacks: tuple[Need, ...] = Field((), description="What it cannot do: calls that need it go elsewhere.")
    drop_params: tuple[Name, ...] = Field((), description="Request parameters that are left out of what it is sent.")


class SloConfig(Section):
    """What the model's callers are promised."""

    ttft_s: _Wait = written("2s", alias="ttft", description="Time to the first token.")
    ttft_within: Share = written("95%", description="Share of calls that must meet it.")
    success: Share | None = Field(
        None, description="Share of calls that must succeed, whatever that costs; null promises nothing."
    )


class TimeoutsConfig(Section):
    """How long to wait, and for what."""

    connect_s: _Wait = written("2s", alias="connect", description="For a connection to the provider.")
    first_token_s: _Wait = written("60s", alias="first_token", description="For the first event of a stream.")
    idle_s: _Wait = written("60s", alias="idle", description="For the next event of a stream; comments do not count.")
    total_s: _Wait = written("10m", alias="total", description="For the whole call, all attempts included.")
    commit_after_s: _Wait = written(
        "15s", alias="commit_after", description="Silence after which a stream's 200 and keep-alive comments go out."
    )


class FallbackConfig(Section):
    """What to do when the targets have failed for a cause: ask another model, the cache, or give a fixed answer."""

    on: Cause = Field(description="The cause it is for.")
    model: Name | None = Field(None, description="Another configured model.")
    cache: Literal["semantic"] | None = Field(None, description="A similar answer from the semantic cache.")
    static: Text | None = Field(None, description="A fixed text.")
    status: Whole | None = Field(None, ge=200, le=599, description="HTTP status of the fixed text.")

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        if sum(value is not None for value in (self.model, self.cache, self.static)) != 1:
            raise ValueError("give exactly one of model, cache and static")
        if self.status is not None and self.static is None:
            raise ValueError("status belongs to static")
        return self


class RetriesConfig(Section):
    """How much retrying may cost."""

    max_attempts: Whole = Field(4, ge=1, le=20, description="Attempts for one call, over all targets and fallbacks.")
    max_ratio: Share = written("20%", description="Retries as a share of calls.")


class HedgeConfig(Section):
    """A second attempt that races a slow first one."""

    max_extra_cost: Share = written("0%", description="What it may add to the cost; 0% is off.")


class TierConfig(Section):
    """Which model a call gets by how hard it is."""

    by: Literal["complexity"] = Field("complexity", description="What decides.")
    simple: Name = Field(description="The model for simple calls.")
    hard: Name = Field(description="The model for hard calls.")
    simple_below: _Complexity = Field(0.3, description="A call whose complexity (0 to 1) is below this is simple.")
    hard_above: _Complexity = Field(0.8, description="One above this is hard; between them, the model's own.")
    shadow: Flag = Field(False, description="Decide and log, but change nothing.")

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.simple_below >= self.hard_above:
            raise ValueError("simple_below must be less than hard_above")
        return self


class ExactCacheConfig(Section):
    """Answers to the very same request."""

    ttl_s: _Ttl = written("1h", alias="ttl", description="How long an answer is good for.")
    sampled: Flag = Field(False, description="Also for requests that ask for chance (temperature above 0.3).")
    pace: Literal["instant", "natural"] = Field(
        "instant", description="How a stored answer is streamed: at once, or about as fast as it came."
    )


def _between_none_and_all(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError("expected more than 0% and less than 100%: nothing or everything could be served")
    return value


class SemanticCacheConfig(Section):
    """Answers to a request that means the same."""

    mode: Literal["shadow", "serve"] = Field("shadow", description="shadow reports what it would have served.")
    ttl_s: _Ttl = written("1h", alias="ttl", description="How long an answer is good for.")
    max_error: Annotated[Share, AfterValidator(_between_none_and_all)] = written(
        "2%", description="Share of hits that may be wrong."
    )


class ModelCacheConfig(Section):
    """Which caches may answer; absent is off."""

    exact: ExactCacheConfig | None = Field(None, description="Answers to the very same request.")
    semantic: SemanticCacheConfig | None = Field(None, description="Answers to a request that means the same.")


class EmbeddingsConfig(Section):
    """How embeddings are asked for."""

    batch_window_s: Annotated[Seconds, between("0ms", "1m")] = written(
        "10ms",
        alias="batch_window",
        description="While a call is under way, others for a single input wait so long to go together; 0ms is off.",
    )
    batch_size: Whole = Field(64, ge=2, le=2048, description="So many inputs go together at most.")


class ModelConfig(Section):
    """One model that clients may name."""

    aliases: tuple[Name, ...] = Field((), description="Other names for it.")
    strategy: Literal["cheapest", "fastest", "reliable", "balanced", "round_robin", "weighted"] = Field(
        "round_robin", description="How its targets are ordered."
    )
    slo: SloConfig | None = Field(None, description="What its callers are promised.")
    timeouts: TimeoutsConfig = Field(TimeoutsConfig(), description="How long to wait, and for what.")
    targets: Annotated[tuple[TargetConfig, ...], Field(min_length=1)] = Field(description="Who may answer.")
    fallbacks: tuple[FallbackConfig, ...] = Field((), description="What to do when all targets have failed, in order.")
    retries: RetriesConfig = Field(RetriesConfig(), description="How much retrying may cost.")
    hedge: HedgeConfig = Field(HedgeConfig(), description="A second attempt that races a slow first one.")
    tier: TierConfig | None = Field(None, description="Which model a call gets by how hard it is.")
    rescue: Flag = Field(False, description="Continue a stream that was cut on another target.")
    cache: ModelCacheConfig | None = Field(None, description="Which caches may answer; absent is off.")
    embeddings: EmbeddingsConfig = Field(EmbeddingsConfig(), description="How embeddings are asked for.")
