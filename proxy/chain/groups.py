"""What routing is told of a model: from its config to its targets and how to choose among them. The gateway and the
simulator build their routers by it.
"""

from __future__ import annotations

from typing import Final, Literal, cast

from proxy.accounting import PriceBook, Tariff
from proxy.config import Config, SloConfig, TargetConfig
from routing import Capacity, Group, Objective, Price, RetrySettings, Target
from routing.needs import CHAT, DROPPABLE, EMBEDDINGS

#: Kinds of providers that have no embeddings.
_CHAT_ONLY: Final = frozenset({"anthropic"})
#: What is called so is no chat model, with whatever provider.
_EMBEDDING_NAME: Final = "embed"


def group_of(name: str, config: Config, book: PriceBook, now_s: float) -> Group:
    """One configured model, as a Router takes it, at the prices of now (Unix time)."""
    settings = config.models[name]
    slo, retries = settings.slo or SloConfig(), settings.retries
    return Group(
        targets=[
            _target_of(target, config.providers[target.provider].kind, book.tariff(name, name_target(target), now_s))
            for target in settings.targets
        ],
        strategy=settings.strategy,
        objective=Objective(slo.ttft_s, slo.ttft_within, slo.success),
        hedge_share=settings.hedge.max_extra_cost,
        retries=RetrySettings(retries.max_attempts, retries.max_ratio),
    )


def name_target(settings: TargetConfig) -> str:
    """What the target is called, here and in headers, logs and metrics."""
    return f"{settings.provider}/{settings.model}"


def lacks_of(settings: TargetConfig, kind: str = "") -> frozenset[str]:
    """The needs that the target can't meet, less those that vanish with the parameters that are left out for it.
    `kind`: of its provider.
    """
    dropped = frozenset(settings.drop_params)
    lacks = {need for need in settings.lacks if need not in DROPPABLE or not dropped.issuperset(DROPPABLE[need])}
    if kind in _CHAT_ONLY:
        lacks.add(EMBEDDINGS)
    if _EMBEDDING_NAME in settings.model.lower():
        lacks.add(CHAT)
    return frozenset(lacks)


def _target_of(settings: TargetConfig, kind: str, tariff: Tariff | None) -> Target:
    capacity = settings.capacity
    return Target(
        name=name_target(settings),
        provider=settings.provider,
        model=settings.model,
        price=_price_of(tariff),
        capacity=Capacity(
            capacity.rpm,
            capacity.tpm,
            cast("int | Literal['auto'] | None", capacity.concurrency),
        ),
        context_tokens=settings.context,
        lacks=lacks_of(settings, kind),
        drop_params=settings.drop_params,
        weight=float(settings.weight),
    )


def _price_of(tariff: Tariff | None) -> Price | None:
    """What routing compares: the prices of a short call at load time. What is simulated would always be cheapest."""
    if tariff is None or tariff.prices.source == "simulated":
        return None
    rates = tariff.prices.rates
    return Price(
        float(rates.input),
        float(rates.output),
        None if rates.cached_input == rates.input else float(rates.cached_input),
    )
