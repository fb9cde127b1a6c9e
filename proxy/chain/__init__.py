"""The chain: what happens to every call, in this order. The list below is the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.call import Handler, Middleware, chain
from proxy.chain.admission import Admission, AdmissionSettings
from proxy.chain.admit import Admit
from proxy.chain.alarms import Alarms, amount_of, instant, tell_of_end
from proxy.chain.auth import Auth
from proxy.chain.bookkeeping import Bookkeeper, Intents
from proxy.chain.cache import Caching, caching_of
from proxy.chain.cache_rules import CacheRule
from proxy.chain.cache_state import CacheState
from proxy.chain.catalogue import Catalogue, Fallback, Model, Static
from proxy.chain.claims import Claims, rates_of
from proxy.chain.embeddings import Embedders
from proxy.chain.engine import Engine
from proxy.chain.facts import client_patience_s
from proxy.chain.fleet_news import FleetNews
from proxy.chain.groups import group_of, lacks_of, name_target
from proxy.chain.history import History, KeptCall
from proxy.chain.limits import Limiter, Meters
from proxy.chain.picture import Picture
from proxy.chain.quota import Grants, Spending
from proxy.chain.route import Route
from proxy.chain.scale import Scale, scales_of
from proxy.chain.settings import admission_of, cache_rules_of, limits_of, model_of, start_only, tier_rules_of
from proxy.chain.share import Allotments, Share
from proxy.chain.tags import TagReader
from proxy.chain.tier import TierRule, Tiers
from proxy.chain.trace import Trace, choose_request_id, new_id


@dataclass(frozen=True, slots=True)
class Chains:
    """What a call goes through, by what it asks for. They share their layers."""

    chat: Handler
    embeddings: Handler


def build_chain(
    trace: Trace,
    bookkeeper: Bookkeeper,
    auth: Auth,
    limiter: Limiter | None,
    tiers: Tiers | None,
    spending: Spending | None,
    caching: Caching | None,
    admit: Admit,
    route: Route,
    embedders: Embedders,
    claims: Claims | None = None,
) -> Chains:
    """Fold the layers, outermost first, around the one that asks a provider. `limiter`: None if nobody has limits,
    `tiers`: None if no model has any, `spending`: None if nobody has quotas, `caching`: None if no model has a cache.
    `claims` takes the place of limiter and spending where many processes share the state.
    """
    layers: Sequence[Middleware] = (
        trace,  # counts the call in and out, logs it
        bookkeeper,  # writes down what it came to
        auth,  # who calls, and may it use this model?
        *([limiter] if limiter is not None else []),  # is its rate used up?
        *([tiers] if tiers is not None else []),  # is the call for a smaller or a larger model?
        *([spending] if spending is not None else []),  # is its quota spent?
        *([claims] if claims is not None else []),  # … or both, where others count them too
        *([caching] if caching is not None else []),  # is the answer known, or about to be?
        admit,  # is there room? Else it waits for its turn
        Intents(bookkeeper),  # writes down that a provider is about to be asked
    )
    embedding: Sequence[Middleware] = (
        trace,
        bookkeeper,
        auth,
        *([limiter] if limiter is not None else []),
        *([spending] if spending is not None else []),  # no tiers before it: each model has vectors of its own
        *([claims] if claims is not None else []),
        embedders.cached,  # which inputs are known? It writes the answer
        admit,
        Intents(bookkeeper),
        embedders.batching,  # are there others to go with?
    )
    return Chains(chain(layers, route), chain(embedding, embedders.route))


__all__ = [
    "Admission",
    "AdmissionSettings",
    "Admit",
    "Alarms",
    "Allotments",
    "Auth",
    "Bookkeeper",
    "CacheRule",
    "CacheState",
    "Caching",
    "Catalogue",
    "Chains",
    "Claims",
    "Embedders",
    "Engine",
    "Fallback",
    "FleetNews",
    "Grants",
    "History",
    "KeptCall",
    "Limiter",
    "Meters",
    "Model",
    "Picture",
    "Route",
    "Scale",
    "Share",
    "Spending",
    "Static",
    "TagReader",
    "TierRule",
    "Tiers",
    "Trace",
    "admission_of",
    "amount_of",
    "build_chain",
    "cache_rules_of",
    "caching_of",
    "choose_request_id",
    "client_patience_s",
    "group_of",
    "instant",
    "lacks_of",
    "limits_of",
    "model_of",
    "name_target",
    "new_id",
    "rates_of",
    "scales_of",
    "start_only",
    "tell_of_end",
    "tier_rules_of",
]
