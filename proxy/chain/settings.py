"""From the config to what the layers of the chain go by. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.accounting import Limits, MeterName
from proxy.cache import scope_of
from proxy.chain.admission import AdmissionSettings
from proxy.chain.cache_rules import CacheRule, SemanticRule
from proxy.chain.catalogue import Fallback, Model, Static
from proxy.chain.groups import lacks_of
from proxy.chain.tier import TierRule
from proxy.config import Config, FallbackConfig, ModelCacheConfig, ModelConfig, SloConfig
from proxy.providers import Patience
from routing import RetrySettings
from routing.needs import CHAT, EMBEDDINGS

#: Settings of `server` that act as they are in force (those of a stop, when it comes); the others are read at the start
#: alone.
_SERVED_AT_ONCE: Final = frozenset({"max_body_bytes", "keepalive_comment_s", "admission", "drain_s", "drain_delay_s"})


def tier_rules_of(models: Mapping[str, ModelConfig]) -> dict[str, TierRule]:
    """By model; only those that have tiers."""
    return {
        name: TierRule(tier.simple, tier.hard, tier.simple_below, tier.hard_above, tier.shadow)
        for name, settings in models.items()
        if (tier := settings.tier) is not None
    }


def cache_rules_of(config: Config) -> dict[str, CacheRule]:
    """By model; only those that have a cache."""
    return {
        name: _cache_rule_of(scope_of(name, settings, config.providers), settings.cache)
        for name, settings in config.models.items()
        if settings.cache is not None and (settings.cache.exact is not None or settings.cache.semantic is not None)
    }


def _cache_rule_of(scope: bytes, settings: ModelCacheConfig) -> CacheRule:
    """Who has a cache by meaning has an exact one as well: a question means the same as itself."""
    exact, semantic = settings.exact, settings.semantic
    if semantic is None:
        assert exact is not None, "a model without a cache has no rule"
        return CacheRule(scope, exact.ttl_s, exact.sampled, exact.pace)
    ttl_s = semantic.ttl_s if exact is None else exact.ttl_s
    terms = SemanticRule(semantic.mode == "serve", min(semantic.ttl_s, ttl_s), semantic.max_error)
    if exact is None:
        return CacheRule(scope, ttl_s, semantic=terms)
    return CacheRule(scope, ttl_s, exact.sampled, exact.pace, terms)


def limits_of(config: Config) -> dict[MeterName, Limits]:
    """By team, and by team and key; only where there is a limit."""
    stated = {(team,): settings.limits for team, settings in config.teams.items()} | {
        (team, key.name): key.limits for team, settings in config.teams.items() for key in settings.keys
    }
    limits = {name: Limits(one.rpm, one.tpm, one.concurrency) for name, one in stated.items() if one is not None}
    return {name: one for name, one in limits.items() if one.any}


def admission_of(config: Config) -> AdmissionSettings:
    """How many calls are let in."""
    settings = config.server.admission
    return AdmissionSettings(settings.concurrency, settings.queue, settings.max_wait_s)


def start_only(old: Config, new: Config) -> list[str]:
    """Settings that differ and are read at the start alone."""
    pairs = (
        ("state.url", old.state.url, new.state.url),
        ("state.cache_url", old.state.cache_url, new.state.cache_url),
        ("state.journal", old.state.journal, new.state.journal),
        ("cache.embedder", old.cache.embedder, new.cache.embedder),
        ("cache.shared", old.cache.shared_bytes, new.cache.shared_bytes),
        ("accounting.timezone", old.accounting.timezone, new.accounting.timezone),
    )
    server = (
        f"server.{field.alias or name}"
        for name, field in type(old.server).model_fields.items()
        if name not in _SERVED_AT_ONCE and getattr(old.server, name) != getattr(new.server, name)
    )
    return [*server, *(name for name, before, now in pairs if before != now)]


def model_of(name: str, settings: ModelConfig) -> Model:
    """What stands behind a configured model."""
    timeouts, retries = settings.timeouts, settings.retries
    lacking = [(target, lacks_of(target) - {EMBEDDINGS}) for target in settings.targets]
    contexts = [target.context for target in settings.targets if target.context is not None]
    return Model(
        name=name,
        aliases=tuple(settings.aliases),
        patience=Patience(timeouts.connect_s, timeouts.first_token_s, timeouts.idle_s, timeouts.total_s),
        commit_after_s=timeouts.commit_after_s,
        fallbacks=tuple(
            Fallback(fallback.on, fallback.model, _static_of(fallback), fallback.cache is not None)
            for fallback in settings.fallbacks
        ),
        retries=RetrySettings(retries.max_attempts, retries.max_ratio),
        ttft_s=(settings.slo or SloConfig()).ttft_s,
        is_chosen=settings.strategy not in ("round_robin", "weighted")
        or any(target.capacity.tpm or target.context or lacks for target, lacks in lacking),
        has_no_chat=any(CHAT in lacks for _, lacks in lacking),
        is_hedged=settings.hedge.max_extra_cost > 0,
        is_rescued=settings.rescue,
        least_context=min(contexts, default=None),
        counted_as=settings.targets[0].model,
        batch_window_s=settings.embeddings.batch_window_s,
        batch_size=settings.embeddings.batch_size,
    )


def _static_of(settings: FallbackConfig) -> Static | None:
    return None if settings.static is None else Static(settings.static, settings.status or 200)
