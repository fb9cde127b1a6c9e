"""What the cache makes of a call, before anything is looked up."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from proxy.cache import Control, Look, is_eligible, key_of, read_control
from proxy.call import Call
from proxy.chain.cache_rules import CacheRule

#: Key, is it a stream, does it end with its usage, and how soon is it wanted? Only calls whose answers are the same
#: bytes share one, and nobody waits for one that a provider may take minutes for.
Route = tuple[bytes, bool, bool, str]


@dataclass(slots=True)
class Asked:
    """One call."""

    model: str  #: as configured: a later layer may name another one
    rule: CacheRule
    control: Control
    team: str
    key: bytes  #: empty: it is not to be looked up
    route: Route
    look: Look | None = None  #: where other replicas are asked too


def read_call(call: Call, rule: CacheRule) -> Asked:
    """Its key, if it has one, and who could share its answer. Cost: 10 µs."""
    request, control, key = call.request, read_control(call.headers), None
    team = "" if call.principal is None else call.principal.team
    if control.may_store and is_eligible(request, is_sampled=rule.is_sampled):
        key = key_of(rule.scope, team, request.body)
    route = key or b"", request.stream, request.include_usage, str(request.body.get("service_tier"))
    return Asked(call.model, rule, control, team, key or b"", route)


def flight_of(route: Route) -> bytes:
    """What calls of all replicas have in common that share one answer. Streams do not: whoever waits for a whole answer
    waits for its first word as well.
    """
    key, _, _, service_tier = route
    return key if service_tier == "None" else blake2b(service_tier.encode(), digest_size=32, key=key).digest()
