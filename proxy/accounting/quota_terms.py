"""What a quota says, and which calls it counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from proxy.accounting.periods import Per
from proxy.accounting.usd import USD
from proxy.config import Config, QuotaConfig

Unit = Literal["usd", "tokens"]
#: Whose quota it is: (team,) or (team, key).
OwnerName = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuotaTerms:
    """One quota, as the config states it."""

    owner: OwnerName
    unit: Unit
    cap: int  #: nano-dollars, or tokens
    per: Per
    models: frozenset[str] | None = None  #: only for these configured models; None: all of them
    warn_at: tuple[float, ...] = ()  #: shares of the cap, ascending
    downgrade_to: str | None = None  #: the model that calls go to when it is spent; None: they are refused
    is_cache_only: bool = False  #: may the cache still answer when it is spent?

    @property
    def name(self) -> str:
        """As reports, grants and errors call it: `usd per month`, `tokens per day for chat,chat-mini`."""
        models = "" if self.models is None else f" for {','.join(sorted(self.models))}"
        return f"{self.unit} per {self.per}{models}"

    @property
    def counter(self) -> str:
        """What its counter in Redis is called (`proxy/state/lua/counters.lua`)."""
        return "\n".join((self.unit, *(self.owner[1:] or ("",)), *sorted(self.models or ())))

    @property
    def when_spent(self) -> str:
        """As the config says it."""
        if self.is_cache_only:
            return "cache_only"
        return "refuse" if self.downgrade_to is None else f"downgrade:{self.downgrade_to}"

    def covers(self, key_name: str, model: str) -> bool:
        """Does it count a call of its team by this key, for this model?"""
        return self.owner[1:] in ((), (key_name,)) and (self.models is None or model in self.models)


def terms_of(config: Config) -> list[QuotaTerms]:
    """Every quota of a config: each team's, then those of its keys."""
    return list(_all(config))


def name_quota(quota: QuotaConfig) -> str:
    """What a quota is called: see `QuotaTerms.name`."""
    return _terms((), quota).name


def _all(config: Config) -> Iterator[QuotaTerms]:
    for team, settings in config.teams.items():
        yield from (_terms((team,), quota) for quota in settings.quotas)
        for key in settings.keys:
            yield from (_terms((team, key.name), quota) for quota in key.quotas)


def _terms(owner: OwnerName, quota: QuotaConfig) -> QuotaTerms:
    unit: Unit = "tokens" if quota.usd is None else "usd"
    cap = quota.tokens if quota.usd is None else int(quota.usd * USD)
    _, _, downgrade_to = quota.when_spent.partition("downgrade:")
    return QuotaTerms(
        owner,
        unit,
        cap or 1,
        quota.per,
        None if quota.models is None else frozenset(quota.models),
        tuple(sorted(quota.warn_at)),
        downgrade_to or None,
        quota.when_spent == "cache_only",
    )
