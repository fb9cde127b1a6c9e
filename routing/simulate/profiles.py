"""Simulated providers of one model: what they cost, how fast they are, what they can take.

Prices are those asked for llama-3.3-70b in public price lists; speeds, limits and the names are invented, chosen as
plausible: the cheap ones miss a first token within 2 s now and then, above all for long prompts, the dear ones do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from routing.types import Capacity, Price, Target

MODEL: Final = "llama-3.3-70b"
_BURST_S: Final = 15.0  #: limits are named for a minute and kept over less, as real ones are


@dataclass(frozen=True, slots=True)
class Profile:
    """How one target behaves while nothing is wrong with it.

    Time to first token = (`base_s` + `per_ktok_s` x thousands of uncached input tokens) x a log-normal factor of
    median 1; the stream then runs at `tokens_per_s` x another.
    """

    target: Target
    base_s: float
    per_ktok_s: float
    tokens_per_s: float
    ttft_sigma: float = 0.4  #: of the logarithm
    speed_sigma: float = 0.33  #: of the logarithm
    saturates_at: int | None = None  #: attempts in flight beyond which it slows down; None: never
    burst_s: float = 60.0  #: so many seconds' worth of its limits may be taken at once
    cache_ttl_s: float | None = None  #: how long a prompt prefix stays cached; None: no prompt cache

    @property
    def name(self) -> str:
        """The target's name."""
        return self.target.name

    def typical_ttft_s(self, input_tokens: int) -> float:
        """The median time to first token for a prompt of this size, uncached, unloaded."""
        return self.base_s + self.per_ktok_s * input_tokens / 1000

    def cost_usd(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """What these tokens cost; `cached_tokens` is the part of the input read from the provider's cache."""
        price = self.target.price
        if price is None:
            return 0.0
        cached = price.input if price.cached_input is None else price.cached_input
        fresh = input_tokens - cached_tokens
        return (fresh * price.input + cached_tokens * cached + output_tokens * price.output) / 1e6


def _target(provider: str, price: Price, capacity: Capacity, weight: float) -> Target:
    return Target(
        f"{provider}/{MODEL}", provider, MODEL, price=price, capacity=capacity, context_tokens=131_072, weight=weight
    )


def hosted() -> tuple[Profile, ...]:
    """Six hosted providers, cheapest first; the last is the fastest.

    The three cheap ones cost about the same, none of them can take all calls, and the next one costs five times as
    much. Latencies and limits were fitted to what the baselines and the oracle were known to come to with an earlier
    simulator; no strategy of ours had a part in that.
    """
    return (
        Profile(
            _target("thrift", Price(0.10, 0.32), Capacity(rpm=135, tpm=170_000), 2.0),
            *(0.80, 0.32, 28.0),
            ttft_sigma=0.5,
            burst_s=_BURST_S,
            saturates_at=32,
        ),
        Profile(
            _target("budget", Price(0.13, 0.39, 0.065), Capacity(rpm=170, tpm=240_000), 2.0),
            *(0.64, 0.17, 32.0),
            ttft_sigma=0.33,
            burst_s=_BURST_S,
            saturates_at=34,
            cache_ttl_s=300.0,
        ),
        Profile(
            _target("plain", Price(0.135, 0.40), Capacity(rpm=160, tpm=245_000), 2.0),
            *(0.54, 0.22, 32.0),
            ttft_sigma=0.32,
            burst_s=_BURST_S,
            saturates_at=32,
        ),
        Profile(
            _target("steady", Price(0.72, 0.72), Capacity(rpm=390, tpm=680_000), 1.0),
            *(0.42, 0.12, 80.0),
            ttft_sigma=0.31,
            burst_s=_BURST_S,
        ),
        Profile(
            _target("premium", Price(1.04, 1.04), Capacity(rpm=600, tpm=900_000), 1.0),
            *(0.38, 0.075, 100.0),
            ttft_sigma=0.26,
            burst_s=_BURST_S,
        ),
        Profile(
            _target("swift", Price(0.85, 1.20), Capacity(rpm=800, tpm=1_200_000), 1.0),
            *(0.35, 0.045, 115.0),
            ttft_sigma=0.29,
            burst_s=_BURST_S,
        ),
    )


def self_hosted() -> tuple[Profile, ...]:
    """The hosted six with the cheapest replaced by a server of one's own: cheaper still, without rate limits, and
    overloaded beyond 12 attempts in flight.
    """
    own = Target(
        f"own/{MODEL}", "own", MODEL, price=Price(0.05, 0.05), capacity=Capacity(), context_tokens=32_768, weight=2.0
    )
    return (Profile(own, 0.35, 0.20, 40.0, ttft_sigma=0.35, saturates_at=12), *hosted()[1:])
