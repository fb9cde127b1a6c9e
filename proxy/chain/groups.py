"""What routing is told of a model: from its config to its targets and how to choose among them. The gateway and the
simulator build their routers by it.
"""

from __future__ import annotations

from typing import Literal, cast

from proxy.config import ModelConfig, SloConfig, TargetConfig
from routing import Capacity, Group, Objective, Price, RetrySettings, Target
from routing.needs import DROPPABLE


def group_of(settings: ModelConfig) -> Group:
    """One configured model, as a Router takes it."""
    slo, retries = settings.slo or SloConfig(), settings.retries
    return Group(
        targets=[_target_of(target) for target in settings.targets],
        strategy=settings.strategy,
        objective=Objective(slo.ttft_s, slo.ttft_within),
        hedge_share=settings.hedge.max_extra_cost,
        retries=RetrySettings(retries.max_attempts, retries.max_ratio),
    )


def name_target(settings: TargetConfig) -> str:
    """What the target is called, here and in headers, logs and metrics."""
    return f"{settings.provider}/{settings.model}"


def lacks_of(settings: TargetConfig) -> frozenset[str]:
    """The needs that the target can't meet, less those that vanish with the parameters that are left out for it."""
    dropped = frozenset(settings.drop_params)
    return frozenset(
        need for need in settings.lacks if need not in DROPPABLE or not dropped.issuperset(DROPPABLE[need])
    )


def _target_of(settings: TargetConfig) -> Target:
    price, capacity = settings.price_usd_per_mtok, settings.capacity
    cached = price.cached_input if price is not None else None
    return Target(
        name=name_target(settings),
        provider=settings.provider,
        model=settings.model,
        price=None
        if price is None
        else Price(float(price.input), float(price.output), None if cached is None else float(cached)),
        capacity=Capacity(
            capacity.rpm,
            capacity.tpm,
            cast("int | Literal['auto'] | None", capacity.concurrency),
        ),
        context_tokens=settings.context,
        lacks=lacks_of(settings),
        drop_params=settings.drop_params,
        weight=float(settings.weight),
    )
