"""Simulated providers of one model: what they cost, how fast they are, what they can take.

Prices are those asked for llama-3.3-70b in public price lists; speeds, limits and the names are invented, chosen as
plausible: the cheap ones are slow enough to miss a first token within 2 s now and then, the dear ones are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from routing.types import Capacity, Price, Target

MODEL: Final = "llama-3.3-70b"


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
    speed_sigma: float = 0.2  #: of the logarithm
    saturates_at: int | None = None  #: attempts in flight beyond which a self-hosted server slows down; None: never
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
    """Six hosted providers, cheapest first; the last is the fastest."""
    return (
        Profile(
            _target("thrift", Price(0.10, 0.32), Capacity(rpm=130, tpm=190_000), 2.0),
            *(0.82, 0.17, 24.0),
            ttft_sigma=0.5,
        ),
        Profile(
            _target("budget", Price(0.13, 0.39, 0.065), Capacity(rpm=200, tpm=300_000), 2.0),
            *(0.76, 0.16, 30.0),
            ttft_sigma=0.5,
            cache_ttl_s=300.0,
        ),
        Profile(
            _target("plain", Price(0.23, 0.40), Capacity(rpm=240, tpm=360_000), 2.0),
            *(0.66, 0.13, 36.0),
            ttft_sigma=0.48,
        ),
        Profile(
            _target("steady", Price(0.59, 0.79, 0.295), Capacity(rpm=500, tpm=700_000), 1.0),
            *(0.48, 0.10, 60.0),
            ttft_sigma=0.45,
            cache_ttl_s=300.0,
        ),
        Profile(
            _target("premium", Price(1.04, 1.04), Capacity(rpm=800, tpm=1_200_000), 1.0),
            *(0.40, 0.08, 80.0),
            ttft_sigma=0.4,
        ),
        Profile(
            _target("swift", Price(0.85, 1.20), Capacity(rpm=800, tpm=1_200_000), 1.0),
            *(0.34, 0.06, 110.0),
            ttft_sigma=0.3,
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
