"""What a config says of prices: which targets have none, and what depends on one. Part of `verify`, and under the same
rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from proxy.config.faults import Finding, Path
from proxy.config.plain import Data, as_list, as_mapping, entries, sections

#: Is there a price for this model (as the provider calls it) of this provider (its section), without the config's own?
HasPrice = Callable[[Data, str], bool]

_GIVE_PRICE: Final = "give price_usd_per_mtok: {input: …, output: …}"
_COUNTS_AS_ZERO: Final = "no price is known for it: its calls count as zero"


def check_prices(root: Data, has_price: HasPrice | None) -> Iterator[Finding]:
    """Targets without a price, where that matters. Without `has_price` there is no price but the config's own, and
    nothing is said of targets whose calls only count as zero.
    """
    providers = as_mapping(root.get("providers"))
    for model, settings in sections(as_mapping(root.get("models"))):
        unpriced = [
            index
            for index, target in entries(settings, "targets")
            if not _is_priced(target, as_mapping(providers.get(str(target.get("provider")))), has_price)
        ]
        yield from _check_cheapest(model, settings, unpriced)
        yield from _check_hedge(model, settings, unpriced)
    if has_price is not None:
        yield from _check_unpriced(root, has_price)


def _is_priced(target: Data, provider: Data, has_price: HasPrice | None) -> bool:
    if target.get("price_usd_per_mtok") is not None:
        return True
    name = target.get("model")
    return has_price is not None and isinstance(name, str) and has_price(provider, name)


def _check_cheapest(model: str, settings: Data, unpriced: list[int]) -> Iterator[Finding]:
    """cheapest compares prices: without one, who is cheapest would be a guess."""
    if settings.get("strategy") == "cheapest" and len(as_list(settings.get("targets"))) > 1:
        for index in unpriced:
            path: Path = ("models", model, "targets", index)
            yield Finding(path, "strategy cheapest needs its price", _GIVE_PRICE)


def _check_unpriced(root: Data, has_price: HasPrice) -> Iterator[Finding]:
    """What has no price is counted as nothing: known at load time, or refused there. What is simulated may."""
    refuses = as_mapping(root.get("accounting")).get("unpriced") == "refuse"
    message = "no price is known for it, and accounting.unpriced is refuse" if refuses else _COUNTS_AS_ZERO
    providers = as_mapping(root.get("providers"))
    for model, settings in sections(as_mapping(root.get("models"))):
        for index, target in entries(settings, "targets"):
            provider = as_mapping(providers.get(str(target.get("provider"))))
            known = "kind" in provider and isinstance(target.get("model"), str)
            if known and provider["kind"] != "demo" and not _is_priced(target, provider, has_price):
                path: Path = ("models", model, "targets", index)
                yield Finding(path, message, _GIVE_PRICE, is_warning=not refuses)


def _check_hedge(model: str, settings: Data, unpriced: list[int]) -> Iterator[Finding]:
    """A second attempt is weighed against its cost: that takes an objective, and prices."""
    share = as_mapping(settings.get("hedge")).get("max_extra_cost")
    if not isinstance(share, str) or not share.strip("0.% "):
        return
    path: Path = ("models", model, "hedge", "max_extra_cost")
    if settings.get("strategy") not in ("balanced", "reliable"):
        yield Finding(path, "only strategies balanced and reliable send second attempts", "set one, or drop it")
    elif unpriced:
        yield Finding(path, "a second attempt is weighed by its price", "give every target its price_usd_per_mtok")
