"""What the cache does for each model, as its config says it."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.cache import Pace


@dataclass(frozen=True, slots=True)
class CacheRule:
    """One model's cache."""

    scope: bytes  #: see `proxy.cache.scope_of`
    ttl_s: float
    is_sampled: bool = False  #: also for requests that ask for chance
    pace: Pace = "instant"  #: how a stored answer is streamed
    semantic: SemanticRule | None = None  #: None: only the very same request is answered


@dataclass(frozen=True, slots=True)
class SemanticRule:
    """One model's cache by meaning."""

    is_serving: bool  #: else it only says what it would have done
    ttl_s: float
    max_error: float  #: the share of hits that may be wrong
